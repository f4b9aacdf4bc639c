//! One socket of this crate as a program, for the interop tests: what any ZeroMQ library can play, on our endpoints.
//!
//! The contract is that of every program of this kind; it stands in `tests/interop/python/socket_peers.py`. Beside it this one
//! says `up TYPE VERSION`, `down CAUSE` and `failed CAUSE` of its links. A socket's own rules (a REQ asks again only after the
//! answer) are a few lines here, since an endpoint leaves them to its owner.

use bytes::Bytes;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, EndpointSettings, Event, Limits, PeerId, SocketType};
use std::{collections::HashSet, error::Error, time::Duration};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn Error>;

const TOPIC: &[u8] = b"news";
const PROBE: &[u8] = b"probe";
/// More than the largest message of the tests, 5 MB.
const MESSAGE_BYTES: usize = 16 << 20;
/// All that a test may have on its way at once: five of them, and the answers.
const QUEUE_BYTES: usize = 64 << 20;
/// Silent intervals after which a peer is given up.
const BEATS_MISSED: u32 = 5;
/// Questions that a DEALER has open at once; a REQ has one.
const DEALER_WINDOW: usize = 50;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, verb, address, heartbeat] = arguments.as_slice() else {
        return Err("usage: socket_peer TYPE listen|connect HOST:PORT HEARTBEAT_MS".into());
    };
    let socket = SocketType::from_name(socket.as_bytes()).ok_or("no such socket type")?;
    let (mut endpoint, handle) = Endpoint::new(settings(socket, Duration::from_millis(heartbeat.parse()?)));
    match verb.as_str() {
        "listen" => _ = handle.bind(address.parse()?).await?,
        "connect" => _ = handle.connect(address),
        _ => return Err("neither listen nor connect".into()),
    }
    println!("ready");

    let mut role = Role::of(socket, handle)?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            order = orders.next_line() => match order? {
                Some(order) => role.on_order(&order)?,
                None => return Ok(()),
            },
            event = endpoint.next() => match event {
                Some(event) => role.on_event(event)?,
                None => return Ok(()),
            },
        }
    }
}

fn settings(socket: SocketType, heartbeat: Duration) -> EndpointSettings {
    let mut settings = EndpointSettings::new(socket);
    settings.limits = Limits {
        frame_bytes: MESSAGE_BYTES,
        message_bytes: MESSAGE_BYTES,
        queue_bytes_per_peer: QUEUE_BYTES,
        heartbeat_interval: heartbeat,
        heartbeat_timeout: heartbeat * BEATS_MISSED,
        ..Limits::default()
    };
    settings
}

/// What a socket of its type does in the tests.
enum Role {
    /// REQ, DEALER.
    Asks(Asker),
    /// REP, ROUTER: says everything back, envelope included.
    Answers(EndpointHandle),
    /// PUB, XPUB, to whoever subscribed to the topic.
    Publishes { handle: EndpointHandle, subscribers: HashSet<PeerId> },
    /// SUB, XSUB; so many messages of the series under way were heard.
    Subscribes { handle: EndpointHandle, heard: usize },
}

impl Role {
    fn of(socket: SocketType, handle: EndpointHandle) -> Result<Self, Failure> {
        match socket {
            SocketType::Req => Ok(Self::Asks(Asker::new(handle, 1))),
            SocketType::Dealer => Ok(Self::Asks(Asker::new(handle, DEALER_WINDOW))),
            SocketType::Rep | SocketType::Router => Ok(Self::Answers(handle)),
            SocketType::Pub | SocketType::Xpub => Ok(Self::Publishes { handle, subscribers: HashSet::new() }),
            SocketType::Sub | SocketType::Xsub => Ok(Self::Subscribes { handle, heard: 0 }),
            SocketType::Pair => Err("PAIR plays no part in papo".into()),
        }
    }

    fn on_order(&mut self, order: &str) -> Result<(), Failure> {
        let words: Vec<&str> = order.split(' ').collect();
        match (self, words.as_slice()) {
            (Self::Asks(asker), ["go", count, bytes]) => asker.begin(count.parse()?, bytes.parse()?),
            (Self::Publishes { handle, subscribers }, ["go", count, bytes]) => {
                let (count, bytes) = (count.parse()?, bytes.parse()?);
                (1..=count).try_for_each(|number| publish(handle, subscribers, body(number, count, bytes)))
            }
            (Self::Publishes { handle, subscribers }, ["probe"]) => {
                publish(handle, subscribers, PROBE.into())
            }
            _ => Err(format!("not for this socket: {order}").into()),
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        match &event {
            Event::Up { info, .. } => println!("up {} 3.{}", info.socket.name(), info.minor_version),
            Event::Down { cause, .. } => println!("down {cause}"),
            Event::Failed { cause, .. } => println!("failed {cause}"),
            Event::Message { .. } | Event::Subscribe { .. } | Event::Cancel { .. } => {}
        }
        match (self, event) {
            (Self::Asks(asker), Event::Up { peer, .. }) => asker.on_up(peer),
            (Self::Asks(asker), Event::Down { .. }) => {
                asker.on_down();
                Ok(())
            }
            (Self::Asks(asker), Event::Message { frames, .. }) => asker.on_answer(&frames),
            (Self::Answers(handle), Event::Message { peer, frames }) => {
                handle.send(peer, Encoded::new(&frames))?;
                Ok(())
            }
            (Self::Publishes { subscribers, .. }, Event::Subscribe { peer, topic }) if topic == TOPIC => {
                subscribers.insert(peer);
                Ok(())
            }
            (Self::Publishes { subscribers, .. }, Event::Down { peer, .. }) => {
                subscribers.remove(&peer);
                Ok(())
            }
            (Self::Subscribes { handle, .. }, Event::Up { peer, .. }) => Ok(handle.subscribe(peer, TOPIC)?),
            (Self::Subscribes { heard, .. }, Event::Message { frames, .. }) => hear(heard, &frames),
            _ => Ok(()),
        }
    }
}

fn publish(handle: &EndpointHandle, subscribers: &HashSet<PeerId>, body: Bytes) -> Result<(), Failure> {
    let message = Encoded::new(&[Bytes::from_static(TOPIC), body]);
    // One that has just gone has an Event::Down on its way.
    subscribers.iter().try_for_each(|subscriber| match handle.send(*subscriber, message.clone()) {
        Ok(_) | Err(papo_zmtp::SendError::Gone) => Ok(()),
        Err(full) => Err(full.into()),
    })
}

fn hear(heard: &mut usize, frames: &[Bytes]) -> Result<(), Failure> {
    let [topic, message] = frames else { return Err(format!("{} frames", frames.len()).into()) };
    if topic != TOPIC {
        return Err(format!("topic {topic:?}").into());
    }
    if message == PROBE {
        println!("probe");
        return Ok(());
    }
    let start: Vec<_> = message.splitn(3, |byte| *byte == b' ').collect();
    let count = start.get(1).and_then(|count| std::str::from_utf8(count).ok()).ok_or("no count")?.parse()?;
    *heard += 1;
    if *message != body(*heard, count, message.len()) {
        return Err(format!("message {heard} of {count} is another, or changed").into());
    }
    if *heard == count {
        println!("ok {count}");
        *heard = 0;
    }
    Ok(())
}

/// The message of this number: what it is, then one letter up to its size.
fn body(number: usize, count: usize, bytes: usize) -> Bytes {
    let start = format!("{number} {count} ").into_bytes();
    let letter = u8::try_from(number % 26).map_or(b'z', |offset| b'a' + offset);
    let rest = vec![letter; bytes.saturating_sub(start.len())];
    [start, rest].concat().into()
}

/// Asks a series of questions, and again those that a lost link left open.
struct Asker {
    handle: EndpointHandle,
    /// Questions open at once.
    window: usize,
    peer: Option<PeerId>,
    count: usize,
    bytes: usize,
    asked: usize,
    answered: usize,
}

impl Asker {
    fn new(handle: EndpointHandle, window: usize) -> Self {
        Self { handle, window, peer: None, count: 0, bytes: 0, asked: 0, answered: 0 }
    }

    fn begin(&mut self, count: usize, bytes: usize) -> Result<(), Failure> {
        (self.count, self.bytes, self.asked, self.answered) = (count, bytes, 0, 0);
        self.ask()
    }

    fn on_up(&mut self, peer: PeerId) -> Result<(), Failure> {
        self.peer = Some(peer);
        self.ask()
    }

    fn on_down(&mut self) {
        self.peer = None;
        self.asked = self.answered;
    }

    fn ask(&mut self) -> Result<(), Failure> {
        let Some(peer) = self.peer else { return Ok(()) };
        while self.asked < self.count && self.asked - self.answered < self.window {
            let question = body(self.asked + 1, self.count, self.bytes);
            match self.handle.send(peer, Encoded::new(&[Bytes::new(), question])) {
                Ok(_) => self.asked += 1,
                Err(papo_zmtp::SendError::Gone) => return Ok(()),
                Err(full) => return Err(full.into()),
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, frames: &[Bytes]) -> Result<(), Failure> {
        self.answered += 1;
        if frames != [Bytes::new(), body(self.answered, self.count, self.bytes)] {
            return Err(format!("answer {} of {} is another, or changed", self.answered, self.count).into());
        }
        if self.answered == self.count {
            println!("ok {}", self.count);
        }
        self.ask()
    }
}
