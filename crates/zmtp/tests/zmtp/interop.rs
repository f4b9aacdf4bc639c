//! Against the `zeromq` crate (ZMTP 3.0), each pair of types with either end listening.

use crate::support::{connecting, listening, message, next, next_down, next_message, next_up, within};
use bytes::Bytes;
use papo_zmtp::{Endpoint, EndpointHandle, EndpointSettings, Event, SocketType};
use std::time::Duration;
use zeromq::{Socket, SocketRecv, SocketSend, ZmqMessage};

/// Which end listens.
#[derive(Debug, Clone, Copy)]
enum Listener {
    Ours,
    Theirs,
}

/// Links an endpoint of ours with a socket of theirs.
async fn link<S: Socket>(ours: SocketType, listener: Listener) -> (Endpoint, EndpointHandle, S) {
    // Heartbeats all the time: a 3.0 peer must never see one.
    let mut settings = EndpointSettings::new(ours);
    settings.limits.heartbeat_interval = Duration::from_millis(5);
    let mut theirs = S::new();
    let (endpoint, handle) = match listener {
        Listener::Ours => {
            let (endpoint, handle, address) = listening(settings).await;
            within(theirs.connect(&format!("tcp://{address}"))).await.unwrap();
            (endpoint, handle)
        }
        Listener::Theirs => {
            let bound = within(theirs.bind("tcp://127.0.0.1:0")).await.unwrap();
            let address = bound.to_string().trim_start_matches("tcp://").parse().unwrap();
            connecting(settings, address)
        }
    };
    (endpoint, handle, theirs)
}

fn theirs(frames: &[&'static str]) -> ZmqMessage {
    let frames: Vec<_> = frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect();
    ZmqMessage::try_from(frames).unwrap()
}

/// Their socket enters a link a moment after its handshake and until then gives messages back.
async fn tell(socket: &mut impl SocketSend, frames: &[&'static str]) {
    within(async {
        while socket.send(theirs(frames)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn hear(socket: &mut impl SocketRecv) -> Vec<Bytes> {
    within(socket.recv()).await.unwrap().into_vec()
}

const BOTH: [Listener; 2] = [Listener::Ours, Listener::Theirs];

#[tokio::test]
async fn their_req_asks_our_router() {
    for listener in BOTH {
        let (mut router, handle, mut req) = link::<zeromq::ReqSocket>(SocketType::Router, listener).await;
        let (_, info) = next_up(&mut router).await;
        assert_eq!((info.socket, info.minor_version), (SocketType::Req, 0));
        for _ in 0..3 {
            tell(&mut req, &["question"]).await;
            let (peer, frames) = next_message(&mut router).await;
            assert_eq!(frames, ["", "question"]);
            handle.send(peer, message(&[b"", b"answer"])).unwrap();
            assert_eq!(hear(&mut req).await, ["answer"]);
        }
    }
}

#[tokio::test]
async fn our_dealer_and_req_ask_their_rep() {
    for (ours, listener) in
        [SocketType::Dealer, SocketType::Req].into_iter().flat_map(|t| BOTH.map(|l| (t, l)))
    {
        let (mut asker, handle, mut rep) = link::<zeromq::RepSocket>(ours, listener).await;
        let (peer, _) = next_up(&mut asker).await;
        for _ in 0..3 {
            handle.send(peer, message(&[b"", b"question"])).unwrap();
            assert_eq!(hear(&mut rep).await, ["question"]);
            tell(&mut rep, &["answer"]).await;
            assert_eq!(next_message(&mut asker).await.1, ["", "answer"]);
        }
    }
}

#[tokio::test]
async fn their_dealer_talks_to_our_router_rep_and_dealer() {
    for ours in [SocketType::Router, SocketType::Rep, SocketType::Dealer] {
        for listener in BOTH {
            let (mut endpoint, handle, mut dealer) = link::<zeromq::DealerSocket>(ours, listener).await;
            let (peer, _) = next_up(&mut endpoint).await;
            tell(&mut dealer, &["", "question"]).await;
            assert_eq!(next_message(&mut endpoint).await.1, ["", "question"]);
            let body = vec![b'x'; 300_000];
            handle.send(peer, message(&[b"", &body])).unwrap();
            assert_eq!(hear(&mut dealer).await, [Bytes::new(), Bytes::from(body)]);
        }
    }
}

#[tokio::test]
async fn our_dealer_talks_to_their_router() {
    for listener in BOTH {
        let (mut dealer, handle, mut router) =
            link::<zeromq::RouterSocket>(SocketType::Dealer, listener).await;
        let (peer, _) = next_up(&mut dealer).await;
        handle.send(peer, message(&[b"", b"question"])).unwrap();
        let heard = hear(&mut router).await;
        assert_eq!(heard[1..], ["", "question"]);
        let answer = vec![heard[0].clone(), Bytes::new(), Bytes::from_static(b"answer")];
        within(router.send(ZmqMessage::try_from(answer).unwrap())).await.unwrap();
        assert_eq!(next_message(&mut dealer).await.1, ["", "answer"]);
    }
}

#[tokio::test]
async fn their_sub_subscribes_at_our_xpub_and_pub() {
    for ours in [SocketType::Xpub, SocketType::Pub] {
        for listener in BOTH {
            let (mut publisher, handle, mut sub) = link::<zeromq::SubSocket>(ours, listener).await;
            let (peer, _) = next_up(&mut publisher).await;
            within(sub.subscribe("ana")).await.unwrap();
            let Event::Subscribe { peer: by, topic } = next(&mut publisher).await else {
                panic!("no subscription")
            };
            assert_eq!((by, topic), (peer, "ana".into()));
            handle.send(peer, message(&[b"ana", b"hello"])).unwrap();
            assert_eq!(hear(&mut sub).await, ["ana", "hello"]);
            within(sub.unsubscribe("ana")).await.unwrap();
            assert!(matches!(next(&mut publisher).await, Event::Cancel { topic, .. } if topic == "ana"));
            drop(sub);
            assert_eq!(next_down(&mut publisher).await.0, peer);
        }
    }
}

#[tokio::test]
async fn our_xsub_and_sub_subscribe_at_their_pub() {
    for ours in [SocketType::Xsub, SocketType::Sub] {
        for listener in BOTH {
            let (mut subscriber, handle, mut publisher) = link::<zeromq::PubSocket>(ours, listener).await;
            let (peer, _) = next_up(&mut subscriber).await;
            handle.subscribe(peer, b"ana").unwrap();
            // Their PUB does not tell when it has understood: publish until it arrives.
            let publish = async {
                loop {
                    publisher.send(theirs(&["ana", "hello"])).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::select! {
                (_, frames) = next_message(&mut subscriber) => assert_eq!(frames, ["ana", "hello"]),
                () = publish => {}
            }
        }
    }
}
