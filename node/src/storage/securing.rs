//! Before anything that a data folder holds counts as durable (docs/adr/0005-what-a-failed-fsync-leaves-behind.md).
//!
//! When an fsync fails, Linux keeps the pages in its cache and forgets that they never reached the disk: a program that starts next
//! reads them, and no later fsync of that file writes them. What SQLite's main file holds is either from a checkpoint whose fsync
//! succeeded or still in the write-ahead log too, and a checkpoint writes it again. So the log alone is in doubt, and every start
//! writes it anew. It must not know why the last process ended: that cannot be known.

use super::failure::is_out_of_room;
use super::schema::FILE_NAME;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Held by every reader of a data folder while it reads, and by a starting server until the log is its own.
const READERS_LOCK: &str = "readers";

const COPY_BYTES: usize = 1 << 20;

/// Waits until nobody reads the folder: a reader keeps SQLite's index of the log alive, which says what of the log the main file
/// has already. It is to be made anew, with the log.
pub(super) fn wait_for_readers(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join(READERS_LOCK))?;
    if let Err(std::fs::TryLockError::WouldBlock) = lock.try_lock() {
        tracing::info!("waiting for an export of this data folder to end");
    }
    lock.lock()?;
    Ok(lock)
}

/// Says that somebody reads the folder. Where nothing can be written no server starts, so nobody needs to know.
pub(super) fn announce_reader(folder: &Path) -> io::Result<Option<File>> {
    match File::create(folder.join(READERS_LOCK)) {
        Ok(lock) => {
            lock.lock_shared()?;
            Ok(Some(lock))
        }
        Err(_) => Ok(None),
    }
}

/// Makes sure that the write-ahead log is on disk. Nobody may have it open.
pub(super) fn secure_log(folder: &Path) -> io::Result<()> {
    let log = folder.join(format!("{FILE_NAME}-wal"));
    let copy = folder.join(format!("{FILE_NAME}-wal.copying"));
    let mut from = match File::open(&log) {
        Ok(file) => file,
        // The last process closed it, or there was none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let bytes = from.metadata()?.len();
    match copy_and_sync(&mut from, &copy) {
        Ok(()) => {
            std::fs::rename(&copy, &log)?;
            sync_folder(folder)?;
            tracing::info!(bytes, "the write-ahead log was copied: the last process did not close it");
            Ok(())
        }
        Err(error) if is_out_of_room(&error) => {
            // Writing the same bytes to the same place needs no room, and makes the kernel write them as well. What the copy has
            // over it is that it may find better blocks.
            if copy.exists() {
                std::fs::remove_file(&copy)?;
            }
            let mut to = OpenOptions::new().write(true).open(&log)?;
            copy_bytes(&mut File::open(&log)?, &mut to)?;
            to.sync_all()?;
            tracing::warn!(bytes, "the disk is full: the write-ahead log was written anew where it is");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn copy_and_sync(from: &mut File, path: &Path) -> io::Result<()> {
    let mut to = File::create(path)?;
    copy_bytes(from, &mut to)?;
    to.sync_all()
}

/// Not `std::io::copy`: on file systems that can, it lets both files share the very blocks that are in doubt.
fn copy_bytes(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let length = from.read(&mut buffer)?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
        to.write_all(read)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_closed_is_replaced_by_a_copy_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("history.sqlite-wal");
        let bytes: Vec<u8> = (0..=250).cycle().take(COPY_BYTES + 17).collect();
        std::fs::write(&log, &bytes).unwrap();
        let mut old = File::open(&log).unwrap();
        secure_log(folder.path()).unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), bytes);
        std::fs::write(&log, b"new").unwrap();
        let mut kept = Vec::new();
        old.read_to_end(&mut kept).unwrap();
        assert_eq!(kept, bytes, "the old file is another one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_starting_server_waits_for_the_readers_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let reader = announce_reader(folder.path()).unwrap().unwrap();
        let other_reader = announce_reader(folder.path()).unwrap();
        assert!(other_reader.is_some());
        let path = folder.path().to_owned();
        let (started, starts) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let lock = wait_for_readers(&path).unwrap();
            started.send(()).unwrap();
            drop(lock);
        });
        drop(other_reader);
        let early = starts.recv_timeout(std::time::Duration::from_millis(100));
        assert!(early.is_err(), "one reads still");
        drop(reader);
        starts.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        server.join().unwrap();
    }
}
