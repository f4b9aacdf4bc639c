//! The writer thread: batches in, outcomes out, in the same order. Between batches it moves what the write-ahead log holds into the
//! main file.

use super::archive::Reader;
use super::ceilings::{Ceilings, Raise, TIME_WAIT};
use super::error::StorageError;
use super::failure::{is_full, stop_at};
use super::reading::{Stored, held};
use super::schema::{FILE_NAME, SCHEMA_VERSION, Sharing, open_for_writing, read_fact, write_fact};
use super::securing::{secure_log, sync_folder, wait_for_readers};
use papo_protocol::epoch::Epoch;
use papo_protocol::identity::Boot;
use papo_protocol::names::ServerName;
use papo_replica::{KeptClock, Moment, Op, VersionVector};
use rusqlite::{Connection, Transaction, params};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A disk that has not answered for so long hangs. Longer than a broker waits for a server (3 s) and than any pause of a healthy
/// disk; several times shorter than what a person waits.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// From this length on the write-ahead log is moved into the main file: what SQLite does by default (1,000 pages).
const LOG_BYTES: u64 = 4 << 20;

const FACT_OWNER: &str = "owner";
/// Sixteen bytes, big endian: number, boot.
const FACT_EPOCH: &str = "epoch";

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is fsynced.
    Stored(u64),
    /// The disk is full; nothing of it was written.
    Full(u64),
}

/// What is stored along with a batch of operations, each in place of what was stored before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Along {
    /// What is shown.
    pub shown: Option<VersionVector>,
    /// The highest epoch of a coordinator.
    pub epoch: Option<Epoch>,
}

enum Work {
    Batch { batch: u64, operations: Vec<Arc<Op>>, along: Along },
    Ceilings { ceilings: Ceilings, done: oneshot::Sender<()> },
}

/// What a data folder held.
pub struct Opened {
    /// The running writer.
    pub storage: Storage,
    /// Outcomes of the batches, in order.
    pub outcomes: tokio::sync::mpsc::UnboundedReceiver<Outcome>,
    /// All that is stored so far.
    pub stored: Stored,
    /// Reads it again, and what is stored from now on.
    pub reader: Reader,
    /// What a mind starts from, beside the operations.
    pub facts: papo_replica::Stored,
    /// What was shown when it was last stored.
    pub shown: VersionVector,
}

/// The commanding half of the writer thread, which ends when this is dropped and its queue is empty.
pub struct Storage {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<std::thread::JoinHandle<()>>,
    ceilings: Ceilings,
    /// Higher ones that are being stored.
    raise: Option<Raise>,
    /// The last time that was given out when [`Self::cover`] was called.
    given_out: Moment,
    under_way: UnderWay,
}

impl Storage {
    /// Opens the folder of `server` in cluster `cluster_id`, reads it, and starts the writer.
    ///
    /// # Errors
    /// [`StorageError`] when the folder is not writable, in use, another server's, or damaged.
    pub fn open(folder: &Path, cluster_id: &str, server: &ServerName) -> Result<Opened, StorageError> {
        let lock = lock(folder)?;
        let (connection, sharing) = open(folder)?;
        let expected = format!("{server} of {cluster_id}");
        match read_fact::<String>(&connection, FACT_OWNER)? {
            None => write_fact(&connection, FACT_OWNER, &expected)?,
            Some(found) if found == expected => {}
            Some(found) => return Err(StorageError::Foreign { path: folder.to_owned(), found, expected }),
        }
        let facts = read_facts(&connection)?;
        let connection = Arc::new(Mutex::new(connection));
        let stored = Stored::of_writer(Arc::clone(&connection));
        let shown = stored.shown()?;
        let under_way = UnderWay::default();
        let is_shared = Arc::new(AtomicBool::new(sharing == Sharing::Shared));
        let reader = Reader::new(folder.to_owned(), Arc::clone(&connection), Arc::clone(&is_shared));
        let mut writer = Writer {
            connection,
            is_shared,
            folder: folder.to_owned(),
            shown: shown.clone(),
            is_full: sharing == Sharing::Alone,
            under_way: under_way.clone(),
        };

        let (work, queue) = mpsc::channel();
        let (outcome, outcomes) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || {
                writer.write_until_closed(&queue, &outcome);
                drop(lock);
            })
            .map_err(StorageError::Thread)?;
        let storage = Self {
            work: Some(work),
            thread: Some(thread),
            ceilings: Ceilings { lamport: facts.lamport_floor, clock: facts.clock },
            raise: None,
            given_out: facts.clock.ceiling,
            under_way,
        };
        Ok(Opened { storage, outcomes, stored, reader, facts, shown })
    }

    /// Queues a batch: operations, and what goes along. Its outcome comes through [`Opened::outcomes`]. The queue is bounded by its
    /// user: a replica has one batch under way at a time.
    pub fn store(&self, batch: u64, operations: Vec<Arc<Op>>, along: Along) {
        self.send(Work::Batch { batch, operations, along });
    }

    /// Makes sure that no restart forgets what was sent: returns at once while it is under the stored ceilings. Higher ones are stored
    /// before they are needed; only where the disk does not keep up, or the time was not asked for of late, is it waited for, and not at
    /// all where the disk hangs: a restart could then repeat values that no operation carries, which costs order between reads but
    /// loses nothing.
    pub async fn cover(&mut self, sent: Ceilings) {
        let is_time_given_out = sent.clock.ceiling > self.given_out;
        self.given_out = sent.clock.ceiling;
        loop {
            let is_near = self.ceilings.are_near_lamport(sent.lamport)
                || (is_time_given_out && self.ceilings.are_near_time(sent.clock.ceiling));
            if self.raise.is_none() && is_near {
                self.raise = Some(self.store_ceilings(self.ceilings.raised_above(sent)));
            }
            let Some(mut raise) = self.raise.take() else { return };
            let wait = self.wait_for(sent, &raise);
            let answer = match wait {
                Some(wait) => {
                    tokio::time::timeout(wait, &mut raise.done).await.ok().map(|stored| stored.is_ok())
                }
                None => match raise.done.try_recv() {
                    Ok(()) => Some(true),
                    Err(oneshot::error::TryRecvError::Closed) => Some(false),
                    Err(oneshot::error::TryRecvError::Empty) => None,
                },
            };
            match answer {
                Some(true) => self.ceilings = raise.to,
                // The thread is gone: whoever waits for its outcomes hears that.
                Some(false) => return,
                None => {
                    raise.is_late |= wait.is_some();
                    self.raise = Some(raise);
                    return;
                }
            }
            if wait.is_none() {
                return;
            }
            // What was asked for earlier may not reach so far: clients move the clock, too.
        }
    }

    /// How long what was sent must wait for higher ceilings; `None` when it need not, or has waited enough.
    fn wait_for(&self, sent: Ceilings, raise: &Raise) -> Option<Duration> {
        if self.is_stuck() {
            None
        } else if sent.lamport > self.ceilings.lamport {
            Some(STUCK_AFTER)
        } else {
            (sent.clock.ceiling > self.ceilings.clock.ceiling && !raise.is_late).then_some(TIME_WAIT)
        }
    }

    fn store_ceilings(&self, to: Ceilings) -> Raise {
        let (sender, done) = oneshot::channel();
        self.send(Work::Ceilings { ceilings: to, done: sender });
        Raise { to, done, is_late: false }
    }

    /// Nothing is sent any more: stores the exact time, so that the next start does not begin ahead of it, and what is shown, which
    /// else is stored once in a while.
    pub fn settle(&self, clock: KeptClock, shown: &VersionVector) {
        // Where the disk hung, what was sent may lie between the two.
        let lamport = self.raise.as_ref().map_or(self.ceilings.lamport, |raise| raise.to.lamport);
        self.store_ceilings(Ceilings { lamport, clock });
        // Nobody waits for its outcome.
        self.store(0, Vec::new(), Along { shown: Some(shown.clone()), epoch: None });
    }

    /// Whether the disk hangs: something has been under way for longer than any healthy disk takes. Reads go on, without it.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.under_way.since().is_some_and(|since| since.elapsed() > STUCK_AFTER)
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

/// Takes the folder for this process, as long as the file is open.
fn lock(folder: &Path) -> Result<File, StorageError> {
    let folder_error = |source| StorageError::Folder { path: folder.to_owned(), source };
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).map_err(folder_error)?;
        let whole = folder.canonicalize().map_err(folder_error)?;
        whole.parent().map_or(Ok(()), sync_folder).map_err(folder_error)?;
    }
    let lock = File::create(folder.join("lock")).map_err(folder_error)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::InUse { path: folder.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(folder_error(source)),
    }
}

/// Opens the database, of which everything is on disk then.
fn open(folder: &Path) -> Result<(Connection, Sharing), StorageError> {
    let folder_error = |source| StorageError::Folder { path: folder.to_owned(), source };
    let readers = wait_for_readers(folder).map_err(folder_error)?;
    secure_log(folder).map_err(|source| StorageError::Log { path: folder.to_owned(), source })?;
    let opened = open_for_writing(folder)?;
    drop(readers);
    Ok(opened)
}

/// When the writer began what it is doing now.
#[derive(Debug, Clone, Default)]
struct UnderWay(Arc<Mutex<Option<Instant>>>);

impl UnderWay {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The half that runs on the thread.
struct Writer {
    connection: Arc<Mutex<Connection>>,
    /// Whether others may read beside it.
    is_shared: Arc<AtomicBool>,
    folder: PathBuf,
    /// What the file says is shown.
    shown: VersionVector,
    /// Whether the last write found no room.
    is_full: bool,
    under_way: UnderWay,
}

impl Writer {
    fn write_until_closed(
        &mut self,
        queue: &mpsc::Receiver<Work>,
        outcome: &tokio::sync::mpsc::UnboundedSender<Outcome>,
    ) {
        while let Ok(work) = queue.recv() {
            self.under_way.set(Some(Instant::now()));
            match work {
                Work::Batch { batch, operations, along } => {
                    let written = self.write_batch(&operations, along);
                    let result =
                        if self.judge(written) { Outcome::Stored(batch) } else { Outcome::Full(batch) };
                    if outcome.send(result).is_err() {
                        return;
                    }
                }
                Work::Ceilings { ceilings, done } => {
                    let written = ceilings.write(&mut held(&self.connection));
                    // The clocks run on, on a full disk too: as on one that hangs, see `Storage::cover`.
                    self.judge(written);
                    // A closed receiver is a server that no longer waits.
                    let _ = done.send(());
                }
            }
            self.move_log();
            if !self.is_shared.load(Ordering::Acquire) && !self.is_full {
                self.share();
            }
            self.under_way.set(None);
        }
    }

    /// Whether it was done. The other way for it to return is that the disk is full: nothing of it was done.
    fn judge(&mut self, done: Result<(), rusqlite::Error>) -> bool {
        let is_full = match done {
            Ok(()) => false,
            Err(error) if is_full(&error, &self.folder) => true,
            Err(error) => stop_at(&error),
        };
        match (self.is_full, is_full) {
            (false, true) => tracing::warn!("the disk is full: writes go elsewhere until there is room"),
            (true, false) => tracing::info!("the disk has room again"),
            (false, false) | (true, true) => {}
        }
        self.is_full = is_full;
        !is_full
    }

    /// Opens the database once more, now that there is room for others to read beside it.
    fn share(&mut self) {
        let mut connection = held(&self.connection);
        // Closing is what gives up the lock.
        let alone = match Connection::open_in_memory() {
            Ok(nothing) => std::mem::replace(&mut *connection, nothing),
            Err(error) => stop_at(&error),
        };
        drop(alone);
        match open_for_writing(&self.folder) {
            Ok((opened, sharing)) => {
                *connection = opened;
                self.is_shared.store(sharing == Sharing::Shared, Ordering::Release);
            }
            Err(error) => stop_at(&error),
        }
    }

    /// Moves the log into the main file once it is long. SQLite would do that by itself, but keep an error of it to itself, too.
    fn move_log(&self) {
        let log = self.folder.join(format!("{FILE_NAME}-wal"));
        // Its length is what it holds: see `journal_size_limit`.
        if std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES)
            && let Err(error) = held(&self.connection).query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            // Without room the log stays as long as it is, and the next batch says so.
            && !is_full(&error, &self.folder)
        {
            stop_at(&error);
        }
    }

    fn write_batch(&mut self, operations: &[Arc<Op>], along: Along) -> Result<(), rusqlite::Error> {
        let Along { shown, epoch } = along;
        let mut connection = held(&self.connection);
        let transaction = connection.transaction()?;
        insert_operations(&transaction, operations)?;
        if let Some(shown) = &shown {
            replace_shown(&transaction, &self.shown, shown)?;
        }
        if let Some(epoch) = epoch {
            write_fact(&transaction, FACT_EPOCH, epoch_to_bytes(epoch))?;
        }
        transaction.commit()?;
        if let Some(shown) = shown {
            self.shown = shown;
        }
        Ok(())
    }
}

/// What a server keeps beside its operations. An older file lacks what came later, which then begins anew.
fn read_facts(connection: &Connection) -> Result<papo_replica::Stored, rusqlite::Error> {
    let Ceilings { lamport, clock } = Ceilings::read(connection)?;
    let epoch = read_fact::<[u8; 16]>(connection, FACT_EPOCH)?;
    Ok(papo_replica::Stored {
        lamport_floor: lamport,
        clock,
        epoch: epoch.map(epoch_of_bytes).unwrap_or_default(),
    })
}

fn epoch_to_bytes(epoch: Epoch) -> [u8; 16] {
    ((u128::from(epoch.number) << 64) | u128::from(epoch.boot.0)).to_be_bytes()
}

fn epoch_of_bytes(bytes: [u8; 16]) -> Epoch {
    let (number, boot) = bytes.split_at(8);
    let read = |half: &[u8]| half.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    Epoch { number: read(number), boot: Boot(read(boot)) }
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
