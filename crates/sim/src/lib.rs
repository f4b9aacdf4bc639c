//! A deterministic world that runs papo's minds ([`papo_replica`], [`papo_exchange`]) from a seed, breaks everything around them,
//! and checks the invariants of docs/architecture.md, in the way of FoundationDB's simulation and TigerBeetle's VOPR.
//!
//! ```text
//! seed -> Plan (who, how long, which faults) -> World (queue of events, network, volumes, hosts, clients) -> Outcome
//!                                                  |
//!                                               Checker (invariants)          failing plan -> shrink -> trace
//! ```
//!
//! The hosts do what `node` does with sockets, threads and files. Nothing here may ask the machine for time or chance: a seed
//! replays event by event.

pub mod bug;
pub mod campaign;
pub mod checker;
pub mod clock;
pub mod hosts;
pub mod network;
pub mod node;
pub mod plan;
pub mod queue;
pub mod random;
pub mod record;
pub mod shared;
pub mod shrink;
pub mod trace;
pub mod volume;
pub mod world;

pub use bug::Bug;
pub use plan::Plan;
pub use world::{Outcome, World};
