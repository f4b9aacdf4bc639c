//! A publication: `[topic, body]` for clients, and a third frame between papo's servers and papo's proxies.

use crate::codec::{DecodeError, Encoding, Limits, decode, encode};
use crate::identity::Identity;
use crate::lamport::Lamport;
use crate::names::ServerName;
use crate::reply::{HistoryEntry, Target, message_fields, message_timestamp};
use crate::superset::{OutEnvelope, OutFields};
use crate::time::{TimestampStyle, UnixMillis};
use crate::value::Value;
use bytes::Bytes;

/// What a publication is, for the proxy's routing: who may get it by the empty subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicationKind {
    /// Topic = channel: its subscribers, and those of `""`.
    Channel,
    /// Topic = user: who named that topic exactly, nobody else.
    Direct,
    /// Topic `servers`: announcements, to who named it exactly.
    Servers,
}

/// The third frame, which our servers add and our proxies strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicationMeta {
    /// For routing.
    pub kind: PublicationKind,
    /// For dropping what was already sent.
    pub identity: Identity,
}

/// First byte of a [`PublicationMeta`].
const META_VERSION: u8 = 1;

impl PublicationMeta {
    /// Eighteen bytes: version 1, kind, identity.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let kind = match self.kind {
            PublicationKind::Channel => b'C',
            PublicationKind::Direct => b'D',
            PublicationKind::Servers => b'S',
        };
        [&[META_VERSION, kind], &self.identity.0[..]].concat().into()
    }

    /// `None` for anything else, which makes the publication a foreign one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([META_VERSION, kind], identity) = bytes.split_first_chunk()? else { return None };
        let kind = match kind {
            b'C' => PublicationKind::Channel,
            b'D' => PublicationKind::Direct,
            b'S' => PublicationKind::Servers,
            _ => return None,
        };
        Some(Self { kind, identity: Identity(identity.try_into().ok()?) })
    }
}

/// The body that clients get: the superset of wire.md section 4. `timestamp` repeats the sender's value, or renders `at` in
/// seconds where the sender gave none.
#[must_use]
pub fn write_publication(
    entry: &HistoryEntry,
    clock: Lamport,
    origin: &ServerName,
    encoding: Encoding,
) -> Bytes {
    let service = match entry.target {
        Target::Channel(_) => "publish",
        Target::User(_) => "message",
    };
    let mut fields = message_fields(entry);
    fields.add(&["type"], service);
    fields.add(&["origin"], origin.as_str());
    fields.add(&["id"], entry.message_id.to_string());
    OutEnvelope { service, fields: &fields, timestamp: &message_timestamp(entry), clock }.write(encoding)
}

/// The announcement of a coordinator on topic `servers`: `{service: "election", data: {coordinator}}`, flat fields, `epoch`.
/// Always MessagePack, as the exercise has it.
#[must_use]
pub fn write_coordinator(
    coordinator: &ServerName,
    rank: u32,
    epoch: u64,
    clock: Lamport,
    at: UnixMillis,
) -> Bytes {
    let mut fields = OutFields::default();
    fields.add(&["type"], "coordinator");
    fields.add(&["coordinator"], coordinator.as_str());
    fields.add(&["rank"], rank);
    fields.add(&["epoch"], epoch);
    let timestamp = TimestampStyle::Seconds.render(at);
    OutEnvelope { service: "election", fields: &fields, timestamp: &timestamp, clock }
        .write(Encoding::MessagePack)
}

/// A publication's body for a subscriber that reads JSON only: the same fields, byte strings as base64url text. What is JSON already, no
/// map, or over a limit stays as it came.
#[must_use]
pub fn publication_in_json(body: &Bytes, limits: &Limits) -> Bytes {
    match decode(body, limits) {
        Ok((Encoding::MessagePack, map @ Value::Map(_))) => encode(&map, Encoding::Json).into(),
        Ok(_) | Err(_) => body.clone(),
    }
}

/// Whether a foreign body (two frames, no kind) may go to subscribers of `""`: only when it names no `dst`, `to`, `src` or
/// `from`, at the top or in `data`. An undecodable body is no direct message and may; one too large to be read may not.
#[must_use]
pub fn foreign_body_is_public(body: &[u8], limits: &Limits) -> bool {
    match decode(body, limits) {
        Ok((_, value)) => !(names_a_person(&value) || value.get("data").is_some_and(names_a_person)),
        Err(DecodeError::TooLarge { .. }) => false,
        Err(DecodeError::Malformed { .. }) => true,
    }
}

fn names_a_person(value: &Value) -> bool {
    ["dst", "to", "src", "from"].iter().any(|name| value.get(name).is_some())
}

#[cfg(test)]
mod tests;
