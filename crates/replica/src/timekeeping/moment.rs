//! Moments, and what lies between two clocks, in microseconds.
//!
//! A machine's calendar comes in whole milliseconds, which moves all servers' time alike. Time itself is counted on the monotonic clock.

use papo_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::ops::{Add, Neg, Sub};
use std::time::Duration;

/// The year 9999 ends: the last moment that every time format of the protocol can write. A calendar beyond is held for this.
pub(super) const LAST: i64 = 253_402_300_799_999_999;

/// A moment by some calendar: microseconds since 1970-01-01T00:00:00Z, up to the year 9999. Bounded, so that no arithmetic with what
/// a peer or a broken calendar says overflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Moment(i64);

impl Moment {
    /// Microseconds since 1970.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// As it is stamped.
    #[must_use]
    pub fn millis(self) -> UnixMillis {
        UnixMillis(self.0 / 1000)
    }
}

impl From<i64> for Moment {
    fn from(micros: i64) -> Self {
        Self(micros.clamp(0, LAST))
    }
}

impl From<Moment> for i64 {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

impl From<UnixMillis> for Moment {
    fn from(millis: UnixMillis) -> Self {
        Self::from(millis.0.saturating_mul(1000))
    }
}

impl Add<Offset> for Moment {
    type Output = Self;
    fn add(self, by: Offset) -> Self {
        Self::from(self.0.saturating_add(by.0))
    }
}

impl Sub for Moment {
    type Output = Offset;
    fn sub(self, other: Self) -> Offset {
        Offset(self.0 - other.0)
    }
}

/// By how much one clock is ahead of another: microseconds, negative when it is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(i64);

impl Offset {
    /// None.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// How far it is, whichever way.
    #[must_use]
    pub fn size(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }
}

impl From<Duration> for Offset {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Add for Offset {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Offset {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Offset {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// By how much a measured offset may be wrong at most: half of the round trip in which it was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorBound(Duration);

impl ErrorBound {
    /// Of a probe that was sent and answered within `round_trip`.
    #[must_use]
    pub fn of(round_trip: Duration) -> Self {
        Self(round_trip / 2)
    }

    /// The bound.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}
