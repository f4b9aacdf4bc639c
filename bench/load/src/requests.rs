//! REQ clients: each sends, waits for the reply to just this request, and sends again.
//!
//! What they say is either nothing that anybody understands, which is to come back as it went, or a post to a channel of papo's.

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
use std::time::Instant;

/// Least length of a body: the client's number and the request's.
const BODY_BYTES_MIN: usize = 16;
/// Of a post's number.
const NUMBER_DIGITS: usize = 16;

/// Runs so many clients, spread over the addresses.
///
/// # Errors
/// When a connection cannot be had or is lost, or a client gets no first reply.
pub fn run(
    addresses: &[SocketAddr],
    clients: usize,
    what: What,
    bytes: usize,
    plan: Plan,
) -> anyhow::Result<Measured> {
    let drain = plan.drain;
    let mut load = Clients::connect(addresses, clients, what, bytes)?;
    let begun = Instant::now();
    load.send_first()?;
    while load.silent > 0 {
        load.turn(AfterReply::SendNext { measured: false })?;
        if begun.elapsed() > FIRST_ANSWER {
            bail!("{} of {clients} clients got no reply", load.silent);
        }
    }
    let mut span = Span::begin(plan, Instant::now());
    let over = loop {
        load.turn(AfterReply::SendNext { measured: span.is_measuring() })?;
        if let Some(over) = span.on_time(Instant::now())? {
            break over;
        }
    };
    let until = Instant::now() + drain;
    while load.under_way > 0 && Instant::now() < until {
        load.turn(AfterReply::Rest)?;
    }
    load.faults.lost = u64::try_from(load.under_way)?;
    Ok(Measured::new(&load.latencies, over, load.faults))
}

/// What clients send, and what they want for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Bytes that are to come back.
    Echo,
    /// Posts that papo is to acknowledge.
    Posts,
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
    fn connect(addresses: &[SocketAddr], clients: usize, what: What, bytes: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(clients);
        for (token, address) in addresses.iter().cycle().take(clients).enumerate() {
            let link = Link::connect(*address, SocketType::Req, poll.registry(), token)?;
            let request = Request::new(what, u64::try_from(token)?, bytes);
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
                    message.frames == 2 && message.first.is_empty() && request.is_answered_by(message.body);
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

/// One client's request in wire form, with an empty frame before it; only its number changes.
struct Request {
    what: What,
    wire: Vec<u8>,
    body_at: usize,
    number_at: usize,
}

impl Request {
    fn new(what: What, client: u64, bytes: usize) -> Self {
        let (body, number_in_body) = match what {
            // Its own number, the request's, filler.
            What::Echo => {
                let mut body = client.to_be_bytes().to_vec();
                body.resize(BODY_BYTES_MIN, 0);
                body.resize(bytes.max(BODY_BYTES_MIN), b'.');
                (body, size_of::<u64>())
            }
            // The text ends with the number.
            What::Posts => {
                let text = ".".repeat(bytes.saturating_sub(NUMBER_DIGITS)) + &digits(0);
                let body = papo::publish(&format!("client-{client}"), papo::CHANNEL, &text);
                let number_at = body.len() - NUMBER_DIGITS;
                (body, number_at)
            }
        };
        let body_bytes = body.len();
        let wire = Encoded::new(&[Bytes::new(), Bytes::from(body)]).into_bytes().to_vec();
        let body_at = wire.len() - body_bytes;
        Self { what, body_at, number_at: body_at + number_in_body, wire }
    }

    fn set_number(&mut self, number: u64) {
        let number = match self.what {
            What::Echo => number.to_be_bytes().to_vec(),
            What::Posts => digits(number).into_bytes(),
        };
        if let Some(place) = self.wire.get_mut(self.number_at..).and_then(|rest| rest.get_mut(..number.len()))
        {
            place.copy_from_slice(&number);
        }
    }

    fn is_answered_by(&self, reply: &[u8]) -> bool {
        match self.what {
            What::Echo => reply == self.body(),
            What::Posts => papo::is_posted(reply),
        }
    }

    fn body(&self) -> &[u8] {
        self.wire.get(self.body_at..).unwrap_or_default()
    }
}

fn digits(number: u64) -> String {
    format!("{number:0NUMBER_DIGITS$x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_are_the_same() {
        for what in [What::Echo, What::Posts] {
            for bytes in [0, 200, 300] {
                let (mut first, second) = (Request::new(what, 1, bytes), Request::new(what, 2, bytes));
                assert_ne!(first.wire, second.wire);
                let before = first.wire.clone();
                first.set_number(7);
                assert_ne!(first.wire, before);
                assert_eq!(first.wire.len(), before.len());
            }
        }
        assert_eq!(Request::new(What::Echo, 1, 300).body().len(), 300);
        let mut post = Request::new(What::Posts, 1, 200);
        post.set_number(0xabc);
        let text = ".".repeat(184) + "0000000000000abc";
        assert_eq!(post.body(), papo::publish("client-1", papo::CHANNEL, &text));
    }
}
