//! When a broker or a proxy says that it is ready: a new one when every server of the settings is connected, so that no client is
//! led to one that knows half of the cluster; one that was ready as long as one server is connected.
//!
//! This module must not know clocks or links: time and the number of connected servers are arguments.

use std::time::Duration;

/// A new broker or proxy waits so long for all servers; from then on one is enough, since a dead server must not keep it unready
/// for ever. A living server comes within: 2 s until it looks at the names again, 5 s for which a cluster's DNS may answer from
/// its cache, 2 s for the longest pause between two tries to connect, 1 s to shake hands.
pub const GRACE: Duration = Duration::from_secs(10);

/// The answer to "may clients come?".
#[derive(Debug)]
pub struct Readiness {
    expected: usize,
    grace_ends: Duration,
    was_ready: bool,
}

impl Readiness {
    /// Of a role that starts now and expects so many servers; with none expected (nobody knows who the workers are), one is enough.
    #[must_use]
    pub fn new(now: Duration, expected: usize) -> Self {
        Self { expected, grace_ends: now + GRACE, was_ready: false }
    }

    /// Whether the role is ready with so many servers connected now. To be asked whenever that number changes, and every second,
    /// for the end of the grace.
    pub fn is_ready(&mut self, now: Duration, connected: usize) -> bool {
        let enough = self.was_ready || connected >= self.expected || now >= self.grace_ends;
        let ready = enough && connected > 0;
        self.was_ready |= ready;
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn seconds(seconds: u64) -> Duration {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_new_role_is_ready_when_all_servers_are_connected() {
        let mut readiness = Readiness::new(START, 3);
        for connected in 0..3 {
            assert!(!readiness.is_ready(seconds(1), connected));
        }
        assert!(readiness.is_ready(seconds(1), 3));
    }

    #[test]
    fn a_dead_server_does_not_keep_it_unready_for_ever() {
        let mut readiness = Readiness::new(START, 3);
        assert!(!readiness.is_ready(seconds(0) + GRACE - Duration::from_millis(1), 2));
        assert!(readiness.is_ready(seconds(0) + GRACE, 1));
    }

    #[test]
    fn without_a_server_it_is_never_ready() {
        let mut readiness = Readiness::new(START, 3);
        assert!(!readiness.is_ready(seconds(3_600), 0));
        assert!(!Readiness::new(START, 0).is_ready(seconds(3_600), 0));
    }

    #[test]
    fn once_ready_one_server_is_enough_and_none_is_not() {
        let mut readiness = Readiness::new(START, 3);
        assert!(readiness.is_ready(seconds(1), 3));
        assert!(readiness.is_ready(seconds(2), 1));
        assert!(!readiness.is_ready(seconds(3), 0));
        assert!(readiness.is_ready(seconds(4), 1), "it is no new one any more");
    }

    #[test]
    fn where_nobody_knows_who_the_workers_are_one_is_enough() {
        assert!(Readiness::new(START, 0).is_ready(START, 1));
    }
}
