//! REP sockets that give back what they get, behind either proxy.

use crate::link::{Link, Scratch};
use crate::report;
use mio::{Events, Poll};
use papo_zmtp::SocketType;
use std::net::SocketAddr;

/// Serves until the proxy closes a link.
///
/// # Errors
/// When a connection cannot be had or is lost.
pub fn run(address: SocketAddr, count: usize) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut links = Vec::with_capacity(count);
    for token in 0..count {
        links.push(Link::connect(address, SocketType::Rep, poll.registry(), token)?);
    }
    report::line(&report::Up { up: count })?;
    let mut scratch = Scratch::new();
    let mut events = Events::with_capacity(count);
    loop {
        crate::wait(&mut poll, &mut events, None)?;
        for event in &events {
            let Some(link) = links.get_mut(event.token().0) else { continue };
            // Envelope and body go back as they came, frame headers and all.
            link.receive(&mut scratch, |message, outgoing| outgoing.extend_from_slice(message.wire))?;
        }
    }
}
