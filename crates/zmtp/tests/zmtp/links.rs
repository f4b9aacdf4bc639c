//! Endpoints against each other: messages both ways, order, ends, reconnecting.

use crate::support::{
    LOOPBACK, RawPeer, connecting, listening, message, next, next_down, next_message, next_of_peer, next_up,
    within,
};
use bytes::Bytes;
use papo_zmtp::{
    DownCause, Encoded, Endpoint, EndpointSettings, Event, Limits, OnFull, PeerId, SendError, SocketType,
};
use std::time::Duration;

#[tokio::test]
async fn messages_go_both_ways_and_say_who_the_peer_is() {
    let mut dealer = EndpointSettings::new(SocketType::Dealer);
    dealer.properties.push(("X-Papo-Token".to_owned(), Bytes::from_static(b"secret")));
    let (mut router, router_handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let (mut dealer, dealer_handle) = connecting(dealer, address);

    let (at_router, info) = next_up(&mut router).await;
    assert_eq!((info.socket, info.minor_version, info.link), (SocketType::Dealer, 1, None));
    assert_eq!(info.property("x-papo-TOKEN").map(Bytes::as_ref), Some(b"secret".as_slice()));
    assert!(info.property("socket-type").is_none());
    let (at_dealer, info) = next_up(&mut dealer).await;
    assert_eq!(info.address, address);
    assert!(info.link.is_some());

    dealer_handle.send(at_dealer, message(&[b"", b"question"])).unwrap();
    assert_eq!(next_message(&mut router).await, (at_router, vec!["".into(), "question".into()]));
    router_handle.send(at_router, message(&[b"", b"answer"])).unwrap();
    assert_eq!(next_message(&mut dealer).await, (at_dealer, vec!["".into(), "answer".into()]));
}

#[tokio::test]
async fn frames_of_every_size_arrive_whole_and_in_order() {
    let (mut router, _router_handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let (mut dealer, dealer_handle) = connecting(EndpointSettings::new(SocketType::Dealer), address);
    let (peer, _) = next_up(&mut dealer).await;
    next_up(&mut router).await;
    let sizes = [0, 1, 255, 256, 4096, 16_383, 16_384, 65_536, 300_000, 1 << 20];
    let body = |size: usize| Bytes::from((0..=250_u8).cycle().take(size).collect::<Vec<_>>());
    for size in sizes {
        dealer_handle.send(peer, Encoded::new(&[body(size), body(7)])).unwrap();
    }
    for size in sizes {
        assert_eq!(next_message(&mut router).await.1, [body(size), body(7)]);
    }
}

#[tokio::test]
async fn subscriptions_arrive_from_both_minor_versions_and_are_a_set() {
    let (mut xpub, _handle, address) = listening(EndpointSettings::new(SocketType::Xpub)).await;
    let (mut sub, sub_handle) = connecting(EndpointSettings::new(SocketType::Sub), address);
    let (at_sub, _) = next_up(&mut sub).await;
    let (at_xpub, _) = next_up(&mut xpub).await;
    sub_handle.subscribe(at_sub, b"ana").unwrap();
    sub_handle.subscribe(at_sub, b"ana").unwrap();
    sub_handle.cancel(at_sub, b"never").unwrap();
    sub_handle.cancel(at_sub, b"ana").unwrap();
    let expect = |event: Event, subscribed: bool, by: PeerId| match event {
        Event::Subscribe { peer, topic } => assert!(subscribed && peer == by && topic == "ana"),
        Event::Cancel { peer, topic } => assert!(!subscribed && peer == by && topic == "ana"),
        event => panic!("{event:?}"),
    };
    expect(next(&mut xpub).await, true, at_xpub);
    expect(next(&mut xpub).await, false, at_xpub);

    let mut old = RawPeer::greeted(address, 0, SocketType::Sub).await;
    let (at_xpub, info) = next_up(&mut xpub).await;
    assert_eq!(info.minor_version, 0);
    old.say(b"\x00\x04\x01ana").await;
    old.say(b"\x00\x04\x00ana").await;
    expect(next(&mut xpub).await, true, at_xpub);
    expect(next(&mut xpub).await, false, at_xpub);
}

#[tokio::test]
async fn a_subscription_goes_as_a_message_to_a_3_0_peer_and_as_a_command_to_a_3_1_peer() {
    use papo_zmtp::{codec::Item, command::Command};
    let (mut sub, handle, address) = listening(EndpointSettings::new(SocketType::Sub)).await;
    for minor in [0, 1] {
        let mut publisher = RawPeer::greeted(address, minor, SocketType::Pub).await;
        let (peer, _) = next_up(&mut sub).await;
        handle.subscribe(peer, b"ana").unwrap();
        handle.cancel(peer, b"ana").unwrap();
        let heard = [publisher.hear().await.unwrap(), publisher.hear().await.unwrap()];
        let topic = Bytes::from_static(b"ana");
        let expected = match minor {
            0 => [Item::Message(vec!["\u{1}ana".into()]), Item::Message(vec!["\0ana".into()])],
            _ => [
                Item::Command(Command::Subscribe { topic: topic.clone() }),
                Item::Command(Command::Cancel { topic }),
            ],
        };
        assert_eq!(heard, expected);
        drop(publisher);
        assert_eq!(next_down(&mut sub).await.0, peer);
    }
}

#[tokio::test]
async fn each_up_is_followed_by_one_down_and_sends_are_refused_after() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    for _ in 0..20 {
        let mut raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
        raw.say(b"\x00\x02hi").await;
        drop(raw);
        let (peer, _) = next_up(&mut router).await;
        assert_eq!(next_message(&mut router).await.0, peer);
        assert_eq!(next_down(&mut router).await.0, peer);
        assert_eq!(handle.send(peer, message(&[b"late"])), Err(SendError::Gone));
        assert_eq!(handle.queued_bytes(peer), 0);
    }
}

#[tokio::test]
async fn a_connector_comes_back_when_the_listener_does() {
    let (mut first, first_handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let (mut dealer, dealer_handle) = connecting(EndpointSettings::new(SocketType::Dealer), address);
    let (before, _) = next_up(&mut dealer).await;
    next_up(&mut first).await;
    first_handle.shutdown();
    next_down(&mut first).await;
    assert!(within(first.next()).await.is_none());
    assert_eq!(next_down(&mut dealer).await, (before, DownCause::PeerClosed));

    let (mut second, second_handle) = Endpoint::new(EndpointSettings::new(SocketType::Router));
    second_handle.bind(address).await.unwrap();
    let (after, _) = next_up(&mut dealer).await;
    assert_ne!(before, after);
    next_up(&mut second).await;
    dealer_handle.send(after, message(&[b"again"])).unwrap();
    assert_eq!(next_message(&mut second).await.1, ["again"]);
}

#[tokio::test]
async fn a_connector_finds_a_listener_that_starts_later_by_name() {
    let reserved = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let (mut dealer, handle) = Endpoint::new(EndpointSettings::new(SocketType::Dealer));
    let link = handle.connect(&format!("localhost:{}", address.port()));
    assert!(matches!(next(&mut dealer).await, Event::Failed { link: Some(failed), .. } if failed == link));
    let (_router, router_handle) = Endpoint::new(EndpointSettings::new(SocketType::Router));
    router_handle.bind(address).await.unwrap();
    assert_eq!(next_up(&mut dealer).await.1.link, Some(link));
}

#[tokio::test]
async fn disconnect_ends_the_link_for_good() {
    let (mut router, _router_handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let (mut dealer, handle) = Endpoint::new(EndpointSettings::new(SocketType::Dealer));
    let link = handle.connect(&address.to_string());
    let (peer, _) = next_up(&mut dealer).await;
    next_up(&mut router).await;
    handle.disconnect(link);
    assert_eq!(next_down(&mut dealer).await, (peer, DownCause::ClosedHere));
    next_down(&mut router).await;
    handle.shutdown();
    assert!(within(dealer.next()).await.is_none());
}

#[tokio::test]
async fn close_after_flush_delivers_what_was_queued_though_the_peer_still_talks() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let mut raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (peer, _) = next_up(&mut router).await;
    let body = vec![7; 500_000];
    for _ in 0..4 {
        handle.send(peer, message(&[&body])).unwrap();
    }
    handle.close_after_flush(peer);
    assert_eq!(handle.send(peer, message(&[b"late"])), Err(SendError::Gone));
    raw.say(b"\x00\x05never").await;
    for _ in 0..4 {
        assert_eq!(raw.hear_message().await, [Bytes::from(body.clone())]);
    }
    assert!(raw.hear().await.is_none());
    drop(raw);
    assert_eq!(next_down(&mut router).await, (peer, DownCause::ClosedHere));
}

#[tokio::test]
async fn close_after_flush_gives_up_on_a_peer_that_does_not_read() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let _raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (peer, _) = next_up(&mut router).await;
    while handle.send(peer, message(&[&[0; 100_000]])).is_ok() {}
    handle.close_after_flush(peer);
    assert_eq!(next_down(&mut router).await, (peer, DownCause::ClosedHere));
}

#[tokio::test]
async fn close_ends_one_link_at_once_and_leaves_the_others() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let mut leaves = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (left, _) = next_up(&mut router).await;
    let mut stays = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (stayed, _) = next_up(&mut router).await;
    handle.close(left);
    assert!(leaves.hear().await.is_none());
    assert_eq!(next_down(&mut router).await, (left, DownCause::ClosedHere));
    handle.send(stayed, message(&[b"still here"])).unwrap();
    assert_eq!(stays.hear_message().await, ["still here"]);
}

#[tokio::test]
async fn stop_listening_refuses_newcomers_and_keeps_links() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let mut raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (peer, _) = next_up(&mut router).await;
    handle.stop_listening();
    within(async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await;
    handle.send(peer, message(&[b"still here"])).unwrap();
    assert_eq!(raw.hear_message().await, ["still here"]);
    handle.bind(address).await.unwrap();
    RawPeer::greeted(address, 1, SocketType::Dealer).await;
}

#[tokio::test]
async fn shutdown_flushes_every_link_and_then_ends() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let (mut dealer, _dealer_handle) = connecting(EndpointSettings::new(SocketType::Dealer), address);
    let (peer, _) = next_up(&mut router).await;
    next_up(&mut dealer).await;
    // Half a handshake must not hold up the end.
    let _silent = RawPeer::connect(address).await;
    for _ in 0..1000 {
        handle.send(peer, message(&[b"farewell"])).unwrap();
    }
    handle.shutdown();
    assert!(handle.bind(LOOPBACK).await.is_err());
    handle.connect(&address.to_string());
    for _ in 0..1000 {
        assert_eq!(next_message(&mut dealer).await.1, ["farewell"]);
    }
    assert_eq!(next_down(&mut dealer).await.1, DownCause::PeerClosed);
    assert_eq!(next_down(&mut router).await.1, DownCause::ClosedHere);
    assert!(within(router.next()).await.is_none());
}

#[tokio::test]
async fn dropping_the_endpoint_closes_everything() {
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let mut raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (peer, _) = next_up(&mut router).await;
    drop(router);
    assert!(raw.hear().await.is_none());
    within(async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await;
    within(async {
        while handle.send(peer, message(&[b"late"])).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_wait_for_events_loses_none() {
    let (mut router, _handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let mut raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    next_up(&mut router).await;
    let mut expected = 0_u8;
    for count in 0..200 {
        raw.say(&[0, 1, count]).await;
        if let Ok(Some(Event::Message { frames, .. })) =
            tokio::time::timeout(Duration::from_micros(50), router.next()).await
        {
            assert_eq!(frames, [vec![expected]]);
            expected += 1;
        }
    }
    while expected < 200 {
        assert_eq!(next_message(&mut router).await.1, [vec![expected]]);
        expected += 1;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_or_drops_the_oldest_and_the_healthy_do_not_notice() {
    for on_full in [OnFull::Refuse, OnFull::DropOldest] {
        let mut settings = EndpointSettings::new(SocketType::Xpub);
        settings.on_full = on_full;
        settings.limits = Limits { queue_messages_per_peer: 8, ..Limits::default() };
        let (mut xpub, handle, address) = listening(settings).await;
        let mut frozen = RawPeer::greeted(address, 1, SocketType::Sub).await;
        let (at_frozen, _) = next_up(&mut xpub).await;
        let mut healthy = RawPeer::greeted(address, 1, SocketType::Sub).await;
        let (at_healthy, _) = next_up(&mut xpub).await;
        let large = message(&[&[0; 100_000]]);
        let mut sent = 0;
        within(async {
            loop {
                match handle.send(at_frozen, large.clone()) {
                    Ok(outcome) if outcome.dropped > 0 => break assert_eq!(on_full, OnFull::DropOldest),
                    Ok(_) => sent += 1,
                    Err(SendError::Full) => break assert_eq!(on_full, OnFull::Refuse),
                    Err(SendError::Gone) => panic!("gone"),
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(handle.queued_bytes(at_frozen) >= 8 * 100_000);
        for _ in 0..100 {
            handle.send(at_healthy, message(&[b"news"])).unwrap();
            assert_eq!(healthy.hear_message().await, ["news"]);
        }
        // Once it thaws, the frozen gets all that was not dropped.
        for _ in 0..sent {
            assert_eq!(frozen.hear_message().await[0].len(), 100_000);
        }
        within(async {
            while handle.queued_bytes(at_frozen) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_posted_to_several_goes_at_the_flush_and_who_could_not_take_it_is_named() {
    let mut settings = EndpointSettings::new(SocketType::Router);
    settings.limits = Limits { queue_messages_per_peer: 8, ..Limits::default() };
    let (mut router, handle, address) = listening(settings).await;
    let _frozen = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (at_frozen, _) = next_up(&mut router).await;
    let mut healthy = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (at_healthy, _) = next_up(&mut router).await;
    let large = message(&[&[0; 100_000]]);
    while handle.send(at_frozen, large.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    let posted = handle.post([at_frozen, at_healthy, PeerId(99)], &message(&[b"news"]));
    assert_eq!(posted.refused, [(at_frozen, SendError::Full), (PeerId(99), SendError::Gone)]);
    for _ in 0..7 {
        assert!(handle.post([at_healthy], &message(&[b"more"])).refused.is_empty());
    }
    assert_eq!(handle.post([at_healthy], &message(&[b"much"])).refused, [(at_healthy, SendError::Full)]);
    handle.flush();
    assert_eq!(handle.queued_bytes(at_healthy), 0, "written at once");
    assert_eq!(healthy.hear_message().await, ["news"]);
}

#[tokio::test]
async fn an_owner_that_takes_no_events_stops_the_reading_but_not_the_writing() {
    let mut settings = EndpointSettings::new(SocketType::Router);
    settings.event_capacity = 4;
    let (mut router, handle, address) = listening(settings).await;
    let raw = RawPeer::greeted(address, 1, SocketType::Dealer).await;
    let (peer, _) = next_up(&mut router).await;
    let (mut read_half, mut write_half) = raw.stream.into_split();
    let mut flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let frame = [b"\x00\xff".as_slice(), &[9; 255]].concat();
        let mut written = 0_u64;
        while written < 64 << 20 {
            if write_half.write_all(&frame).await.is_err() {
                break;
            }
            written += frame.len() as u64;
        }
    });
    // The flood comes to a stand, since nobody takes events.
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut flood).await.is_err());
    handle.send(peer, message(&[b"written all the same"])).unwrap();
    let mut heard = [0; 22];
    within(tokio::io::AsyncReadExt::read_exact(&mut read_half, &mut heard)).await.unwrap();
    assert_eq!(&heard[2..], b"written all the same");
    flood.abort();
    drop(read_half);
    // All that was said before the end arrives whole, then the end.
    loop {
        match next_of_peer(&mut router).await {
            Event::Message { frames, .. } => assert_eq!(frames[0].len(), 255),
            Event::Down { .. } => break,
            event => panic!("{event:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_always_has_more_to_say_is_written_to_all_the_same() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut router, handle, address) = listening(EndpointSettings::new(SocketType::Router)).await;
    let raw = RawPeer::greeted(address, 0, SocketType::Dealer).await;
    let (peer, _) = next_up(&mut router).await;
    let (mut read_half, mut write_half) = raw.stream.into_split();
    let flood = tokio::spawn(async move {
        let frames = b"\x00\x02hi".repeat(10_000);
        while write_half.write_all(&frames).await.is_ok() {}
    });
    let mut hearing = tokio::spawn(async move {
        let mut heard = [0; 6];
        for _ in 0..100 {
            within(read_half.read_exact(&mut heard)).await.unwrap();
        }
    });
    for _ in 0..100 {
        handle.send(peer, message(&[b"news"])).unwrap();
        for _ in 0..100 {
            next_message(&mut router).await;
        }
    }
    // The owner goes on taking events: nothing but fairness can bring the rest through.
    within(async {
        loop {
            tokio::select! {
                heard = &mut hearing => break heard.unwrap(),
                _ = router.next() => {}
            }
        }
    })
    .await;
    flood.abort();
}
