//! A server's operations on disk: SQLite, WAL, `synchronous=FULL`, one writer thread.
//!
//! The writer takes one batch at a time and answers once it is fsynced; the replica collects what comes meanwhile into the next
//! batch, which is group commit. An fsync error ends the process: what the kernel dropped cannot be asked for again (Rebello et
//! al., "Can Applications Recover from fsync Failures?", ATC 2020). This module must not know what operations mean.

mod error;
mod reading;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

#[cfg(test)]
pub use error::StorageError;
pub use reading::Stored;
pub use writer::{Opened, Outcome, Storage};
