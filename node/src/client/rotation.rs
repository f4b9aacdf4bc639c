//! Which of several equal peers a socket uses: one as long as it serves, and after a failure the next.

use papo_settings::Address;
use std::collections::VecDeque;

/// The addresses of one kind of peer, from one on.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    current: Address,
    others: VecDeque<Address>,
    failures: usize,
}

impl Rotation {
    /// Begins with the first of the addresses; without any, `default` is the only one.
    pub(super) fn new(addresses: Vec<Address>, default: Address) -> Self {
        let mut others = VecDeque::from(addresses);
        let current = others.pop_front().unwrap_or(default);
        Self { current, others, failures: 0 }
    }

    /// The one to use.
    pub(super) fn current(&self) -> &Address {
        &self.current
    }

    /// The current one serves.
    pub(super) fn served(&mut self) {
        self.failures = 0;
    }

    /// The current one failed: on to the next. Says whether by now each has failed since one last served.
    pub(super) fn failed(&mut self) -> bool {
        if let Some(next) = self.others.pop_front() {
            self.others.push_back(std::mem::replace(&mut self.current, next));
        }
        self.failures = self.failures.saturating_add(1);
        self.failures > self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn after_a_failure_the_next_one_is_used_and_all_failed_once_each_did() {
        let mut rotation = Rotation::new(vec![address("a:1"), address("b:1")], address("c:1"));
        assert_eq!(rotation.current(), &address("a:1"));
        assert!(!rotation.failed());
        assert_eq!(rotation.current(), &address("b:1"));
        assert!(rotation.failed());
        assert_eq!(rotation.current(), &address("a:1"));
        rotation.served();
        assert!(!rotation.failed());
    }

    #[test]
    fn the_only_one_is_used_again_and_again() {
        let mut rotation = Rotation::new(Vec::new(), address("a:1"));
        assert!(rotation.failed() && rotation.failed());
        assert_eq!(rotation.current(), &address("a:1"));
    }
}
