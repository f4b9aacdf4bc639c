//! The storage on real files.

use super::{Along, Ceilings, Opened, Outcome, Storage, StorageError, Stored};
use papo_protocol::epoch::Epoch;
use papo_protocol::identity::{Boot, Dot, Identity};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::{ChannelName, ServerName, UserName};
use papo_protocol::time::{SentTimestamp, UnixMillis};
use papo_replica::{Archive, Heading, KeptClock, Moment, Offset, Op, OpKind, VersionVector, Writer};
use rusqlite::{Connection, params};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const CLUSTER: &str = "default/papo";
const BOOT: Boot = Boot(u64::MAX - 1);

fn server() -> ServerName {
    ServerName::new("server-1").unwrap()
}

fn open(folder: &Path) -> Result<Opened, StorageError> {
    Storage::open(folder, CLUSTER, &server())
}

fn operation(seq: u64) -> Op {
    Op {
        dot: Dot { origin: server(), boot: BOOT, seq },
        lamport: Lamport::new(seq * 2).unwrap(),
        identity: Identity([u8::try_from(seq).unwrap(); 16]),
        at: UnixMillis(1_700_000_000_000),
        kind: OpKind::Publish {
            user: UserName::new("ana").unwrap(),
            channel: ChannelName::new("geral").unwrap(),
            message: format!("olá {seq}"),
            sent: Some(SentTimestamp::Float(1.5)),
        },
    }
}

fn shared(operations: &[Op]) -> Vec<Arc<Op>> {
    operations.iter().cloned().map(Arc::new).collect()
}

fn shown(entries: &[(&str, Boot, u64)]) -> VersionVector {
    let entries = entries.iter().map(|(origin, boot, seq)| (ServerName::new(origin).unwrap(), *boot, *seq));
    VersionVector::from(entries.collect::<Vec<_>>())
}

async fn store(opened: &mut Opened, batch: u64, operations: &[Op], shown: Option<VersionVector>) {
    store_along(opened, batch, operations, Along { shown, ..Along::default() }).await;
}

async fn store_along(opened: &mut Opened, batch: u64, operations: &[Op], along: Along) {
    opened.storage.store(batch, shared(operations), along);
    assert_eq!(opened.outcomes.recv().await, Some(Outcome::Stored(batch)));
}

fn read(stored: &Stored) -> Vec<Op> {
    let mut dots = Vec::new();
    let all = stored.headings(|heading| {
        let (origin, boot) = (heading.writer.origin.clone(), heading.writer.boot);
        dots.push(Dot { origin, boot, seq: heading.seq });
        Ok::<(), ()>(())
    });
    all.unwrap().unwrap();
    dots.iter().map(|dot| (*stored.read(dot)).clone()).collect()
}

#[tokio::test]
async fn i03_operations_survive_a_restart_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let written: Vec<Op> = (1..=3).map(operation).collect();
    {
        let mut opened = open(folder.path()).unwrap();
        store(&mut opened, 7, &written, None).await;
        assert_eq!(read(&Stored::open(folder.path()).unwrap()), written, "beside the live server");
    }
    assert_eq!(read(&open(folder.path()).unwrap().stored), written);
}

#[tokio::test]
async fn headings_are_what_the_operations_are_about() {
    let folder = tempfile::tempdir().unwrap();
    let mut written: Vec<Op> = (1..=3).map(operation).collect();
    // Of another boot of the same server, and of another server with the same boot.
    written.push(Op { dot: Dot { boot: Boot(7), ..operation(1).dot }, ..operation(4) });
    let origin = ServerName::new("server-2").unwrap();
    written.push(Op { dot: Dot { origin, ..written[3].dot.clone() }, ..operation(5) });
    let mut opened = open(folder.path()).unwrap();
    store(&mut opened, 1, &written, None).await;
    let mut missing: Vec<&Op> = written.iter().collect();
    opened
        .stored
        .headings(|heading| {
            let known = missing.iter().position(|op| Heading::of(op, &Writer::of(&op.dot)) == *heading);
            missing.remove(known.unwrap());
            Ok::<(), ()>(())
        })
        .unwrap()
        .unwrap();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The writer's connection is in use as during an fsync.
#[tokio::test]
async fn what_is_stored_is_read_again_while_the_disk_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path()).unwrap();
    let written: Vec<Op> = (1..=9).map(operation).collect();
    store(&mut opened, 1, &written, None).await;
    let reader = opened.reader;
    let busy = opened.stored.connection();
    let read = std::thread::spawn(move || {
        let writer = Writer::of(&operation(1).dot);
        let mut following = Vec::new();
        reader.read_on(&writer, 4, &mut |op| {
            following.push(op.dot.seq);
            if op.dot.seq < 8 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (reader.read(&operation(3).dot), following)
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !read.is_finished() {
        assert!(std::time::Instant::now() < deadline, "the reader waits for the writer");
        std::thread::yield_now();
    }
    drop(busy);
    let (third, following) = read.join().unwrap();
    assert_eq!((third.as_ref(), following), (&operation(3), vec![5, 6, 7, 8]));
}

#[tokio::test]
async fn what_is_shown_survives_a_restart_as_it_was_last_stored() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [
        shown(&[("server-1", BOOT, 1), ("server-2", Boot(7), 3)]),
        shown(&[("server-1", BOOT, 2), ("server-3", Boot(9), 1)]),
    ];
    {
        let mut opened = open(folder.path()).unwrap();
        assert_eq!(opened.shown, VersionVector::default(), "of a new file");
        store(&mut opened, 1, &[operation(1), operation(2)], None).await;
        store(&mut opened, 2, &[operation(3)], Some(first.clone())).await;
        assert_eq!(Stored::open(folder.path()).unwrap().shown().unwrap(), first, "beside the live server");
        store(&mut opened, 3, &[], Some(second.clone())).await;
        store(&mut opened, 4, &[operation(4)], None).await;
    }
    let opened = open(folder.path()).unwrap();
    assert_eq!(opened.shown, second);
    assert_eq!(read(&opened.stored).len(), 4, "stored is more than shown");
}

fn sent(lamport: u64, time_seconds: i64) -> Ceilings {
    let clock =
        KeptClock { ceiling: Moment::from(time_seconds * 1_000_000), offset: Offset::from_micros(-7) };
    Ceilings { lamport: Lamport::new(lamport).unwrap(), clock }
}

#[tokio::test]
async fn the_ceilings_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut opened = open(folder.path()).unwrap();
        opened.storage.cover(sent(5_000, 1_700_000_000)).await;
    }
    let found = open(folder.path()).unwrap().facts;
    assert!(found.lamport_floor >= sent(5_000, 0).lamport);
    assert!(found.clock.ceiling > Moment::from(1_700_000_000_000_000));
    assert_eq!(found.clock.offset, Offset::from_micros(-7));
}

#[tokio::test]
async fn a_higher_lamport_ceiling_is_stored_before_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path()).unwrap();
    opened.storage.cover(sent(1, 0)).await;
    // Half of what is covered is used: more is asked for behind the batches, and nobody waits.
    opened.storage.cover(sent(60_000, 0)).await;
    store(&mut opened, 1, &[operation(1)], None).await;
    drop(opened);
    assert!(open(folder.path()).unwrap().facts.lamport_floor > sent(150_000, 0).lamport);

    let mut opened = open(folder.path()).unwrap();
    opened.storage.cover(sent(120_000, 0)).await;
    opened.storage.cover(sent(2_000_000, 0)).await;
    drop(opened);
    let covered = open(folder.path()).unwrap().facts.lamport_floor;
    assert!(covered > sent(2_000_000, 0).lamport, "a leap is covered, too");
}

#[tokio::test]
async fn a_stop_stores_the_exact_time_and_a_start_that_gives_none_out_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = sent(5_000, 1_700_000_000);
    let mut opened = open(folder.path()).unwrap();
    opened.storage.cover(told).await;
    opened.storage.settle(told.clock, &opened.shown);
    drop(opened);
    for _ in 0..3 {
        let mut opened = open(folder.path()).unwrap();
        assert_eq!(opened.facts.clock, told.clock);
        opened.storage.cover(sent(5_000, 1_700_000_000)).await;
    }
}

#[tokio::test]
async fn a_stop_stores_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path()).unwrap();
    let shown = shown(&[("server-1", Boot(1), 7)]);
    opened.storage.settle(sent(0, 0).clock, &shown);
    drop(opened);
    assert_eq!(open(folder.path()).unwrap().shown, shown);
}

#[tokio::test]
async fn a_stop_does_not_take_a_lamport_ceiling_back_that_is_on_its_way_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path()).unwrap();
    opened.storage.cover(sent(1, 0)).await;
    // Nobody waits for this one.
    opened.storage.cover(sent(60_000, 0)).await;
    opened.storage.settle(sent(0, 0).clock, &opened.shown);
    drop(opened);
    assert!(open(folder.path()).unwrap().facts.lamport_floor > sent(150_000, 0).lamport);
}

#[test]
fn i03_a_folder_serves_one_server_at_a_time_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(StorageError::InUse { .. })));
    drop(opened);
    let other = ServerName::new("server-2").unwrap();
    assert!(matches!(Storage::open(folder.path(), CLUSTER, &other), Err(StorageError::Foreign { .. })));
    assert!(matches!(
        Storage::open(folder.path(), "default/outro", &server()),
        Err(StorageError::Foreign { .. })
    ));
}

#[test]
fn a_file_of_a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let connection = Connection::open(folder.path().join("history.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(open(folder.path()), Err(StorageError::Newer { found: 99, .. })));
}

/// Schema version 1 as its program wrote it: it is not to change with the code.
mod version_1 {
    use super::*;

    pub const CREATE: &str = "
        CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS operations (
            origin TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL, lamport INTEGER NOT NULL,
            identity BLOB NOT NULL CHECK (length(identity) = 16), at INTEGER NOT NULL, kind BLOB NOT NULL,
            PRIMARY KEY (origin, boot, seq)
        ) STRICT, WITHOUT ROWID;
        PRAGMA user_version = 1;
        INSERT INTO facts (name, value) VALUES ('owner', 'server-1 of default/papo'), ('lamport_ceiling', 100123);";
    /// The highest version that it opens.
    pub const NEWEST_READABLE: i64 = 2;

    pub fn open(folder: &Path) -> Connection {
        let connection = Connection::open(folder.join("history.sqlite")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection
    }

    pub fn store(connection: &Connection, operation: &Op) {
        connection
            .execute(
                "INSERT OR IGNORE INTO operations (origin, boot, seq, lamport, identity, at, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    operation.dot.origin.as_str(),
                    operation.dot.boot.0.cast_signed(),
                    operation.dot.seq.cast_signed(),
                    operation.lamport.get().cast_signed(),
                    operation.identity.0,
                    operation.at.0,
                    rmp_serde::to_vec(&operation.kind).unwrap(),
                ],
            )
            .unwrap();
    }

    pub fn count(connection: &Connection) -> i64 {
        let mut statement = connection
            .prepare("SELECT origin, boot, seq, lamport, identity, at, kind FROM operations ORDER BY origin, boot, seq")
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut count = 0;
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        count
    }
}

#[test]
fn a_file_of_the_oldest_schema_opens_and_all_that_it_held_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let written: Vec<Op> = (1..=3).map(operation).collect();
    let old = version_1::open(folder.path());
    old.execute_batch(version_1::CREATE).unwrap();
    written.iter().for_each(|operation| version_1::store(&old, operation));
    drop(old);

    let held = shown(&[("server-1", BOOT, 3)]);
    let stored = Stored::open(folder.path()).unwrap();
    assert_eq!((read(&stored), stored.shown().unwrap()), (written.clone(), held.clone()), "for an export");
    drop(stored);
    for start in ["that migrates", "after that"] {
        let opened = open(folder.path()).unwrap();
        assert_eq!(opened.shown, held, "at the start {start}");
        assert_eq!(opened.facts.lamport_floor, Lamport::new(100_123).unwrap());
        assert_eq!(opened.facts.clock, KeptClock::default(), "that program kept none");
        assert_eq!(opened.facts.epoch, Epoch::default(), "nor an epoch");
        assert_eq!(read(&opened.stored), written);
    }
}

#[tokio::test]
async fn the_program_before_works_on_the_file_and_what_it_stores_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut opened = open(folder.path()).unwrap();
        store(&mut opened, 1, &[operation(1), operation(2)], Some(shown(&[("server-1", BOOT, 1)]))).await;
    }
    let old = version_1::open(folder.path());
    let version: i64 = old.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert!(version <= version_1::NEWEST_READABLE);
    // It holds what is stored already, pulls the rest again, and begins a boot of its own.
    let theirs = |seq| Op { dot: Dot { boot: Boot(5), ..operation(seq).dot }, ..operation(seq) };
    for operation in [operation(2), operation(3), theirs(1), theirs(2), theirs(2)] {
        version_1::store(&old, &operation);
    }
    assert_eq!(version_1::count(&old), 5);
    drop(old);

    let opened = open(folder.path()).unwrap();
    assert_eq!(opened.shown, shown(&[("server-1", BOOT, 3), ("server-1", Boot(5), 2)]));
    assert_eq!(read(&opened.stored).len(), 5);
}

#[tokio::test]
async fn an_epoch_is_stored_with_its_batch_and_outlives_a_program_that_knows_none() {
    let folder = tempfile::tempdir().unwrap();
    let epoch = Epoch { number: u64::MAX - 1, boot: BOOT };
    {
        let mut opened = open(folder.path()).unwrap();
        store_along(
            &mut opened,
            1,
            &[],
            Along { epoch: Some(Epoch { number: 7, boot: BOOT }), ..Along::default() },
        )
        .await;
        store_along(&mut opened, 2, &[operation(1)], Along { epoch: Some(epoch), ..Along::default() }).await;
        store(&mut opened, 3, &[operation(2)], None).await;
    }
    version_1::store(&version_1::open(folder.path()), &operation(3));
    let opened = open(folder.path()).unwrap();
    assert_eq!(opened.facts.epoch, epoch);
    assert_eq!(read(&opened.stored).len(), 3);
}

#[test]
fn a_row_that_no_papo_wrote_is_an_error_and_no_shorter_history() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path()).unwrap();
    let connection = Connection::open(folder.path().join("history.sqlite")).unwrap();
    version_1::store(&connection, &operation(1));
    connection.execute("UPDATE operations SET kind = x'c1'", []).unwrap();
    let stored = Stored::open(folder.path()).unwrap();
    let read = stored.headings(|_| Ok::<(), ()>(()));
    assert!(matches!(read, Err(StorageError::Corrupt { seq: 1, .. })));
    drop(opened);
}
