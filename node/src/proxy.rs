//! The role `proxy`: XSUB for publishers, XPUB for subscribers, and between them the mind of `papo_exchange::routing`.
//!
//! A publication: publisher link -> [`Routing`] -> one encoded copy on the queue of every receiver. A subscriber that does not
//! read loses its oldest messages (counted); the others never wait for it.

use crate::http::{self, SurfaceOwner};
use crate::metrics::{METRICS_INTERVAL, ProxyMetrics};
use crate::role::{self, Context, now};
use papo_exchange::{Routing, RoutingInput, RoutingSettings, SubscriberId};
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, OnFull, PeerId, SocketType};
use std::collections::HashMap;
use std::net::SocketAddr;

/// What a proxy is told.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// XSUB, for publishers.
    pub xsub_listen: Vec<SocketAddr>,
    /// XPUB, for subscribers.
    pub listen: Vec<SocketAddr>,
    /// HTTP.
    pub http: SocketAddr,
    /// Largest request of a client, which becomes the largest publication.
    pub request_bytes: usize,
}

/// Subscribers send subscriptions and nothing else.
const SUBSCRIBER_RECEIVES: usize = 16 << 10;

/// Runs until stopped.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn run(context: Context, options: ProxyOptions) -> anyhow::Result<()> {
    let (owner, surface) = SurfaceOwner::new();
    http::serve(options.http, surface, context.http_stop.clone(), &context.tracker).await?;
    let metrics = ProxyMetrics::register(&owner.registry)?;

    let mut subscriber_settings = context.plain_endpoint(SocketType::Xpub, SUBSCRIBER_RECEIVES);
    subscriber_settings.on_full = OnFull::DropOldest;
    let (mut subscribers, subscriber_handle) = Endpoint::new(subscriber_settings);
    let mut publisher_settings =
        context.papo_endpoint(SocketType::Xsub, role::publication_receives(options.request_bytes), "proxy");
    role::notice_death_soon(&mut publisher_settings.limits);
    let (mut publishers, publisher_handle) = Endpoint::new(publisher_settings);
    role::listen(&publisher_handle, &options.xsub_listen, "publishers (XSUB)").await?;
    role::listen(&subscriber_handle, &options.listen, "subscribers (XPUB)").await?;
    tracing::info!(publishers = ?options.xsub_listen, subscribers = ?options.listen, "proxy listens");

    let mut routing = Routing::new(RoutingSettings::default());
    // Whether each publisher presented the token.
    let mut known: HashMap<PeerId, bool> = HashMap::new();
    let mut second = tokio::time::interval(METRICS_INTERVAL);
    loop {
        tokio::select! {
            event = subscribers.next() => match event {
                Some(event) => on_subscriber(&mut routing, event),
                None => break,
            },
            event = publishers.next() => match event {
                Some(event) => {
                    on_publisher(&context, &mut routing, &mut known, &publisher_handle, event, &subscriber_handle, &metrics);
                }
                None => break,
            },
            _ = second.tick() => {
                routing.tick(now());
                metrics.update(&routing);
            }
            () = context.stop.cancelled() => break,
        }
        owner.set_ready(!known.is_empty());
    }
    owner.set_ready(false);
    subscriber_handle.shutdown();
    publisher_handle.shutdown();
    while subscribers.next().await.is_some() {}
    Ok(())
}

fn on_subscriber(routing: &mut Routing, event: Event) {
    let input = match event {
        Event::Up { peer, .. } => RoutingInput::SubscriberUp(subscriber(peer)),
        Event::Subscribe { peer, topic } => RoutingInput::Subscribe { subscriber: subscriber(peer), topic },
        Event::Cancel { peer, topic } => RoutingInput::Cancel { subscriber: subscriber(peer), topic },
        Event::Down { peer, cause } => {
            tracing::debug!(peer = peer.0, %cause, "subscriber gone");
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

fn on_publisher(
    context: &Context,
    routing: &mut Routing,
    known: &mut HashMap<PeerId, bool>,
    publishers: &EndpointHandle,
    event: Event,
    subscribers: &EndpointHandle,
    metrics: &ProxyMetrics,
) {
    match event {
        Event::Up { peer, info } => {
            let papo = context.is_papo(&info);
            tracing::info!(publisher = peer.0, address = %info.address, papo, "publisher connected");
            known.insert(peer, papo);
            // A publisher filters by what it was asked for: everything, since who wants what is decided here.
            if publishers.subscribe(peer, b"").is_err() {
                publishers.close(peer);
            }
        }
        Event::Message { peer, frames } => {
            let papo = known.get(&peer).copied().unwrap_or(false);
            let Some(delivery) = routing.publish(now(), papo, frames) else { return };
            let encoded = Encoded::new(&delivery.frames);
            for receiver in delivery.receivers {
                // A receiver that is gone has its Down event on the way.
                if let Ok(outcome) = subscribers.send(PeerId(receiver.0), encoded.clone()) {
                    metrics.dropped_slow.inc_by(u64::try_from(outcome.dropped).unwrap_or(u64::MAX));
                }
            }
        }
        Event::Down { peer, cause } => {
            tracing::info!(publisher = peer.0, %cause, "publisher gone");
            known.remove(&peer);
        }
        Event::Failed { cause, .. } => tracing::warn!(%cause, "publisher handshake failed"),
        Event::Subscribe { .. } | Event::Cancel { .. } => {}
    }
}

fn subscriber(peer: PeerId) -> SubscriberId {
    SubscriberId(peer.0)
}
