//! The storage on real files.

use super::{Opened, Outcome, Storage, StorageError, open_for_reading, read_operations};
use papo_protocol::identity::{Boot, Dot, Identity};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::{ChannelName, ServerName, UserName};
use papo_protocol::time::{SentTimestamp, UnixMillis};
use papo_replica::{Op, OpKind};
use std::sync::Arc;

fn server() -> ServerName {
    ServerName::new("server-1").unwrap()
}

fn operation(seq: u64) -> Op {
    Op {
        dot: Dot { origin: server(), boot: Boot(u64::MAX - 1), seq },
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

#[tokio::test]
async fn i03_operations_survive_a_restart_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let written: Vec<Op> = (1..=3).map(operation).collect();
    {
        let mut opened = Storage::open(folder.path(), "default/papo", &server()).unwrap();
        opened.storage.store(7, written.iter().cloned().map(Arc::new).collect());
        assert_eq!(opened.outcomes.recv().await, Some(Outcome::Stored(7)));
        assert_eq!(read_operations(&open_for_reading(folder.path()).unwrap()).unwrap(), written);
    }
    let Opened { operations, .. } = Storage::open(folder.path(), "default/papo", &server()).unwrap();
    assert_eq!(operations, written);
}

#[tokio::test]
async fn the_lamport_ceiling_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sent = Lamport::new(5_000).unwrap();
    {
        let mut opened = Storage::open(folder.path(), "default/papo", &server()).unwrap();
        opened.storage.cover(sent).await;
    }
    let opened = Storage::open(folder.path(), "default/papo", &server()).unwrap();
    assert!(opened.lamport_floor >= sent);
}

#[test]
fn i03_a_folder_serves_one_server_at_a_time_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Storage::open(folder.path(), "default/papo", &server()).unwrap();
    assert!(matches!(
        Storage::open(folder.path(), "default/papo", &server()),
        Err(StorageError::InUse { .. })
    ));
    drop(opened);
    let other = ServerName::new("server-2").unwrap();
    assert!(matches!(
        Storage::open(folder.path(), "default/papo", &other),
        Err(StorageError::Foreign { .. })
    ));
    assert!(matches!(
        Storage::open(folder.path(), "default/outro", &server()),
        Err(StorageError::Foreign { .. })
    ));
}

#[test]
fn a_file_of_a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Storage::open(folder.path(), "default/papo", &server()).unwrap());
    let connection = rusqlite::Connection::open(folder.path().join("history.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(
        Storage::open(folder.path(), "default/papo", &server()),
        Err(StorageError::Newer { found: 99, .. })
    ));
}
