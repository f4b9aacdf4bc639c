//! REP sockets that give back what they get, behind either proxy.

use crate::link::{Link, Scratch};
use mio::{Events, Poll};
use papo_zmtp::SocketType;
use std::net::SocketAddr;

/// So many REP sockets.
pub struct Workers {
    poll: Poll,
    links: Vec<Link>,
}

impl Workers {
    /// Connects them.
    ///
    /// # Errors
    /// When a connection cannot be had.
    pub fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let links = (0..count)
            .map(|token| Link::connect(address, SocketType::Rep, poll.registry(), token))
            .collect::<Result<_, _>>()?;
        Ok(Self { poll, links })
    }

    /// Serves until killed.
    ///
    /// # Errors
    /// When a connection is lost.
    pub fn serve(mut self) -> anyhow::Result<()> {
        let mut scratch = Scratch::new();
        let mut events = Events::with_capacity(self.links.len());
        loop {
            crate::wait(&mut self.poll, &mut events, None)?;
            for event in &events {
                let Some(link) = self.links.get_mut(event.token().0) else { continue };
                // Envelope and body go back as they came, frame headers and all.
                link.receive(&mut scratch, |message, outgoing| outgoing.extend_from_slice(message.wire))?;
            }
        }
    }
}
