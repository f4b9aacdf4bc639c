//! One operation: what was written, by which server, when, and under which identity. Operations are never changed, only added.
//!
//! The total order is (lamport, origin, boot, seq): it respects causality (invariant 6) and is the same on every server.

use papo_protocol::lamport::Lamport;
use papo_protocol::reply::{HistoryEntry, Position, Target};
use papo_protocol::time::{SentTimestamp, UnixMillis};
use papo_protocol::{Boot, ChannelName, Dot, Identity, RequestKey, ServerName, UserName};
use serde::{Deserialize, Serialize};

/// An operation of the grow-only set that servers replicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// Where it was first written.
    pub dot: Dot,
    /// The origin's Lamport value when it was appended: above everything that server held.
    pub lamport: Lamport,
    /// By which everybody dedupes.
    pub identity: Identity,
    /// When the origin took it, by its clock.
    pub at: UnixMillis,
    /// What it does.
    pub kind: OpKind,
}

/// What an operation does. Variants are stored and sent by name, so they may be added but not renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OpKind {
    /// A login; the first of a user registers it (row I02 keeps them all).
    Login {
        /// Who.
        user: UserName,
    },
    /// A channel was created.
    CreateChannel {
        /// Which.
        channel: ChannelName,
    },
    /// A post to a channel.
    Publish {
        /// Its author.
        user: UserName,
        /// Where to.
        channel: ChannelName,
        /// Its text.
        message: String,
        /// The author's own timestamp.
        sent: Option<SentTimestamp>,
    },
    /// A direct message.
    Message {
        /// Its author.
        src: UserName,
        /// Whom to.
        dst: UserName,
        /// Its text.
        message: String,
        /// The author's own timestamp.
        sent: Option<SentTimestamp>,
    },
}

impl Op {
    /// Its place in the total order, as replies say it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { lamport: self.lamport, dot: self.dot.clone() }
    }

    /// Its place in the total order, by reference.
    #[must_use]
    pub fn order_key(&self) -> (Lamport, &ServerName, Boot, u64) {
        (self.lamport, &self.dot.origin, self.dot.boot, self.dot.seq)
    }

    /// As an entry of a history; `None` for operations that are no message.
    #[must_use]
    pub fn to_history_entry(&self) -> Option<HistoryEntry> {
        let (user, target, message, sent) = match &self.kind {
            OpKind::Login { .. } | OpKind::CreateChannel { .. } => return None,
            OpKind::Publish { user, channel, message, sent } => {
                (user, Target::Channel(channel.clone()), message, sent)
            }
            OpKind::Message { src, dst, message, sent } => (src, Target::User(dst.clone()), message, sent),
        };
        Some(HistoryEntry {
            user: user.clone(),
            target,
            message: message.clone(),
            sent: sent.clone(),
            at: self.at,
            message_id: self.identity,
            position: self.position(),
        })
    }

    /// About how many bytes of text it holds: for bounds.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        match &self.kind {
            OpKind::Login { user } => user.as_str().len(),
            OpKind::CreateChannel { channel } => channel.as_str().len(),
            OpKind::Publish { user, channel, message, .. } => {
                user.as_str().len() + channel.as_str().len() + message.len()
            }
            OpKind::Message { src, dst, message, .. } => {
                src.as_str().len() + dst.as_str().len() + message.len()
            }
        }
    }
}

impl OpKind {
    /// The identity of this write: by its content and the client's id, or by the request's key where the client gave none.
    #[must_use]
    pub fn identity(&self, client_id: Option<&[u8; 16]>, key: RequestKey) -> Identity {
        let Some(id) = client_id else {
            return Identity::of_key(key);
        };
        match self {
            Self::Login { user } => Identity::of_content("login", user.as_str(), "", b"", id),
            // Who creates a channel is no part of the request, and a retry may come through a connection without a session.
            Self::CreateChannel { channel } => Identity::of_content("channel", "", channel.as_str(), b"", id),
            Self::Publish { user, channel, message, .. } => {
                Identity::of_content("publish", user.as_str(), channel.as_str(), message.as_bytes(), id)
            }
            Self::Message { src, dst, message, .. } => {
                Identity::of_content("message", src.as_str(), dst.as_str(), message.as_bytes(), id)
            }
        }
    }
}
