//! What all links of one endpoint share: who is up, who may come in, the way to the owner, and the tokens that end things.
//!
//! The lock guards plain maps and is never held across an await. This module must not know the wire.

use crate::{
    codec::Encoded,
    endpoint::EndpointSettings,
    event::{DownCause, Event, LinkId, PeerId},
    limits::FRAME_OVERHEAD,
    queue::{Queue, SendError, SendOutcome},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{Semaphore, mpsc};
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
    events: mpsc::Sender<Weighed>,
    /// Free bytes of [`crate::Limits::event_bytes`].
    event_budget: Semaphore,
    /// Bytes drawn from [`crate::Limits::receiving_bytes`].
    receiving: AtomicUsize,
    registry: Mutex<Registry>,
}

/// An event and its share of the budget, which is given back when the owner takes it.
#[derive(Debug)]
pub(crate) struct Weighed {
    event: Event,
    bytes: u32,
}

#[derive(Debug)]
struct Registry {
    peers: HashMap<PeerId, Arc<Peer>>,
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
    pub(crate) queue: Queue,
    /// Whether the peer knows the commands of ZMTP 3.1.
    pub(crate) knows_commands: bool,
    /// Close at once.
    pub(crate) close: CancellationToken,
    /// Close when the queue is empty.
    pub(crate) flush: CancellationToken,
}

impl Peer {
    pub(crate) fn close_after_flush(&self) {
        self.queue.close();
        self.flush.cancel();
    }
}

impl Shared {
    pub(crate) fn new(settings: EndpointSettings) -> (Arc<Self>, mpsc::Receiver<Weighed>) {
        let (events, receiver) = mpsc::channel(settings.event_capacity.max(1));
        let kill = CancellationToken::new();
        let stop = kill.child_token();
        let registry = Registry {
            peers: HashMap::new(),
            links: HashMap::new(),
            listening: stop.child_token(),
            accepted: 0,
            accepted_by_address: HashMap::new(),
            next_peer: 1,
            next_link: 1,
        };
        let shared = Self {
            event_budget: Semaphore::new(settings.limits.event_bytes.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
            tasks: TaskTracker::new(),
            stop,
            kill,
            events,
            receiving: AtomicUsize::new(0),
            registry: Mutex::new(registry),
        };
        (Arc::new(shared), receiver)
    }

    /// Hands an event to the owner, waiting while it has too many or too large ones waiting. Gives up when the owner is gone.
    pub(crate) async fn tell(&self, event: Event) {
        let bytes = self.weight(&event);
        // The permits come back in `unpack`; until the event is in the channel, a cancelled call returns them itself.
        let Ok(permits) = self.event_budget.acquire_many(bytes).await else { return };
        if let Ok(slot) = self.events.reserve().await {
            permits.forget();
            slot.send(Weighed { event, bytes });
        }
    }

    /// Hands over a failure when there is room; strangers who knock and fail must not fill the owner's channel in wait.
    pub(crate) fn tell_failed(&self, link: Option<LinkId>, cause: DownCause) {
        if let Err(refused) = self.events.try_send(Weighed { event: Event::Failed { link, cause }, bytes: 0 })
        {
            tracing::debug!(event = ?refused.into_inner().event, "no room to report a failed link");
        }
    }

    pub(crate) fn unpack(&self, weighed: Weighed) -> Event {
        self.event_budget.add_permits(weighed.bytes as usize);
        weighed.event
    }

    /// At most the whole budget, so that the largest message can always pass, if alone.
    fn weight(&self, event: &Event) -> u32 {
        let bytes = match event {
            Event::Message { frames, .. } => frames.iter().map(|frame| frame.len() + FRAME_OVERHEAD).sum(),
            Event::Subscribe { topic, .. } | Event::Cancel { topic, .. } => topic.len() + FRAME_OVERHEAD,
            Event::Up { .. } | Event::Down { .. } | Event::Failed { .. } => 0,
        };
        u32::try_from(bytes.min(self.settings.limits.event_bytes.max(1))).unwrap_or(u32::MAX)
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

    /// Enters a link that finished its handshake; `None` when the endpoint is closing.
    pub(crate) fn enter(&self, minor_version: u8, parent: &CancellationToken) -> Option<(PeerId, Arc<Peer>)> {
        let peer = Arc::new(Peer {
            queue: Queue::new(&self.settings.limits, self.settings.on_full),
            knows_commands: minor_version >= 1,
            close: parent.child_token(),
            flush: CancellationToken::new(),
        });
        let mut registry = self.lock();
        if self.stop.is_cancelled() {
            return None;
        }
        let id = PeerId(registry.next_peer);
        registry.next_peer += 1;
        registry.peers.insert(id, Arc::clone(&peer));
        Some((id, peer))
    }

    pub(crate) fn leave(&self, peer: PeerId) {
        let left = self.lock().peers.remove(&peer);
        if let Some(peer) = left {
            peer.queue.close();
        }
    }

    pub(crate) fn peer(&self, peer: PeerId) -> Option<Arc<Peer>> {
        self.lock().peers.get(&peer).map(Arc::clone)
    }

    pub(crate) fn send(&self, peer: PeerId, message: Encoded) -> Result<SendOutcome, SendError> {
        self.peer(peer).ok_or(SendError::Gone)?.queue.push(message.into_bytes())
    }

    pub(crate) fn send_command(
        &self,
        peer: PeerId,
        wire: impl FnOnce(&Peer) -> Bytes,
    ) -> Result<(), SendError> {
        let peer = self.peer(peer).ok_or(SendError::Gone)?;
        peer.queue.push_command(wire(&peer))
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
        let token = self.lock().links.remove(&link);
        if let Some(token) = token {
            token.cancel();
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
        // Entering checks `stop` under the lock, so no peer is missed here.
        let peers: Vec<_> = self.lock().peers.values().cloned().collect();
        for peer in peers {
            peer.close_after_flush();
        }
        self.tasks.close();
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

    /// No caller's code runs under the lock, so a poisoned registry is a whole one.
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
