//! The minds of broker, proxy and reference service, sans-IO: [`dispatch`] brings every request to a server and every reply to its
//! client, [`routing`] brings every publication to whom it may concern, [`registry`] knows which servers there are and who leads.
//!
//! A message passes through as an input, and what is to be done about it comes back as effects; the node's roles carry them out.
//! This crate must not know a socket, a clock, a disk, a thread or a source of randomness: time enters as [`Now`]. The same
//! inputs at the same times give the same effects, so that a simulator can drive it from a seed.

pub mod constants;
mod counters;
pub mod dispatch;
mod lived_time;
pub mod registry;
pub mod routing;

pub use dispatch::{
    ConnectionId, Dispatch, DispatchCounters, DispatchEffect, DispatchInput, DispatchSettings,
};
pub use registry::{Answer, Asker, Registry, RegistryCounters, RegistrySettings, Stored, Tenure};
pub use routing::{
    Delivery, Receivers, Routing, RoutingCounters, RoutingInput, RoutingSettings, SubscriberId,
};

pub use papo_protocol::time::Now;
