//! Subscribers to whom nobody publishes, for the memory that each costs.

use crate::link::{Link, Scratch};
use crate::report;
use mio::{Events, Poll};
use papo_zmtp::SocketType;
use papo_zmtp::command::Command;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Subscribes each to a topic of its own, says so, and stays.
///
/// # Errors
/// When a connection cannot be had or is lost.
pub fn run(address: SocketAddr, count: usize, stay: Duration) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut links = Vec::with_capacity(count);
    for token in 0..count {
        let mut link = Link::connect(address, SocketType::Sub, poll.registry(), token)?;
        let topic = format!("idle-{token}").into();
        link.outgoing().extend_from_slice(&Command::Subscribe { topic }.encode());
        link.flush()?;
        links.push(link);
    }
    report::line(&report::Up { up: count })?;
    let mut scratch = Scratch::new();
    let mut events = Events::with_capacity(count);
    let end = Instant::now() + stay;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        crate::wait(&mut poll, &mut events, Some(left))?;
        for event in &events {
            let Some(link) = links.get_mut(event.token().0) else { continue };
            link.receive(&mut scratch, |_, _| {})?;
        }
    }
}
