//! PUB links to the proxies. Each publication goes to every proxy; what went out lately goes again to a papo proxy that comes
//! (back), which drops what it has seen. A foreign proxy gets two frames and nothing twice.

use crate::role::{self, Context};
use crate::targets;
use bytes::Bytes;
use papo_exchange::constants::PUBLICATION_KEEP as KEEP;
use papo_protocol::publication::PublicationMeta;
use papo_settings::Address;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, OnFull, PeerId, SocketType};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Publications kept at most, and their bytes. A link's queue takes all of them at once.
const KEEP_COUNT_MAX: usize = 10_000;
const KEEP_BYTES_MAX: usize = 8 << 20;

/// Proxies send subscriptions and nothing else.
const PROXY_RECEIVES: usize = 16 << 10;

struct Kept {
    at: Duration,
    bytes: usize,
    encoded: Encoded,
}

/// The latest publications, oldest first.
#[derive(Default)]
struct Recent {
    publications: VecDeque<Kept>,
    bytes: usize,
}

impl Recent {
    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.publications.push_back(kept);
        while self.publications.len() > KEEP_COUNT_MAX || self.bytes > KEEP_BYTES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_before(&mut self, moment: Duration) {
        while self.publications.front().is_some_and(|oldest| oldest.at < moment) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.bytes -= self.publications.pop_front().map_or(0, |oldest| oldest.bytes);
    }
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
    kept: Recent,
}

impl Publisher {
    /// Connects to every proxy, for ever.
    pub fn connect(context: &Context, proxies: &[Address]) -> (Endpoint, Self) {
        let mut settings = context.papo_endpoint(SocketType::Pub, PROXY_RECEIVES, "server");
        settings.on_full = OnFull::DropOldest;
        settings.limits.queue_messages_per_peer =
            settings.limits.queue_messages_per_peer.max(2 * KEEP_COUNT_MAX);
        settings.limits.queue_bytes_per_peer = settings.limits.queue_bytes_per_peer.max(2 * KEEP_BYTES_MAX);
        role::notice_death_soon(&mut settings.limits);
        let (endpoint, handle) = Endpoint::new(settings);
        targets::follow_fixed(context, handle.clone(), proxies);
        (endpoint, Self { handle, proxies: HashMap::new(), kept: Recent::default() })
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
    pub fn on_event(&mut self, context: &Context, now: Duration, event: Event) {
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
                    // What is older, the proxy may have forgotten that it sent.
                    self.kept.forget_before(now.saturating_sub(KEEP));
                    for kept in &self.kept.publications {
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
        self.kept.keep(Kept { at: now, bytes: topic.len() + body.len(), encoded: full });
        self.kept.forget_before(now.saturating_sub(KEEP));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seconds: u64) -> Kept {
        Kept { at: Duration::from_secs(seconds), bytes: 1, encoded: Encoded::new(&[]) }
    }

    #[test]
    fn what_is_older_than_ten_seconds_is_not_sent_again() {
        let mut recent = Recent::default();
        recent.keep(kept(1));
        recent.keep(kept(9));
        recent.forget_before(Duration::from_secs(15).saturating_sub(KEEP));
        assert_eq!(recent.publications.len(), 1);
        assert_eq!(recent.bytes, 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut recent = Recent::default();
        for _ in 0..=KEEP_COUNT_MAX {
            recent.keep(kept(1));
        }
        assert_eq!((recent.publications.len(), recent.bytes), (KEEP_COUNT_MAX, KEEP_COUNT_MAX));
    }
}
