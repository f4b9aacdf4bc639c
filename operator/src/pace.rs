//! How often a ChatCluster's status is written: when a state has changed at once, but what changes within a second of that together;
//! what is only said in other words at most twice a minute. What is kept here is about politeness only: an operator that has
//! forgotten it writes once too often.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// What a status says that the one before did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A state has changed.
    States,
    /// The states are the same, in other words.
    Words,
}

impl News {
    /// Between two statuses of which the second says only this.
    const fn pause(self) -> Duration {
        match self {
            // What a server goes through while it starts comes in one.
            Self::States => Duration::from_secs(1),
            Self::Words => PAUSE,
        }
    }
}

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
    /// How long this has to wait.
    #[must_use]
    pub fn wait(&self, now: Instant, key: &Key, news: News) -> Duration {
        let written = self.written.get(key);
        written.map_or(Duration::ZERO, |written| news.pause().saturating_sub(now.duration_since(*written)))
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
    fn other_words_wait_half_a_minute_after_the_last_and_other_states_a_second_each_cluster_by_itself() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(now, &"a", News::States), Duration::ZERO);
        pace.on_written(now, "a");
        assert_eq!(pace.wait(now + Duration::from_secs(10), &"a", News::Words), Duration::from_secs(20));
        assert_eq!(
            pace.wait(now + Duration::from_millis(300), &"a", News::States),
            Duration::from_millis(700)
        );
        assert_eq!(pace.wait(now + Duration::from_secs(1), &"a", News::States), Duration::ZERO);
        assert_eq!(pace.wait(now, &"b", News::Words), Duration::ZERO);
        assert_eq!(pace.wait(now + PAUSE, &"a", News::Words), Duration::ZERO);
        pace.on_written(now + PAUSE, "b");
        assert_eq!(pace.written.len(), 1, "what no longer matters is forgotten");
    }
}
