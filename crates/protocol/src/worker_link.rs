//! The link between papo's broker (DEALER 5556) and papo's servers. Foreign REP workers never see it: they get
//! `[key, "", body]` and echo the envelope.
//!
//! Frames, both ways: `[version+kind, ...]`, the first frame two bytes: [`LINK_VERSION`] and a kind.

use crate::identity::RequestKey;
use crate::names::ServerName;
use bytes::Bytes;

/// First byte of every message of this link.
pub const LINK_VERSION: u8 = 1;
/// Largest session cookie, in bytes.
pub const COOKIE_BYTES_MAX: usize = 256;

/// READY property by which papo's own processes know each other; its value is the cluster token.
pub const TOKEN_PROPERTY: &str = "X-Papo-Token";
/// READY property that says which role speaks: `server`, `broker`, `proxy`.
pub const ROLE_PROPERTY: &str = "X-Papo-Role";

/// What a server wants remembered for one client connection; opaque to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cookie(Bytes);

impl Cookie {
    /// `None` over [`COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn new(bytes: Bytes) -> Option<Self> {
        (bytes.len() <= COOKIE_BYTES_MAX).then_some(Self(bytes))
    }

    /// The bytes; empty for a connection that has no session yet.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Broker to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// Serve this.
    Request {
        /// Same in every redispatch.
        key: RequestKey,
        /// Of the client's connection.
        cookie: Cookie,
        /// Every ready worker has said `elsewhere` for this key: serve it as things stand, and let the dot leave the cookie.
        last_resort: bool,
        /// The client's bytes.
        body: Bytes,
    },
}

/// Server to broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// First message on the link: papo's server, and how many requests it takes at once.
    Hello {
        /// Its name, for logs.
        name: ServerName,
        /// At most so many in flight.
        capacity: u32,
    },
    /// Sent every half second.
    Beat,
    /// The answer.
    Reply {
        /// Of the request.
        key: RequestKey,
        /// For the connection's next request.
        cookie: Cookie,
        /// For the client.
        body: Bytes,
    },
    /// Not here (full disk, draining, behind): nothing was appended; try another worker.
    Elsewhere {
        /// Of the request.
        key: RequestKey,
    },
    /// No new requests, please: those in flight are still answered.
    Leaving,
}

impl ToWorker {
    /// As frames.
    #[must_use]
    pub fn to_frames(&self) -> Vec<Bytes> {
        todo!()
    }

    /// `None` when the frames are none of ours.
    #[must_use]
    pub fn from_frames(_frames: &[Bytes]) -> Option<Self> {
        todo!()
    }
}

impl FromWorker {
    /// As frames.
    #[must_use]
    pub fn to_frames(&self) -> Vec<Bytes> {
        todo!()
    }

    /// `None` when the frames are none of ours.
    #[must_use]
    pub fn from_frames(_frames: &[Bytes]) -> Option<Self> {
        todo!()
    }
}
