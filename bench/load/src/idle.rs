//! Subscribers to whom nobody publishes, for the memory that each costs.

use crate::link::{Link, Scratch};
use mio::{Events, Poll};
use papo_zmtp::SocketType;
use papo_zmtp::command::Command;
use std::net::SocketAddr;

/// So many subscribers, each of a topic of its own.
pub struct Idle {
    poll: Poll,
    links: Vec<Link>,
}

impl Idle {
    /// Connects them, and sends their subscriptions.
    ///
    /// # Errors
    /// When a connection cannot be had.
    pub fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut links = Vec::with_capacity(count);
        for token in 0..count {
            let mut link = Link::connect(address, SocketType::Sub, poll.registry(), token)?;
            let topic = format!("idle-{token}").into();
            link.outgoing().extend_from_slice(&Command::Subscribe { topic }.encode());
            link.flush()?;
            links.push(link);
        }
        Ok(Self { poll, links })
    }

    /// Stays, and answers PINGs, until killed.
    ///
    /// # Errors
    /// When a connection is lost.
    pub fn stay(mut self) -> anyhow::Result<()> {
        let mut scratch = Scratch::new();
        let mut events = Events::with_capacity(self.links.len());
        loop {
            crate::wait(&mut self.poll, &mut events, None)?;
            for event in &events {
                let Some(link) = self.links.get_mut(event.token().0) else { continue };
                link.receive(&mut scratch, |_, _| {})?;
            }
        }
    }
}
