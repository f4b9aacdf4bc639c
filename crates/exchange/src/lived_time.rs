//! Time as a mind lives it.
//!
//! A process can stand still: stopped, starved, in a suspended machine. What others said in the meantime waits unread, so that no
//! silence and no lateness in that time means anything. A mind asks to be called at least every so often; of a longer gap between
//! two calls, only as much counts. All else in a mind then needs no thought of it: a deadline is so much time lived.

use std::time::Duration;

/// A stall of so long is worth a line in the log, and after it some time is needed until all that waited is read.
const LONG_STALL: Duration = Duration::from_secs(1);
/// That time: far more than reading takes, and less than what lies between two misfortunes.
const CATCHING_UP: Duration = Duration::from_secs(1);

/// Turns the machine's time into the mind's.
#[derive(Debug)]
pub(crate) struct LivedTime {
    /// The mind asks to be called so often.
    interval: Duration,
    /// The last call, in the machine's time.
    last: Duration,
    /// The machine's time that does not count, in all.
    stalled: Duration,
    /// When the last long stall ended, in the mind's time.
    resumed: Option<Duration>,
}

impl LivedTime {
    /// Of a mind that asks to be called at least every `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, last: Duration::ZERO, stalled: Duration::ZERO, resumed: None }
    }

    /// The mind is called at `now` of the machine's time; gives its own, which never runs backwards.
    pub(crate) fn on_call(&mut self, now: Duration) -> Duration {
        let stall = now.saturating_sub(self.last).saturating_sub(self.interval);
        let first = self.last.is_zero();
        self.stalled += stall;
        self.last = self.last.max(now);
        let lived = self.lived();
        if stall >= LONG_STALL && !first {
            tracing::warn!(
                seconds = stall.as_secs_f64(),
                "this process stood still: that time does not count"
            );
            self.resumed = Some(lived);
        }
        lived
    }

    /// Whether what is heard now may have happened before `moment` of the mind's time: it may have waited unread through a stall.
    pub(crate) fn may_predate(&self, moment: Duration) -> bool {
        self.resumed.is_some_and(|resumed| moment >= resumed && self.lived() < resumed + CATCHING_UP)
    }

    fn lived(&self) -> Duration {
        self.last.saturating_sub(self.stalled)
    }

    /// When the mind is to be called next, in the machine's time: for what is due at `at` of its own, or within the interval.
    pub(crate) fn next_call(&self, at: Option<Duration>) -> Duration {
        let latest = self.last.saturating_add(self.interval);
        at.map_or(latest, |at| latest.min(at.saturating_add(self.stalled)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_gap_no_more_counts_than_the_interval() {
        let at = Duration::from_millis;
        let mut time = LivedTime::new(at(250));
        let start = time.on_call(at(100_000));
        assert_eq!(time.on_call(at(100_200)), start + at(200));
        assert_eq!(time.on_call(at(100_450)), start + at(450));
        assert_eq!(time.on_call(at(111_450)), start + at(700), "eleven seconds stalled");
        assert_eq!(time.on_call(at(111_451)), start + at(701));
        assert_eq!(time.on_call(at(111_000)), start + at(701), "never backwards");
    }

    #[test]
    fn what_is_heard_soon_after_a_stall_may_be_old() {
        let at = Duration::from_millis;
        let mut time = LivedTime::new(at(250));
        let before = time.on_call(at(100_000));
        assert!(!time.may_predate(before), "the first call is no stall");
        let after = time.on_call(at(105_000));
        assert!(time.may_predate(after));
        assert!(!time.may_predate(before), "what was sent before the stall had arrived");
        for millis in [105_250, 105_500, 105_750, 106_000] {
            time.on_call(at(millis));
        }
        assert!(!time.may_predate(after), "by now all is read");
        time.on_call(at(106_300));
        assert!(!time.may_predate(time.lived()), "a late timer is no stall");
    }

    #[test]
    fn what_is_due_is_told_in_the_time_of_the_machine() {
        let at = Duration::from_millis;
        let mut time = LivedTime::new(at(250));
        time.on_call(at(100_000));
        let now = time.on_call(at(105_000));
        assert_eq!(time.next_call(None), at(105_250));
        assert_eq!(time.next_call(Some(now + at(40))), at(105_040));
        assert_eq!(time.next_call(Some(now + at(300))), at(105_250));
    }
}
