//! The mind of one server: the operations it holds, what they amount to, how requests are served, and how servers replicate by
//! pulling from and pushing to each other (design, sections 4 "Server", "History", "Identity and idempotence").
//!
//! ```text
//! Input --> Replica::handle --> Effects        request --> validate --> Push, Store --> Stored
//!              |                               peer    --> Pull / Ops / Push --^
//!              |                               Stored, and Have of peers --> durable on enough disks --> shown --> Publish, Reply
//!              +-- History (operations held; those shown) --> State (users, channels, messages) --> exports
//! ```
//!
//! A [`Replica`] takes an [`Input`] and yields [`Effect`]s, which its host executes in order. This crate must not know a socket,
//! a clock, a disk, a thread or a source of randomness: time enters as [`Now`], the boot as a setting, the disk as inputs.

mod archive;
mod constants;
mod coordination;
mod cursor;
pub mod export;
mod heading;
pub mod history;
mod membership;
mod notice;
pub mod op;
mod peer;
mod planted;
pub mod replica;
mod session;
pub mod state;
pub mod timekeeping;
pub mod vector;

pub use archive::{Archive, MemoryArchive};
pub use constants::PEER_MESSAGE_BYTES_MAX;
pub use coordination::{ElectionOrder, ElectionSettings, Leadership, Role};
pub use heading::{About, Heading};
pub use history::{History, HoldError, Restoring};
pub use membership::{Membership, Standing};
pub use notice::{ElectionOutcome, Notice};
pub use op::{Op, OpKind};
#[cfg(feature = "planted-bugs")]
pub use planted::Planted;
pub use replica::{
    Counters, Durability, Effect, Input, LoginPolicy, Now, OpenError, Origin, PeerLink, PeerStatus, Replica,
    ReplicaSettings, RequestId, Stored,
};
pub use state::State;
pub use timekeeping::{ClockSync, KeptClock, Moment, Offset, RoundOutcome, RoundReport};
pub use vector::{VersionVector, Writer};
