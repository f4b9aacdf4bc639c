//! What both sockets of a client share: how they stand with their peer, and the Lamport clock (rows E01 to E03).

use papo_protocol::lamport::{Lamport, LamportClock};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How a socket stands with its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not tried yet.
    Fresh,
    /// Connected, for the `connection`-th time, from 1.
    Up {
        /// Counts up with every new connection, so that a short loss is seen too.
        connection: u64,
    },
    /// The last attempt failed; tried again by itself.
    Lost,
}

/// Tells the state of a link to whoever watches it.
#[derive(Debug)]
pub(super) struct LinkReport {
    sender: watch::Sender<Link>,
    connections: u64,
}

impl LinkReport {
    pub(super) fn new() -> (Self, watch::Receiver<Link>) {
        let (sender, receiver) = watch::channel(Link::Fresh);
        (Self { sender, connections: 0 }, receiver)
    }

    pub(super) fn up(&mut self) {
        self.connections += 1;
        self.sender.send_replace(Link::Up { connection: self.connections });
    }

    pub(super) fn lost(&self) {
        self.sender.send_if_modified(|link| std::mem::replace(link, Link::Lost) != Link::Lost);
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    pub(super) fn is_lost(&self) -> bool {
        *self.sender.borrow() == Link::Lost
    }
}

/// The process's Lamport clock, one for everything it sends and receives.
#[derive(Debug, Clone, Default)]
pub struct SharedClock(Arc<Mutex<LamportClock>>);

impl SharedClock {
    /// Before a send: one more.
    pub fn on_send(&self) -> Lamport {
        self.with(LamportClock::on_send)
    }

    /// On receipt: `max(own, received) + 1`.
    pub fn on_receive(&self, received: Lamport) -> Lamport {
        self.with(|clock| clock.on_receive(received))
    }

    /// The value now.
    #[must_use]
    pub fn now(&self) -> Lamport {
        self.with(|clock| clock.now())
    }

    fn with<T>(&self, act: impl FnOnce(&mut LamportClock) -> T) -> T {
        // A panic while it was held leaves a whole number behind, so a poisoned clock is a good clock.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_reported_once() {
        let (mut report, mut watch) = LinkReport::new();
        report.lost();
        assert!(watch.has_changed().unwrap());
        assert_eq!(*watch.borrow_and_update(), Link::Lost);
        report.lost();
        assert!(!watch.has_changed().unwrap());
        report.up();
        report.up();
        assert_eq!(*watch.borrow_and_update(), Link::Up { connection: 2 });
    }

    #[test]
    fn e01_sends_and_receipts_share_one_clock() {
        let clock = SharedClock::default();
        let same = clock.clone();
        assert_eq!(clock.on_send().get(), 1);
        assert_eq!(same.on_receive(Lamport::new(3).unwrap()).get(), 4);
        assert_eq!(clock.now().get(), 4);
    }
}
