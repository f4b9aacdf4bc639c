//! One publisher and its subscribers, all of one topic.
//!
//! The publisher is either at most a window of messages ahead of the slowest subscriber, which finds the greatest rate without
//! any queue running over; or it sends at a rate, which shows the delay at that rate.

use crate::book::Book;
use crate::histogram::Histogram;
use crate::link::{Link, Scratch};
use crate::publication::{Kind, Publication, TOPIC};
use crate::report::{Faults, Measured};
use crate::span::{Plan, Span};
use crate::ticker::Ticker;
use crate::{FIRST_ANSWER, POLL};
use anyhow::bail;
use bytes::Bytes;
use mio::{Events, Poll};
use papo_zmtp::SocketType;
use papo_zmtp::command::Command;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// How fast the publisher goes.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many messages ahead of the slowest subscriber at most.
    Window(u64),
    /// So many messages a second.
    Rate(u32),
}

/// Who is where.
#[derive(Debug, Clone, Copy)]
pub struct Sides {
    /// XSUB.
    pub publish: SocketAddr,
    /// XPUB.
    pub subscribe: SocketAddr,
}

/// Runs the publisher and so many subscribers.
///
/// # Errors
/// When a connection cannot be had or is lost, or a subscriber gets nothing.
pub fn run(
    sides: Sides,
    subscribers: usize,
    bytes: usize,
    pace: Pace,
    plan: Plan,
) -> anyhow::Result<Measured> {
    let mut load = PubSub::connect(sides, subscribers, bytes)?;
    load.probe()?;
    let mut drive = Drive::start(pace, &load)?;
    let drain = plan.drain;
    let mut span = Span::begin(plan, Instant::now());
    let over = loop {
        load.publisher.send(drive.due(&load)?)?;
        load.turn(POLL, span.is_measuring())?;
        if let Some(over) = span.on_time(Instant::now())? {
            break over;
        }
    };
    let until = Instant::now() + drain;
    while load.slowest() < load.publisher.sent && Instant::now() < until {
        load.turn(POLL, false)?;
    }
    for subscriber in &load.subscribers {
        subscriber.book.close(load.publisher.sent, &mut load.faults);
    }
    Ok(Measured::new(&load.latencies, over, load.faults))
}

struct PubSub {
    poll: Poll,
    events: Events,
    scratch: Scratch,
    publisher: Publisher,
    subscribers: Vec<Subscriber>,
    latencies: Histogram,
    faults: Faults,
}

struct Publisher {
    link: Link,
    publication: Publication,
    /// Number of the last message.
    sent: u64,
    /// Times of sending count from here.
    begun: Instant,
}

struct Subscriber {
    link: Link,
    probed: bool,
    book: Book,
}

impl Publisher {
    fn probe(&mut self) -> anyhow::Result<()> {
        let wire = self.publication.wire(Kind::Probe, 0, Duration::ZERO);
        self.link.outgoing().extend_from_slice(wire);
        self.link.flush()
    }

    fn send(&mut self, messages: u64) -> anyhow::Result<()> {
        for _ in 0..messages {
            self.sent += 1;
            let wire = self.publication.wire(Kind::Numbered, self.sent, self.begun.elapsed());
            self.link.outgoing().extend_from_slice(wire);
        }
        self.link.flush()
    }
}

impl PubSub {
    /// Subscribers have their own index as token, the publisher the next, the ticker the one after.
    fn connect(sides: Sides, subscribers: usize, bytes: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(subscribers);
        for token in 0..subscribers {
            let mut link = Link::connect(sides.subscribe, SocketType::Sub, poll.registry(), token)?;
            let topic = Bytes::from_static(TOPIC);
            link.outgoing().extend_from_slice(&Command::Subscribe { topic }.encode());
            link.flush()?;
            all.push(Subscriber { link, probed: false, book: Book::default() });
        }
        let link = Link::connect(sides.publish, SocketType::Pub, poll.registry(), subscribers)?;
        let publication = Publication::new(bytes);
        Ok(Self {
            poll,
            events: Events::with_capacity(subscribers + 2),
            scratch: Scratch::new(),
            publisher: Publisher { link, publication, sent: 0, begun: Instant::now() },
            subscribers: all,
            latencies: Histogram::new(),
            faults: Faults::default(),
        })
    }

    /// Publishes until every subscriber has got something.
    fn probe(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut next = begun;
        loop {
            let without = self.subscribers.iter().filter(|subscriber| !subscriber.probed).count();
            if without == 0 {
                return Ok(());
            }
            if begun.elapsed() > FIRST_ANSWER {
                bail!("{without} of {} subscribers got nothing", self.subscribers.len());
            }
            if Instant::now() >= next {
                next = Instant::now() + PROBE_PAUSE;
                self.publisher.probe()?;
            }
            self.turn(PROBE_PAUSE, false)?;
        }
    }

    /// Waits for publications and takes them in.
    fn turn(&mut self, timeout: Duration, measured: bool) -> anyhow::Result<()> {
        crate::wait(&mut self.poll, &mut self.events, Some(timeout))?;
        let Publisher { link: publisher, publication, begun, .. } = &mut self.publisher;
        for event in &self.events {
            let token = event.token().0;
            if let Some(Subscriber { link, probed, book }) = self.subscribers.get_mut(token) {
                // One look at the clock for all that one event brought.
                let mut arrived = None;
                link.receive(&mut self.scratch, |message, _| match publication.read(message) {
                    Some((Kind::Probe, ..)) => *probed = true,
                    Some((Kind::Numbered, number, sent)) => {
                        book.enter(number);
                        if measured {
                            let arrived = *arrived.get_or_insert_with(|| begun.elapsed());
                            self.latencies.record(arrived.saturating_sub(sent));
                        }
                    }
                    None => self.faults.wrong += 1,
                })?;
            } else if token == self.subscribers.len() {
                // The proxy's subscriptions, which say nothing new; and room to send again.
                publisher.receive(&mut self.scratch, |_, _| {})?;
            }
        }
        Ok(())
    }

    /// What every subscriber has got, or has lost.
    fn slowest(&self) -> u64 {
        self.subscribers.iter().map(|subscriber| subscriber.book.latest()).min().unwrap_or_default()
    }
}

/// What makes the publisher send.
enum Drive {
    Window(u64),
    Ticker(Ticker),
}

impl Drive {
    fn start(pace: Pace, load: &PubSub) -> anyhow::Result<Self> {
        let token = load.subscribers.len() + 1;
        match pace {
            Pace::Window(window) => Ok(Self::Window(window)),
            Pace::Rate(rate) => Ticker::start(rate, load.poll.registry(), token).map(Self::Ticker),
        }
    }

    /// Messages that are to be sent now.
    fn due(&mut self, load: &PubSub) -> anyhow::Result<u64> {
        match self {
            Self::Window(window) => Ok(room(*window, load.slowest(), load.publisher.sent)),
            Self::Ticker(ticker) => ticker.due(),
        }
    }
}

/// Messages that fit a window whose beginning is behind the slowest.
fn room(window: u64, slowest: u64, sent: u64) -> u64 {
    (slowest + window).saturating_sub(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publisher_is_never_further_ahead_than_the_window() {
        assert_eq!(room(400, 0, 0), 400);
        assert_eq!(room(400, 0, 400), 0);
        assert_eq!(room(400, 3, 400), 3);
        assert_eq!(room(400, 0, 500), 0);
    }
}
