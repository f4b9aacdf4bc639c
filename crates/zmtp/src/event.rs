//! What an endpoint tells its owner: peers, their messages, and why links ended.
//!
//! For each peer: one [`Event::Up`], its messages and subscriptions in the order sent, one [`Event::Down`].

use crate::{codec::DecodeError, handshake::HandshakeError, handshake::SocketType};
use bytes::Bytes;
use std::{io, net::SocketAddr};

/// One connection, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// One target that this endpoint connects to, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What the handshake said.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The peer's socket type; always one that ours may talk to.
    pub socket: SocketType,
    /// The ZMTP 3 minor version that the peer greeted: 0 knows no PING and no SUBSCRIBE command.
    pub minor_version: u8,
    /// Where the peer is.
    pub address: SocketAddr,
    /// Our end of the connection: tells by which of several listening addresses the peer came. `None` when it is gone already.
    pub local: Option<SocketAddr>,
    /// `Some` when this endpoint connected.
    pub link: Option<LinkId>,
    /// READY properties other than Socket-Type, names in lower case.
    pub properties: Vec<(String, Bytes)>,
}

impl PeerInfo {
    /// A READY property, by name in any case.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Bytes> {
        self.properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What happens on the links, in order for each peer.
#[derive(Debug)]
pub enum Event {
    /// The handshake is done; messages may be sent.
    Up {
        /// Who.
        peer: PeerId,
        /// What it said of itself.
        info: PeerInfo,
    },
    /// A whole message. On PUB endpoints never, on XPUB endpoints only what is no subscription.
    Message {
        /// From whom.
        peer: PeerId,
        /// At least one.
        frames: Vec<Bytes>,
    },
    /// From SUB and XSUB peers, as command or message, on PUB and XPUB endpoints. Not repeated for a topic that this peer
    /// is subscribed to already.
    Subscribe {
        /// Who.
        peer: PeerId,
        /// At most [`crate::Limits::topic_bytes`].
        topic: Bytes,
    },
    /// The end of a subscription that [`Event::Subscribe`] told of.
    Cancel {
        /// Who.
        peer: PeerId,
        /// As it was subscribed.
        topic: Bytes,
    },
    /// The link is gone, its socket closed; the last event of this peer.
    Down {
        /// Who.
        peer: PeerId,
        /// Why.
        cause: DownCause,
    },
    /// A handshake or connect that failed before Up (for metrics and logs; lost when the owner has no room for events).
    Failed {
        /// `Some` when this endpoint was connecting.
        link: Option<LinkId>,
        /// Why.
        cause: DownCause,
    },
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownCause {
    /// An orderly end of its stream.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// By a call of the owner's.
    #[error("closed here")]
    ClosedHere,
    /// The system's word, for the log.
    #[error("{0}")]
    Io(String),
    /// The peer does not keep to ZMTP 3.x with NULL, or is of the wrong type.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// One of [`crate::Limits`].
    #[error("a limit was exceeded: {0}")]
    Limit(String),
    /// [`crate::Limits::handshake`] passed.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// [`crate::Limits::heartbeat_timeout`] passed.
    #[error("no heartbeat in time")]
    HeartbeatTimeout,
}

impl From<io::Error> for DownCause {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<DecodeError> for DownCause {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { .. } => Self::Limit(error.to_string()),
            DecodeError::BadSignature
            | DecodeError::OldVersion(_)
            | DecodeError::BadMechanism(_)
            | DecodeError::BadFlags(_)
            | DecodeError::BadCommand(_) => Self::Protocol(error.to_string()),
        }
    }
}

impl From<HandshakeError> for DownCause {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Decode(decode) => decode.into(),
            HandshakeError::NotReady
            | HandshakeError::Refused(_)
            | HandshakeError::NoSocketType
            | HandshakeError::Mismatch { .. } => Self::Protocol(error.to_string()),
        }
    }
}
