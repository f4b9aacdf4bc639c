//! ZMTP 3.0 and 3.1 (RFC 23, 37) with the NULL mechanism: a sans-IO codec and endpoints that listen and connect.
//!
//! An [`Endpoint`] is a set of links of one socket type, accepted or connected. It hands up events (a peer is up, said something,
//! subscribed, is gone) and takes messages for one peer at a time; ROUTER's, XPUB's or PUB's behaviour is the caller's, who knows
//! what a frame means. Everything a peer can feed is bounded by [`Limits`]: a link that breaks a bound is closed and the cause
//! is named in [`Event::Down`].
//!
//! Bytes pass through [`codec`] and [`command`]; [`handshake`] opens a link; one task a link then reads and writes.
//! This crate must not know papo's messages, roles or settings.

pub mod codec;
pub mod command;
mod connect;
mod connection;
pub mod endpoint;
pub mod event;
pub mod handshake;
mod heartbeat;
mod inbox;
pub mod limits;
mod listen;
mod outlet;
pub mod queue;
mod reader;
mod registry;
mod subscriptions;

pub use codec::Encoded;
pub use endpoint::{Endpoint, EndpointHandle, EndpointSettings};
pub use event::{DownCause, Event, LinkId, PeerId, PeerInfo};
pub use handshake::SocketType;
pub use limits::Limits;
pub use queue::{OnFull, Posted, SendError, SendOutcome};
