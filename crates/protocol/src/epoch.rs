//! Epochs: which of several coordinators counts. The reference service grants them, and they only grow.
//!
//! This module must not know who coordinates, nor how an epoch is stored.

use crate::identity::Boot;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One term of a coordinator: a number, and the boot of the process to which it was granted. Ordered by number, then boot. No two
/// processes have one boot, so that no two ever hold one epoch, also when the reference service forgot what it granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1; 0 where there never was a coordinator.
    pub number: u64,
    /// Whose it is.
    pub boot: Boot,
}

impl Epoch {
    /// The epoch after this one, for a claimant of that boot; `None` after the last number.
    #[must_use]
    pub fn next(self, boot: Boot) -> Option<Self> {
        Some(Self { number: self.number.checked_add(1)?, boot })
    }

    /// How it travels in messages that may be JSON, whose numbers many programs read with 53 bits: the boot is text.
    pub(crate) fn to_value(self) -> Value {
        Value::Map(vec![
            ("number".to_owned(), Value::Int(self.number.into())),
            ("boot".to_owned(), Value::Text(self.boot.to_string())),
        ])
    }

    /// Reads [`Self::to_value`].
    pub(crate) fn of_value(value: &Value) -> Option<Self> {
        let number = value.get("number")?.to_u64()?;
        Some(Self { number, boot: Boot::parse(&value.get("boot")?.to_text()?)? })
    }
}

/// For logs and people: `7-d1002eb77affaefe`.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_ordered_by_number_then_boot() {
        let epoch = |number, boot| Epoch { number, boot: Boot(boot) };
        assert!(Epoch::default() < epoch(0, 1));
        assert!(epoch(1, 9) < epoch(2, 1));
        assert!(epoch(2, 1) < epoch(2, 2));
    }

    #[test]
    fn after_the_last_number_there_is_no_epoch() {
        let last = Epoch { number: u64::MAX, boot: Boot(1) };
        assert_eq!(last.next(Boot(2)), None);
        assert_eq!(Epoch::default().next(Boot(2)), Some(Epoch { number: 1, boot: Boot(2) }));
    }

    #[test]
    fn an_epoch_reads_well() {
        let epoch = Epoch { number: 7, boot: Boot(0xab) };
        assert_eq!(epoch.to_string(), "7-00000000000000ab");
        assert_eq!(Epoch::of_value(&epoch.to_value()), Some(epoch));
    }
}
