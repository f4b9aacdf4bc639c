//! The file: its tables, its versions, its facts.
//!
//! A new version only adds, in such a way that the statements of the version before go on working: the program can be rolled back
//! by one version, and forward again. No statement here names a column with `*`.

use super::error::StorageError;
use super::failure::is_full;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use std::path::Path;

/// The database inside a server's data folder.
pub const FILE_NAME: &str = "history.sqlite";
/// Schema version written to `user_version`.
pub const SCHEMA_VERSION: i64 = 2;

/// The next version only adds, so its file is readable too: a rollback by one works.
pub const NEWEST_READABLE: i64 = SCHEMA_VERSION + 1;

/// The first version that has the table `shown`.
const SHOWN_SINCE: i64 = 2;

/// What leads from each version to the next, beginning with an empty file.
const MIGRATIONS: [&str; 2] = [CREATE, KEEP_WHAT_IS_SHOWN];

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

/// For each writer the last operation that was shown. A program of version 1 shows all that it holds, and knows nothing of this
/// table: what its file held is taken over here, and what it writes after a rollback the trigger adds, told by the column that
/// it does not fill in. (No upsert: the `OR IGNORE` of the statement that fires a trigger goes for the trigger's, too.)
const KEEP_WHAT_IS_SHOWN: &str = "
CREATE TABLE shown (
    origin TEXT    NOT NULL,
    boot   INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (origin, boot)
) STRICT, WITHOUT ROWID;
INSERT INTO shown (origin, boot, seq) SELECT origin, boot, max(seq) FROM operations GROUP BY origin, boot;
ALTER TABLE operations ADD COLUMN schema INTEGER NOT NULL DEFAULT 1;  -- of the program that wrote it
CREATE TRIGGER schema_1_shows_what_it_stores AFTER INSERT ON operations WHEN NEW.schema = 1 BEGIN
    INSERT OR IGNORE INTO shown (origin, boot, seq) VALUES (NEW.origin, NEW.boot, NEW.seq);
    UPDATE shown SET seq = NEW.seq WHERE origin = NEW.origin AND boot = NEW.boot AND seq < NEW.seq;
END;
";

/// Whether others may read beside the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// They may: the index of the log is a file.
    Shared,
    /// They may not: the index is in memory, for want of room on the disk.
    Alone,
}

/// Opens for the one writer, creating or migrating what is there. A server whose disk is full still opens what it has.
pub(super) fn open_for_writing(folder: &Path) -> Result<(Connection, Sharing), StorageError> {
    match open_shared_or_alone(folder, Sharing::Shared) {
        Err(StorageError::Sqlite(error)) if is_full(&error, folder) => {
            tracing::warn!("the disk is full: no export beside this server until there is room");
            open_shared_or_alone(folder, Sharing::Alone)
        }
        opened => opened,
    }
}

fn open_shared_or_alone(folder: &Path, sharing: Sharing) -> Result<(Connection, Sharing), StorageError> {
    let path = folder.join(FILE_NAME);
    let mut connection = Connection::open(&path)?;
    if sharing == Sharing::Alone {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The writer does it, and hears what becomes of it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Once the main file has what the log held, the log is cut to what it holds.
    connection.pragma_update(None, "journal_size_limit", 0)?;
    let found = version(&connection, &path)?;
    if found < SCHEMA_VERSION {
        let transaction = connection.transaction()?;
        for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    Ok((connection, sharing))
}

/// Opens read-only, beside a live server if there is one.
///
/// # Errors
/// When the database of a known version cannot be read.
pub(super) fn open_for_reading(folder: &Path) -> Result<Connection, StorageError> {
    let path = folder.join(FILE_NAME);
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match version(&connection, &path) {
        Err(StorageError::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(StorageError::Alone { path })
        }
        found => found.map(|_| connection),
    }
}

fn version(connection: &Connection, path: &Path) -> Result<i64, StorageError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > NEWEST_READABLE {
        return Err(StorageError::Newer { path: path.to_owned(), found });
    }
    Ok(found)
}

/// Whether this file says what was shown. Of an older one, all that it holds was.
pub(super) fn keeps_what_is_shown(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(found >= SHOWN_SINCE)
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
