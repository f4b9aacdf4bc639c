//! How long after a post is acknowledged every server shows it (row H13): posts one after the other through the broker, and asks each
//! server on its own REP port, again and again, until the newest post of its history is this one.
//!
//! So what is measured ends with the reply that shows it, and is never too short. A load beside it is somebody else's.

use crate::histogram::Histogram;
use crate::link::{Link, Scratch};
use crate::papo;
use crate::report::{Faults, Measured};
use crate::span::{Plan, Span};
use crate::{FIRST_ANSWER, POLL};
use anyhow::bail;
use bytes::Bytes;
use mio::{Events, Poll};
use papo_zmtp::{Encoded, SocketType};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two posts.
const PAUSE: Duration = Duration::from_millis(5);
/// A post that some server does not show within this is lost.
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// The broker's link; the servers' follow.
const BROKER: usize = 0;

/// Measures.
///
/// # Errors
/// When a connection cannot be had or is lost, a post is refused, or a server never shows one.
pub fn run(broker: SocketAddr, servers: &[SocketAddr], bytes: usize, plan: Plan) -> anyhow::Result<Measured> {
    let mut probe = Probe::connect(broker, servers, bytes)?;
    let mut shown = Histogram::new();
    probe.one()?;
    let mut span = Span::begin(plan, Instant::now());
    let over = loop {
        let took = probe.one()?;
        if span.is_measuring() {
            shown.record(took);
        }
        if let Some(over) = span.on_time(Instant::now())? {
            break over;
        }
        std::thread::sleep(PAUSE);
    };
    Ok(Measured::new(&shown, over, Faults::default()))
}

struct Probe {
    poll: Poll,
    events: Events,
    scratch: Scratch,
    links: Vec<Link>,
    filler: String,
    number: u64,
}

impl Probe {
    fn connect(broker: SocketAddr, servers: &[SocketAddr], bytes: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let addresses = std::iter::once(&broker).chain(servers);
        let links = addresses
            .enumerate()
            .map(|(token, address)| Link::connect(*address, SocketType::Req, poll.registry(), token))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let events = Events::with_capacity(links.len());
        Ok(Self { poll, events, scratch: Scratch::new(), links, filler: ".".repeat(bytes), number: 0 })
    }

    /// One post: how long after its acknowledgement the last server showed it.
    fn one(&mut self) -> anyhow::Result<Duration> {
        self.number += 1;
        let text = format!("probe-{:016x}", self.number);
        let post = papo::publish("probe", papo::PROBE_CHANNEL, &format!("{text}{}", self.filler));
        self.ask(BROKER, post)?;
        let until = Instant::now() + FIRST_ANSWER;
        loop {
            match self.replies()?.first() {
                Some((BROKER, reply)) if papo::is_posted(reply) => break,
                Some(_) => bail!("a post was refused"),
                None if Instant::now() > until => bail!("a post was not acknowledged"),
                None => {}
            }
        }
        let acknowledged = Instant::now();
        let mut waiting: Vec<usize> = (BROKER + 1..self.links.len()).collect();
        for server in &waiting {
            self.ask(*server, papo::newest(papo::PROBE_CHANNEL))?;
        }
        while !waiting.is_empty() {
            for (server, reply) in self.replies()? {
                if papo::contains(&reply, text.as_bytes()) {
                    waiting.retain(|waiting| *waiting != server);
                } else {
                    self.ask(server, papo::newest(papo::PROBE_CHANNEL))?;
                }
            }
            if acknowledged.elapsed() > SHOWN_MAX {
                bail!("servers {waiting:?} do not show a post that was acknowledged");
            }
        }
        Ok(acknowledged.elapsed())
    }

    fn ask(&mut self, link: usize, body: Vec<u8>) -> anyhow::Result<()> {
        let Some(link) = self.links.get_mut(link) else { return Ok(()) };
        let wire = Encoded::new(&[Bytes::new(), Bytes::from(body)]).into_bytes();
        link.outgoing().extend_from_slice(&wire);
        link.flush()
    }

    /// Waits for replies, and gives them with the links that they came over.
    fn replies(&mut self) -> anyhow::Result<Vec<(usize, Vec<u8>)>> {
        crate::wait(&mut self.poll, &mut self.events, Some(POLL))?;
        let mut replies = Vec::new();
        for event in &self.events {
            let token = event.token().0;
            let Some(link) = self.links.get_mut(token) else { continue };
            link.receive(&mut self.scratch, |message, _| replies.push((token, message.body.to_vec())))?;
        }
        Ok(replies)
    }
}
