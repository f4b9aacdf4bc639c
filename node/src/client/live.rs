//! The listening side: one SUB socket that follows topics, and comes back by itself; where there are several proxies, at the next.
//!
//! The `zeromq` crate's SUB reconnects by itself, but with pauses that grow to 30 s, without a limit on the handshake, and without
//! telling; so a lost connection is noticed through the socket's monitor, and the socket is made anew.

use super::link::{Link, LinkReport, SharedClock};
use super::rotation::Rotation;
use super::{BACKOFF_MIN, CONNECT_TIMEOUT, MESSAGE_LIMITS, Seen, endpoint, longer, loopback};
use papo_protocol::client::{ReadMessage, read_publication};
use papo_settings::{Address, ports};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use zeromq::{Socket as _, SocketEvent, SocketOptions, SocketRecv as _, SubSocket, ZmqError, ZmqMessage};

/// Messages that may wait for the program. When it is full the socket is no longer read, and the proxy drops the oldest.
const EVENTS: usize = 1024;

/// How long a subscription may take to leave this computer: longer means that the proxy is frozen.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A publication as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The topic that was followed: the only place where some foreign servers name channel or recipient.
    pub topic: String,
    /// Its body.
    pub message: ReadMessage,
}

enum Change {
    Follow(String),
    Unfollow(String),
    /// The proxy may hang: on to the next, or to the same anew.
    Reconnect,
}

/// A handle to the task that owns the SUB socket. Clones share it; the task ends with the last of them, or with the receiver.
#[derive(Debug, Clone)]
pub struct LiveStream {
    changes: mpsc::UnboundedSender<Change>,
    link: watch::Receiver<Link>,
    heard: Arc<AtomicU64>,
}

impl LiveStream {
    /// Starts the task, which connects at once: to the first of the addresses (without any, to this computer's proxy), and to the
    /// next when one fails. Messages that `seen` knows are left out.
    #[must_use]
    pub fn open(
        addresses: Vec<Address>,
        clock: SharedClock,
        seen: Seen,
    ) -> (Self, mpsc::Receiver<Publication>) {
        // Bounded by its user: a change is a command of a person or a step of a bot.
        let (changes, queue) = mpsc::unbounded_channel();
        let (events, messages) = mpsc::channel(EVENTS);
        let (report, link) = LinkReport::new();
        let addresses = Rotation::new(addresses, loopback(ports::PROXY_SUBSCRIBERS));
        let heard = Arc::<AtomicU64>::default();
        let topics = BTreeSet::new();
        let listener = Listener { addresses, clock, seen, report, topics, events, heard: heard.clone() };
        tokio::spawn(listener.run(queue));
        (Self { changes, link, heard }, messages)
    }

    /// Follows a topic: a channel's name, or a user's own for direct messages.
    pub fn follow(&self, topic: &str) {
        // Fails only when the task is gone, which is when the program ends.
        let _ = self.changes.send(Change::Follow(topic.to_owned()));
    }

    /// Follows a topic no longer.
    pub fn unfollow(&self, topic: &str) {
        let _ = self.changes.send(Change::Unfollow(topic.to_owned()));
    }

    /// Publications that have come so far, those seen before among them.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The proxy may hang, which ZeroMQ does not tell: connects anew, where there are several to the next.
    pub fn suspect(&self) {
        let _ = self.changes.send(Change::Reconnect);
    }

    /// How the socket stands with the proxies: lost when none of them is there.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }
}

struct Listener {
    addresses: Rotation,
    clock: SharedClock,
    seen: Seen,
    report: LinkReport,
    topics: BTreeSet<String>,
    events: mpsc::Sender<Publication>,
    heard: Arc<AtomicU64>,
}

/// Why a connection ended.
enum End {
    /// The handles or the receiver are gone.
    Closed,
    /// To be made anew.
    Lost(ZmqError),
}

impl Listener {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Change>) {
        let mut pause = BACKOFF_MIN;
        loop {
            let before = self.report.connections();
            match self.connection(&mut queue).await {
                End::Closed => return,
                End::Lost(error) => {
                    tracing::debug!(address = %self.addresses.current(), %error, "live connection lost");
                }
            }
            if self.report.connections() > before {
                self.addresses.served();
                pause = BACKOFF_MIN;
            }
            let all_failed = self.addresses.failed();
            if all_failed {
                self.report.lost();
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.events.closed() => return,
            }
            if all_failed {
                pause = longer(pause);
            }
        }
    }

    /// One connection, from its making to its end.
    async fn connection(&mut self, queue: &mut mpsc::UnboundedReceiver<Change>) -> End {
        let mut options = SocketOptions::default();
        options.connect_timeout(CONNECT_TIMEOUT);
        let mut socket = SubSocket::with_options(options);
        let mut monitor = socket.monitor();
        if let Err(error) = socket.connect(&endpoint(self.addresses.current())).await {
            return End::Lost(error);
        }
        while let Ok(change) = queue.try_recv() {
            self.note(&change);
        }
        for topic in &self.topics {
            if let Err(error) = in_time(socket.subscribe(topic)).await {
                return End::Lost(error);
            }
        }
        self.report.up();
        loop {
            tokio::select! {
                // Cancelling this `recv` is safe: it takes a whole message or nothing.
                received = socket.recv() => match received {
                    Ok(message) => if self.forward(message).await.is_err() { return End::Closed },
                    Err(error) => return End::Lost(error),
                },
                event = monitor.recv() => if let Ok(SocketEvent::Disconnected(_)) = event {
                    return End::Lost(ZmqError::Other("disconnected"));
                },
                change = queue.recv() => {
                    let Some(change) = change else { return End::Closed };
                    if let Err(error) = self.change(&mut socket, &change).await {
                        return End::Lost(error);
                    }
                }
                () = self.events.closed() => return End::Closed,
            }
        }
    }

    /// Whether it changed anything.
    fn note(&mut self, change: &Change) -> bool {
        match change {
            Change::Follow(topic) => self.topics.insert(topic.clone()),
            Change::Unfollow(topic) => self.topics.remove(topic),
            Change::Reconnect => true,
        }
    }

    async fn change(&mut self, socket: &mut SubSocket, change: &Change) -> Result<(), ZmqError> {
        if !self.note(change) {
            return Ok(());
        }
        match change {
            Change::Follow(topic) => in_time(socket.subscribe(topic)).await,
            Change::Unfollow(topic) => in_time(socket.unsubscribe(topic)).await,
            Change::Reconnect => Err(ZmqError::Other("nothing comes over it")),
        }
    }

    async fn forward(&self, message: ZmqMessage) -> Result<(), mpsc::error::SendError<Publication>> {
        let frames = message.into_vec();
        let [topic, body, ..] = frames.as_slice() else {
            tracing::debug!(frames = frames.len(), "publication without a body left out");
            return Ok(());
        };
        // A plain ZeroMQ proxy matches prefixes: who follows `ana` is sent `anabela`'s messages too (row D02).
        let Some(topic) = std::str::from_utf8(topic).ok().filter(|topic| self.topics.contains(*topic)) else {
            return Ok(());
        };
        match read_publication(body, &MESSAGE_LIMITS) {
            Ok(message) => {
                self.clock.on_receive(message.clock);
                self.heard.fetch_add(1, Ordering::Relaxed);
                if self.seen.is_new(message.message_id.as_ref()) {
                    self.events.send(Publication { topic: topic.to_owned(), message }).await?;
                }
            }
            Err(error) => tracing::debug!(topic, %error, "unreadable publication left out"),
        }
        Ok(())
    }
}

async fn in_time(subscribe: impl Future<Output = Result<(), ZmqError>>) -> Result<(), ZmqError> {
    timeout(SUBSCRIBE_TIMEOUT, subscribe).await.unwrap_or(Err(ZmqError::Other("the proxy does not read")))
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
