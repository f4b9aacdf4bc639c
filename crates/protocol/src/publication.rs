//! A publication: `[topic, body]` for clients, and a third frame between papo's servers and papo's proxies.

use crate::codec::{Encoding, Limits};
use crate::identity::Identity;
use crate::lamport::Lamport;
use crate::names::ServerName;
use crate::reply::HistoryEntry;
use crate::time::UnixMillis;
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

impl PublicationMeta {
    /// Eighteen bytes: version 1, kind, identity.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        todo!()
    }

    /// `None` for anything else, which makes the publication a foreign one.
    #[must_use]
    pub fn from_bytes(_bytes: &[u8]) -> Option<Self> {
        todo!()
    }
}

/// The body that clients get: the superset of wire.md section 4. `timestamp` repeats the sender's value, or renders `at` in
/// seconds where the sender gave none.
#[must_use]
pub fn write_publication(_entry: &HistoryEntry, _clock: Lamport, _origin: &ServerName, _encoding: Encoding) -> Bytes {
    todo!()
}

/// The announcement of a coordinator on topic `servers`: `{service: "election", data: {coordinator}}`, flat fields, `epoch`.
#[must_use]
pub fn write_coordinator(_coordinator: &ServerName, _rank: u32, _epoch: u64, _clock: Lamport, _at: UnixMillis) -> Bytes {
    todo!()
}

/// Whether a foreign body (two frames, no kind) may go to subscribers of `""`: only when it names no `dst`, `to`, `src` or
/// `from`, at the top or in `data`. An undecodable body is no direct message and may.
#[must_use]
pub fn foreign_body_is_public(_body: &[u8], _limits: &Limits) -> bool {
    todo!()
}
