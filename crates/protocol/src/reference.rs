//! The reference service (wire.md section 2): `rank`, `list`, `heartbeat`, `clock`, both sides.

use crate::codec::Limits;
use crate::lamport::Lamport;
use crate::names::ServerName;
use crate::request::{BadRequest, ReplyStyle};
use crate::time::UnixMillis;
use crate::value::Value;
use bytes::Bytes;

/// What is asked of the reference service.
#[derive(Debug, Clone, PartialEq)]
pub enum ReferenceCall {
    /// `rank`: registers and ranks a server.
    Rank(Registration),
    /// `heartbeat`: keeps it listed; registers an unknown name.
    Heartbeat(Registration),
    /// `list`, `list_servers`.
    List,
    /// `clock`.
    Clock,
}

/// Who registers, and the extras that some servers send, kept and listed as they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Under `user`, `name`, `username`, `server` ...
    pub name: ServerName,
    /// `addr`, `address`, `host`: at most 256 bytes.
    pub address: Option<String>,
    /// `port`, 0 to 65535.
    pub port: Option<u16>,
}

/// A request to the reference service.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceRequest {
    /// How to answer.
    pub style: ReplyStyle,
    /// The sender's Lamport value.
    pub clock: Lamport,
    /// What is asked.
    pub call: ReferenceCall,
}

/// One server of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedServer {
    /// Its name and extras.
    pub registration: Registration,
    /// Its rank, from 1.
    pub rank: u32,
    /// Last heartbeat.
    pub last_beat: UnixMillis,
}

/// What the reference service answers.
#[derive(Debug, Clone, PartialEq)]
pub enum ReferenceReply {
    /// `rank`.
    Rank(u32),
    /// `heartbeat`: `timestamp`, `clock` and `status: "OK"`.
    Alive,
    /// `list`: an array under `list`, a map under `servers` (`as_map`: the map under `list` too).
    List {
        /// By rank.
        servers: Vec<ListedServer>,
        /// `compat.listAsMap`.
        as_map: bool,
    },
    /// `clock`: `time`, an int unless the request's timestamps say otherwise.
    Time,
}

/// Reads a request to the reference service.
///
/// # Errors
/// As [`crate::request::read_request`].
pub fn read_reference_request(_bytes: &[u8], _limits: &Limits) -> Result<ReferenceRequest, Box<BadRequest>> {
    todo!()
}

/// Writes its reply.
#[must_use]
pub fn write_reference_reply(_style: &ReplyStyle, _reply: &ReferenceReply, _clock: Lamport, _at: UnixMillis) -> Bytes {
    todo!()
}

/// A server's request, MessagePack: `{service, data: {user, timestamp, clock, ...}}`.
#[must_use]
pub fn write_reference_request(_call: &ReferenceCall, _clock: Lamport, _at: UnixMillis) -> Bytes {
    todo!()
}

/// The `rank` of a rank reply.
#[must_use]
pub fn read_rank(_reply: &Value) -> Option<u32> {
    todo!()
}
