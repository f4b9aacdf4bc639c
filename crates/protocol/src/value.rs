//! One untyped value of a message, whichever encoding it came in. Services read it leniently; nothing else keeps it.

use bytes::Bytes;
use std::borrow::Cow;

/// What MessagePack and JSON have in common, plus MessagePack's byte strings.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// `nil`, `null`; an extension type papo does not know reads as this.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// Any integer that fits 64 bits; `u64` above `i64::MAX` too.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// A byte string (MessagePack `bin`, or a `str` that is not UTF-8); base64url text in JSON.
    Bytes(Bytes),
    /// A list.
    List(Vec<Value>),
    /// A map in the order it came. Keys that are byte strings are read as UTF-8. A key that came twice is there twice, and
    /// [`Value::get`] finds the last, as most decoders do.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value under `key`, whatever the case of its ASCII letters (untagged Go structs send `Data`); of several, the last.
    /// `None` where there is no such key, and for all but maps.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        get(self.as_map()?, key)
    }

    /// The same, to change it or to take it out.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let Self::Map(entries) = self else { return None };
        entries.iter_mut().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }

    /// The entries of a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// Text, leniently: UTF-8 bytes (old encoders send `bin` for text) and numbers (`user: 42`) count.
    #[must_use]
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Int(number) => Some(Cow::Owned(number.to_string())),
            Self::Float(number) => Some(Cow::Owned(number.to_string())),
            Self::Null | Self::Bool(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// A whole number of at least 0, leniently: floats are cut, digits as text are read. `None` above `u64::MAX`.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            Self::Float(number) => whole(*number),
            Self::Text(_) | Self::Bytes(_) => self.to_text()?.trim().parse().ok(),
            Self::Null | Self::Bool(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// The last entry under `key`, in any case.
pub(crate) fn get<'a>(entries: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    entries.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
}

/// The whole part of a float between 0 and 2^63, far above everything that travels as a float.
fn whole(number: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..9.2e18).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_in_any_case_and_the_last_wins() {
        let map = Value::Map(vec![("user".into(), Value::Int(1)), ("USER".into(), Value::Int(2))]);
        assert_eq!(map.get("User"), Some(&Value::Int(2)));
        assert_eq!(map.get("users"), None);
        assert_eq!(Value::Null.get("user"), None);
    }

    #[test]
    fn text_is_lenient_but_not_silent() {
        assert_eq!(Value::Int(42).to_text().as_deref(), Some("42"));
        assert_eq!(Value::Bytes(Bytes::from_static(b"ana")).to_text().as_deref(), Some("ana"));
        assert_eq!(Value::Bytes(Bytes::from_static(b"\xff")).to_text(), None);
        assert_eq!(Value::Bool(true).to_text(), None);
    }

    #[test]
    fn whole_numbers_come_from_ints_floats_and_digits() {
        assert_eq!(Value::Float(3.9).to_u64(), Some(3));
        assert_eq!(Value::Text(" 10 ".into()).to_u64(), Some(10));
        for none in
            [Value::Int(-1), Value::Float(f64::NAN), Value::Float(f64::INFINITY), Value::Text("x".into())]
        {
            assert_eq!(none.to_u64(), None);
        }
    }
}
