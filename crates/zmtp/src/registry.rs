//! What all links of one endpoint share: who is up, who may come in, whose queue is to be flushed, and the tokens that end things.
//!
//! The lock guards plain maps and is never held across an await. This module must not know the wire.

use crate::{
    codec::Encoded,
    endpoint::EndpointSettings,
    event::{DownCause, Event, LinkId, PeerId},
    inbox::Inbox,
    outlet::{Outlet, Queued, Wish},
    queue::{Posted, Queue, SendError, SendOutcome, Totals},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    future::poll_fn,
    hash::{BuildHasherDefault, Hasher},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};
use tokio::net::tcp::OwnedWriteHalf;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The shared part of an endpoint; its tasks and handles hold it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: EndpointSettings,
    pub(crate) tasks: TaskTracker,
    /// The owner wants everything closed in order: nothing new begins, links flush.
    pub(crate) stop: CancellationToken,
    /// The owner is gone: everything ends at once.
    pub(crate) kill: CancellationToken,
    pub(crate) inbox: Inbox,
    /// Bytes drawn from [`crate::Limits::receiving_bytes`].
    receiving: AtomicUsize,
    /// Of all links' queues.
    queued: Arc<Totals>,
    registry: Mutex<Registry>,
    /// Links to which something was posted since the last flush.
    posted: Mutex<Vec<Arc<Peer>>>,
}

#[derive(Debug)]
struct Registry {
    peers: HashMap<PeerId, Arc<Peer>, BuildHasherDefault<PeerHasher>>,
    links: HashMap<LinkId, CancellationToken>,
    listening: CancellationToken,
    accepted: usize,
    accepted_by_address: HashMap<IpAddr, usize>,
    next_peer: u64,
    next_link: u64,
}

/// One link that is up, as its owner reaches it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) outlet: Outlet,
    /// Whether the peer knows the commands of ZMTP 3.1.
    pub(crate) knows_commands: bool,
    /// Of the target that was connected to.
    link: Option<LinkId>,
}

/// Spreads our own running numbers; nobody else chooses them, so that nothing better is needed.
#[derive(Debug, Default)]
struct PeerHasher(u64);

impl Hasher for PeerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing (Knuth, TAOCP 6.4): 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Shared {
    pub(crate) fn new(settings: EndpointSettings) -> Arc<Self> {
        let kill = CancellationToken::new();
        let stop = kill.child_token();
        let registry = Registry {
            peers: HashMap::default(),
            links: HashMap::new(),
            listening: stop.child_token(),
            accepted: 0,
            accepted_by_address: HashMap::new(),
            next_peer: 1,
            next_link: 1,
        };
        Arc::new(Self {
            inbox: Inbox::new(settings.event_capacity, settings.limits.event_bytes),
            queued: Totals::new(&settings.limits),
            settings,
            tasks: TaskTracker::new(),
            stop,
            kill,
            receiving: AtomicUsize::new(0),
            registry: Mutex::new(registry),
            posted: Mutex::default(),
        })
    }

    /// Hands an event to the owner, waiting while it has too many or too large ones waiting. Gives up when the owner is gone.
    pub(crate) async fn tell(&self, event: Event) {
        let mut held = Some(event);
        let offered = poll_fn(|context| {
            held = held.take().and_then(|event| self.inbox.offer(event, context).err());
            if held.is_some() { Poll::Pending } else { Poll::Ready(()) }
        });
        tokio::select! {
            biased;
            () = offered => {}
            () = self.kill.cancelled() => {}
        }
    }

    /// Hands over a failure when there is room; strangers who knock and fail must not fill the owner's inbox in wait.
    pub(crate) fn tell_failed(&self, link: Option<LinkId>, cause: DownCause) {
        self.inbox.offer_or_lose(Event::Failed { link, cause });
    }

    /// Draws the difference between what a link held and now holds from the budget of all; false when it is spent.
    pub(crate) fn draw_receiving(&self, held: usize, now: usize) -> bool {
        if now <= held {
            self.receiving.fetch_sub(held - now, Ordering::Relaxed);
            return true;
        }
        let limit = self.settings.limits.receiving_bytes;
        let draw = |drawn: usize| drawn.checked_add(now - held).filter(|sum| *sum <= limit);
        self.receiving.try_update(Ordering::Relaxed, Ordering::Relaxed, draw).is_ok()
    }

    /// Enters a link that finished its handshake; `None` when the endpoint is closing or the link was ended meanwhile.
    pub(crate) fn enter(
        &self,
        minor_version: u8,
        half: OwnedWriteHalf,
        link: Option<LinkId>,
        end: &CancellationToken,
    ) -> Option<(PeerId, Arc<Peer>)> {
        let queue = Queue::new(&self.settings.limits, self.settings.on_full, Arc::clone(&self.queued));
        let peer =
            Arc::new(Peer { outlet: Outlet::new(queue, half), knows_commands: minor_version >= 1, link });
        let mut registry = self.lock();
        // Looked at under the lock, under which those who cancel these look for the peers to end.
        if self.stop.is_cancelled() || end.is_cancelled() {
            return None;
        }
        let id = PeerId(registry.next_peer);
        registry.next_peer += 1;
        registry.peers.insert(id, Arc::clone(&peer));
        Some((id, peer))
    }

    pub(crate) fn leave(&self, peer: PeerId) {
        self.lock().peers.remove(&peer);
    }

    pub(crate) fn peer(&self, peer: PeerId) -> Option<Arc<Peer>> {
        self.lock().peers.get(&peer).map(Arc::clone)
    }

    pub(crate) fn send(&self, peer: PeerId, message: Encoded) -> Result<SendOutcome, SendError> {
        self.peer(peer).ok_or(SendError::Gone)?.outlet.send(message)
    }

    /// Queues for each of `peers`, to be written at the next flush.
    pub(crate) fn post(&self, peers: impl IntoIterator<Item = PeerId>, messages: &Encoded) -> Posted {
        let mut done = Posted::default();
        let registry = self.lock();
        let mut posted = self.posted();
        for id in peers {
            let Some(peer) = registry.peers.get(&id) else {
                done.refused.push((id, SendError::Gone));
                continue;
            };
            match peer.outlet.post(messages.clone()) {
                Ok((outcome, queued)) => {
                    done.dropped += outcome.dropped;
                    if queued == Queued::New {
                        posted.push(Arc::clone(peer));
                    }
                }
                Err(error) => done.refused.push((id, error)),
            }
        }
        done
    }

    /// Writes what was posted.
    pub(crate) fn flush(&self) {
        let mut posted = std::mem::take(&mut *self.posted());
        for peer in posted.drain(..) {
            peer.outlet.flush();
        }
        // Its room is used again, unless others posted meanwhile.
        let mut kept = self.posted();
        if kept.is_empty() {
            *kept = posted;
        }
    }

    pub(crate) fn send_command(
        &self,
        peer: PeerId,
        wire: impl FnOnce(&Peer) -> Bytes,
    ) -> Result<(), SendError> {
        let peer = self.peer(peer).ok_or(SendError::Gone)?;
        peer.outlet.command(wire(&peer))
    }

    /// Names a link and the token that ends it.
    pub(crate) fn add_link(&self) -> (LinkId, CancellationToken) {
        let token = self.kill.child_token();
        let mut registry = self.lock();
        let link = LinkId(registry.next_link);
        registry.next_link += 1;
        registry.links.insert(link, token.clone());
        (link, token)
    }

    pub(crate) fn remove_link(&self, link: LinkId) {
        let mut registry = self.lock();
        if let Some(token) = registry.links.remove(&link) {
            token.cancel();
        }
        for peer in registry.peers.values().filter(|peer| peer.link == Some(link)) {
            peer.outlet.want(Wish::Close);
        }
    }

    pub(crate) fn listening(&self) -> CancellationToken {
        self.lock().listening.clone()
    }

    pub(crate) fn stop_listening(&self) {
        let fresh = self.stop.child_token();
        std::mem::replace(&mut self.lock().listening, fresh).cancel();
    }

    /// Begins the orderly end: nothing new is entered, and each link closes when flushed.
    pub(crate) fn shutdown(&self) {
        self.stop.cancel();
        self.end_all(Wish::Flush);
        self.tasks.close();
        self.inbox.close();
    }

    /// Ends everything at once.
    pub(crate) fn abort(&self) {
        self.kill.cancel();
        self.end_all(Wish::Close);
        self.tasks.close();
    }

    /// Entering checks the tokens under the lock, so no peer is missed here once they are cancelled.
    fn end_all(&self, wish: Wish) {
        for peer in self.lock().peers.values() {
            peer.outlet.want(wish);
        }
    }

    /// Lets a connection in, as long as the guard lives.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, DownCause> {
        let address = address.to_canonical();
        let limits = &self.settings.limits;
        let mut registry = self.lock();
        if registry.accepted >= limits.connections {
            return Err(DownCause::Limit(format!("connections over {}", limits.connections)));
        }
        let here = registry.accepted_by_address.entry(address).or_default();
        if *here >= limits.connections_per_address {
            let limit = limits.connections_per_address;
            return Err(DownCause::Limit(format!("connections from one address over {limit}")));
        }
        *here += 1;
        registry.accepted += 1;
        Ok(Admission { shared: Arc::clone(self), address })
    }

    fn posted(&self) -> MutexGuard<'_, Vec<Arc<Peer>>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No panic can leave the maps half changed, so a poisoned registry is a whole one.
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one accepted connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut registry = self.shared.lock();
        registry.accepted -= 1;
        if let Some(here) = registry.accepted_by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                registry.accepted_by_address.remove(&self.address);
            }
        }
    }
}
