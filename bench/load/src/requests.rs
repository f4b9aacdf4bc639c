//! REQ clients: each sends, waits for the reply to just this request, and sends again.

use crate::histogram::Histogram;
use crate::link::{Link, Scratch};
use crate::report::{Faults, Measured};
use crate::span::{Plan, Span};
use crate::{DRAIN, FIRST_ANSWER, POLL};
use anyhow::bail;
use bytes::Bytes;
use mio::{Events, Poll};
use papo_zmtp::{Encoded, SocketType};
use std::net::SocketAddr;
use std::time::Instant;

/// Least length of a body: the client's number and the request's.
pub const BODY_BYTES_MIN: usize = 16;

struct Client {
    link: Link,
    request: Request,
    answered: u64,
    /// When the request under way was sent; `None` when there is none.
    sent: Option<Instant>,
}

/// One client's request, in wire form; only its number changes.
struct Request {
    wire: Vec<u8>,
    number_at: usize,
    body_at: usize,
}

impl Request {
    fn new(client: u64, bytes: usize) -> Self {
        let mut body = client.to_be_bytes().to_vec();
        body.resize(bytes.max(BODY_BYTES_MIN), b'.');
        let wire = Encoded::new(&[Bytes::new(), Bytes::from(body)]).into_bytes().to_vec();
        let body_at = wire.len() - bytes.max(BODY_BYTES_MIN);
        Self { wire, number_at: body_at + size_of::<u64>(), body_at }
    }

    fn number(&mut self, number: u64) {
        if let Some(place) = self.wire.get_mut(self.number_at..).and_then(<[u8]>::first_chunk_mut) {
            *place = number.to_be_bytes();
        }
    }

    fn body(&self) -> &[u8] {
        self.wire.get(self.body_at..).unwrap_or_default()
    }
}

/// Runs all clients.
///
/// # Errors
/// When a connection cannot be had or is lost, or a client gets no first reply.
pub fn run(address: SocketAddr, clients: usize, bytes: usize, plan: Plan) -> anyhow::Result<Measured> {
    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(clients);
    for token in 0..clients {
        let link = Link::connect(address, SocketType::Req, poll.registry(), token)?;
        all.push(Client {
            link,
            request: Request::new(u64::try_from(token)?, bytes),
            answered: 0,
            sent: None,
        });
    }
    let mut scratch = Scratch::new();
    let mut events = Events::with_capacity(clients);
    let mut latencies = Histogram::new();
    let mut faults = Faults::default();
    let mut without_reply = clients;
    let mut span: Option<Span> = None;

    let begun = Instant::now();
    for client in &mut all {
        client.link.outgoing().extend_from_slice(&client.request.wire);
        client.sent = Some(Instant::now());
        client.link.flush()?;
    }
    let mut over = None;
    let mut under_way = clients;
    while under_way > 0 {
        crate::wait(&mut poll, &mut events, Some(POLL))?;
        let now = Instant::now();
        if let Some(span) = &mut span {
            span.on_time(now)?;
            if over.is_none() && span.over().is_some() {
                over = Some(now);
            }
        } else if without_reply == 0 {
            span = Some(Span::begin(plan, now));
        } else if now > begun + FIRST_ANSWER {
            bail!("{without_reply} of {clients} clients got no reply");
        }
        if over.is_some_and(|over| now > over + DRAIN) {
            break;
        }
        let measuring = span.as_ref().is_some_and(Span::is_measuring);
        for event in &events {
            let Some(client) = all.get_mut(event.token().0) else { continue };
            let Client { link, request, answered, sent } = client;
            link.receive(&mut scratch, |message, outgoing| {
                let now = Instant::now();
                let Some(since) = sent.take_if(|_| {
                    message.frames == 2 && message.first.is_empty() && message.body == request.body()
                }) else {
                    faults.wrong += 1;
                    return;
                };
                if measuring {
                    latencies.record(now - since);
                }
                without_reply -= usize::from(*answered == 0);
                *answered += 1;
                if over.is_some() {
                    under_way -= 1;
                    return;
                }
                request.number(*answered);
                outgoing.extend_from_slice(&request.wire);
                *sent = Some(now);
            })?;
        }
    }
    faults.lost = u64::try_from(under_way)?;
    let (seconds, cpu) = span.as_ref().and_then(Span::over).unwrap_or_default();
    Ok(Measured::new(&latencies, seconds, cpu, faults))
}
