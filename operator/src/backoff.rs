//! How long a ChatCluster that failed waits for its next attempt: twice as long each time, with jitter, each cluster by itself.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: long enough to be no load, short enough for a person who has just put the cause right.
const LONGEST: Duration = Duration::from_secs(60);
/// Doublings after which [`LONGEST`] is reached for certain.
const DOUBLINGS_MAX: u32 = 10;

/// The failures in a row of each object that has any.
#[derive(Debug)]
pub struct Backoff<Key> {
    failures: HashMap<Key, Failures>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    /// When the next attempt is.
    due: Instant,
}

impl<Key> Default for Backoff<Key> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<Key: Hash + Eq> Backoff<Key> {
    /// Counts a failure, and says how long to wait. `random` is from 0 to 1; `exists` says of which objects to keep count.
    pub fn on_failure(
        &mut self,
        now: Instant,
        key: Key,
        random: f64,
        exists: impl Fn(&Key) -> bool,
    ) -> Duration {
        self.failures.retain(|key, _| exists(key));
        let failures = self.failures.entry(key).or_insert(Failures { count: 0, due: now });
        if now < failures.due {
            // Looked at before its time, because something was touched: that says nothing about the cause.
            return failures.due.duration_since(now);
        }
        let wait = FIRST.saturating_mul(1 << failures.count.min(DOUBLINGS_MAX)).min(LONGEST);
        // Between half and all of it: whatever failed together does not come again together.
        let wait = wait.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        *failures = Failures { count: failures.count.saturating_add(1), due: now + wait };
        wait
    }

    /// Forgets the failures.
    pub fn on_success(&mut self, key: &Key) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_minute_and_success_forgets() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..20 {
            waits.push(backoff.on_failure(now, "a", 1.0, |_| true));
            now += waits[waits.len() - 1];
        }
        assert_eq!(waits[..3], [500, 1_000, 2_000].map(Duration::from_millis));
        assert_eq!(waits.iter().max(), Some(&LONGEST));
        backoff.on_success(&"a");
        assert_eq!(backoff.on_failure(now, "a", 0.0, |_| true), Duration::from_millis(250));
    }

    #[test]
    fn a_look_before_its_time_neither_lengthens_nor_shortens_the_wait() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.on_failure(now, "a", 1.0, |_| true), Duration::from_millis(500));
        let early = now + Duration::from_millis(100);
        assert_eq!(backoff.on_failure(early, "a", 1.0, |_| true), Duration::from_millis(400));
    }

    #[test]
    fn one_objects_failures_do_not_delay_another_and_are_forgotten_with_it() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.on_failure(now, "bad", 1.0, |_| true);
        backoff.on_failure(now + LONGEST, "bad", 1.0, |_| true);
        let wait = backoff.on_failure(now + LONGEST, "good", 1.0, |key| *key != "bad");
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(backoff.failures.len(), 1);
    }
}
