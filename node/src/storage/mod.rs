//! A server's operations on disk: SQLite, WAL, `synchronous=FULL`, one writer thread.
//!
//! The writer takes one batch at a time and answers once it is fsynced; the replica collects what comes meanwhile into the next
//! batch, which is group commit. A full disk refuses a batch and is waited for; any other failure ends the process, and the next
//! start makes sure of what the disk holds (docs/adr/0005-what-a-failed-fsync-leaves-behind.md). This module must not know what
//! operations mean.

mod archive;
mod ceilings;
mod error;
mod failure;
mod reading;
mod schema;
mod securing;
#[cfg(test)]
mod tests;
mod writer;

pub use ceilings::Ceilings;
#[cfg(test)]
pub use error::StorageError;
pub use reading::Stored;
pub use writer::{Along, Opened, Outcome, Storage};
