//! PUB links to the proxies. Each publication goes to every proxy; what went out lately goes again to a papo proxy that comes
//! (back), which drops what it has seen. A foreign proxy gets two frames and nothing twice.

use crate::role::Context;
use crate::targets;
use bytes::Bytes;
use papo_protocol::publication::PublicationMeta;
use papo_settings::Address;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, OnFull, PeerId, SocketType};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// What is sent again after a reconnect (design: the last ten seconds).
const KEEP: Duration = Duration::from_secs(10);
/// Publications kept at most, and their bytes.
const KEEP_COUNT_MAX: usize = 50_000;
const KEEP_BYTES_MAX: usize = 16 << 20;

/// Proxies send subscriptions and nothing else.
const PROXY_RECEIVES: usize = 16 << 10;

struct Kept {
    at: Duration,
    bytes: usize,
    encoded: Encoded,
}

struct Proxy {
    papo: bool,
    /// Prefixes that it asked for; none yet means that the link is not up for publications.
    topics: Vec<Bytes>,
}

/// The links and what they lately carried.
pub struct Publisher {
    handle: EndpointHandle,
    proxies: HashMap<PeerId, Proxy>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

impl Publisher {
    /// Connects to every proxy, for ever.
    pub fn connect(context: &Context, proxies: &[Address]) -> (Endpoint, Self) {
        let mut settings = context.papo_endpoint(SocketType::Pub, PROXY_RECEIVES, "server");
        settings.on_full = OnFull::DropOldest;
        let (endpoint, handle) = Endpoint::new(settings);
        targets::follow_fixed(context, handle.clone(), proxies);
        (endpoint, Self { handle, proxies: HashMap::new(), kept: VecDeque::new(), kept_bytes: 0 })
    }

    /// For shutting down.
    pub fn handle(&self) -> &EndpointHandle {
        &self.handle
    }

    /// Proxies that have asked for publications.
    pub fn connected(&self) -> usize {
        self.proxies.values().filter(|proxy| !proxy.topics.is_empty()).count()
    }

    /// From the links to proxies.
    pub fn on_event(&mut self, context: &Context, event: Event) {
        match event {
            Event::Up { peer, info } => {
                let papo = context.is_papo(&info);
                tracing::info!(proxy = peer.0, address = %info.address, papo, "proxy connected");
                self.proxies.insert(peer, Proxy { papo, topics: Vec::new() });
            }
            Event::Subscribe { peer, topic } => {
                let Some(proxy) = self.proxies.get_mut(&peer) else { return };
                let first = proxy.topics.is_empty();
                proxy.topics.push(topic);
                if first && proxy.papo {
                    for kept in &self.kept {
                        send(&self.handle, peer, kept.encoded.clone());
                    }
                }
            }
            Event::Cancel { peer, topic } => {
                if let Some(proxy) = self.proxies.get_mut(&peer)
                    && let Some(position) = proxy.topics.iter().position(|known| *known == topic)
                {
                    proxy.topics.swap_remove(position);
                }
            }
            Event::Down { peer, cause } => {
                tracing::info!(proxy = peer.0, %cause, "proxy gone");
                self.proxies.remove(&peer);
            }
            Event::Failed { cause, .. } => tracing::debug!(%cause, "proxy not reached"),
            Event::Message { .. } => {}
        }
    }

    /// Sends to every proxy, and keeps it for those that come back within [`KEEP`].
    pub fn publish(&mut self, now: Duration, topic: &str, body: &Bytes, meta: &PublicationMeta) {
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        let plain = [topic.clone(), body.clone()];
        let full = Encoded::new(&[topic.clone(), body.clone(), meta.to_bytes()]);
        for (peer, proxy) in &self.proxies {
            if !proxy.topics.iter().any(|prefix| topic.starts_with(prefix)) {
                continue;
            }
            let encoded = if proxy.papo { full.clone() } else { Encoded::new(&plain) };
            send(&self.handle, *peer, encoded);
        }
        let bytes = topic.len() + body.len();
        self.kept.push_back(Kept { at: now, bytes, encoded: full });
        self.kept_bytes += bytes;
        while self.kept.front().is_some_and(|oldest| {
            now.saturating_sub(oldest.at) > KEEP
                || self.kept.len() > KEEP_COUNT_MAX
                || self.kept_bytes > KEEP_BYTES_MAX
        }) {
            self.kept_bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.bytes);
        }
    }
}

fn send(handle: &EndpointHandle, peer: PeerId, encoded: Encoded) {
    if let Ok(outcome) = handle.send(peer, encoded)
        && outcome.dropped > 0
    {
        tracing::warn!(
            proxy = peer.0,
            dropped = outcome.dropped,
            "a proxy does not read: its oldest publications are dropped"
        );
    }
}
