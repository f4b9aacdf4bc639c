//! A client's request, read leniently (wire.md sections 1, 3 and 4): either encoding, keys in any case, the aliases of every field.

use crate::codec::{Encoding, Limits};
use crate::lamport::Lamport;
use crate::names::{ChannelName, UserName};
use crate::reply::Refusal;
use crate::time::{SentTimestamp, TimestampStyle};
use bytes::Bytes;

/// How the reply must look so that this client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyStyle {
    /// The request's encoding.
    pub encoding: Encoding,
    /// The request's timestamp type.
    pub timestamp: TimestampStyle,
    /// The service as the client named it, echoed (cut to 128 bytes).
    pub service: String,
}

/// A request whose envelope and fields were understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// How to answer.
    pub style: ReplyStyle,
    /// The sender's Lamport value: the largest of the places where dialects put it; 0 where absent, no number, or absurd.
    pub clock: Lamport,
    /// Whether a clock over 2^53 was ignored (counted by the server).
    pub absurd_clock: bool,
    /// The sender's timestamp.
    pub timestamp: Option<SentTimestamp>,
    /// `papo_id`: 16 bytes or UUID text; anything else is ignored.
    pub client_id: Option<[u8; 16]>,
    /// What is asked.
    pub call: Call,
}

/// What is asked. Services with several names have one variant and a shape for the reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `login`.
    Login {
        /// Who.
        user: UserName,
    },
    /// `users`, `register_user` is [`Call::Login`].
    Users,
    /// `channel`.
    CreateChannel {
        /// Which.
        channel: ChannelName,
    },
    /// `channels`, `list_channels`.
    Channels,
    /// `publish`.
    Publish {
        /// The author; absent in S0's dialect, where the session knows it.
        user: Option<UserName>,
        /// Where to.
        channel: ChannelName,
        /// What.
        message: String,
    },
    /// `message`: a direct message.
    Message {
        /// The author; absent in S0's dialect.
        src: Option<UserName>,
        /// Whom to.
        dst: UserName,
        /// What.
        message: String,
    },
    /// `subscribe` (row C11): answered; the subscription itself is the SUB socket's.
    Subscribe {
        /// The topic named.
        topic: String,
    },
    /// `unsubscribe` (row C11).
    Unsubscribe {
        /// The topic named.
        topic: String,
    },
    /// `heartbeat` of a client (row C12): a reply, no presence.
    Heartbeat,
    /// `history`, `history_channel`, `history_messages`, `get_publications`, `get_messages`.
    History {
        /// Of what.
        scope: HistoryScope,
        /// Which reply is expected.
        shape: HistoryShape,
        /// `papo_cursor`, opaque; read from part 4 on.
        cursor: Option<Bytes>,
        /// At most so many of the newest; `None` = as many as fit.
        limit: Option<usize>,
    },
    /// `sync` (row H08): everything, in the exercise's shape.
    Sync {
        /// Unix seconds; only newer entries are wanted. 0 = all.
        last_sync: i64,
    },
    /// `ping` → `{pong: "OK"}`.
    Ping,
    /// `clock` → `{time}`.
    Clock,
    /// `election` → `{election: "OK"}`; changes nothing.
    Election,
    /// `adjust`, `adjust_clock` of foreign servers: answered, changes nothing.
    Adjust,
}

/// Of what a history is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryScope {
    /// A channel's publications.
    Channel(ChannelName),
    /// The direct messages from or to a user.
    User(UserName),
}

/// The reply that a history service promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryShape {
    /// `history`: `{messages: [...], papo_cursor, more}`.
    Papo,
    /// `history_channel`, `get_publications`: `{publications: [...]}`.
    Publications,
    /// `history_messages`, `get_messages`: `{messages: [...]}`.
    Messages,
}

/// A request that cannot be served, with all that is needed to say so in the client's own dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRequest {
    /// How to answer.
    pub style: ReplyStyle,
    /// The sender's Lamport value, where it could be read.
    pub clock: Lamport,
    /// Why.
    pub refusal: Refusal,
}

/// Reads one request.
///
/// # Errors
/// [`BadRequest`]: malformed bytes, a missing or wrong field, a bad name, an unknown or internal service.
pub fn read_request(_bytes: &[u8], _limits: &Limits) -> Result<Request, Box<BadRequest>> {
    todo!()
}
