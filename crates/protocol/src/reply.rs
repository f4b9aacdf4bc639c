//! A server's reply, written as the superset that every known client reads (wire.md section 4), in the request's encoding.

use crate::identity::{Dot, Identity};
use crate::lamport::Lamport;
use crate::names::{ChannelName, UserName};
use crate::request::HistoryShape;
use crate::time::{SentTimestamp, UnixMillis};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Largest reply, in bytes: longer lists are cut to the newest that fit, and say `truncated`.
pub const REPLY_BYTES_MAX: usize = 4 << 20;

/// The stable codes of `erro` replies (wire.md section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not readable, or a field is missing or wrong.
    BadRequest,
    /// Over a limit of size.
    TooLarge,
    /// No such service here.
    UnknownService,
    /// No such user.
    UnknownUser,
    /// No such channel.
    UnknownChannel,
    /// The name is taken: by a user (for a channel), a channel (for a user), or by the same under `loginPolicy: unique`.
    NameTaken,
    /// A reserved topic as name.
    ReservedName,
    /// A user has the channel's name: readable, not writable.
    FrozenChannel,
    /// Outcome not known: repeat with the same id.
    Unknown,
    /// No server could take the request in time.
    NoServer,
    /// The cursor is ahead of what this server shows.
    CursorAhead,
    /// Not a cursor for this scope and cluster.
    CursorInvalid,
}

impl Code {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::UnknownService => "unknown_service",
            Self::UnknownUser => "unknown_user",
            Self::UnknownChannel => "unknown_channel",
            Self::NameTaken => "name_taken",
            Self::ReservedName => "reserved_name",
            Self::FrozenChannel => "frozen_channel",
            Self::Unknown => "unknown",
            Self::NoServer => "no_server",
            Self::CursorAhead => "cursor_ahead",
            Self::CursorInvalid => "cursor_invalid",
        }
    }
}

/// An `erro`: a code for programs, a text for people. One client takes any reply with `OK` or `sucesso` in its bytes for a
/// success, so [`write_reply`] lets neither through, whoever put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: names the thing and the remedy.
    pub text: String,
    /// Whether the same request may be repeated with hope.
    pub retry: bool,
}

/// Where an operation stands in the total order; `position` on the wire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// First criterion.
    pub lamport: Lamport,
    /// The rest: origin, boot, seq.
    pub dot: Dot,
}

/// What a write's reply says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// Readers dedupe by it.
    pub message_id: Identity,
    /// Its place in the order.
    pub position: Position,
    /// How many disks hold it, as far as known.
    pub durable: Durable,
}

/// `durable: {fsynced, of}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// Disks that hold it.
    pub fsynced: u32,
    /// Members.
    pub of: u32,
}

/// One message of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its author.
    pub user: UserName,
    /// Where it went.
    pub target: Target,
    /// Its text.
    pub message: String,
    /// The author's own timestamp.
    pub sent: Option<SentTimestamp>,
    /// When the server took it.
    pub at: UnixMillis,
    /// Its identity.
    pub message_id: Identity,
    /// Its place in the order.
    pub position: Position,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a channel.
    Channel(ChannelName),
    /// To one user.
    User(UserName),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `login`, `channel`: `status: "sucesso"` and the receipt. `subscribe`, `unsubscribe`: without a receipt.
    Success(Option<Receipt>),
    /// `publish`, `message`: `status: "OK"`.
    Posted(Receipt),
    /// `heartbeat`: `status: "ok"`.
    Alive,
    /// `users`: under `users` and `lista`.
    Users(Vec<UserName>),
    /// `channels`: under `channels`, `users` and `lista`.
    Channels(Vec<ChannelName>),
    /// A history in the shape asked for. Oldest first.
    History {
        /// Which keys.
        shape: HistoryShape,
        /// Oldest first; cut to the newest that fit [`REPLY_BYTES_MAX`].
        entries: Vec<HistoryEntry>,
        /// Whether some were left out already; said too when the writer leaves some out.
        truncated: bool,
        /// `papo_cursor`.
        cursor: Option<Bytes>,
        /// `more`: whether asking on from the cursor gives more at once.
        more: bool,
    },
    /// `sync` (row H08).
    Sync {
        /// `logins: [{username, timestamp}]`.
        logins: Vec<(UserName, UnixMillis)>,
        /// `channels: [name]`.
        channels: Vec<ChannelName>,
        /// `channel_messages: [{user, channel, message, timestamp}]` and `user_messages: [{src, dst, message, timestamp}]`, by target.
        messages: Vec<HistoryEntry>,
        /// As in a history.
        truncated: bool,
    },
    /// `ping`: `pong: "OK"`.
    Pong,
    /// `clock`: `time`, in the request's timestamp style.
    Time,
    /// `election`: `election: "OK"`.
    ElectionOk,
    /// `adjust`: `status: "OK"`.
    Adjusted,
    /// `erro`.
    Refused(Refusal),
}

/// `compat` of the ChatCluster, as far as replies depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compat {
    /// `compat.publishOk: sucesso`: `publish` and `message` say `sucesso` for `OK`.
    pub publish_says_sucesso: bool,
}

mod refusal;
mod write;

pub use refusal::write_refusal_for;
pub use write::{history_entry_bytes, write_reply};
pub(crate) use write::{message_fields, message_timestamp};

#[cfg(test)]
mod tests;
