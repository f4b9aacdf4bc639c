//! Operations that are read again by a running server: through a connection of its own, so that no reader waits for an fsync.

use super::error::StorageError;
use super::failure::{is_full, stop_at};
use super::reading::{corrupt, held, read_operation};
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
                "SELECT lamport, identity, at, kind FROM operations WHERE origin = ?1 AND boot = ?2 AND seq = ?3",
            )?;
            let (boot, seq) = (dot.boot.0.cast_signed(), dot.seq.cast_signed());
            let mut rows = statement.query(params![dot.origin.as_str(), boot, seq])?;
            match rows.next()? {
                Some(row) => read_operation(dot.clone(), row, 0).map(Arc::new),
                None => Err(corrupt(dot)),
            }
        })
    }

    fn read_on(&self, writer: &Writer, count: u64, take: &mut dyn FnMut(Arc<Op>) -> ControlFlow<()>) {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT lamport, identity, at, kind FROM operations WHERE origin = ?1 AND boot = ?2 AND seq > ?3 ORDER BY seq",
            )?;
            let boot = writer.boot.0.cast_signed();
            let mut rows = statement.query(params![writer.origin.as_str(), boot, count.cast_signed()])?;
            for seq in count + 1.. {
                let Some(row) = rows.next()? else { break };
                let dot = Dot { origin: writer.origin.clone(), boot: writer.boot, seq };
                if take(Arc::new(read_operation(dot, row, 0)?)).is_break() {
                    break;
                }
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;
    use papo_protocol::identity::{Boot, Identity};
    use papo_protocol::lamport::Lamport;
    use papo_protocol::names::{ServerName, UserName};
    use papo_protocol::time::UnixMillis;
    use papo_replica::OpKind;

    #[tokio::test]
    async fn a_server_that_has_its_file_to_itself_reads_through_the_writers_connection() {
        let folder = tempfile::tempdir().unwrap();
        let name = ServerName::new("server-1").unwrap();
        let op = Op {
            dot: Dot { origin: name.clone(), boot: Boot(7), seq: 1 },
            lamport: Lamport::new(3).unwrap(),
            identity: Identity([7; 16]),
            at: UnixMillis(5),
            kind: OpKind::Login { user: UserName::new("ana").unwrap() },
        };
        let mut opened = Storage::open(folder.path(), "default/papo", &name).unwrap();
        opened.storage.store(1, vec![Arc::new(op.clone())], crate::storage::Along::default());
        opened.outcomes.recv().await.unwrap();
        let reader = opened.reader;
        reader.is_shared.store(false, Ordering::Release);
        assert_eq!(*reader.read(&op.dot), op);
        assert!(reader.own.lock().unwrap().is_none());
        reader.is_shared.store(true, Ordering::Release);
        assert_eq!(*reader.read(&op.dot), op);
        assert!(reader.own.lock().unwrap().is_some(), "and through its own once others may read");
    }

    #[tokio::test]
    async fn the_log_is_gone_after_a_reader_and_its_server_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let name = ServerName::new("server-1").unwrap();
        let opened = Storage::open(folder.path(), "default/papo", &name).unwrap();
        let own = opened.reader.with(|connection| Ok(connection.is_readonly("main")?));
        assert!(own, "it cannot write");
        drop(opened.reader);
        drop(opened.stored);
        drop(opened.storage);
        assert!(!folder.path().join("history.sqlite-wal").exists());
    }
}
