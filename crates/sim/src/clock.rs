//! Virtual time, and the clocks that machines have: askew, drifting, jumping.

use papo_protocol::time::{Now, UnixMillis};
use std::time::Duration;

/// Microseconds of virtual time since the world began.
pub type Micros = u64;

/// One millisecond.
pub const MILLISECOND: Micros = 1000;
/// One second.
pub const SECOND: Micros = 1000 * MILLISECOND;

/// By how many milliseconds a machine's calendar is off at most. Two machines then differ by less than a server allows for when it
/// judges by another's calendar whether proxies still remember a message: the 30 s within which it publishes for another, less the
/// 10 s in which a broker hands a request on.
pub const CALENDAR_OFF_MAX: i64 = 7_000;

/// What a machine's calendar says when the world begins, before its skew.
const START: i64 = 1_700_000_000_000;
const PARTS: u64 = 1_000_000;

/// What a true calendar says, in microseconds.
#[must_use]
pub fn calendar_at(at: Micros) -> i64 {
    START * 1000 + i64::try_from(at).unwrap_or(i64::MAX)
}

/// One machine's clocks.
#[derive(Debug, Clone)]
pub struct MachineClock {
    /// What the monotonic clock says when the world begins.
    base: Micros,
    /// Microseconds gained in a second, plus a million.
    rate: u64,
    /// By how many milliseconds the calendar is off.
    skew: i64,
    lies: bool,
}

impl MachineClock {
    /// A clock that gains `drift` microseconds a second and whose calendar is `skew` milliseconds off.
    #[must_use]
    pub fn new(base: Micros, drift: i64, skew: i64) -> Self {
        Self { base, rate: PARTS.saturating_add_signed(drift), skew, lies: false }
    }

    /// The calendar is wrong, and stays so whatever is done.
    pub fn lie(&mut self, milliseconds: i64) {
        (self.skew, self.lies) = (milliseconds, true);
    }

    /// Whether it is wrong, and stays so.
    #[must_use]
    pub fn lies(&self) -> bool {
        self.lies
    }

    /// Somebody sets the calendar.
    pub fn jump(&mut self, milliseconds: i64) {
        if self.lies {
            return;
        }
        self.skew = (self.skew + milliseconds).clamp(-CALENDAR_OFF_MAX, CALENDAR_OFF_MAX);
    }

    /// What this machine thinks the time is.
    #[must_use]
    pub fn read(&self, at: Micros) -> Now {
        let monotonic = self.base + at * self.rate / PARTS;
        let elapsed = i64::try_from((at * self.rate / PARTS) / MILLISECOND).unwrap_or(i64::MAX);
        Now { monotonic: Duration::from_micros(monotonic), unix: UnixMillis(START + elapsed + self.skew) }
    }

    /// When the monotonic clock of this machine will have reached `monotonic`.
    #[must_use]
    pub fn when(&self, monotonic: Duration) -> Micros {
        let micros = u64::try_from(monotonic.as_micros()).unwrap_or(u64::MAX).saturating_sub(self.base);
        micros.saturating_mul(PARTS) / self.rate + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_due_when_its_time_comes() {
        for drift in [-20_000, 0, 137, 20_000] {
            let clock = MachineClock::new(5 * SECOND, drift, 40);
            let due = clock.read(1_234_567).monotonic;
            let when = clock.when(due);
            assert!(clock.read(when).monotonic >= due);
            assert!(when <= 1_234_567 + 3);
        }
    }
}
