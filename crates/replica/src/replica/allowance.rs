//! How far clients may raise the Lamport clock: a token bucket, so that no client can drive it to its end (design, "Lamport").
//! Values from our own broker and peers are not asked.

use crate::constants::LAMPORT_RAISE_PER_SECOND;
use papo_protocol::lamport::Lamport;
use std::time::Duration;

const PER_MILLISECOND: u64 = LAMPORT_RAISE_PER_SECOND / 1000;

/// The bucket: it holds one second's worth.
#[derive(Debug)]
pub(super) struct RaiseAllowance {
    left: u64,
    filled_at: Duration,
}

impl RaiseAllowance {
    /// A full bucket.
    pub(super) fn new(now: Duration) -> Self {
        Self { left: LAMPORT_RAISE_PER_SECOND, filled_at: now }
    }

    /// Whether a clock at `own` may be raised to `received`; if so, the raise is taken from the bucket.
    pub(super) fn admit(&mut self, now: Duration, own: Lamport, received: Lamport) -> bool {
        let milliseconds = u64::try_from(now.saturating_sub(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        if milliseconds > 0 {
            let filled = self.left.saturating_add(milliseconds.saturating_mul(PER_MILLISECOND));
            self.left = filled.min(LAMPORT_RAISE_PER_SECOND);
            self.filled_at = now;
        }
        let raise = received.get().saturating_sub(own.get());
        let admitted = raise <= self.left;
        if admitted {
            self.left -= raise;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_beyond_a_million_a_second_is_not_admitted() {
        let lamport = |value| Lamport::new(value).unwrap();
        let mut bucket = RaiseAllowance::new(Duration::ZERO);
        assert!(!bucket.admit(Duration::ZERO, lamport(0), lamport(1_000_001)));
        assert!(bucket.admit(Duration::ZERO, lamport(5), lamport(1_000_005)));
        assert!(!bucket.admit(Duration::ZERO, lamport(1_000_005), lamport(1_000_006)));
        assert!(bucket.admit(Duration::ZERO, lamport(1_000_005), lamport(3)), "going back costs nothing");
        assert!(bucket.admit(Duration::from_millis(1), lamport(0), lamport(1000)));
    }
}
