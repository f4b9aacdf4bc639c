//! ZMTP 3.0 and 3.1 (RFC 23, 37) with the NULL mechanism: a sans-IO codec and endpoints that listen and connect.
//!
//! An [`Endpoint`] is a set of links of one socket type, accepted or connected. It hands up events (a peer is up, said something,
//! subscribed, is gone) and takes messages for one peer at a time; ROUTER's, XPUB's or PUB's behaviour is the caller's, who knows
//! what a frame means. Everything a peer can feed is bounded by [`Limits`]: a link that breaks a bound is closed and the cause
//! is named in [`Event::Down`].
//!
//! This crate must not know papo's messages, roles or settings.

pub mod endpoint;

pub use endpoint::{
    Encoded, Endpoint, EndpointHandle, EndpointSettings, Event, DownCause, Limits, LinkId, OnFull, PeerId, PeerInfo, SendError,
    SocketType,
};
