//! The NULL handshake (RFC 23, 27), sans-IO: greeting, READY, and which socket types may talk to which (RFC 28, 29).
//!
//! Bytes go in by [`Handshake::on_bytes`], what to send comes out of it; the caller keeps time. What the peer sent behind its
//! READY stays in the buffer. This module must not know sockets or clocks.

use crate::{
    codec::{self, DecodeError, Decoder, Item},
    command::Command,
    limits::Limits,
};
use bytes::{Bytes, BytesMut};

const SOCKET_TYPE: &str = "Socket-Type";
/// Property names are compared without case (RFC 23).
const SOCKET_TYPE_LOWER: &str = "socket-type";

/// The socket types that travel in READY (RFC 28, 29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// Asks, and waits for each answer.
    Req,
    /// Answers in turn.
    Rep,
    /// Asks without waiting.
    Dealer,
    /// Answers by address.
    Router,
    /// Publishes.
    Pub,
    /// Subscribes.
    Sub,
    /// Publishes, and sees the subscriptions.
    Xpub,
    /// Subscribes by messages.
    Xsub,
    /// Talks to one other.
    Pair,
}

impl SocketType {
    const ALL: [Self; 9] = [
        Self::Req,
        Self::Rep,
        Self::Dealer,
        Self::Router,
        Self::Pub,
        Self::Sub,
        Self::Xpub,
        Self::Xsub,
        Self::Pair,
    ];

    /// The name in READY.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Req => "REQ",
            Self::Rep => "REP",
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::Xpub => "XPUB",
            Self::Xsub => "XSUB",
            Self::Pair => "PAIR",
        }
    }

    /// The type of this name in READY.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|socket| socket.name().as_bytes() == name)
    }

    /// Whether a socket of this type may talk to one of the `other` (RFC 28, 29).
    #[must_use]
    pub fn may_talk_to(self, other: Self) -> bool {
        match self {
            Self::Req => matches!(other, Self::Rep | Self::Router),
            Self::Rep => matches!(other, Self::Req | Self::Dealer),
            Self::Dealer => matches!(other, Self::Rep | Self::Dealer | Self::Router),
            Self::Router => matches!(other, Self::Req | Self::Dealer | Self::Router),
            Self::Pub | Self::Xpub => matches!(other, Self::Sub | Self::Xsub),
            Self::Sub | Self::Xsub => matches!(other, Self::Pub | Self::Xpub),
            Self::Pair => matches!(other, Self::Pair),
        }
    }

    /// Whether peers subscribe at a socket of this type.
    #[must_use]
    pub fn takes_subscriptions(self) -> bool {
        matches!(self, Self::Pub | Self::Xpub)
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes are not those of a ZMTP 3.x peer with NULL, or break a bound.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The peer sent a message or another command before READY.
    #[error("something else than READY came first")]
    NotReady,
    /// The peer sent ERROR.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// READY names no socket type, or one unknown.
    #[error("READY without a known Socket-Type")]
    NoSocketType,
    /// RFC 28, 29.
    #[error("{} may not talk to {}", ours.name(), theirs.name())]
    Mismatch {
        /// Our type.
        ours: SocketType,
        /// The peer's.
        theirs: SocketType,
    },
}

/// What a finished handshake said about the peer.
#[derive(Debug)]
pub struct Ready {
    /// Of the peer.
    pub socket: SocketType,
    /// The peer's minor version, 0 or 1 or later.
    pub minor: u8,
    /// READY properties other than Socket-Type, names in lower case.
    pub properties: Vec<(String, Bytes)>,
}

/// What to do after bytes came in.
#[derive(Debug)]
pub enum Step {
    /// More bytes are needed.
    Wait,
    /// Send these, then offer the buffer again.
    Send(Bytes),
    /// Done. What is left in the buffer is traffic, for a new [`Decoder`].
    Done(Ready),
}

/// One end's handshake. Send [`codec::encode_greeting`] first.
#[derive(Debug)]
pub struct Handshake {
    socket: SocketType,
    ready: Bytes,
    minor: Option<u8>,
    decoder: Decoder,
}

impl Handshake {
    /// A handshake for a socket of this type that says these properties beside Socket-Type.
    #[must_use]
    pub fn new(socket: SocketType, properties: &[(String, Bytes)], limits: &Limits) -> Self {
        let mut said = vec![(SOCKET_TYPE.to_owned(), Bytes::from_static(socket.name().as_bytes()))];
        // libzmq says it for these three, empty unless set; some peers look for it.
        if matches!(socket, SocketType::Req | SocketType::Dealer | SocketType::Router) {
            said.push(("Identity".to_owned(), Bytes::new()));
        }
        said.extend(properties.iter().cloned());
        Self {
            socket,
            ready: Command::Ready { properties: said }.encode(),
            minor: None,
            decoder: Decoder::new(limits.clone()),
        }
    }

    /// Takes what has arrived off the front of `buffer`.
    ///
    /// No ERROR command goes to a peer that is refused: libzmq would take it as final and never connect again, though the
    /// next try may reach the right endpoint.
    ///
    /// # Errors
    /// [`HandshakeError`]; close the connection.
    pub fn on_bytes(&mut self, buffer: &mut BytesMut) -> Result<Step, HandshakeError> {
        let Some(minor) = self.minor else {
            let Some(greeting) = codec::decode_greeting(buffer)? else { return Ok(Step::Wait) };
            self.minor = Some(greeting.minor);
            return Ok(Step::Send(self.ready.clone()));
        };
        match self.decoder.next_item(buffer)? {
            None => Ok(Step::Wait),
            Some(Item::Command(Command::Ready { properties })) => {
                self.accept(minor, properties).map(Step::Done)
            }
            Some(Item::Command(Command::Error { reason })) => Err(HandshakeError::Refused(reason)),
            Some(Item::Command(_) | Item::Message(_)) => Err(HandshakeError::NotReady),
        }
    }

    fn accept(&self, minor: u8, properties: Vec<(String, Bytes)>) -> Result<Ready, HandshakeError> {
        let mut properties: Vec<_> =
            properties.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let theirs = properties
            .iter()
            .find(|(name, _)| name == SOCKET_TYPE_LOWER)
            .and_then(|(_, value)| SocketType::from_name(value))
            .ok_or(HandshakeError::NoSocketType)?;
        if !self.socket.may_talk_to(theirs) {
            return Err(HandshakeError::Mismatch { ours: self.socket, theirs });
        }
        properties.retain(|(name, _)| name != SOCKET_TYPE_LOWER);
        Ok(Ready { socket: theirs, minor, properties })
    }
}
