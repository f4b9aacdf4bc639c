//! The client's side: requests as papo's own clients write them, replies and publications as they read them (leniently, so that
//! they also work against foreign servers).

use crate::codec::{DecodeError, Encoding, Limits};
use crate::identity::Identity;
use crate::lamport::Lamport;
use crate::time::UnixMillis;
use crate::value::Value;
use bytes::Bytes;

/// Writes `{service, data: {...fields, timestamp, clock}, timestamp, clock}`. With `id`, adds `papo_id`.
#[must_use]
pub fn write_request(
    _service: &str,
    _fields: &[(&str, &str)],
    _id: Option<[u8; 16]>,
    _clock: Lamport,
    _at: UnixMillis,
    _encoding: Encoding,
) -> Bytes {
    todo!()
}

/// A reply as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadReply {
    /// The server's Lamport value, 0 where absent.
    pub clock: Lamport,
    /// Whether `status` (or `success`, or an `error` field) says it failed; `None` where the reply has no status at all.
    pub failure: Option<Failure>,
    /// `data`, or the top level of a flat reply: always a map.
    pub data: Value,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// papo's code, where there is one.
    pub code: Option<String>,
    /// The text for people.
    pub text: String,
    /// Whether to repeat with the same id.
    pub retry: bool,
}

impl ReadReply {
    /// Names under the first of these keys that holds a list of texts.
    #[must_use]
    pub fn names(&self, _keys: &[&str]) -> Vec<String> {
        todo!()
    }

    /// The messages of a history reply (`messages` or `publications`), unreadable entries left out.
    #[must_use]
    pub fn messages(&self) -> Vec<ReadMessage> {
        todo!()
    }
}

/// A publication or a history entry as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadMessage {
    /// Its author, under `user`, `src`, `from` ...; empty where absent.
    pub user: String,
    /// Its channel.
    pub channel: Option<String>,
    /// Its recipient, when it is a direct message.
    pub dst: Option<String>,
    /// Its text.
    pub message: String,
    /// The time it was sent, in milliseconds, where any dialect's timestamp is readable.
    pub at: Option<UnixMillis>,
    /// The Lamport value.
    pub clock: Lamport,
    /// `message_id`, which foreign servers do not send.
    pub message_id: Option<Identity>,
}

/// Reads a reply.
///
/// # Errors
/// When it is neither MessagePack nor JSON, or no map.
pub fn read_reply(_bytes: &[u8], _limits: &Limits) -> Result<ReadReply, DecodeError> {
    todo!()
}

/// Reads a publication's body.
///
/// # Errors
/// When it is neither MessagePack nor JSON, or no map.
pub fn read_publication(_body: &[u8], _limits: &Limits) -> Result<ReadMessage, DecodeError> {
    todo!()
}
