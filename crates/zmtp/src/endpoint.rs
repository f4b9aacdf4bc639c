//! (skeleton of the public interface)
use bytes::Bytes;
use std::{io, net::SocketAddr, time::Duration};

/// The socket types that travel in READY (RFC 28, 29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SocketType { Req, Rep, Dealer, Router, Pub, Sub, Xpub, Xsub, Pair }

/// What happens when a peer's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// `send` says [`SendError::Full`].
    Refuse,
    /// The oldest queued message goes, counted in [`SendOutcome`].
    DropOldest,
}

/// Bounds; every one a setting with a sane default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub frame_bytes: usize,
    pub message_bytes: usize,
    pub parts: usize,
    pub handshake: Duration,
    pub connections: usize,
    pub connections_per_address: usize,
    pub queue_bytes_per_peer: usize,
    pub queue_messages_per_peer: usize,
    pub topic_bytes: usize,
}

/// How an endpoint presents itself and behaves.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct EndpointSettings {
    pub socket: SocketType,
    pub limits: Limits,
    pub on_full: OnFull,
    /// Extra READY properties, such as `X-Papo-Token`.
    pub properties: Vec<(String, Bytes)>,
    /// Events that may wait for the owner before links stop being read.
    pub event_capacity: usize,
}

/// One connection, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// One target that this endpoint connects to, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What the handshake said.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct PeerInfo {
    pub socket: SocketType,
    pub minor_version: u8,
    pub address: SocketAddr,
    /// `Some` when this endpoint connected.
    pub link: Option<LinkId>,
    /// READY properties other than Socket-Type, names in lower case.
    pub properties: Vec<(String, Bytes)>,
}

impl PeerInfo {
    /// A READY property, by name in any case.
    #[must_use]
    pub fn property(&self, _name: &str) -> Option<&Bytes> { todo!() }
}

/// What happens on the links, in order for each peer.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Event {
    Up { peer: PeerId, info: PeerInfo },
    Message { peer: PeerId, frames: Vec<Bytes> },
    /// From SUB and XSUB peers, as command or message, on PUB and XPUB endpoints.
    Subscribe { peer: PeerId, topic: Bytes },
    Cancel { peer: PeerId, topic: Bytes },
    Down { peer: PeerId, cause: DownCause },
    /// A handshake or connect that failed before Up (for metrics and logs).
    Failed { link: Option<LinkId>, cause: DownCause },
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DownCause {
    #[error("the peer closed the connection")]
    PeerClosed,
    #[error("closed here")]
    ClosedHere,
    #[error("{0}")]
    Io(String),
    #[error("protocol error: {0}")]
    Protocol(String),
    #[error("a limit was exceeded: {0}")]
    Limit(String),
    #[error("no handshake in time")]
    HandshakeTimeout,
    #[error("no heartbeat in time")]
    HeartbeatTimeout,
}

/// A message in wire form, encoded once for all its receivers; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Encoded(#[allow(dead_code)] Bytes);

impl Encoded {
    /// Encodes the frames of one message.
    #[must_use]
    pub fn new(_frames: &[Bytes]) -> Self { todo!() }
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SendError {
    #[error("the peer is gone")]
    Gone,
    #[error("the peer's queue is full")]
    Full,
}

/// What queueing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendOutcome {
    /// Older messages dropped to make room ([`OnFull::DropOldest`]).
    pub dropped: usize,
}

/// The receiving half: one owner.
#[derive(Debug)]
pub struct Endpoint {}

/// The commanding half: cheap to clone.
#[derive(Debug, Clone)]
pub struct EndpointHandle {}

impl Endpoint {
    /// An endpoint without links. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(_settings: EndpointSettings) -> (Self, EndpointHandle) { todo!() }

    /// The next event; `None` after [`EndpointHandle::shutdown`] when every link is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> { todo!() }
}

impl EndpointHandle {
    /// Listens on `address` (port 0 = any) and says which it got.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn bind(&self, _address: SocketAddr) -> io::Result<SocketAddr> { todo!() }

    /// Connects to `host:port`, resolving the name anew at each try, with backoff and jitter, until [`Self::disconnect`].
    pub fn connect(&self, _target: &str) -> LinkId { todo!() }

    /// Ends a link that [`Self::connect`] began.
    pub fn disconnect(&self, _link: LinkId) { todo!() }

    /// Queues a message for one peer, without waiting.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, _peer: PeerId, _message: Encoded) -> Result<SendOutcome, SendError> { todo!() }

    /// Subscribes at a peer (XSUB and SUB endpoints; `""` = everything): as a command to peers that greeted 3.1, as a message to others.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn subscribe(&self, _peer: PeerId, _topic: &[u8]) -> Result<(), SendError> { todo!() }

    /// Withdraws [`Self::subscribe`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn cancel(&self, _peer: PeerId, _topic: &[u8]) -> Result<(), SendError> { todo!() }

    /// Closes one link at once; what is queued is lost.
    pub fn close(&self, _peer: PeerId) { todo!() }

    /// Closes one link once what is queued has gone to the kernel (at most a second later).
    pub fn close_after_flush(&self, _peer: PeerId) { todo!() }

    /// Bytes queued for one peer; 0 when all went to the kernel, or the peer is gone.
    #[must_use]
    pub fn queued_bytes(&self, _peer: PeerId) -> usize { todo!() }

    /// Stops listening (existing links live on).
    pub fn stop_listening(&self) { todo!() }

    /// Closes everything after flushing (at most a second); [`Endpoint::next`] then ends.
    pub fn shutdown(&self) { todo!() }
}
