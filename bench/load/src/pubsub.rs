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
use crate::{DRAIN, FIRST_ANSWER, POLL};
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

struct Subscriber {
    link: Link,
    probed: bool,
    book: Book,
}

struct Publisher {
    link: Link,
    publication: Publication,
    sent: u64,
    begun: Instant,
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

/// Runs the publisher and its subscribers.
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
    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(subscribers);
    for token in 0..subscribers {
        let mut link = Link::connect(sides.subscribe, SocketType::Sub, poll.registry(), token)?;
        let topic = Bytes::from_static(TOPIC);
        link.outgoing().extend_from_slice(&Command::Subscribe { topic }.encode());
        link.flush()?;
        all.push(Subscriber { link, probed: false, book: Book::default() });
    }
    let link = Link::connect(sides.publish, SocketType::Pub, poll.registry(), subscribers)?;
    let begun = Instant::now();
    let mut publisher = Publisher { link, publication: Publication::new(bytes), sent: 0, begun };
    let ticker_token = subscribers + 1;
    let mut ticker = None;

    let mut scratch = Scratch::new();
    let mut events = Events::with_capacity(subscribers + 2);
    let mut latencies = Histogram::new();
    let mut faults = Faults::default();
    let mut span: Option<Span> = None;
    let mut probe_at = begun;
    loop {
        crate::wait(&mut poll, &mut events, Some(if span.is_some() { POLL } else { PROBE_PAUSE }))?;
        let now = Instant::now();
        let measuring = match &mut span {
            Some(span) => {
                span.on_time(now)?;
                span.is_measuring()
            }
            None => false,
        };
        for event in &events {
            let token = event.token().0;
            if let Some(Subscriber { link, probed, book }) = all.get_mut(token) {
                let mut arrived = None;
                link.receive(&mut scratch, |message, _| {
                    match publisher.publication.read(message) {
                        Some((Kind::Probe, ..)) => *probed = true,
                        Some((Kind::Numbered, number, sent)) => {
                            book.enter(number);
                            if measuring {
                                // One look at the clock for all that one read brought.
                                let arrived = *arrived.get_or_insert_with(|| begun.elapsed());
                                latencies.record(arrived.saturating_sub(sent));
                            }
                        }
                        None => faults.wrong += 1,
                    }
                })?;
            } else if token == subscribers {
                // Subscriptions of the proxy; and room to send again.
                publisher.link.receive(&mut scratch, |_, _| {})?;
            }
        }
        let Some(span) = &span else {
            let without = all.iter().filter(|subscriber| !subscriber.probed).count();
            if without == 0 {
                span = Some(Span::begin(plan, now));
                if let Pace::Rate(rate) = pace {
                    ticker = Some(Ticker::start(rate, poll.registry(), ticker_token)?);
                }
            } else if now > begun + FIRST_ANSWER {
                bail!("{without} of {subscribers} subscribers got nothing");
            } else if now >= probe_at {
                probe_at = now + PROBE_PAUSE;
                publisher.probe()?;
            }
            continue;
        };
        if span.over().is_some() {
            break;
        }
        let due = match pace {
            Pace::Window(window) => (slowest(&all) + window).saturating_sub(publisher.sent),
            Pace::Rate(_) => ticker.as_mut().map_or(Ok(0), Ticker::due)?,
        };
        if due > 0 {
            publisher.send(due)?;
        }
    }

    drain(&mut poll, &mut events, &mut scratch, &mut all, &mut publisher, &mut faults)?;
    for subscriber in &all {
        subscriber.book.close(publisher.sent, &mut faults);
    }
    let (seconds, cpu) = span.as_ref().and_then(Span::over).unwrap_or_default();
    Ok(Measured::new(&latencies, seconds, cpu, faults))
}

/// What is under way may still arrive.
fn drain(
    poll: &mut Poll,
    events: &mut Events,
    scratch: &mut Scratch,
    all: &mut [Subscriber],
    publisher: &mut Publisher,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let until = Instant::now() + DRAIN;
    while slowest(all) < publisher.sent && Instant::now() < until {
        crate::wait(poll, events, Some(POLL))?;
        publisher.link.receive(scratch, |_, _| {})?;
        for subscriber in all.iter_mut() {
            subscriber.link.receive(scratch, |message, _| match publisher.publication.read(message) {
                Some((Kind::Numbered, number, _)) => subscriber.book.enter(number),
                Some((Kind::Probe, ..)) => {}
                None => faults.wrong += 1,
            })?;
        }
    }
    Ok(())
}

fn slowest(all: &[Subscriber]) -> u64 {
    all.iter().map(|subscriber| subscriber.book.latest()).min().unwrap_or_default()
}
