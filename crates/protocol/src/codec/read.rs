//! The one visitor behind both decoders: builds a [`Value`] within a budget, and remembers where it stood when it failed.

use super::{DEPTH_MAX, DecodeError, Limits};
use crate::value::Value;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Containers start with room for at most so many items, whatever length they claim.
const FIRST_ITEMS: usize = 16;
/// Characters of a key that an error's path shows.
const SHOWN_KEY_CHARS: usize = 32;
/// The extension type of MessagePack's timestamps (its specification, "Timestamp extension type").
const TIMESTAMP_EXTENSION: i8 = -1;

/// What may still be read, and where the reader stands.
pub(super) struct Budget {
    limits: Limits,
    values_left: usize,
    depth: usize,
    path: Vec<Step>,
    /// Why we refused, when it was us and not the decoder.
    fault: Option<String>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        let limits = Limits { depth: limits.depth.min(DEPTH_MAX), ..*limits };
        Self { limits, values_left: limits.values, depth: 0, path: Vec::new(), fault: None }
    }

    /// The error for a failed read: ours if we refused, else what the decoder said.
    pub(super) fn into_error(self, what: String) -> DecodeError {
        let mut place = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) => {
                    if !place.is_empty() {
                        place.push('.');
                    }
                    place.extend(key.escape_debug().take(SHOWN_KEY_CHARS));
                }
                Step::Index(index) => place.push_str(&format!("[{index}]")),
            }
        }
        if place.is_empty() {
            place.push_str("the start");
        }
        DecodeError::Malformed { what: self.fault.unwrap_or(what), place }
    }

    fn refuse<E: Error>(&mut self, fault: String) -> E {
        let error = E::custom(&fault);
        self.fault = Some(fault);
        error
    }

    fn spend<E: Error>(&mut self) -> Result<(), E> {
        match self.values_left.checked_sub(1) {
            Some(left) => self.values_left = left,
            None => return Err(self.refuse(format!("more than {} values", self.limits.values))),
        }
        Ok(())
    }

    /// Goes into a list or map.
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(self.refuse(format!("nested more than {} deep", self.limits.depth)));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Reads one value.
pub(super) struct ValueSeed<'a>(pub(super) &'a mut Budget);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::copy_from_slice(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let budget = self.0;
        budget.enter()?;
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(FIRST_ITEMS));
        budget.path.push(Step::Index(0));
        while let Some(item) = items.next_element_seed(ValueSeed(budget))? {
            list.push(item);
            budget.path.pop();
            budget.path.push(Step::Index(list.len()));
        }
        budget.path.pop();
        budget.leave();
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let budget = self.0;
        budget.enter()?;
        let mut map = Vec::with_capacity(entries.size_hint().unwrap_or(0).min(FIRST_ITEMS));
        while let Some(key) = entries.next_key_seed(KeySeed(budget))? {
            budget.path.push(Step::Key(key));
            let value = entries.next_value_seed(ValueSeed(budget))?;
            if let Some(Step::Key(key)) = budget.path.pop() {
                map.push((key, value));
            }
        }
        budget.leave();
        Ok(Value::Map(map))
    }

    /// `rmp-serde` calls this for extension types alone: a type number, then the bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<Value, D::Error> {
        extension.deserialize_any(ExtensionVisitor)
    }
}

/// Reads a map's key as text: byte strings as UTF-8, numbers in decimal.
struct KeySeed<'a>(&'a mut Budget);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        self.0.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text as key")
    }

    fn visit_bool<E: Error>(self, key: bool) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_f64<E: Error>(self, key: f64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        Ok(key.to_owned())
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(key).into_owned())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(self.0.refuse("a key that is no text".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _items: A) -> Result<String, A::Error> {
        Err(self.0.refuse("a list as key".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, _entries: A) -> Result<String, A::Error> {
        Err(self.0.refuse("a map as key".to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _extension: D) -> Result<String, D::Error> {
        Err(self.0.refuse("an extension type as key".to_owned()))
    }
}

/// Reads an extension: a timestamp as seconds, any other as nothing.
struct ExtensionVisitor;

impl<'de> Visitor<'de> for ExtensionVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an extension type and its bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let kind: Option<i8> = parts.next_element()?;
        let bytes: Option<&[u8]> = parts.next_element()?;
        Ok(match (kind, bytes) {
            (Some(TIMESTAMP_EXTENSION), Some(bytes)) => timestamp(bytes).unwrap_or(Value::Null),
            _ => Value::Null,
        })
    }
}

/// The three timestamp layouts of the MessagePack specification: 32 bits of seconds; 30 of nanoseconds and 34 of seconds; 32 of
/// nanoseconds and 64 of seconds.
fn timestamp(bytes: &[u8]) -> Option<Value> {
    let (seconds, nanoseconds) = if let Ok(word) = <[u8; 4]>::try_from(bytes) {
        (i64::from(u32::from_be_bytes(word)), 0)
    } else if let Ok(word) = <[u8; 8]>::try_from(bytes) {
        let word = u64::from_be_bytes(word);
        (i64::try_from(word & ((1 << 34) - 1)).ok()?, u32::try_from(word >> 34).ok()?)
    } else {
        let (nanoseconds, seconds) = bytes.split_first_chunk::<4>()?;
        (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds))
    };
    Some(match nanoseconds {
        0 => Value::Int(seconds.into()),
        _ => Value::Float(seconds as f64 + f64::from(nanoseconds) / 1e9),
    })
}
