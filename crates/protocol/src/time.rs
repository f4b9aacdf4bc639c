//! Time stamps in the types that real clients send (row B03): seconds as int or float, milliseconds, ISO 8601 text.
//!
//! This module must not know what time it is.

use crate::value::Value;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Longest timestamp text that is kept; ISO 8601 with nanoseconds, an offset and a zone's name fits.
const TEXT_BYTES_MAX: usize = 64;
/// From here on a number counts milliseconds: as seconds it would be past the year 5000.
const MILLIS_FROM: f64 = 1e11;

/// Milliseconds since 1970-01-01T00:00:00Z, from a server's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// The two clocks, read by whoever does I/O and handed to the minds with each input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since a fixed moment of this process; never goes back. Deadlines are counted on it.
    pub monotonic: std::time::Duration,
    /// What operations and replies are stamped with.
    pub unix: UnixMillis,
}

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
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Int(number) if *number as f64 >= MILLIS_FROM => Self::Millis,
            Value::Float(number) if *number >= MILLIS_FROM => Self::Millis,
            Value::Float(_) => Self::FloatSeconds,
            Value::Text(_) | Value::Bytes(_) => match value.to_text() {
                Some(text) if text.parse::<Timestamp>().is_ok() => Self::Rfc3339,
                Some(text) if text.parse::<DateTime>().is_ok() => Self::IsoWithoutZone,
                _ => Self::Seconds,
            },
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::List(_) | Value::Map(_) => Self::Seconds,
        }
    }

    /// `at` in this style.
    #[must_use]
    pub fn render(self, at: UnixMillis) -> Value {
        match self {
            Self::Seconds => Value::Int(at.seconds().into()),
            Self::FloatSeconds => Value::Float(at.0 as f64 / 1000.0),
            Self::Millis => Value::Int(at.0.into()),
            // Six digits, since Python before 3.11 reads three or six, and writes six.
            Self::IsoWithoutZone => render(at, "%Y-%m-%dT%H:%M:%S%.6f"),
            Self::Rfc3339 => render(at, "%Y-%m-%dT%H:%M:%S%.3fZ"),
        }
    }
}

fn render(at: UnixMillis, format: &str) -> Value {
    let bound = if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let at = Timestamp::from_millisecond(at.0).unwrap_or(bound);
    Value::Text(at.strftime(format).to_string())
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
    /// `None` for values of other types, for text of more than 64 bytes, and for NaN and infinities.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => i64::try_from(*number).ok().map(Self::Int),
            Value::Float(number) => number.is_finite().then_some(Self::Float(*number)),
            Value::Text(_) | Value::Bytes(_) => value
                .to_text()
                .filter(|text| text.len() <= TEXT_BYTES_MAX)
                .map(|text| Self::Text(text.into_owned())),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// As it came.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(number) => Value::Int((*number).into()),
            Self::Float(number) => Value::Float(*number),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }

    /// The moment it means; text without a zone counts as UTC. `None` for text that no dialect writes.
    #[must_use]
    pub fn to_millis(&self) -> Option<UnixMillis> {
        match self {
            Self::Int(number) if *number as f64 >= MILLIS_FROM => Some(UnixMillis(*number)),
            Self::Int(number) => number.checked_mul(1000).map(UnixMillis),
            Self::Float(number) => {
                let millis = if *number >= MILLIS_FROM { *number } else { *number * 1000.0 };
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a float too large becomes the largest integer"
                )]
                Some(UnixMillis(millis.round() as i64))
            }
            Self::Text(text) => {
                let zoned = || text.parse::<Timestamp>().ok();
                let plain =
                    || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
                zoned().or_else(plain).map(|at| UnixMillis(at.as_millisecond()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: UnixMillis = UnixMillis(1_738_324_800_123);

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn b03_a_reply_repeats_the_requests_type() {
        for (sent, style, rendered) in [
            (Value::Int(1_234_567_890), TimestampStyle::Seconds, Value::Int(1_738_324_800)),
            (Value::Float(1_234_567_890.5), TimestampStyle::FloatSeconds, Value::Float(1_738_324_800.123)),
            (Value::Int(1_234_567_890_000), TimestampStyle::Millis, Value::Int(AT.0.into())),
            (Value::Float(1.234e12), TimestampStyle::Millis, Value::Int(AT.0.into())),
            (
                text("2025-01-31T12:00:00.123456"),
                TimestampStyle::IsoWithoutZone,
                text("2025-01-31T12:00:00.123000"),
            ),
            (text("2025-01-31T12:00:00"), TimestampStyle::IsoWithoutZone, text("2025-01-31T12:00:00.123000")),
            (text("2025-01-31 12:00:00"), TimestampStyle::IsoWithoutZone, text("2025-01-31T12:00:00.123000")),
            (text("2025-01-31T12:00:00.1Z"), TimestampStyle::Rfc3339, text("2025-01-31T12:00:00.123Z")),
            (text("2025-01-31T12:00:00-03:00"), TimestampStyle::Rfc3339, text("2025-01-31T12:00:00.123Z")),
            (text("agora"), TimestampStyle::Seconds, Value::Int(1_738_324_800)),
            (Value::Null, TimestampStyle::Seconds, Value::Int(1_738_324_800)),
        ] {
            assert_eq!(TimestampStyle::of(&sent), style, "{sent:?}");
            assert_eq!(style.render(AT), rendered);
        }
    }

    #[test]
    fn moments_out_of_range_are_rendered_at_the_bound() {
        assert_eq!(TimestampStyle::Rfc3339.render(UnixMillis(i64::MAX)), text("9999-12-30T22:00:00.999Z"));
        assert_eq!(TimestampStyle::Seconds.render(UnixMillis(-1)), Value::Int(-1));
    }

    #[test]
    fn sent_timestamps_are_kept_as_they_came() {
        for value in [Value::Int(7), Value::Float(0.5), text("agora")] {
            assert_eq!(SentTimestamp::read(&value).map(|sent| sent.to_value()), Some(value));
        }
        for none in [Value::Null, Value::Float(f64::NAN), text(&"x".repeat(65)), Value::Int(1 << 64)] {
            assert_eq!(SentTimestamp::read(&none), None);
        }
    }

    #[test]
    fn every_dialects_timestamp_names_its_moment() {
        for (sent, millis) in [
            (SentTimestamp::Int(1_738_324_800), Some(1_738_324_800_000)),
            (SentTimestamp::Int(AT.0), Some(AT.0)),
            (SentTimestamp::Int(i64::MIN), None),
            (SentTimestamp::Float(1_738_324_800.123), Some(AT.0)),
            (SentTimestamp::Text("2025-01-31T12:00:00.123456".into()), Some(AT.0)),
            (SentTimestamp::Text("2025-01-31T09:00:00.123-03:00".into()), Some(AT.0)),
            (SentTimestamp::Text("agora".into()), None),
        ] {
            assert_eq!(sent.to_millis(), millis.map(UnixMillis), "{sent:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_reads_back(millis in 0..4_102_444_800_000_i64) {
            for style in [TimestampStyle::IsoWithoutZone, TimestampStyle::Rfc3339, TimestampStyle::FloatSeconds] {
                let rendered = style.render(UnixMillis(millis));
                prop_assert_eq!(TimestampStyle::of(&rendered), style);
                prop_assert_eq!(SentTimestamp::read(&rendered).unwrap().to_millis(), Some(UnixMillis(millis)));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let value = Value::Text(text);
            let _ = TimestampStyle::of(&value);
            let _ = SentTimestamp::read(&value).and_then(|sent| sent.to_millis());
        }
    }
}
