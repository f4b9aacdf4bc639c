//! The writer thread: batches in, outcomes out, in the same order.

use super::error::StorageError;
use super::reading::Stored;
use super::schema::{SCHEMA_VERSION, open_for_writing, read_fact, write_fact};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::ServerName;
use papo_replica::{Op, VersionVector};
use rusqlite::{Connection, ErrorCode, Transaction, params};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

/// A process that stopped uncleanly may have sent Lamport values up to this far above the last one that it stored.
const LAMPORT_LEASE: u64 = 100_000;

const FACT_OWNER: &str = "owner";
const FACT_LAMPORT_CEILING: &str = "lamport_ceiling";

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is fsynced.
    Stored(u64),
    /// The disk is full; nothing of it was written.
    Full(u64),
}

enum Work {
    Batch { batch: u64, operations: Vec<Arc<Op>>, shown: Option<VersionVector> },
    Ceiling { ceiling: Lamport, done: tokio::sync::oneshot::Sender<()> },
}

/// What a data folder held.
pub struct Opened {
    /// The running writer.
    pub storage: Storage,
    /// Outcomes of the batches, in order.
    pub outcomes: tokio::sync::mpsc::UnboundedReceiver<Outcome>,
    /// All that is stored so far.
    pub stored: Stored,
    /// No Lamport value above this was ever sent from here.
    pub lamport_floor: Lamport,
    /// What was shown when it was last stored.
    pub shown: VersionVector,
}

/// The commanding half of the writer thread, which ends when this is dropped and its queue is empty.
pub struct Storage {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<std::thread::JoinHandle<()>>,
    ceiling: Lamport,
}

impl Storage {
    /// Opens the folder of `server` in cluster `cluster_id`, reads it, and starts the writer.
    ///
    /// # Errors
    /// [`StorageError`] when the folder is not writable, in use, another server's, or damaged.
    pub fn open(folder: &Path, cluster_id: &str, server: &ServerName) -> Result<Opened, StorageError> {
        let folder_error = |source| StorageError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(folder_error)?;
        let lock = File::create(folder.join("lock")).map_err(folder_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(StorageError::InUse { path: folder.to_owned() });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(folder_error(source)),
        }
        let connection = open_for_writing(folder)?;
        let expected = format!("{server} of {cluster_id}");
        match read_fact::<String>(&connection, FACT_OWNER)? {
            None => write_fact(&connection, FACT_OWNER, &expected)?,
            Some(found) if found == expected => {}
            Some(found) => return Err(StorageError::Foreign { path: folder.to_owned(), found, expected }),
        }
        let ceiling = read_fact::<i64>(&connection, FACT_LAMPORT_CEILING)?;
        let lamport_floor =
            ceiling.and_then(|ceiling| Lamport::new(ceiling.cast_unsigned())).unwrap_or_default();
        let stored = Stored::open(folder)?;
        let shown = stored.shown()?;
        let mut writer = Writer { connection, shown: shown.clone() };

        let (work, queue) = mpsc::channel();
        let (outcome, outcomes) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || {
                writer.write_until_closed(&queue, &outcome);
                drop(lock);
            })
            .map_err(StorageError::Thread)?;
        let storage = Self { work: Some(work), thread: Some(thread), ceiling: lamport_floor };
        Ok(Opened { storage, outcomes, stored, lamport_floor, shown })
    }

    /// Queues a batch: operations, and what is shown from then on where that has changed. Its outcome comes through
    /// [`Opened::outcomes`]. The queue is bounded by its user: a replica has one batch under way at a time.
    pub fn store(&self, batch: u64, operations: Vec<Arc<Op>>, shown: Option<VersionVector>) {
        self.send(Work::Batch { batch, operations, shown });
    }

    /// Makes sure that no restart forgets `lamport`: returns at once while it is under the stored ceiling, else stores a higher one.
    pub async fn cover(&mut self, lamport: Lamport) {
        if lamport <= self.ceiling {
            return;
        }
        let ceiling = Lamport::new(lamport.get().saturating_add(LAMPORT_LEASE)).unwrap_or(Lamport::MAX);
        let (done, stored) = tokio::sync::oneshot::channel();
        self.send(Work::Ceiling { ceiling, done });
        if stored.await.is_ok() {
            self.ceiling = ceiling;
        }
    }

    fn send(&self, work: Work) {
        let sent = self.work.as_ref().is_some_and(|queue| queue.send(work).is_ok());
        if !sent {
            tracing::error!("the storage thread is gone");
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the storage thread panicked");
        }
    }
}

/// The half that runs on the thread.
struct Writer {
    connection: Connection,
    /// What the file says is shown.
    shown: VersionVector,
}

impl Writer {
    fn write_until_closed(
        &mut self,
        queue: &mpsc::Receiver<Work>,
        outcome: &tokio::sync::mpsc::UnboundedSender<Outcome>,
    ) {
        while let Ok(work) = queue.recv() {
            match work {
                Work::Batch { batch, operations, shown } => {
                    let result = match self.write_batch(&operations, shown) {
                        Ok(()) => Outcome::Stored(batch),
                        Err(error) if is_full(&error) => {
                            tracing::warn!(
                                operations = operations.len(),
                                "the disk is full: writes go elsewhere until there is room"
                            );
                            Outcome::Full(batch)
                        }
                        Err(error) => stop_at(&error),
                    };
                    if outcome.send(result).is_err() {
                        return;
                    }
                }
                Work::Ceiling { ceiling, done } => {
                    match write_fact(&self.connection, FACT_LAMPORT_CEILING, ceiling.get().cast_signed()) {
                        Ok(()) => {}
                        // The clock may run on a full disk: a restart could then repeat Lamport values that no operation
                        // carries, which costs order between reads but loses nothing.
                        Err(error) if is_full(&error) => {
                            tracing::warn!("the disk is full: the clock's ceiling is not stored");
                        }
                        Err(error) => stop_at(&error),
                    }
                    // A closed receiver is a server that no longer waits.
                    let _ = done.send(());
                }
            }
        }
    }

    fn write_batch(
        &mut self,
        operations: &[Arc<Op>],
        shown: Option<VersionVector>,
    ) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        insert_operations(&transaction, operations)?;
        if let Some(shown) = &shown {
            replace_shown(&transaction, &self.shown, shown)?;
        }
        transaction.commit()?;
        if let Some(shown) = shown {
            self.shown = shown;
        }
        Ok(())
    }
}

fn insert_operations(transaction: &Transaction<'_>, operations: &[Arc<Op>]) -> Result<(), rusqlite::Error> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO operations (origin, boot, seq, lamport, identity, at, kind, schema)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for operation in operations {
        let kind = rmp_serde::to_vec(&operation.kind)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        insert.execute(params![
            operation.dot.origin.as_str(),
            operation.dot.boot.0.cast_signed(),
            operation.dot.seq.cast_signed(),
            operation.lamport.get().cast_signed(),
            operation.identity.0,
            operation.at.0,
            kind,
            SCHEMA_VERSION,
        ])?;
    }
    Ok(())
}

/// Writes only what differs: a vector may have an entry for each start of each server there ever was.
fn replace_shown(
    transaction: &Transaction<'_>,
    old: &VersionVector,
    new: &VersionVector,
) -> Result<(), rusqlite::Error> {
    let mut set = transaction.prepare_cached(
        "INSERT INTO shown (origin, boot, seq) VALUES (?1, ?2, ?3)
         ON CONFLICT (origin, boot) DO UPDATE SET seq = excluded.seq",
    )?;
    for (writer, seq) in new.iter().filter(|(writer, seq)| old.get(writer) != *seq) {
        set.execute(params![writer.origin.as_str(), writer.boot.0.cast_signed(), seq.cast_signed()])?;
    }
    let mut remove = transaction.prepare_cached("DELETE FROM shown WHERE origin = ?1 AND boot = ?2")?;
    for (writer, _) in old.iter().filter(|(writer, _)| new.get(writer) == 0) {
        remove.execute(params![writer.origin.as_str(), writer.boot.0.cast_signed()])?;
    }
    Ok(())
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Any other failure may have lost what the kernel already accepted: only a new process that reads the file again knows.
fn stop_at(error: &rusqlite::Error) -> ! {
    tracing::error!(%error, "the database cannot be written: stopping, so that nothing is acknowledged that is not on disk");
    std::process::exit(EXIT_STORAGE_FAILED);
}

/// Exit status of a server whose disk failed.
const EXIT_STORAGE_FAILED: i32 = 74; // EX_IOERR of sysexits.h
