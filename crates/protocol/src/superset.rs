//! How papo writes maps: each field once, under all the names that dialects read it by, and both inside `data` and beside it.
//!
//! Nothing is copied for that: a field is serialized again from the same memory. This module must not know any service.

use crate::codec::{Base64Url, Encoding, to_bytes};
use crate::lamport::Lamport;
use crate::value::Value;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What is written under a name.
pub(crate) enum Out<'a> {
    Value(Value),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(Vec<Out<'a>>),
    Map(OutFields<'a>),
    /// A map whose keys are data, such as servers by name.
    ByName(Vec<(&'a str, Out<'a>)>),
}

impl From<Value> for Out<'_> {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl<'a> From<&'a str> for Out<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Out<'_> {
    fn from(text: String) -> Self {
        Self::Value(Value::Text(text))
    }
}

impl From<u64> for Out<'_> {
    fn from(number: u64) -> Self {
        Self::Value(Value::Int(number.into()))
    }
}

impl From<u32> for Out<'_> {
    fn from(number: u32) -> Self {
        u64::from(number).into()
    }
}

impl From<bool> for Out<'_> {
    fn from(value: bool) -> Self {
        Self::Value(Value::Bool(value))
    }
}

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => Base64Url(bytes).serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(fields) => fields.serialize(serializer),
            Self::ByName(entries) => {
                serializer.collect_map(entries.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

/// Fields in the order they are written, each with all its names.
#[derive(Default)]
pub(crate) struct OutFields<'a>(Vec<(&'static [&'static str], Out<'a>)>);

impl<'a> OutFields<'a> {
    /// Adds a field. No two fields share a name.
    pub(crate) fn add(&mut self, names: &'static [&'static str], value: impl Into<Out<'a>>) {
        self.0.push((names, value.into()));
    }

    fn names(&self) -> usize {
        self.0.iter().map(|(names, _)| names.len()).sum()
    }

    fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (names, value) in &self.0 {
            for name in *names {
                map.serialize_entry(name, value)?;
            }
        }
        Ok(())
    }
}

impl Serialize for OutFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names()))?;
        self.serialize_into(&mut map)?;
        map.end()
    }
}

/// A whole message: `{service, data: {...fields, timestamp, clock}, timestamp, clock, ...fields}`. The fields never bear one of
/// those four names.
pub(crate) struct OutEnvelope<'a> {
    pub(crate) service: &'a str,
    pub(crate) fields: &'a OutFields<'a>,
    pub(crate) timestamp: &'a Value,
    pub(crate) clock: Lamport,
}

impl OutEnvelope<'_> {
    pub(crate) fn write(&self, encoding: Encoding) -> Bytes {
        to_bytes(self, encoding).into()
    }

    fn stamp<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("timestamp", self.timestamp)?;
        map.serialize_entry("clock", &self.clock.get())
    }
}

impl Serialize for OutEnvelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4 + self.fields.names()))?;
        map.serialize_entry("service", self.service)?;
        map.serialize_entry("data", &Data(self))?;
        self.stamp(&mut map)?;
        self.fields.serialize_into(&mut map)?;
        map.end()
    }
}

/// The same fields and stamps, as `data`.
struct Data<'a>(&'a OutEnvelope<'a>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2 + self.0.fields.names()))?;
        self.0.fields.serialize_into(&mut map)?;
        self.0.stamp(&mut map)?;
        map.end()
    }
}
