//! What a failure of the disk means: no room, which passes, or anything else, after which only a new process knows what is true.

use rusqlite::ffi;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Exit status of a server whose disk failed.
const EXIT_STORAGE_FAILED: i32 = 74; // EX_IOERR of sysexits.h

/// More than any file system keeps inside its own records, so that it needs blocks.
const PROBE_BYTES: usize = 64 << 10;

/// Whether a write failed for want of room, and nothing else is wrong.
///
/// SQLite says `SQLITE_FULL` only where a write itself failed with ENOSPC. A quota is an I/O error to it, and so is the index of the
/// log that cannot grow: those are told from a broken disk by writing something else. A failed fsync is never this: what it was to
/// write is lost, whatever the reason.
pub(super) fn is_full(error: &rusqlite::Error, folder: &Path) -> bool {
    match error.sqlite_extended_error_code() {
        Some(ffi::SQLITE_FULL) => true,
        Some(
            ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMMAP
            | ffi::SQLITE_CANTOPEN,
        ) => !has_room(folder),
        _ => false,
    }
}

/// Whether an error of the system says so.
pub(super) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn has_room(folder: &Path) -> bool {
    let path = folder.join("probe");
    let write = || File::create(&path)?.write_all(&[1; PROBE_BYTES]);
    let written = write();
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(%error, "the probe file stays");
    }
    !written.is_err_and(|error| is_out_of_room(&error))
}

/// Ends the process. What the kernel dropped after a failed fsync cannot be asked for again, so nothing is tried again here.
pub(super) fn stop_at(error: &impl std::fmt::Debug) -> ! {
    tracing::error!(
        ?error,
        exit_status = EXIT_STORAGE_FAILED,
        "the disk failed: stopping, so that nothing is acknowledged that is not on disk; the next start makes sure of what is there"
    );
    std::process::exit(EXIT_STORAGE_FAILED);
}
