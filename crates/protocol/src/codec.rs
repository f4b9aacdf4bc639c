//! Bytes to [`Value`] and back, in MessagePack (through `rmp-serde`) and JSON, under limits.
//!
//! Both decoders read from the slice that is there, so a length that a peer only claims allocates nothing; what grows is
//! counted in `codec/read.rs`. This module must not know what any message means.

mod read;
mod write;

use crate::value::Value;
use serde::Deserialize;
use serde::de::DeserializeSeed;

/// Deepest nesting that is ever decoded, whatever [`Limits::depth`] says: both decoders recurse, and a stack is finite.
pub const DEPTH_MAX: usize = 100;

/// The two encodings of the exercise (row B01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The exercise's parts 3 to 5.
    MessagePack,
    /// Parts 1 and 2: JSON text.
    Json,
}

impl Encoding {
    /// By the first byte: `{` or white space is JSON, anything else MessagePack.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => Self::Json,
            _ => Self::MessagePack,
        }
    }
}

/// Bounds of what is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole message.
    pub bytes: usize,
    /// Nesting of lists and maps; above [`DEPTH_MAX`] counts as that.
    pub depth: usize,
    /// Values in all, containers and map entries included (an entry counts as its key and its value).
    pub values: usize,
}

impl Limits {
    /// For requests: far above any chat message, yet some MiB of memory when every byte is spent on small values.
    pub const REQUEST: Self = Self { bytes: 1 << 20, depth: 16, values: 1 << 16 };
    /// For a client that reads a server's lists and histories.
    pub const REPLY: Self = Self { bytes: crate::reply::REPLY_BYTES_MAX, depth: 16, values: 1 << 20 };
}

/// Why bytes are no message: what and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Over [`Limits::bytes`].
    #[error("the message has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Bytes received.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Malformed, over a limit of depth or count, or followed by other bytes.
    #[error("{what} at {place}")]
    Malformed {
        /// What is wrong.
        what: String,
        /// Where: a path such as `data.user`, or `the start`.
        place: String,
    },
}

/// Decodes one whole message.
///
/// # Errors
/// [`DecodeError`] says what is wrong and where.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<(Encoding, Value), DecodeError> {
    if bytes.len() > limits.bytes {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), limit: limits.bytes });
    }
    let encoding = Encoding::detect(bytes);
    let mut budget = read::Budget::new(limits);
    let decoded = match encoding {
        Encoding::MessagePack => decode_message_pack(bytes, &mut budget),
        Encoding::Json => decode_json(bytes, &mut budget),
    };
    match decoded {
        Ok(value) => Ok((encoding, value)),
        Err(what) => Err(budget.into_error(what)),
    }
}

fn decode_message_pack(bytes: &[u8], budget: &mut read::Budget) -> Result<Value, String> {
    use rmp_serde::decode::Error;

    let describe = |error: Error| match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "the message ends early".to_owned(),
        Error::TypeMismatch(_) => "a byte that MessagePack does not use".to_owned(),
        other => other.to_string(),
    };
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = read::ValueSeed(budget).deserialize(&mut deserializer).map_err(describe)?;
    // The deserializer does not tell what is left of a borrowed slice, so one more flat read does: nothing left is the only
    // way to find no marker.
    match bool::deserialize(&mut deserializer) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err("more bytes follow the message".to_owned()),
    }
}

fn decode_json(bytes: &[u8], budget: &mut read::Budget) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = read::ValueSeed(budget).deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Encodes a value nested at most [`DEPTH_MAX`] deep (nothing deeper is ever decoded). Byte strings become base64url text in
/// JSON; NaN and infinities become `null` there. Integers take the fewest bytes; one outside 64 bits becomes a float.
#[must_use]
pub fn encode(value: &Value, encoding: Encoding) -> Vec<u8> {
    to_bytes(value, encoding)
}

pub(crate) use write::{Base64Url, to_bytes};

#[cfg(test)]
mod tests;
