//! What travels: the envelope of the exercise, its services, topics, publications, Lamport clocks and identities, and the frames
//! of papo's own links.
//!
//! Reading is lenient (every dialect listed in `docs/wire.md`), writing is a superset in the request's own encoding and
//! timestamp type. Bytes from a peer can only give an error, never a panic or memory past a limit.
//!
//! This crate must not know a socket, a clock, a disk, a thread or a source of randomness: everything enters as an argument.

pub mod client;
pub mod codec;
mod envelope;
pub mod epoch;
pub mod identity;
pub mod lamport;
pub mod names;
pub mod publication;
pub mod reference;
pub mod reply;
pub mod request;
mod superset;
pub mod time;
pub mod value;
pub mod worker_link;

pub use codec::{Encoding, Limits};
pub use epoch::Epoch;
pub use identity::{Boot, Dot, Identity, RequestKey};
pub use lamport::{Lamport, LamportClock};
pub use names::{ChannelName, NameError, ServerName, UserName};
pub use value::Value;
