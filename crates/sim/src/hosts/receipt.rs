//! What a server says of a write that is done, as its client reads it, and at a glance.

use super::REPLY_LIMITS;
use bytes::Bytes;
use papo_protocol::client::{ReadReply, read_identity, read_reply};
use papo_protocol::codec::DecodeError;
use papo_protocol::{Boot, Identity};
use serde::Deserialize;

/// A write that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What it is known by.
    pub identity: Identity,
    /// Its place in the order.
    pub lamport: u64,
    /// The boot that wrote it, which is random and so names its server.
    pub boot: Boot,
    /// Its number in that boot.
    pub seq: u64,
}

impl Receipt {
    /// The receipt in a reply, if there is one.
    #[must_use]
    pub fn of(reply: &ReadReply) -> Option<Self> {
        let identity = reply.data.get("message_id").and_then(read_identity)?;
        let position = reply.data.get("position")?;
        Some(Self {
            identity,
            lamport: position.get("lamport")?.to_u64()?,
            boot: read_boot(&position.get("boot")?.to_text()?)?,
            seq: position.get("seq")?.to_u64()?,
        })
    }
}

fn read_boot(digits: &str) -> Option<Boot> {
    u64::from_str_radix(digits, 16).ok().map(Boot)
}

/// What the checks of a server's body must know of each reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// The Lamport value that it says.
    pub clock: u64,
    /// Of the write that it confirms.
    pub receipt: Option<Receipt>,
    /// Why it refuses.
    pub code: Option<String>,
}

#[derive(Deserialize)]
struct Whole {
    clock: u64,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    message_id: Option<Bytes>,
    position: Option<Position>,
    code: Option<String>,
}

#[derive(Deserialize)]
struct Position {
    lamport: u64,
    boot: String,
    seq: u64,
}

impl Glance {
    /// Looks at a reply: past all its other contents where it is as most are, and else as its client reads it.
    ///
    /// # Errors
    /// When no client could read it.
    pub fn at(body: &[u8]) -> Result<Self, DecodeError> {
        if let Ok(Whole { clock, data: Data { message_id, position, code } }) = rmp_serde::from_slice(body) {
            let receipt = message_id.zip(position).and_then(|(identity, position)| {
                Some(Receipt {
                    identity: Identity(identity.as_ref().try_into().ok()?),
                    lamport: position.lamport,
                    boot: read_boot(&position.boot)?,
                    seq: position.seq,
                })
            });
            return Ok(Self { clock, receipt, code });
        }
        let reply = read_reply(body, &REPLY_LIMITS)?;
        let receipt = Receipt::of(&reply).filter(|_| reply.failure.is_none());
        Ok(Self { clock: reply.clock.get(), receipt, code: reply.failure.and_then(|failure| failure.code) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::Value;
    use papo_protocol::codec::{Encoding, encode};

    #[test]
    fn a_glance_sees_what_a_client_reads() {
        let text = |text: &str| Value::Text(text.to_owned());
        let map = |entries: Vec<(&str, Value)>| {
            Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let position =
            map(vec![("lamport", Value::Int(7)), ("boot", text("00000000000000ff")), ("seq", Value::Int(3))]);
        let identity = Value::Bytes(Bytes::copy_from_slice(&[4; 16]));
        let done = vec![("status", text("OK")), ("message_id", identity), ("position", position)];
        let refused = vec![("status", text("erro")), ("code", text("unknown_channel"))];
        for data in [done, refused] {
            let reply =
                map(vec![("service", text("publish")), ("data", map(data)), ("clock", Value::Int(9))]);
            let both = [Encoding::MessagePack, Encoding::Json].map(|encoding| {
                let body = encode(&reply, encoding);
                let read = read_reply(&body, &REPLY_LIMITS).unwrap();
                let glance = Glance::at(&body).unwrap();
                assert_eq!(glance.clock, read.clock.get());
                assert_eq!(glance.receipt, Receipt::of(&read));
                assert_eq!(glance.code, read.failure.and_then(|failure| failure.code));
                glance
            });
            assert_eq!(both[0], both[1]);
        }
    }
}
