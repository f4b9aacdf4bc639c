//! Reading what is stored, operation after operation: a long history is never in memory a second time.

use super::error::StorageError;
use super::schema::{FILE_NAME, keeps_what_is_shown, open_for_reading};
use super::securing::announce_reader;
use papo_protocol::identity::{Boot, Dot, Identity};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::ServerName;
use papo_protocol::time::UnixMillis;
use papo_replica::{About, Heading, Op, OpKind, VersionVector, Writer};
use rusqlite::{Connection, Row};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a long reading says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

const ALL_OPERATIONS: &str =
    "SELECT origin, boot, seq, lamport, identity, at, kind FROM operations ORDER BY origin, boot, seq";

/// What a data folder holds.
#[derive(Debug, Clone)]
pub struct Stored {
    connection: Arc<Mutex<Connection>>,
    /// Keeps a server from starting on this folder meanwhile.
    _reader: Option<Arc<File>>,
}

impl Stored {
    /// Opens a data folder, beside a live server too: what it holds now, whatever that server writes meanwhile.
    ///
    /// # Errors
    /// When there is no readable database of a known version.
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(FILE_NAME);
        if !path.is_file() {
            return Err(StorageError::Absent { path });
        }
        let reader = announce_reader(folder)
            .map_err(|source| StorageError::Folder { path: folder.to_owned(), source })?;
        let connection = open_for_reading(folder)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), _reader: reader.map(Arc::new) })
    }

    /// Through the connection of the one writer, which writes nothing while this reads.
    pub(super) fn of_writer(connection: Arc<Mutex<Connection>>) -> Self {
        Self { connection, _reader: None }
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        held(&self.connection)
    }

    /// What was shown, by writer.
    ///
    /// # Errors
    /// When the file fails or holds a row that no papo wrote.
    pub fn shown(&self) -> Result<VersionVector, StorageError> {
        let connection = held(&self.connection);
        let statement = if keeps_what_is_shown(&connection)? {
            "SELECT origin, boot, seq FROM shown"
        } else {
            "SELECT origin, boot, max(seq) FROM operations GROUP BY origin, boot"
        };
        let mut statement = connection.prepare(statement)?;
        let mut rows = statement.query([])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let (origin, boot, seq): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (Ok(name), Ok(count)) = (ServerName::new(&origin), u64::try_from(seq)) else {
                return Err(StorageError::Corrupt { origin, seq });
            };
            entries.push((name, Boot(boot.cast_unsigned()), count));
        }
        Ok(VersionVector::from(entries))
    }

    /// Hands all operations to `take` without their texts, those of a writer in their order, until it refuses one.
    ///
    /// # Errors
    /// When the file fails or holds a row that no papo wrote; the inner ones are those of `take`.
    pub fn headings<E>(
        &self,
        mut take: impl FnMut(&Heading<'_>) -> Result<(), E>,
    ) -> Result<Result<(), E>, StorageError> {
        let connection = held(&self.connection);
        let mut statement = connection.prepare(ALL_OPERATIONS)?;
        let mut rows = statement.query([])?;
        let mut progress = Progress::default();
        let mut writer = None;
        while let Some(row) = rows.next()? {
            progress.count();
            let taken = take(&read_heading(row, &mut writer)?);
            if taken.is_err() {
                return Ok(taken);
            }
        }
        Ok(Ok(()))
    }
}

/// A connection is sound after a panic beside it: what was begun is rolled back.
pub(super) fn held(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says how far a long reading is.
struct Progress {
    operations: u64,
    said: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self { operations: 0, said: Instant::now() }
    }
}

impl Progress {
    fn count(&mut self) {
        self.operations += 1;
        // Asking for the time costs as much as a small row.
        if self.operations.is_multiple_of(1024) && self.said.elapsed() >= PROGRESS_INTERVAL {
            self.said = Instant::now();
            tracing::info!(operations = self.operations, "reading the history");
        }
    }
}

/// Reads the operation of this dot from a row's columns `lamport, identity, at, kind`, which begin at `first`.
pub(super) fn read_operation(dot: Dot, row: &Row<'_>, first: usize) -> Result<Op, StorageError> {
    let lamport = u64::try_from(row.get::<_, i64>(first)?).ok().and_then(Lamport::new);
    let identity = Identity(row.get(first + 1)?);
    let at = UnixMillis(row.get(first + 2)?);
    let kind =
        row.get_ref(first + 3)?.as_blob().ok().and_then(|kind| rmp_serde::from_slice::<OpKind>(kind).ok());
    match (lamport, kind) {
        (Some(lamport), Some(kind)) => Ok(Op { dot, lamport, identity, at, kind }),
        _ => Err(corrupt(&dot)),
    }
}

/// The row of this dot is missing or unreadable.
pub(super) fn corrupt(dot: &Dot) -> StorageError {
    StorageError::Corrupt { origin: dot.origin.to_string(), seq: dot.seq.cast_signed() }
}

/// Of a row, without what its text costs. The writer is that of the row before, or takes its place.
fn read_heading<'a>(row: &'a Row<'_>, writer: &'a mut Option<Writer>) -> Result<Heading<'a>, StorageError> {
    let (origin, seq): (&str, i64) = (row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, row.get(2)?);
    let boot = Boot(row.get::<_, i64>(1)?.cast_unsigned());
    let corrupt = || StorageError::Corrupt { origin: origin.to_owned(), seq };
    if writer.as_ref().is_none_or(|writer| writer.boot != boot || writer.origin.as_str() != origin) {
        let origin = ServerName::new(origin).map_err(|_| corrupt())?;
        *writer = Some(Writer { origin, boot });
    }
    let lamport = u64::try_from(row.get::<_, i64>(3)?).ok().and_then(Lamport::new);
    let identity = Identity(row.get(4)?);
    let at = UnixMillis(row.get(5)?);
    let about = row.get_ref(6)?.as_blob().ok().and_then(About::read);
    match (&*writer, u64::try_from(seq), lamport, about) {
        (Some(writer), Ok(seq), Some(lamport), Some(about)) => {
            Ok(Heading { writer, seq, lamport, identity, at, about })
        }
        _ => Err(corrupt()),
    }
}
