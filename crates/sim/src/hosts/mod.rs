//! The bodies around the minds: each does what `node` does with sockets, threads and files, in virtual time.

pub mod asking;
pub mod broker;
pub mod client;
pub mod proxy;
pub mod publisher;
pub mod receipt;
pub mod reference;
pub mod server;
pub mod subscriber;
pub mod walk;

/// Bounds of what clients ask.
pub(crate) const LIMITS: papo_protocol::Limits =
    papo_protocol::Limits { bytes: 64 << 10, depth: 16, values: 10_000 };
/// Bounds of what they read.
pub(crate) const REPLY_LIMITS: papo_protocol::Limits = papo_protocol::Limits::REPLY;
