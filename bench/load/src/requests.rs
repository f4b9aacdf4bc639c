//! REQ clients: each sends, waits for the reply to just this request, and sends again.

use crate::histogram::Histogram;
use crate::link::{Link, Scratch};
use crate::report::{Faults, Measured};
use crate::span::{Plan, Span};
use crate::{FIRST_ANSWER, POLL};
use anyhow::bail;
use bytes::Bytes;
use mio::{Events, Poll};
use papo_zmtp::{Encoded, SocketType};
use std::net::SocketAddr;
use std::time::Instant;

/// Least length of a body: the client's number and the request's.
const BODY_BYTES_MIN: usize = 16;

/// Runs so many clients.
///
/// # Errors
/// When a connection cannot be had or is lost, or a client gets no first reply.
pub fn run(address: SocketAddr, clients: usize, bytes: usize, plan: Plan) -> anyhow::Result<Measured> {
    let mut load = Clients::connect(address, clients, bytes)?;
    let begun = Instant::now();
    load.send_first()?;
    while load.silent > 0 {
        load.turn(AfterReply::SendNext { measured: false })?;
        if begun.elapsed() > FIRST_ANSWER {
            bail!("{} of {clients} clients got no reply", load.silent);
        }
    }
    let mut span = Span::begin(plan, Instant::now());
    let (seconds, cpu) = loop {
        load.turn(AfterReply::SendNext { measured: span.is_measuring() })?;
        if let Some(over) = span.on_time(Instant::now())? {
            break over;
        }
    };
    let until = Instant::now() + plan.drain;
    while load.under_way > 0 && Instant::now() < until {
        load.turn(AfterReply::Rest)?;
    }
    load.faults.lost = u64::try_from(load.under_way)?;
    Ok(Measured::new(&load.latencies, seconds, cpu, load.faults))
}

/// What a client does that got its reply.
#[derive(Debug, Clone, Copy)]
enum AfterReply {
    /// Asks again; the reply counts if this is the time measured.
    SendNext { measured: bool },
    /// Nothing: the run is over.
    Rest,
}

struct Clients {
    poll: Poll,
    events: Events,
    scratch: Scratch,
    all: Vec<Client>,
    latencies: Histogram,
    faults: Faults,
    /// Clients without any reply so far.
    silent: usize,
    /// Requests that wait for their replies.
    under_way: usize,
}

struct Client {
    link: Link,
    request: Request,
    answered: u64,
    /// When the request under way was sent; `None` when there is none.
    sent: Option<Instant>,
}

impl Clients {
    fn connect(address: SocketAddr, clients: usize, bytes: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(clients);
        for token in 0..clients {
            let link = Link::connect(address, SocketType::Req, poll.registry(), token)?;
            let request = Request::new(u64::try_from(token)?, bytes);
            all.push(Client { link, request, answered: 0, sent: None });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(clients),
            scratch: Scratch::new(),
            all,
            latencies: Histogram::new(),
            faults: Faults::default(),
            silent: clients,
            under_way: 0,
        })
    }

    fn send_first(&mut self) -> anyhow::Result<()> {
        for client in &mut self.all {
            client.link.outgoing().extend_from_slice(&client.request.wire);
            client.sent = Some(Instant::now());
            client.link.flush()?;
            self.under_way += 1;
        }
        Ok(())
    }

    /// Waits for replies and takes them in.
    fn turn(&mut self, after: AfterReply) -> anyhow::Result<()> {
        crate::wait(&mut self.poll, &mut self.events, Some(POLL))?;
        for event in &self.events {
            let Some(client) = self.all.get_mut(event.token().0) else { continue };
            let Client { link, request, answered, sent } = client;
            link.receive(&mut self.scratch, |message, outgoing| {
                let now = Instant::now();
                let expected =
                    message.frames == 2 && message.first.is_empty() && message.body == request.body();
                let Some(since) = sent.take_if(|_| expected) else {
                    self.faults.wrong += 1;
                    return;
                };
                self.under_way -= 1;
                self.silent -= usize::from(*answered == 0);
                *answered += 1;
                if let AfterReply::SendNext { measured } = after {
                    if measured {
                        self.latencies.record(now - since);
                    }
                    request.set_number(*answered);
                    outgoing.extend_from_slice(&request.wire);
                    *sent = Some(now);
                    self.under_way += 1;
                }
            })?;
        }
        Ok(())
    }
}

/// One client's request, `["", client's number, request's number, filler]` in wire form; only the request's number changes.
struct Request {
    wire: Vec<u8>,
    body_at: usize,
}

impl Request {
    fn new(client: u64, bytes: usize) -> Self {
        let mut body = client.to_be_bytes().to_vec();
        body.resize(BODY_BYTES_MIN, 0);
        body.resize(bytes.max(BODY_BYTES_MIN), b'.');
        let body_bytes = body.len();
        let wire = Encoded::new(&[Bytes::new(), Bytes::from(body)]).into_bytes().to_vec();
        Self { body_at: wire.len() - body_bytes, wire }
    }

    fn set_number(&mut self, number: u64) {
        let number_at = self.body_at + size_of::<u64>();
        if let Some(place) = self.wire.get_mut(number_at..).and_then(<[u8]>::first_chunk_mut) {
            *place = number.to_be_bytes();
        }
    }

    fn body(&self) -> &[u8] {
        self.wire.get(self.body_at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_are_the_same() {
        for bytes in [0, 200, 300] {
            let (mut first, second) = (Request::new(1, bytes), Request::new(2, bytes));
            assert_eq!(first.body().len(), bytes.max(BODY_BYTES_MIN));
            assert_ne!(first.wire, second.wire);
            let before = first.wire.clone();
            first.set_number(7);
            assert_ne!(first.wire, before);
            assert_eq!(first.wire.len(), before.len());
        }
    }
}
