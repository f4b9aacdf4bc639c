//! How often a ChatCluster's status is written: what has changed in a state at once, what is only said in other words at most twice
//! a minute. What is kept here is about politeness only: an operator that has forgotten it writes once too often.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Between two statuses that differ in words only.
pub const PAUSE: Duration = Duration::from_secs(30);

/// When each status was last written.
#[derive(Debug)]
pub struct Pace<Key> {
    written: HashMap<Key, Instant>,
}

impl<Key> Default for Pace<Key> {
    fn default() -> Self {
        Self { written: HashMap::new() }
    }
}

impl<Key: Hash + Eq> Pace<Key> {
    /// How long other words have to wait.
    #[must_use]
    pub fn wait(&self, now: Instant, key: &Key) -> Duration {
        let written = self.written.get(key);
        written.map_or(Duration::ZERO, |written| PAUSE.saturating_sub(now.duration_since(*written)))
    }

    /// A status was written; forgets those that are too old to matter.
    pub fn on_written(&mut self, now: Instant, key: Key) {
        self.written.retain(|_, written| now.duration_since(*written) < PAUSE);
        self.written.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_wait_half_a_minute_after_the_last_each_cluster_by_itself() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(now, &"a"), Duration::ZERO);
        pace.on_written(now, "a");
        assert_eq!(pace.wait(now + Duration::from_secs(10), &"a"), Duration::from_secs(20));
        assert_eq!(pace.wait(now, &"b"), Duration::ZERO);
        assert_eq!(pace.wait(now + PAUSE, &"a"), Duration::ZERO);
        pace.on_written(now + PAUSE, "b");
        assert_eq!(pace.written.len(), 1, "what no longer matters is forgotten");
    }
}
