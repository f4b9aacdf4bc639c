//! Requests on their way: which link each came by, so that its answer goes back there.

use crate::envelope::split_envelope;
use crate::role::{self, Context};
use bytes::Bytes;
use papo_protocol::ServerName;
use papo_protocol::identity::RequestKey;
use papo_protocol::worker_link::{Cookie, FromWorker, ToWorker};
use papo_replica::{Input, Origin, RequestId};
use papo_zmtp::{EndpointHandle, Event, PeerId};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Requests that a papo broker may have in flight here.
const CAPACITY: u32 = 256;

/// Where an answer goes.
enum Route {
    /// A client's own link to this server.
    Direct { peer: PeerId, envelope: Vec<Bytes> },
    /// A papo broker.
    Broker { peer: PeerId, key: RequestKey },
    /// A broker of another make, to which this server is a REP worker.
    ForeignBroker { peer: PeerId, envelope: Vec<Bytes> },
}

/// A request without an answer.
struct Pending {
    route: Route,
    since: Duration,
}

/// All requests that have no answer yet. Bounded: a REQ link has one, a papo broker [`CAPACITY`].
pub struct Requests {
    direct: EndpointHandle,
    broker: EndpointHandle,
    name: ServerName,
    pending: HashMap<RequestId, Pending>,
    next: u64,
    papo_brokers: HashSet<PeerId>,
    foreign_brokers: HashSet<PeerId>,
    leaving: bool,
}

impl Requests {
    pub fn new(direct: EndpointHandle, broker: EndpointHandle, name: ServerName) -> Self {
        Self {
            direct,
            broker,
            name,
            pending: HashMap::new(),
            next: 0,
            papo_brokers: HashSet::new(),
            foreign_brokers: HashSet::new(),
            leaving: false,
        }
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Connected brokers.
    pub fn brokers(&self) -> usize {
        self.papo_brokers.len() + self.foreign_brokers.len()
    }

    /// Whether every broker's link takes another reply of any size: while one does not, no broker is asked for requests. Otherwise a
    /// few large histories would fill the queue, end the link, and move on to the next server.
    pub fn has_room(&self) -> bool {
        self.papo_brokers
            .iter()
            .all(|peer| self.broker.queued_bytes(*peer) + role::REPLY_RECEIVES <= role::REPLIES_QUEUED_MAX)
    }

    /// From the REP endpoint.
    pub fn on_direct(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Message { peer, frames } => {
                let Some((envelope, body)) = split_envelope(frames) else {
                    tracing::debug!(peer = peer.0, "a message without a single body: closing its link");
                    self.direct.close(peer);
                    return None;
                };
                let session = peer.0;
                Some(self.accept(Route::Direct { peer, envelope }, body, |counter| Origin::Direct {
                    session: Some(session),
                    counter,
                }))
            }
            Event::Down { peer, .. } => Some(Input::SessionClosed { session: peer.0 }),
            Event::Up { .. } | Event::Failed { .. } | Event::Subscribe { .. } | Event::Cancel { .. } => None,
        }
    }

    /// From the links to brokers.
    pub fn on_broker(&mut self, context: &Context, event: Event) -> Option<Input> {
        match event {
            Event::Up { peer, info } => {
                let papo = context.is_papo(&info);
                tracing::info!(broker = peer.0, address = %info.address, papo, "broker connected");
                if papo {
                    self.papo_brokers.insert(peer);
                    self.to_broker(peer, &FromWorker::Hello { name: self.name.clone(), capacity: CAPACITY });
                    if self.leaving {
                        self.to_broker(peer, &FromWorker::Leaving);
                    }
                } else {
                    self.foreign_brokers.insert(peer);
                }
                None
            }
            Event::Message { peer, frames } if self.papo_brokers.contains(&peer) => {
                let Some(ToWorker::Request { key, cookie, last_resort, body }) =
                    ToWorker::from_frames(&frames)
                else {
                    tracing::warn!(
                        broker = peer.0,
                        "an unreadable message from a broker of this cluster: ignored"
                    );
                    return None;
                };
                Some(self.accept(Route::Broker { peer, key }, body, |_| Origin::Broker {
                    key,
                    cookie,
                    last_resort,
                }))
            }
            Event::Message { peer, frames } => {
                let (envelope, body) = split_envelope(frames)?;
                Some(self.accept(Route::ForeignBroker { peer, envelope }, body, |counter| Origin::Direct {
                    session: None,
                    counter,
                }))
            }
            Event::Down { peer, cause } => {
                tracing::info!(broker = peer.0, %cause, "broker gone");
                self.papo_brokers.remove(&peer);
                self.foreign_brokers.remove(&peer);
                None
            }
            Event::Failed { cause, .. } => {
                tracing::debug!(%cause, "broker not reached");
                None
            }
            Event::Subscribe { .. } | Event::Cancel { .. } => None,
        }
    }

    fn accept(&mut self, route: Route, body: Bytes, origin: impl FnOnce(u64) -> Origin) -> Input {
        self.next += 1;
        let id = RequestId(self.next);
        self.pending.insert(id, Pending { route, since: role::now().monotonic });
        Input::Request { id, from: origin(self.next), body }
    }

    /// Sends an answer back where its request came from, and says how long it took.
    pub fn reply(&mut self, id: RequestId, cookie: Cookie, body: Bytes) -> Option<Duration> {
        let Some(Pending { route, since }) = self.pending.remove(&id) else {
            tracing::error!(request = id.0, "an answer without a request");
            return None;
        };
        match route {
            Route::Direct { peer, envelope } => send_enveloped(&self.direct, peer, envelope, body),
            Route::Broker { peer, key } => self.to_broker(peer, &FromWorker::Reply { key, cookie, body }),
            Route::ForeignBroker { peer, envelope } => send_enveloped(&self.broker, peer, envelope, body),
        }
        Some(role::now().monotonic.saturating_sub(since))
    }

    /// Tells the broker to ask another server. The mind says it of papo brokers' requests only.
    pub fn elsewhere(&mut self, id: RequestId) {
        match self.pending.remove(&id).map(|pending| pending.route) {
            Some(Route::Broker { peer, key }) => self.to_broker(peer, &FromWorker::Elsewhere { key }),
            Some(Route::Direct { .. } | Route::ForeignBroker { .. }) | None => {
                tracing::error!(request = id.0, "no broker to send a request elsewhere");
            }
        }
    }

    /// Tells the broker that the outcome of a write is not known. The mind says it of papo brokers' requests only.
    pub fn unknown(&mut self, id: RequestId) {
        match self.pending.remove(&id).map(|pending| pending.route) {
            Some(Route::Broker { peer, key }) => self.to_broker(peer, &FromWorker::Unknown { key }),
            Some(Route::Direct { .. } | Route::ForeignBroker { .. }) | None => {
                tracing::error!(request = id.0, "no broker to tell that an outcome is not known");
            }
        }
    }

    /// Tells papo's brokers that this server lives.
    pub fn beat(&self) {
        for peer in &self.papo_brokers {
            self.to_broker(*peer, &FromWorker::Beat);
        }
    }

    /// Asks papo's brokers for no more requests, also those that come back from now on.
    pub fn leave(&mut self) {
        self.leaving = true;
        for peer in &self.papo_brokers {
            self.to_broker(*peer, &FromWorker::Leaving);
        }
    }

    fn to_broker(&self, peer: PeerId, message: &FromWorker) {
        role::send_or_close(&self.broker, peer, &message.to_frames());
    }
}

fn send_enveloped(handle: &EndpointHandle, peer: PeerId, mut envelope: Vec<Bytes>, body: Bytes) {
    envelope.push(body);
    role::send_or_close(handle, peer, &envelope);
}
