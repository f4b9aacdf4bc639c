//! PING goes to peers that know it: those that greeted 3.1 or sent one. Only these are given up when silent.

use crate::support::{RawPeer, listening, message, next_down, next_message, next_up};
use bytes::Bytes;
use papo_zmtp::{DownCause, EndpointSettings, Limits, SocketType, codec::Item, command::Command};
use std::time::Duration;

fn router(interval: Duration, timeout: Duration) -> EndpointSettings {
    let limits = Limits { heartbeat_interval: interval, heartbeat_timeout: timeout, ..Limits::default() };
    EndpointSettings { limits, ..EndpointSettings::new(SocketType::Router) }
}

#[tokio::test]
async fn a_silent_3_1_peer_is_given_up_and_a_silent_3_0_peer_is_not() {
    let settings = router(Duration::from_millis(30), Duration::from_millis(200));
    let (mut endpoint, handle, address) = listening(settings).await;
    let mut old = RawPeer::greeted(address, 0, SocketType::Dealer).await;
    let (at_old, _) = next_up(&mut endpoint).await;
    let mut new = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (at_new, _) = next_up(&mut endpoint).await;
    assert_eq!(next_down(&mut endpoint).await, (at_new, DownCause::HeartbeatTimeout));
    while let Some(item) = new.hear().await {
        assert_eq!(item, Item::Command(Command::Ping { ttl_deciseconds: 2, context: Bytes::new() }));
    }
    // A 3.0 peer would drop the connection on a PING, so it must hear none.
    handle.send(at_old, message(&[b"hi"])).unwrap();
    assert_eq!(old.hear().await, Some(Item::Message(vec!["hi".into()])));
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays() {
    let settings = router(Duration::from_millis(10), Duration::from_secs(30));
    let (mut endpoint, _handle, address) = listening(settings).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (id, _) = next_up(&mut endpoint).await;
    for _ in 0..10 {
        assert!(matches!(peer.hear().await, Some(Item::Command(Command::Ping { .. }))));
        peer.say(&Command::Pong { context: Bytes::new() }.encode()).await;
    }
    peer.say(b"\x00\x02hi").await;
    assert_eq!(next_message(&mut endpoint).await, (id, vec!["hi".into()]));
}

#[tokio::test]
async fn no_pings_when_the_interval_is_zero() {
    let (mut endpoint, handle, address) = listening(router(Duration::ZERO, Duration::from_millis(1))).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (id, _) = next_up(&mut endpoint).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    handle.send(id, message(&[b"hi"])).unwrap();
    assert_eq!(peer.hear().await, Some(Item::Message(vec!["hi".into()])));
}

#[tokio::test]
async fn a_3_0_peer_that_sends_a_ping_is_taken_at_its_word() {
    let settings = router(Duration::from_millis(30), Duration::from_millis(200));
    let (mut endpoint, _handle, address) = listening(settings).await;
    let mut peer = RawPeer::greeted(address, 0, SocketType::Dealer).await;
    let (id, _) = next_up(&mut endpoint).await;
    peer.say(&Command::Ping { ttl_deciseconds: 0, context: Bytes::new() }.encode()).await;
    assert_eq!(peer.hear().await, Some(Item::Command(Command::Pong { context: Bytes::new() })));
    assert!(matches!(peer.hear().await, Some(Item::Command(Command::Ping { .. }))));
    assert_eq!(next_down(&mut endpoint).await, (id, DownCause::HeartbeatTimeout));
}
