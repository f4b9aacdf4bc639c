//! The role `proxy`: XSUB for publishers, XPUB for subscribers, and between them the mind of `papo_exchange::routing`.
//!
//! A publication: publisher link -> [`Routing`] -> one encoded copy on the queue of every receiver. A subscriber that does not
//! read loses its oldest messages (counted); the others never wait for it. Subscribers that came to a JSON address share a second copy,
//! which is written for them here.

use crate::drain::{Activity, Drain, DrainSettings, Stage};
use crate::draining;
use crate::http::{self, SurfaceOwner};
use crate::logging::{self, Happening};
use crate::metrics::{METRICS_INTERVAL, ProxyMetrics};
use crate::readiness::Readiness;
use crate::role::{self, Context, now};
use bytes::Bytes;
use papo_exchange::constants::PUBLICATION_READ_LIMITS;
use papo_exchange::{Delivery, Routing, RoutingInput, RoutingSettings, SubscriberId};
use papo_protocol::codec;
use papo_protocol::publication::publication_in_json;
use papo_protocol::time::Now;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, Limits, OnFull, PeerId, SocketType};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// What a proxy is told.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// XSUB, for publishers.
    pub xsub_listen: Vec<SocketAddr>,
    /// XPUB, for subscribers.
    pub listen: Vec<SocketAddr>,
    /// XPUB, for subscribers that read JSON only.
    pub json_listen: Vec<SocketAddr>,
    /// HTTP.
    pub http: SocketAddr,
    /// Largest request of a client, which becomes the largest publication.
    pub request_bytes: usize,
    /// Bounds.
    pub routing: RoutingSettings,
    /// Servers of the settings.
    pub servers: usize,
    /// How it leaves.
    pub drain: DrainSettings,
}

/// Subscribers send subscriptions and nothing else.
const SUBSCRIBER_RECEIVES: usize = 16 << 10;
/// Publications that are queued together at most, and their bytes: what one write takes.
const TOGETHER_MAX: usize = 64;
const TOGETHER_BYTES_MAX: usize = 64 << 10;

/// Runs until stopped.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn run(context: Context, options: ProxyOptions) -> anyhow::Result<()> {
    let (owner, surface) = SurfaceOwner::new();
    let routes = draining::routes(context.stop.clone());
    http::serve(options.http, surface, routes, context.http_stop.clone(), &context.tracker).await?;
    let metrics = ProxyMetrics::register(&owner.registry)?;

    let mut subscriber_settings = context.plain_endpoint(SocketType::Xpub, SUBSCRIBER_RECEIVES);
    subscriber_settings.on_full = OnFull::DropOldest;
    let limits = subscriber_settings.limits.clone();
    let (mut subscribers, subscriber_handle) = Endpoint::new(subscriber_settings);
    let mut publisher_settings =
        context.papo_endpoint(SocketType::Xsub, role::publication_receives(options.request_bytes), "proxy");
    role::notice_death_soon(&mut publisher_settings.limits);
    let (mut publishers, publisher_handle) = Endpoint::new(publisher_settings);
    role::listen(&publisher_handle, &options.xsub_listen, "publishers (XSUB)").await?;
    role::listen(&subscriber_handle, &options.listen, "subscribers (XPUB)").await?;
    role::listen(&subscriber_handle, &options.json_listen, "subscribers (XPUB), in JSON").await?;
    logging::tell(&Happening::ProxyListens {
        publishers: &options.xsub_listen,
        subscribers: &[options.listen.as_slice(), &options.json_listen].concat(),
    });

    let mut routing = Routing::new(options.routing);
    let mut known = Publishers { context: &context, handle: publisher_handle.clone(), known: HashMap::new() };
    let mut outgoing = Outgoing::new(&metrics, &subscriber_handle, &limits, options.json_listen);
    let mut readiness = Readiness::new(now().monotonic, options.servers);
    let mut drain = Drain::new(options.drain);
    let mut second = tokio::time::interval(METRICS_INTERVAL);
    loop {
        // Whether something has changed beside publications.
        let mut look = drain.has_begun();
        tokio::select! {
            event = subscribers.next() => {
                let Some(event) = event else { break };
                let mut event = Some(event);
                while let Some(next) = event {
                    metrics.subscribers.observe(&next);
                    on_subscriber(&mut routing, &mut outgoing, next);
                    event = subscribers.next_taken();
                }
            },
            event = publishers.next() => {
                let Some(event) = event else { break };
                let now = now();
                let mut event = Some(event);
                while let Some(next) = event {
                    look |= !matches!(next, Event::Message { .. });
                    metrics.publishers.observe(&next);
                    known.on_event(now, next, &mut routing, &mut outgoing);
                    event = publishers.next_taken();
                }
                outgoing.flush();
            },
            () = tokio::time::sleep(drain.patience()), if drain.has_begun() => {}
            _ = second.tick() => {
                look = true;
                routing.tick(now());
                metrics.update(&routing);
            }
            () = context.stop.cancelled(), if !drain.has_begun() => {
                look = true;
                drain.begin(now().monotonic);
            }
        }
        if look {
            let now = now().monotonic;
            let ready = readiness.is_ready(now, known.servers());
            owner.set_ready(ready && !drain.has_begun());
            // A proxy owes nothing but what is queued, and that is flushed below.
            let activity = Activity { owes: false, heard: 0 };
            if matches!(drain.stage(now, activity), Stage::Ending | Stage::Gone) {
                break;
            }
        }
    }
    owner.set_ready(false);
    subscriber_handle.shutdown();
    publisher_handle.shutdown();
    while subscribers.next().await.is_some() {}
    Ok(())
}

fn on_subscriber(routing: &mut Routing, outgoing: &mut Outgoing<'_>, event: Event) {
    let input = match event {
        Event::Up { peer, info } => {
            outgoing.welcome(peer, info.local);
            RoutingInput::SubscriberUp(subscriber(peer))
        }
        Event::Subscribe { peer, topic } => RoutingInput::Subscribe { subscriber: subscriber(peer), topic },
        Event::Cancel { peer, topic } => RoutingInput::Cancel { subscriber: subscriber(peer), topic },
        Event::Down { peer, cause } => {
            tracing::debug!(peer = peer.0, %cause, "subscriber gone");
            outgoing.forget(peer);
            RoutingInput::SubscriberDown(subscriber(peer))
        }
        // XSUB peers may send upstream messages; nothing here takes them.
        Event::Message { .. } => return,
        Event::Failed { cause, .. } => {
            tracing::debug!(%cause, "subscriber handshake failed");
            return;
        }
    };
    routing.handle(input);
}

/// The publishers' side.
struct Publishers<'a> {
    context: &'a Context,
    handle: EndpointHandle,
    /// Whether each presented the token.
    known: HashMap<PeerId, bool>,
}

impl Publishers<'_> {
    /// Servers of ours that are connected; where there is none, any other publisher counts as one.
    fn servers(&self) -> usize {
        let papo = self.known.values().filter(|papo| **papo).count();
        if papo > 0 { papo } else { self.known.len().min(1) }
    }

    fn on_event(&mut self, now: Now, event: Event, routing: &mut Routing, outgoing: &mut Outgoing) {
        match event {
            Event::Up { peer, info } => {
                let papo = self.context.is_papo(&info);
                tracing::info!(publisher = peer.0, address = %info.address, papo, "publisher connected");
                self.known.insert(peer, papo);
                // A publisher filters by what it was asked for: everything, since who wants what is decided here.
                if self.handle.subscribe(peer, b"").is_err() {
                    self.handle.close(peer);
                }
            }
            Event::Message { peer, frames } => {
                let papo = self.known.get(&peer).copied().unwrap_or(false);
                if let Some(delivery) = routing.publish(now, papo, frames) {
                    outgoing.add(delivery);
                }
            }
            Event::Down { peer, cause } => {
                tracing::info!(publisher = peer.0, %cause, "publisher gone");
                self.known.remove(&peer);
            }
            Event::Failed { cause, .. } => tracing::warn!(%cause, "publisher handshake failed"),
            Event::Subscribe { .. } | Event::Cancel { .. } => {}
        }
    }
}

/// Publications on their way to subscribers: as they came, and in JSON to those who came to an address for that.
struct Outgoing<'a> {
    json_listen: Vec<SocketAddr>,
    json_subscribers: HashSet<PeerId>,
    as_they_came: Together<'a>,
    in_json: Together<'a>,
}

impl<'a> Outgoing<'a> {
    fn new(
        metrics: &'a ProxyMetrics,
        subscribers: &EndpointHandle,
        limits: &Limits,
        json_listen: Vec<SocketAddr>,
    ) -> Self {
        let together = || Together::new(metrics, subscribers.clone(), limits);
        Self { json_listen, json_subscribers: HashSet::new(), as_they_came: together(), in_json: together() }
    }

    /// A subscriber came, to this address of ours.
    fn welcome(&mut self, peer: PeerId, local: Option<SocketAddr>) {
        let is_at = |listen: &SocketAddr, local: SocketAddr| {
            listen.port() == local.port() && (listen.ip().is_unspecified() || listen.ip() == local.ip())
        };
        if local.is_some_and(|local| self.json_listen.iter().any(|listen| is_at(listen, local))) {
            self.json_subscribers.insert(peer);
        }
    }

    fn forget(&mut self, peer: PeerId) {
        self.json_subscribers.remove(&peer);
    }

    fn add(&mut self, delivery: Delivery<'_>) {
        let [topic, body] = delivery.frames;
        for receiver in delivery.receivers {
            let peer = PeerId(receiver.0);
            let in_json = !self.json_subscribers.is_empty() && self.json_subscribers.contains(&peer);
            let together = if in_json { &mut self.in_json } else { &mut self.as_they_came };
            together.next_receivers.push(peer);
        }
        if !self.in_json.next_receivers.is_empty() {
            // The link that it came by has bounded its length already.
            let limits = codec::Limits { bytes: body.len(), ..PUBLICATION_READ_LIMITS };
            self.in_json.add([topic.clone(), publication_in_json(&body, &limits)]);
        }
        if !self.as_they_came.next_receivers.is_empty() {
            self.as_they_came.add([topic, body]);
        }
    }

    /// Sends all that was added.
    fn flush(&mut self) {
        self.in_json.post();
        self.as_they_came.post();
        self.as_they_came.subscribers.flush();
    }
}

/// Publications that come together and have the same receivers are encoded and queued together: with many subscribers, queueing is
/// what costs.
struct Together<'a> {
    metrics: &'a ProxyMetrics,
    subscribers: EndpointHandle,
    messages_max: usize,
    bytes_max: usize,
    messages: Vec<[Bytes; 2]>,
    bytes: usize,
    receivers: Vec<PeerId>,
    /// Of the publication that is added next; kept for its room.
    next_receivers: Vec<PeerId>,
}

impl<'a> Together<'a> {
    /// What is queued together is also dropped together: no more than a sixteenth of a queue.
    fn new(metrics: &'a ProxyMetrics, subscribers: EndpointHandle, limits: &Limits) -> Self {
        Self {
            metrics,
            subscribers,
            messages_max: (limits.queue_messages_per_peer / 16).clamp(1, TOGETHER_MAX),
            bytes_max: (limits.queue_bytes_per_peer / 16).min(TOGETHER_BYTES_MAX),
            messages: Vec::new(),
            bytes: 0,
            receivers: Vec::new(),
            next_receivers: Vec::new(),
        }
    }

    /// For the receivers that were noted before.
    fn add(&mut self, frames: [Bytes; 2]) {
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        if self.messages.len() >= self.messages_max
            || self.bytes + bytes > self.bytes_max
            || self.receivers != self.next_receivers
        {
            self.post();
            std::mem::swap(&mut self.receivers, &mut self.next_receivers);
        }
        self.next_receivers.clear();
        self.bytes += bytes;
        self.messages.push(frames);
    }

    fn post(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let encoded = Encoded::several(self.messages.iter().map(<[Bytes; 2]>::as_slice));
        self.messages.clear();
        self.bytes = 0;
        let posted = self.subscribers.post(self.receivers.iter().copied(), &encoded);
        self.metrics.posted(&posted, encoded.messages());
    }
}

fn subscriber(peer: PeerId) -> SubscriberId {
    SubscriberId(peer.0)
}
