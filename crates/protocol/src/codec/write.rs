//! How a [`Value`] is written. Whether the format is for people (JSON) decides how byte strings look.

use super::Encoding;
use crate::value::Value;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Writes anything that only fails to be written where its writer fails.
pub(crate) fn to_bytes<T: Serialize + ?Sized>(value: &T, encoding: Encoding) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let written = match encoding {
        Encoding::MessagePack => {
            rmp_serde::encode::write(&mut bytes, value).map_err(|error| error.to_string())
        }
        Encoding::Json => serde_json::to_writer(&mut bytes, value).map_err(|error| error.to_string()),
    };
    #[expect(
        clippy::expect_used,
        reason = "a Vec takes every byte, every key is text, every length is known and no value is deeper than DEPTH_MAX"
    )]
    written.expect("writing to memory");
    bytes
}

/// A byte string: `bin` in MessagePack, base64url text without padding in JSON.
pub(crate) struct Base64Url<'a>(pub(crate) &'a [u8]);

impl Base64Url<'_> {
    /// The bytes behind base64url text, with or without padding.
    pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
    }

    /// As text, without padding.
    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl Serialize for Base64Url<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_text())
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serialize_int(*value, serializer),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => Base64Url(bytes).serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn serialize_int<S: Serializer>(value: i128, serializer: S) -> Result<S::Ok, S::Error> {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => serializer.serialize_i64(value),
        (_, Ok(value)) => serializer.serialize_u64(value),
        _ => serializer.serialize_f64(value as f64),
    }
}
