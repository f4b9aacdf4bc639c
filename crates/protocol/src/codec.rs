//! Bytes to [`Value`] and back, in MessagePack (through `rmp-serde`) and JSON, under limits.

use crate::value::Value;

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
    pub fn detect(_bytes: &[u8]) -> Self {
        todo!()
    }
}

/// Bounds of what is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole message.
    pub bytes: usize,
    /// Nesting of lists and maps.
    pub depth: usize,
    /// Values in all, containers and map entries included.
    pub values: usize,
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
pub fn decode(_bytes: &[u8], _limits: &Limits) -> Result<(Encoding, Value), DecodeError> {
    todo!()
}

/// Encodes a value. Byte strings become base64url text in JSON; NaN and infinities become `null` there.
#[must_use]
pub fn encode(_value: &Value, _encoding: Encoding) -> Vec<u8> {
    todo!()
}
