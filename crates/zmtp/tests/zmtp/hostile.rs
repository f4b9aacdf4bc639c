//! Peers that mean harm, over raw TCP: each loses its own link with the cause named, and a well-behaved one goes on.

use crate::support::{
    RawPeer, greeting, listening, message, next, next_down, next_failed, next_message, next_up, ready, within,
};
use bytes::Bytes;
use papo_zmtp::{DownCause, EndpointSettings, Event, Limits, SocketType, codec::Item, command::Command};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn router(limits: Limits) -> EndpointSettings {
    EndpointSettings { limits, ..EndpointSettings::new(SocketType::Router) }
}

/// Sends `bytes` after the handshake and expects the link to end with `expected`, while another link goes on.
async fn ends_with(limits: Limits, bytes: &[u8], expected: impl Fn(&DownCause) -> bool) {
    let (mut endpoint, handle, address) = listening(router(limits)).await;
    let mut good = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (at_good, _) = next_up(&mut endpoint).await;
    let mut bad = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (at_bad, _) = next_up(&mut endpoint).await;
    bad.say(bytes).await;
    let (peer, cause) = next_down(&mut endpoint).await;
    assert_eq!(peer, at_bad);
    assert!(expected(&cause), "{cause:?}");
    assert!(bad.hear().await.is_none());
    good.say(b"\x00\x02hi").await;
    assert_eq!(next_message(&mut endpoint).await, (at_good, vec!["hi".into()]));
    handle.send(at_good, message(&[b"ho"])).unwrap();
    assert_eq!(good.hear_message().await, ["ho"]);
}

fn is_limit(cause: &DownCause) -> bool {
    matches!(cause, DownCause::Limit(_))
}

fn is_protocol(cause: &DownCause) -> bool {
    matches!(cause, DownCause::Protocol(_))
}

#[tokio::test]
async fn a_header_that_claims_a_tebibyte_ends_only_its_own_link() {
    for size in [1_u64 << 40, u64::MAX, (1 << 20) + 1] {
        let header = [[0x02].as_slice(), &size.to_be_bytes()].concat();
        ends_with(Limits::default(), &header, is_limit).await;
        let command = [[0x06].as_slice(), &size.to_be_bytes()].concat();
        ends_with(Limits::default(), &command, is_limit).await;
    }
}

#[tokio::test]
async fn an_endless_multipart_message_ends_only_its_own_link() {
    // By parts, and by bytes.
    ends_with(Limits::default(), &b"\x01\x00".repeat(100), is_limit).await;
    let large = [b"\x03".as_slice(), &(1_u64 << 20).to_be_bytes(), &vec![0; 1 << 20]].concat();
    ends_with(Limits::default(), &large.repeat(5), is_limit).await;
}

#[tokio::test]
async fn garbage_and_wrong_commands_end_only_their_own_link() {
    for bytes in [
        b"\xff\xff\xff\xff".as_slice(),                // reserved flags
        b"\x05\x01\x00",                               // a command with MORE
        b"\x04\x00",                                   // a command without a name
        b"\x04\x05\x04PING",                           // a PING without TTL
        b"\x04\x0a\x05ERROR\x03bye",                   // ERROR
        b"\x04\x06\x05READY",                          // READY again
        b"\x04\x10\x05READY\x01a\xff\xff\xff\xff1234", // a property of 4 GiB
    ] {
        ends_with(Limits::default(), bytes, is_protocol).await;
    }
}

#[tokio::test]
async fn pings_are_answered_and_unknown_commands_ignored_also_within_a_message() {
    let (mut endpoint, _handle, address) = listening(router(Limits::default())).await;
    for minor in [0, 1] {
        let mut peer = RawPeer::greeted(address, minor, SocketType::Dealer).await;
        next_up(&mut endpoint).await;
        peer.say(b"\x01\x01a\x04\x09\x04PING\x00\x0acd\x04\x05\x04WHAT\x00\x01b").await;
        assert_eq!(peer.hear().await, Some(Item::Command(Command::Pong { context: "cd".into() })));
        assert_eq!(next_message(&mut endpoint).await.1, ["a", "b"]);
        drop(peer);
        next_down(&mut endpoint).await;
    }
}

#[tokio::test]
async fn a_greeting_in_single_bytes_with_data_behind_it_is_understood() {
    let (mut endpoint, _handle, address) = listening(router(Limits::default())).await;
    let mut peer = RawPeer::connect(address).await;
    peer.stream.set_nodelay(true).unwrap();
    let wire = [greeting(3, 0).as_slice(), &ready(SocketType::Req), b"\x01\x00\x00\x02hi"].concat();
    for byte in wire {
        peer.say(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(next_up(&mut endpoint).await.1.socket, SocketType::Req);
    assert_eq!(next_message(&mut endpoint).await.1, ["", "hi"]);
}

#[tokio::test]
async fn a_peer_of_another_kind_is_refused_with_the_cause() {
    let (mut endpoint, _handle, address) = listening(router(Limits::default())).await;
    let mut curve = greeting(3, 1);
    curve[12..17].copy_from_slice(b"CURVE");
    let with = |behind: &[u8]| [greeting(3, 1).as_slice(), behind].concat();
    for wire in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x01\x00".to_vec(),
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05".to_vec(),
        curve,
        with(&ready(SocketType::Sub)),
        with(b"\x04\x06\x05READY"),
        with(b"\x00\x02hi"),
        with(b"\x04\x05\x04WHAT"),
        with(b"\x04\x0a\x05ERROR\x03bye"),
    ] {
        let mut peer = RawPeer::connect(address).await;
        peer.say(&wire).await;
        let cause = next_failed(&mut endpoint).await;
        assert!(is_protocol(&cause), "{cause:?}");
    }
    let mut peer = RawPeer::connect(address).await;
    peer.say(&with(b"\x06\x00\x00\x01\x00\x00\x00\x00\x00")).await;
    assert!(is_limit(&next_failed(&mut endpoint).await));
    let mut peer = RawPeer::connect(address).await;
    peer.say(&greeting(3, 1)[..30]).await;
    drop(peer);
    assert_eq!(next_failed(&mut endpoint).await, DownCause::PeerClosed);
}

#[tokio::test]
async fn a_slow_greeter_is_given_up() {
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let (mut endpoint, _handle, address) = listening(router(limits)).await;
    let _silent = RawPeer::connect(address).await;
    assert_eq!(next_failed(&mut endpoint).await, DownCause::HandshakeTimeout);
    let mut half = RawPeer::connect(address).await;
    half.say(&greeting(3, 1)).await;
    assert_eq!(next_failed(&mut endpoint).await, DownCause::HandshakeTimeout);
}

#[tokio::test]
async fn connections_over_the_bounds_are_refused_and_a_freed_place_is_used_again() {
    for limits in [
        Limits { connections: 2, ..Limits::default() },
        Limits { connections_per_address: 2, ..Limits::default() },
    ] {
        let (mut endpoint, _handle, address) = listening(router(limits)).await;
        let first = RawPeer::greeted(address, 1, SocketType::Dealer).await;
        let (at_first, _) = next_up(&mut endpoint).await;
        let _second = RawPeer::greeted(address, 1, SocketType::Dealer).await;
        next_up(&mut endpoint).await;
        let _third = RawPeer::connect(address).await;
        assert!(is_limit(&next_failed(&mut endpoint).await));
        drop(first);
        assert_eq!(next_down(&mut endpoint).await.0, at_first);
        // The place is free a moment after Down is told.
        within(async {
            loop {
                let mut fourth = RawPeer::connect(address).await;
                fourth.say(&[greeting(3, 1).as_slice(), &ready(SocketType::Dealer)].concat()).await;
                match next(&mut endpoint).await {
                    Event::Up { .. } => break,
                    Event::Failed { .. } => {}
                    event => panic!("{event:?}"),
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn subscriptions_over_the_bounds_end_the_link() {
    let subscribe = |topic: &[u8]| Command::Subscribe { topic: Bytes::copy_from_slice(topic) }.encode();
    let numbered: Vec<u8> = (0..200_u32).flat_map(|topic| subscribe(&topic.to_be_bytes())).collect();
    let evading: Vec<u8> = (0..200_u32)
        .flat_map(|topic| {
            let cancel = Command::Cancel { topic: Bytes::from_static(b"never had") };
            [subscribe(&topic.to_be_bytes()), cancel.encode()].concat()
        })
        .collect();
    let as_message = [[0x02].as_slice(), &1100_u64.to_be_bytes(), &[1; 1100]].concat();
    for (wire, count) in [(numbered, 50), (evading, 50), (subscribe(&[7; 1025]).to_vec(), 0), (as_message, 0)]
    {
        let limits = Limits { subscriptions_per_peer: 50, ..Limits::default() };
        let settings = EndpointSettings { limits, ..EndpointSettings::new(SocketType::Xpub) };
        let (mut endpoint, _handle, address) = listening(settings).await;
        let mut peer = RawPeer::greeted(address, 1, SocketType::Sub).await;
        next_up(&mut endpoint).await;
        peer.say(&wire).await;
        for _ in 0..count {
            assert!(matches!(next(&mut endpoint).await, Event::Subscribe { .. }));
        }
        assert!(is_limit(&next_down(&mut endpoint).await.1));
    }
    let limits = Limits { subscription_bytes_per_peer: 1000, ..Limits::default() };
    let settings = EndpointSettings { limits, ..EndpointSettings::new(SocketType::Pub) };
    let (mut endpoint, _handle, address) = listening(settings).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Sub).await;
    next_up(&mut endpoint).await;
    peer.say(&[subscribe(&[7; 600]), subscribe(&[8; 600])].concat()).await;
    assert!(matches!(next(&mut endpoint).await, Event::Subscribe { .. }));
    assert!(is_limit(&next_down(&mut endpoint).await.1));
}

#[tokio::test]
async fn links_that_together_park_too_much_are_closed() {
    let limits = Limits { receiving_bytes: 1 << 20, ..Limits::default() };
    let (mut endpoint, _handle, address) = listening(router(limits)).await;
    let part = [b"\x03".as_slice(), &600_000_u64.to_be_bytes(), &vec![0; 600_000]].concat();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let peer = RawPeer::greeted(address, 1, SocketType::Dealer).await;
        next_up(&mut endpoint).await;
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.say(&part).await;
    }
    assert!(is_limit(&next_down(&mut endpoint).await.1));
    // What the closed one held is free again: the other finishes its message.
    for peer in &mut peers {
        peer.say(b"\x00\x00").await;
    }
    assert_eq!(next_message(&mut endpoint).await.1.len(), 2);
}

#[tokio::test]
async fn messages_that_wait_for_the_owner_are_bounded_in_bytes_too() {
    let limits = Limits { event_bytes: 1 << 20, ..Limits::default() };
    let (mut endpoint, _handle, address) = listening(router(limits)).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    next_up(&mut endpoint).await;
    let frame = [b"\x02".as_slice(), &400_000_u64.to_be_bytes(), &vec![0; 400_000]].concat();
    let flood = tokio::spawn(async move {
        for _ in 0..100 {
            peer.stream.write_all(&frame).await.unwrap();
        }
        peer
    });
    for _ in 0..100 {
        assert_eq!(next_message(&mut endpoint).await.1[0].len(), 400_000);
    }
    drop(flood.await.unwrap());
    next_down(&mut endpoint).await;
}

#[tokio::test]
async fn a_peer_that_pings_without_reading_costs_a_bounded_queue() {
    let limits = Limits { queue_messages_per_peer: 100, ..Limits::default() };
    let (mut endpoint, handle, address) = listening(router(limits)).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (id, _) = next_up(&mut endpoint).await;
    let pings = b"\x04\x17\x04PING\x00\x000123456789abcdef".repeat(1000);
    for _ in 0..500 {
        peer.say(&pings).await;
    }
    peer.say(b"\x00\x04done").await;
    assert_eq!(next_message(&mut endpoint).await.1, ["done"]);
    // 100 PONGs wait, and at most a batch of 64 is being written.
    assert!(handle.queued_bytes(id) <= 164 * 32);
}

#[tokio::test]
async fn a_pub_takes_no_messages_and_a_dealer_no_subscriptions() {
    let (mut publisher, _handle, address) = listening(EndpointSettings::new(SocketType::Pub)).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Xsub).await;
    next_up(&mut publisher).await;
    peer.say(b"\x00\x03xyz\x01\x01a\x00\x01b\x00\x00\x00\x01\x01").await;
    assert!(matches!(next(&mut publisher).await, Event::Subscribe { topic, .. } if topic.is_empty()));

    let (mut dealer, _handle, address) = listening(EndpointSettings::new(SocketType::Dealer)).await;
    let mut peer = RawPeer::greeted(address, 1, SocketType::Router).await;
    next_up(&mut dealer).await;
    peer.say(b"\x04\x0d\x09SUBSCRIBEana\x00\x02\x01a").await;
    assert_eq!(next_message(&mut dealer).await.1, ["\u{1}a"]);
}
