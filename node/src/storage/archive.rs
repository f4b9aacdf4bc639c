//! Operations that are read again by a running server: through a connection of its own, so that no reader waits for an fsync.

use super::error::StorageError;
use super::failure::{is_full, stop_at};
use super::reading::{held, read_row};
use super::schema::open_for_reading;
use papo_protocol::identity::Dot;
use papo_replica::{Archive, Op, Writer};
use rusqlite::{Connection, params};
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Reads what the writer has stored. It ends the process when it cannot, as the writer does.
pub struct Reader {
    folder: PathBuf,
    /// The writer's connection, the only one while the server has its file to itself.
    writers: Arc<Mutex<Connection>>,
    /// Whether others may read beside the writer.
    is_shared: Arc<AtomicBool>,
    own: Mutex<Option<Connection>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(folder: PathBuf, writers: Arc<Mutex<Connection>>, is_shared: Arc<AtomicBool>) -> Self {
        Self { folder, writers, is_shared, own: Mutex::new(None) }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StorageError>) -> T {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_none() && self.is_shared.load(Ordering::Acquire) {
            *own = match open_for_reading(&self.folder) {
                Ok(connection) => Some(connection),
                Err(StorageError::Sqlite(error)) if is_full(&error, &self.folder) => None,
                Err(error) => stop_at(&error),
            };
        }
        let result = match &*own {
            Some(own) => read(own),
            None => read(&held(&self.writers)),
        };
        result.unwrap_or_else(|error| stop_at(&error))
    }
}

impl Archive for Reader {
    fn read(&self, dot: &Dot) -> Arc<Op> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT origin, boot, seq, lamport, identity, at, kind FROM operations
                 WHERE origin = ?1 AND boot = ?2 AND seq = ?3",
            )?;
            let (boot, seq) = (dot.boot.0.cast_signed(), dot.seq.cast_signed());
            let mut rows = statement.query(params![dot.origin.as_str(), boot, seq])?;
            match rows.next()? {
                Some(row) => read_row(row).map(Arc::new),
                None => Err(StorageError::Corrupt { origin: dot.origin.to_string(), seq }),
            }
        })
    }

    fn read_on(&self, writer: &Writer, count: u64, take: &mut dyn FnMut(Arc<Op>) -> ControlFlow<()>) {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT origin, boot, seq, lamport, identity, at, kind FROM operations
                 WHERE origin = ?1 AND boot = ?2 AND seq > ?3 ORDER BY seq",
            )?;
            let (boot, count) = (writer.boot.0.cast_signed(), count.cast_signed());
            let mut rows = statement.query(params![writer.origin.as_str(), boot, count])?;
            while let Some(row) = rows.next()? {
                if take(Arc::new(read_row(row)?)).is_break() {
                    break;
                }
            }
            Ok(())
        });
    }
}
