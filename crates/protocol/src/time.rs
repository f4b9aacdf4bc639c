//! Time stamps in the types that real clients send (row B03): seconds as int or float, milliseconds, ISO 8601 text.

use crate::value::Value;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, from a server's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

/// The type a request used for `timestamp`, so that the reply uses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampStyle {
    /// Whole seconds: the exercise's own, and the answer to a request without a timestamp.
    #[default]
    Seconds,
    /// Seconds as a floating-point number.
    FloatSeconds,
    /// Whole milliseconds (a number of at least 10^11).
    Millis,
    /// `2025-01-31T12:00:00.123456`, without a zone (Python's `isoformat`).
    IsoWithoutZone,
    /// RFC 3339 in UTC: `2025-01-31T12:00:00.123Z`.
    Rfc3339,
}

impl TimestampStyle {
    /// The style of a received `timestamp` value.
    #[must_use]
    pub fn of(_value: &Value) -> Self {
        todo!()
    }

    /// `at` in this style.
    #[must_use]
    pub fn render(self, _at: UnixMillis) -> Value {
        todo!()
    }
}

/// The sender's own timestamp, kept as it came: a publication repeats it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SentTimestamp {
    /// An integer, seconds or milliseconds.
    Int(i64),
    /// A float, seconds.
    Float(f64),
    /// Text, ISO 8601 or not.
    Text(String),
}

impl SentTimestamp {
    /// `None` for values of other types, for text of more than 64 bytes, and for NaN.
    #[must_use]
    pub fn read(_value: &Value) -> Option<Self> {
        todo!()
    }

    /// As it came.
    #[must_use]
    pub fn to_value(&self) -> Value {
        todo!()
    }
}
