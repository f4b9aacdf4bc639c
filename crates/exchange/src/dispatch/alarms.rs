//! Wake-ups that are all set the same time ahead, so that the order in which they are set is the order in which they are due.
//!
//! Nobody takes a wake-up back: one that is not wanted any more is dropped when it comes to the front, or together with others
//! when these are the most. So setting one costs no search, and no more are kept than twice what is wanted.

use std::collections::VecDeque;
use std::time::Duration;

/// Unwanted wake-ups that are never worth a search.
const UNWANTED_MAX: usize = 1024;

/// Of one kind.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// When, and for whom; the first is the next that is due.
    entries: VecDeque<(Duration, u64)>,
}

impl Alarms {
    /// Sets one. `at` is not before that of any set earlier.
    pub(super) fn set(&mut self, at: Duration, counter: u64) {
        self.entries.push_back((at, counter));
    }

    /// The next.
    pub(super) fn first(&self) -> Option<(Duration, u64)> {
        self.entries.front().copied()
    }

    /// Drops those not wanted: those at the front always, so that the first is one that is wanted. At most `wanted_max` are wanted.
    pub(super) fn prune(&mut self, wanted_max: usize, is_wanted: impl Fn(Duration, u64) -> bool) {
        if self.entries.len() > 2 * wanted_max + UNWANTED_MAX {
            self.entries.retain(|(at, counter)| is_wanted(*at, *counter));
        }
        while self.entries.front().is_some_and(|(at, counter)| !is_wanted(*at, *counter)) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_one_that_is_wanted_for_long_the_others_do_not_pile_up() {
        let mut alarms = Alarms::default();
        for counter in 0..1_000_000 {
            alarms.set(Duration::from_micros(counter), counter);
            alarms.prune(2, |_, wanted| wanted == 7 || wanted == counter);
            assert!(alarms.entries.len() <= UNWANTED_MAX + 5);
        }
        assert_eq!(alarms.first(), Some((Duration::from_micros(7), 7)));
        alarms.prune(0, |_, _| false);
        assert_eq!(alarms.first(), None);
    }
}
