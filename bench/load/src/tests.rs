//! The loads against a proxy of threads and blocking sockets, which can be told to misbehave: what it does must be found.

use crate::cpu::tests::Busy;
use crate::link::shake_hands;
use crate::pubsub::{self, Pace, Sides};
use crate::report::Faults;
use crate::requests::{self, What};
use crate::span::Plan;
use crate::wire::{Piece, next_piece};
use crate::workers::Workers;
use papo_zmtp::command::Command;
use papo_zmtp::{Encoded, SocketType};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of a connection's request or numbered publication of this number (from 1) on its way.
type Fate = fn(u64, &[u8]) -> Vec<u8>;

fn honest(_: u64, wire: &[u8]) -> Vec<u8> {
    wire.to_vec()
}

fn listen(on_connection: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let on_connection = on_connection.clone();
            thread::spawn(move || on_connection(stream.unwrap()));
        }
    });
    address
}

/// Reads to the end of a connection.
fn each_piece(stream: &mut TcpStream, mut buffer: Vec<u8>, mut on_piece: impl FnMut(Piece<'_>)) {
    let mut read = [0; 4096];
    loop {
        while let Some((piece, rest)) = next_piece(&buffer).unwrap() {
            on_piece(piece);
            buffer = rest.to_vec();
        }
        match stream.read(&mut read) {
            Ok(count) if count > 0 => buffer.extend_from_slice(&read[..count]),
            _ => return,
        }
    }
}

/// A ROUTER that answers by itself.
fn echo(fate: Fate) -> SocketAddr {
    listen(move |mut stream| {
        let buffer = shake_hands(&mut stream, SocketType::Router).unwrap();
        let mut number = 0;
        let mut replies = stream.try_clone().unwrap();
        each_piece(&mut stream, buffer, |piece| {
            if let Piece::Message(message) = piece {
                number += 1;
                let _ = replies.write_all(&fate(number, message.wire));
            }
        });
    })
}

/// XSUB and XPUB.
fn proxy(fate: Fate) -> Sides {
    let subscribers: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let subscribed = Arc::clone(&subscribers);
    let subscribe = listen(move |mut stream| {
        let buffer = shake_hands(&mut stream, SocketType::Xpub).unwrap();
        let sender = stream.try_clone().unwrap();
        each_piece(&mut stream, buffer, |piece| {
            assert_eq!(piece, Piece::Command(b"\x09SUBSCRIBEbench"));
            subscribed.lock().unwrap().push(sender.try_clone().unwrap());
        });
    });
    let publish = listen(move |mut stream| {
        let buffer = shake_hands(&mut stream, SocketType::Xsub).unwrap();
        stream.write_all(&Command::Subscribe { topic: "".into() }.encode()).unwrap();
        let mut number = 0;
        each_piece(&mut stream, buffer, |piece| {
            if let Piece::Message(message) = piece {
                number += u64::from(message.body.starts_with(b"N"));
                let wire = fate(number, message.wire);
                for subscriber in subscribers.lock().unwrap().iter_mut() {
                    let _ = subscriber.write_all(&wire);
                }
            }
        });
    });
    Sides { publish, subscribe }
}

fn plan() -> Plan {
    Plan {
        warmup: Duration::from_millis(50),
        measured: Duration::from_millis(300),
        drain: Duration::from_millis(500),
        pids: Vec::new(),
    }
}

fn faults_of_requests(fate: Fate) -> Faults {
    requests::run(&[echo(fate)], 3, What::Echo, 200, plan()).unwrap().faults
}

fn faults_of_publications(fate: Fate) -> Faults {
    pubsub::run(proxy(fate), 3, 200, Pace::Window(20), plan()).unwrap().faults
}

#[test]
fn requests_are_answered_and_measured() {
    let process = Busy::start();
    let plan = Plan { pids: vec![process.pid()], ..plan() };
    let measured = requests::run(&[echo(honest)], 3, What::Echo, 200, plan).unwrap();
    assert_eq!(measured.faults, Faults::default());
    assert!(measured.count > 0 && measured.seconds >= 0.3, "{measured:?}");
    assert!(measured.p50_us <= measured.p99_us && measured.p50_us > Some(0.0), "{measured:?}");
    assert!(measured.cpu_us > Some(0.0), "{measured:?}");
    let expected = measured.count as f64 / measured.seconds;
    assert!((measured.per_second - expected).abs() < 1.0, "{measured:?}");
}

#[test]
fn large_bodies_come_back_whole() {
    let measured = requests::run(&[echo(honest)], 2, What::Echo, 1_000_000, plan()).unwrap();
    assert_eq!(measured.faults, Faults::default());
    assert!(measured.count > 0, "{measured:?}");
}

#[test]
fn a_doubled_reply_is_wrong() {
    assert!(faults_of_requests(|number, wire| wire.repeat(if number == 3 { 2 } else { 1 })).wrong > 0);
}

#[test]
fn a_changed_reply_is_wrong_and_its_request_lost() {
    let faults = faults_of_requests(|number, wire| {
        let mut wire = wire.to_vec();
        *wire.last_mut().unwrap() ^= u8::from(number == 3);
        wire
    });
    assert_eq!(faults, Faults { wrong: 3, lost: 3, ..Faults::default() });
}

#[test]
fn publications_reach_every_subscriber_within_the_window() {
    let measured = pubsub::run(proxy(honest), 3, 200, Pace::Window(20), plan()).unwrap();
    assert_eq!(measured.faults, Faults::default());
    assert!(measured.count > 0, "{measured:?}");
    assert!(measured.p50_us > Some(0.0), "{measured:?}");
}

#[test]
fn a_rate_is_kept() {
    let measured = pubsub::run(proxy(honest), 3, 200, Pace::Rate(500), plan()).unwrap();
    assert_eq!(measured.faults, Faults::default());
    // Three times 500, give or take what a busy machine does to a third of a second. A window gives a hundred times as much.
    assert!((150.0..6000.0).contains(&measured.per_second), "{measured:?}");
}

#[test]
fn a_dropped_publication_is_lost_for_each_subscriber() {
    let faults = faults_of_publications(|number, wire| wire.repeat(usize::from(number != 5)));
    assert_eq!(faults, Faults { lost: 3, ..Faults::default() });
}

#[test]
fn a_repeated_publication_is_doubled_for_each_subscriber() {
    let faults = faults_of_publications(|number, wire| wire.repeat(if number == 5 { 2 } else { 1 }));
    assert_eq!(faults, Faults { doubled: 3, ..Faults::default() });
}

#[test]
fn a_changed_publication_is_wrong_and_lost_for_each_subscriber() {
    let faults = faults_of_publications(|number, wire| {
        let mut wire = wire.to_vec();
        *wire.last_mut().unwrap() ^= u8::from(number == 5);
        wire
    });
    assert_eq!(faults, Faults { wrong: 3, lost: 3, ..Faults::default() });
}

#[test]
fn workers_give_back_envelope_and_body_and_answer_a_ping() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let workers = thread::spawn(move || Workers::connect(address, 1)?.serve());
    let (mut dealer, _) = listener.accept().unwrap();
    dealer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    shake_hands(&mut dealer, SocketType::Dealer).unwrap();
    let request = Encoded::new(&["key".into(), "".into(), "body".into()]).into_bytes();
    let ping = Command::Ping { ttl_deciseconds: 0, context: "context".into() }.encode();
    dealer.write_all(&[&ping[..], &request, &request].concat()).unwrap();
    let pong = Command::Pong { context: "context".into() }.encode();
    let expected = [&pong[..], &request, &request].concat();
    let mut answer = vec![0; expected.len()];
    dealer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
    drop(dealer);
    assert!(workers.join().unwrap().is_err(), "a lost link is told");
}
