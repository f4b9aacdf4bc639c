//! What can go wrong with a data folder.

use super::schema::NEWEST_READABLE;
use std::path::PathBuf;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The folder cannot be created or written.
    #[error("cannot use the data folder {}: choose a writable one with --data", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data folder {} is in use by another papo server: stop that one or choose another with --data", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A newer papo wrote the file.
    #[error("the database {} has schema version {found}, this papo reads up to {NEWEST_READABLE}: run a newer papo", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The folder belongs to another server or cluster.
    #[error("the data folder {} belongs to {found}, not to {expected}: choose another with --data", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        expected: String,
    },
    /// No database there.
    #[error("no papo database at {}: name a server's data folder", path.display())]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A row that no papo wrote, or one that is gone.
    #[error("the database does not hold operation {seq} of {origin} in a form that can be read")]
    Corrupt {
        /// Its origin.
        origin: String,
        /// Its number.
        seq: i64,
    },
    /// The disk does not take the write-ahead log again.
    #[error("cannot make sure that what {} holds is on disk: the disk fails, see docs/operations.md", path.display())]
    Log {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A server reads and writes it alone, see `Sharing`.
    #[error("the server of {} keeps its history to itself while its disk is full: make room, or ask another server", path.display())]
    Alone {
        /// Which file.
        path: PathBuf,
    },
    /// SQLite failed.
    #[error("the database failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer thread could not start.
    #[error("cannot start the storage thread")]
    Thread(#[source] std::io::Error),
}
