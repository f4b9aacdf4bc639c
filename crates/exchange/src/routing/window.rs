//! The identities seen of late, so that servers may publish at least once and readers get each publication once.

use papo_protocol::identity::Identity;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// What an identity is to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Never, or too long ago.
    New,
    /// Within the window.
    Before,
}

/// Identities by the time they were first seen.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    entries_max: usize,
    known: HashSet<Identity>,
    /// Oldest first; the same entries as `known`.
    order: VecDeque<(Duration, Identity)>,
    evicted: u64,
}

impl Window {
    /// Empty.
    pub(super) fn new(length: Duration, entries_max: usize) -> Self {
        Self { length, entries_max, known: HashSet::new(), order: VecDeque::new(), evicted: 0 }
    }

    /// Looks an identity up and remembers it from now on. A repetition does not prolong the memory.
    pub(super) fn see(&mut self, now: Duration, identity: Identity) -> Seen {
        while self.order.front().is_some_and(|(seen, _)| *seen + self.length <= now) {
            self.forget_oldest();
        }
        if !self.known.insert(identity) {
            return Seen::Before;
        }
        if self.order.len() >= self.entries_max {
            self.forget_oldest();
            self.evicted += 1;
        }
        self.order.push_back((now, identity));
        Seen::New
    }

    /// Entries forgotten early, for want of room: their repetitions would be delivered.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Identities remembered.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn identity(number: u8) -> Identity {
        Identity([number; 16])
    }

    #[test]
    fn an_identity_is_known_for_the_window_and_no_longer() {
        let mut window = Window::new(WINDOW, 10);
        let at = Duration::from_millis;
        assert_eq!(window.see(at(0), identity(1)), Seen::New);
        assert_eq!(window.see(at(59_999), identity(1)), Seen::Before);
        assert_eq!(
            window.see(at(60_000), identity(1)),
            Seen::New,
            "a repetition does not prolong the memory"
        );
    }

    #[test]
    fn when_full_the_oldest_goes_and_is_counted() {
        let mut window = Window::new(WINDOW, 2);
        for number in [1, 2, 2, 3] {
            window.see(Duration::ZERO, identity(number));
        }
        assert_eq!((window.len(), window.evicted()), (2, 1));
        assert_eq!(window.see(Duration::ZERO, identity(3)), Seen::Before);
        assert_eq!(window.see(Duration::ZERO, identity(1)), Seen::New);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// While it does not overflow, the window answers like a list of all that was ever seen.
        #[test]
        fn answers_like_an_endless_list(steps in prop::collection::vec((0u64..20, 0u8..12), 1..200)) {
            let mut window = Window::new(WINDOW, 12);
            let mut list: Vec<(Duration, u8)> = Vec::new();
            let mut now = Duration::ZERO;
            for (seconds, number) in steps {
                now += Duration::from_secs(seconds);
                let before = list.iter().any(|(seen, known)| *known == number && now < *seen + WINDOW);
                if !before {
                    list.push((now, number));
                }
                let expected = if before { Seen::Before } else { Seen::New };
                prop_assert_eq!(window.see(now, identity(number)), expected);
                prop_assert!(window.len() <= 12);
            }
            prop_assert_eq!(window.evicted(), 0);
        }
    }
}
