//! The writer thread: batches in, outcomes out, in the same order.

use super::schema::{StorageError, open_for_writing, read_fact, read_operations, write_fact};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::ServerName;
use papo_replica::Op;
use rusqlite::{Connection, ErrorCode, params};
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
    /// Every operation of it is fsynced.
    Stored(u64),
    /// The disk is full; nothing of it was written.
    Full(u64),
}

enum Work {
    Batch { batch: u64, operations: Vec<Arc<Op>> },
    Ceiling { ceiling: Lamport, done: tokio::sync::oneshot::Sender<()> },
}

/// What a data folder held.
pub struct Opened {
    /// The running writer.
    pub storage: Storage,
    /// Outcomes of the batches, in order.
    pub outcomes: tokio::sync::mpsc::UnboundedReceiver<Outcome>,
    /// All operations stored so far.
    pub operations: Vec<Op>,
    /// No Lamport value above this was ever sent from here.
    pub lamport_floor: Lamport,
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
        let operations = read_operations(&connection)?;

        let (work, queue) = mpsc::channel();
        let (outcome, outcomes) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || {
                write_until_closed(connection, &queue, &outcome);
                drop(lock);
            })
            .map_err(StorageError::Thread)?;
        let storage = Self { work: Some(work), thread: Some(thread), ceiling: lamport_floor };
        Ok(Opened { storage, outcomes, operations, lamport_floor })
    }

    /// Queues a batch. Its outcome comes through [`Opened::outcomes`]. The queue is bounded by its user: a replica has one batch
    /// under way at a time.
    pub fn store(&self, batch: u64, operations: Vec<Arc<Op>>) {
        self.send(Work::Batch { batch, operations });
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

fn write_until_closed(
    mut connection: Connection,
    queue: &mpsc::Receiver<Work>,
    outcome: &tokio::sync::mpsc::UnboundedSender<Outcome>,
) {
    while let Ok(work) = queue.recv() {
        match work {
            Work::Batch { batch, operations } => {
                let result = match write_batch(&mut connection, &operations) {
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
                match write_fact(&connection, FACT_LAMPORT_CEILING, ceiling.get().cast_signed()) {
                    Ok(()) => {}
                    // The clock may run on a full disk: a restart could then repeat Lamport values that no operation carries,
                    // which costs order between reads but loses nothing.
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

fn write_batch(connection: &mut Connection, operations: &[Arc<Op>]) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT OR IGNORE INTO operations (origin, boot, seq, lamport, identity, at, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
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
            ])?;
        }
    }
    transaction.commit()
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
