//! The file: its tables, its version, and reading it whole.

use papo_protocol::identity::{Boot, Dot, Identity};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::ServerName;
use papo_protocol::time::UnixMillis;
use papo_replica::{Op, OpKind};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::path::{Path, PathBuf};

/// The database inside a server's data folder.
pub const FILE_NAME: &str = "history.sqlite";
/// Schema version written to `user_version`. Migrations only add, so that version N-1 opens N's file.
pub const SCHEMA_VERSION: i64 = 1;

/// The next version only adds, so its file is readable too: a rollback by one works.
const NEWEST_READABLE: i64 = SCHEMA_VERSION + 1;

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (
    origin   TEXT    NOT NULL,
    boot     INTEGER NOT NULL,  -- u64, its bits kept in an i64
    seq      INTEGER NOT NULL,
    lamport  INTEGER NOT NULL,
    identity BLOB    NOT NULL CHECK (length(identity) = 16),
    at       INTEGER NOT NULL,  -- milliseconds since 1970
    kind     BLOB    NOT NULL,  -- MessagePack of the operation's kind
    PRIMARY KEY (origin, boot, seq)
) STRICT, WITHOUT ROWID;
";

/// What can go wrong with the file.
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
    /// A row that no papo wrote.
    #[error("the database holds an unreadable operation ({origin}, {seq})")]
    Corrupt {
        /// Its origin.
        origin: String,
        /// Its number.
        seq: i64,
    },
    /// SQLite failed.
    #[error("the database failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer thread could not start.
    #[error("cannot start the storage thread")]
    Thread(#[source] std::io::Error),
}

/// Opens for the one writer, creating what is missing.
pub(super) fn open_for_writing(folder: &Path) -> Result<Connection, StorageError> {
    let path = folder.join(FILE_NAME);
    let connection = Connection::open(&path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > NEWEST_READABLE {
        return Err(StorageError::Newer { path, found });
    }
    // Only then: a server whose disk is full must still open what it has.
    if found < SCHEMA_VERSION {
        connection.execute_batch(CREATE)?;
        connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    Ok(connection)
}

/// Opens read-only, beside a live server if there is one.
///
/// # Errors
/// When there is no readable database of a known version.
pub fn open_for_reading(folder: &Path) -> Result<Connection, StorageError> {
    let path = folder.join(FILE_NAME);
    if !path.is_file() {
        return Err(StorageError::Absent { path });
    }
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > NEWEST_READABLE {
        return Err(StorageError::Newer { path, found });
    }
    Ok(connection)
}

/// All operations, ordered by (origin, boot, seq).
///
/// # Errors
/// When the file fails or holds a row that no papo wrote.
pub fn read_operations(connection: &Connection) -> Result<Vec<Op>, StorageError> {
    let mut statement = connection.prepare(
        "SELECT origin, boot, seq, lamport, identity, at, kind FROM operations ORDER BY origin, boot, seq",
    )?;
    let mut rows = statement.query([])?;
    let mut operations = Vec::new();
    while let Some(row) = rows.next()? {
        let origin: String = row.get(0)?;
        let seq: i64 = row.get(2)?;
        let operation = read_row(row, &origin, seq)?.ok_or(StorageError::Corrupt { origin, seq })?;
        operations.push(operation);
    }
    Ok(operations)
}

fn read_row(row: &rusqlite::Row<'_>, origin: &str, seq: i64) -> Result<Option<Op>, rusqlite::Error> {
    let boot = Boot(row.get::<_, i64>(1)?.cast_unsigned());
    let lamport = u64::try_from(row.get::<_, i64>(3)?).ok().and_then(Lamport::new);
    let identity: [u8; 16] = row.get(4)?;
    let at = UnixMillis(row.get(5)?);
    let kind: Vec<u8> = row.get(6)?;
    let (Ok(origin), Ok(seq), Some(lamport), Ok(kind)) =
        (ServerName::new(origin), u64::try_from(seq), lamport, rmp_serde::from_slice::<OpKind>(&kind))
    else {
        return Ok(None);
    };
    Ok(Some(Op { dot: Dot { origin, boot, seq }, lamport, identity: Identity(identity), at, kind }))
}

/// A fact, such as the cluster's id.
pub(super) fn read_fact<T: rusqlite::types::FromSql>(
    connection: &Connection,
    name: &str,
) -> Result<Option<T>, rusqlite::Error> {
    connection.query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0)).optional()
}

/// Sets a fact.
pub(super) fn write_fact(
    connection: &Connection,
    name: &str,
    value: impl rusqlite::ToSql,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, value],
    )?;
    Ok(())
}
