//! PUB links to the proxies. Each publication goes to every proxy; what went out lately, or while it was away, goes again to a papo
//! proxy that comes (back), which drops what it has seen. A foreign proxy gets two frames and nothing twice.

use crate::metrics::PublisherMetrics;
use crate::role::{self, Context};
use crate::targets;
use bytes::Bytes;
use papo_exchange::constants::{PUBLICATION_KEEP as KEEP, PUBLICATION_KEEP_AWAY as KEEP_AWAY};
use papo_protocol::publication::PublicationMeta;
use papo_settings::Address;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, LinkId, OnFull, PeerId, SendOutcome, SocketType};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Publications kept at most, and their bytes: a thousand a second for as long as a proxy may be away. A link's queue takes all of them
/// at once.
const KEEP_COUNT_MAX: usize = 50_000;
const KEEP_BYTES_MAX: usize = 16 << 20;

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
    /// Keeps one more within the bounds, and says how many of the oldest had to go for it.
    fn keep(&mut self, kept: Kept) -> usize {
        self.bytes += kept.bytes;
        self.publications.push_back(kept);
        let mut forgotten = 0;
        while self.publications.len() > KEEP_COUNT_MAX || self.bytes > KEEP_BYTES_MAX {
            self.forget_oldest();
            forgotten += 1;
        }
        forgotten
    }

    /// Says how many it forgot.
    fn forget_before(&mut self, moment: Duration) -> usize {
        let before = self.publications.len();
        while self.publications.front().is_some_and(|oldest| oldest.at < moment) {
            self.forget_oldest();
        }
        before - self.publications.len()
    }

    fn forget_oldest(&mut self) {
        self.bytes -= self.publications.pop_front().map_or(0, |oldest| oldest.bytes);
    }
}

struct Proxy {
    papo: bool,
    link: Option<LinkId>,
    /// Prefixes that it asked for; none yet means that the link is not up for publications.
    topics: Vec<Bytes>,
    /// It has lost publications because it does not read.
    behind: bool,
}

/// A link to a papo proxy that broke.
struct Away {
    since: Duration,
    /// Since when it is up again. Until it has been for [`KEEP`], what it was sent again may not have come.
    back: Option<Duration>,
}

/// The links and what they lately carried.
pub struct Publisher {
    handle: EndpointHandle,
    proxies: HashMap<PeerId, Proxy>,
    /// What these missed is kept.
    away: HashMap<LinkId, Away>,
    kept: Recent,
    metrics: PublisherMetrics,
}

impl Publisher {
    /// Connects to every proxy, for ever.
    pub fn connect(context: &Context, proxies: &[Address], metrics: PublisherMetrics) -> (Endpoint, Self) {
        let mut settings = context.papo_endpoint(SocketType::Pub, PROXY_RECEIVES, "server");
        settings.on_full = OnFull::DropOldest;
        settings.limits.queue_messages_per_peer =
            settings.limits.queue_messages_per_peer.max(2 * KEEP_COUNT_MAX);
        settings.limits.queue_bytes_per_peer = settings.limits.queue_bytes_per_peer.max(2 * KEEP_BYTES_MAX);
        role::notice_death_soon(&mut settings.limits);
        let (endpoint, handle) = Endpoint::new(settings);
        targets::follow_fixed(context, handle.clone(), proxies);
        let (proxies, away) = (HashMap::new(), HashMap::new());
        (endpoint, Self { handle, proxies, away, kept: Recent::default(), metrics })
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
                self.proxies.insert(peer, Proxy { papo, link: info.link, topics: Vec::new(), behind: false });
            }
            Event::Subscribe { peer, topic } => {
                self.forget_old(now);
                let Some(proxy) = self.proxies.get_mut(&peer) else { return };
                let first = proxy.topics.is_empty();
                proxy.topics.push(topic);
                if first && proxy.papo {
                    // From before it went, since what was sent last may have been lost on the way.
                    let away = proxy.link.and_then(|link| self.away.get_mut(&link));
                    let since = away.map_or(now, |away| {
                        away.back = Some(now);
                        away.since
                    });
                    let since = since.saturating_sub(KEEP);
                    for kept in self.kept.publications.iter().filter(|kept| kept.at >= since) {
                        proxy.post(&self.handle, peer, &kept.encoded, &self.metrics);
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
                let gone = self.proxies.remove(&peer).filter(|proxy| proxy.papo);
                if let Some(link) = gone.and_then(|proxy| proxy.link) {
                    self.forget_old(now);
                    self.away.entry(link).or_insert(Away { since: now, back: None }).back = None;
                }
            }
            Event::Failed { cause, .. } => tracing::debug!(%cause, "proxy not reached"),
            Event::Message { .. } => {}
        }
    }

    /// Hands what was published to the kernel, as far as it takes it. To be called before any reply goes out: a server that dies in
    /// the moment of its reply has published what it acknowledged.
    pub fn flush(&self) {
        self.handle.flush();
    }

    /// Forgets what is older than [`KEEP`], or than that when the first of the proxies went that are away. One that is away for
    /// longer than [`KEEP_AWAY`] is not waited for: it may have forgotten what it sent before.
    fn forget_old(&mut self, now: Duration) {
        let mut given_up = false;
        self.away.retain(|_, away| {
            let too_long = away.back.is_none() && away.since + KEEP_AWAY < now;
            given_up |= too_long;
            !too_long && away.back.is_none_or(|back| back + KEEP > now)
        });
        let since = self.away.values().map(|away| away.since).min().unwrap_or(now);
        let forgotten = self.kept.forget_before(since.saturating_sub(KEEP));
        if given_up {
            self.metrics.unkept(forgotten);
        }
    }

    /// For every proxy, at the next flush; kept for those that are away.
    pub fn publish(&mut self, now: Duration, topic: &str, body: &Bytes, meta: &PublicationMeta) {
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        let plain = [topic.clone(), body.clone()];
        let full = Encoded::new(&[topic.clone(), body.clone(), meta.to_bytes()]);
        for (peer, proxy) in &mut self.proxies {
            if !proxy.topics.iter().any(|prefix| topic.starts_with(prefix)) {
                continue;
            }
            let encoded = if proxy.papo { full.clone() } else { Encoded::new(&plain) };
            proxy.post(&self.handle, *peer, &encoded, &self.metrics);
        }
        self.forget_old(now);
        let forgotten = self.kept.keep(Kept { at: now, bytes: topic.len() + body.len(), encoded: full });
        self.metrics.unkept(forgotten);
    }
}

impl Proxy {
    fn post(&mut self, handle: &EndpointHandle, peer: PeerId, encoded: &Encoded, metrics: &PublisherMetrics) {
        let posted = handle.post([peer], encoded);
        for (_, error) in posted.refused {
            metrics.refused(error);
        }
        metrics.dropped(SendOutcome { dropped: posted.dropped });
        if posted.dropped > 0 && !self.behind {
            self.behind = true;
            tracing::warn!(proxy = peer.0, "a proxy does not read: its oldest publications are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::Identity;
    use papo_protocol::publication::PublicationKind;
    use papo_settings::LimitsSpec;
    use std::io::Write as _;
    use std::net::SocketAddr;

    fn kept(seconds: u64) -> Kept {
        Kept { at: Duration::from_secs(seconds), bytes: 1, encoded: Encoded::new(&[]) }
    }

    #[test]
    fn what_is_older_than_ten_seconds_is_not_sent_again() {
        let mut recent = Recent::default();
        recent.keep(kept(1));
        recent.keep(kept(9));
        assert_eq!(recent.forget_before(Duration::from_secs(15).saturating_sub(KEEP)), 1);
        assert_eq!(recent.publications.len(), 1);
        assert_eq!(recent.bytes, 1);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_goes_too_early_is_counted() {
        let mut recent = Recent::default();
        let forgotten: usize = (0..KEEP_COUNT_MAX + 2).map(|_| recent.keep(kept(1))).sum();
        assert_eq!((recent.publications.len(), recent.bytes), (KEEP_COUNT_MAX, KEEP_COUNT_MAX));
        assert_eq!(forgotten, 2);
    }

    /// A server's links to proxies, and a token by which they know each other. Its clock may be ahead.
    struct Server {
        ahead: Duration,
        context: Context,
        endpoint: Endpoint,
        publisher: Publisher,
        registry: prometheus::Registry,
        published: u64,
    }

    impl Server {
        fn connect(context: Context, proxies: &[SocketAddr]) -> Self {
            let proxies: Vec<Address> = proxies.iter().map(|address| (*address).into()).collect();
            let registry = prometheus::Registry::new();
            let metrics = PublisherMetrics::register(&registry).unwrap();
            let (endpoint, publisher) = Publisher::connect(&context, &proxies, metrics);
            Self { ahead: Duration::ZERO, context, endpoint, publisher, registry, published: 0 }
        }

        fn now(&self) -> Duration {
            role::now().monotonic + self.ahead
        }

        /// Takes in what the links tell until so many proxies have subscribed.
        async fn until_connected(&mut self, proxies: usize) {
            let connected = async {
                while self.publisher.connected() != proxies {
                    let event = self.endpoint.next().await.unwrap();
                    let now = self.now();
                    self.publisher.on_event(&self.context, now, event);
                    self.publisher.flush();
                }
            };
            tokio::time::timeout(PATIENCE, connected).await.unwrap();
        }

        fn publish(&mut self, count: u64) {
            for _ in 0..count {
                self.publish_one("");
            }
        }

        fn publish_one(&mut self, padding: &str) {
            self.published += 1;
            let meta = PublicationMeta {
                kind: PublicationKind::Channel,
                identity: Identity(u128::from(self.published).to_be_bytes()),
            };
            let body = Bytes::from(format!("{}{padding}", self.published));
            let now = self.now();
            self.publisher.publish(now, "geral", &body, &meta);
            self.publisher.flush();
        }

        /// The value of a metric.
        fn count(&self, metric: &str) -> u64 {
            let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(metric)).unwrap();
            line.trim().parse().unwrap()
        }
    }

    /// A proxy that takes all and asks for everything, as ours do.
    struct Taker {
        endpoint: Endpoint,
        handle: EndpointHandle,
        address: SocketAddr,
    }

    impl Taker {
        async fn listen(context: &Context, address: &str) -> Self {
            let (endpoint, handle) = Endpoint::new(context.papo_endpoint(SocketType::Xsub, 1 << 20, "proxy"));
            let address = handle.bind(address.parse().unwrap()).await.unwrap();
            Self { endpoint, handle, address }
        }

        async fn next(&mut self) -> Event {
            tokio::time::timeout(PATIENCE, self.endpoint.next()).await.unwrap().unwrap()
        }

        /// Waits for the server without asking it for anything.
        async fn meet(&mut self) -> PeerId {
            loop {
                if let Event::Up { peer, .. } = self.next().await {
                    return peer;
                }
            }
        }

        async fn subscribe(&mut self) {
            let peer = self.meet().await;
            self.handle.subscribe(peer, b"").unwrap();
        }

        /// The numbers of the next publications.
        async fn take(&mut self, count: usize) -> Vec<u64> {
            let mut numbers = Vec::new();
            while numbers.len() < count {
                if let Event::Message { frames, .. } = self.next().await {
                    assert_eq!((frames.len(), frames[0].as_ref()), (3, b"geral".as_slice()));
                    numbers.push(std::str::from_utf8(&frames[1]).unwrap().trim().parse().unwrap());
                }
            }
            numbers
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    fn context() -> Context {
        let mut token = tempfile::NamedTempFile::new().unwrap();
        token.write_all(b"a token of more than sixteen bytes").unwrap();
        Context::new(Some(token.path()), false, &LimitsSpec::default()).unwrap()
    }

    #[tokio::test]
    async fn every_proxy_gets_every_publication_once_and_in_order() {
        let context = context();
        let mut first = Taker::listen(&context, "127.0.0.1:0").await;
        let mut second = Taker::listen(&context, "127.0.0.1:0").await;
        let mut server = Server::connect(context, &[first.address, second.address]);
        tokio::join!(first.subscribe(), second.subscribe(), server.until_connected(2));
        server.publish(100);
        let all: Vec<u64> = (1..=100).collect();
        assert_eq!(first.take(100).await, all);
        assert_eq!(second.take(100).await, all);
    }

    #[tokio::test]
    async fn what_was_published_before_a_proxy_asked_for_it_comes_first() {
        let context = context();
        let mut proxy = Taker::listen(&context, "127.0.0.1:0").await;
        let mut server = Server::connect(context, &[proxy.address]);
        server.publish(2);
        let event = server.endpoint.next().await.unwrap();
        assert!(matches!(event, Event::Up { .. }));
        server.publisher.on_event(&server.context, role::now().monotonic, event);
        let peer = proxy.meet().await;
        server.publish(2);
        assert_eq!(server.publisher.connected(), 0);
        proxy.handle.subscribe(peer, b"").unwrap();
        server.until_connected(1).await;
        server.publish(2);
        assert_eq!(proxy.take(6).await, [1, 2, 3, 4, 5, 6]);
    }

    #[tokio::test]
    async fn a_proxy_that_dies_costs_the_other_nothing_and_gets_what_it_missed_when_it_is_back() {
        let context = context();
        let mut steady = Taker::listen(&context, "127.0.0.1:0").await;
        let mut doomed = Taker::listen(&context, "127.0.0.1:0").await;
        let address = doomed.address;
        let mut server = Server::connect(context.clone(), &[steady.address, address]);
        tokio::join!(steady.subscribe(), doomed.subscribe(), server.until_connected(2));
        server.publish(10);
        assert_eq!(doomed.take(10).await.len(), 10);
        drop(doomed);
        server.until_connected(1).await;
        server.publish(10);
        let mut back = Taker::listen(&context, &address.to_string()).await;
        tokio::join!(back.subscribe(), server.until_connected(2));
        server.publish(10);
        let all: Vec<u64> = (1..=30).collect();
        assert_eq!(steady.take(30).await, all);
        // The first ten again: this proxy may have sent them or not, and knows by their identities.
        assert_eq!(back.take(30).await, all);
    }

    #[tokio::test]
    async fn a_proxy_that_is_away_for_half_a_minute_misses_nothing_and_one_that_is_away_for_longer_is_counted()
     {
        let context = context();
        let mut proxy = Taker::listen(&context, "127.0.0.1:0").await;
        let address = proxy.address;
        let mut server = Server::connect(context.clone(), &[address]);
        tokio::join!(proxy.subscribe(), server.until_connected(1));
        for (away, missed) in [(30, 0), (50, 10)] {
            drop(proxy);
            server.until_connected(0).await;
            let before = server.published;
            server.publish(10);
            server.ahead += Duration::from_secs(away);
            server.publish(10);
            proxy = Taker::listen(&context, &address.to_string()).await;
            tokio::join!(proxy.subscribe(), server.until_connected(1));
            let due: Vec<u64> = (before + missed + 1..=before + 20).collect();
            assert_eq!(proxy.take(due.len()).await, due);
            assert_eq!(server.count("papo_server_publications_unkept_total"), missed);
            // What it has now, it need not get again.
            server.ahead += Duration::from_secs(20);
        }
    }

    #[tokio::test]
    async fn a_link_that_breaks_again_as_soon_as_it_is_back_costs_nothing() {
        let context = context();
        let mut proxy = Taker::listen(&context, "127.0.0.1:0").await;
        let address = proxy.address;
        let mut server = Server::connect(context.clone(), &[address]);
        tokio::join!(proxy.subscribe(), server.until_connected(1));
        drop(proxy);
        server.until_connected(0).await;
        server.publish(10);
        server.ahead += Duration::from_secs(30);
        for _ in 0..2 {
            let mut back = Taker::listen(&context, &address.to_string()).await;
            tokio::join!(back.subscribe(), server.until_connected(1));
            // It is gone before it read anything.
            drop(back);
            server.until_connected(0).await;
            server.publish(1);
        }
        let mut proxy = Taker::listen(&context, &address.to_string()).await;
        tokio::join!(proxy.subscribe(), server.until_connected(1));
        assert_eq!(proxy.take(12).await, (1..=12).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_read_loses_its_oldest_publications_and_they_are_counted() {
        // 60 MB, of which this end queues 32 MiB, and kernel and proxy take some ten more before they stop reading.
        let (publications, padding) = (6_000, " ".repeat(10_000));
        let context = context();
        let mut proxy = Taker::listen(&context, "127.0.0.1:0").await;
        let mut server = Server::connect(context, &[proxy.address]);
        tokio::join!(proxy.subscribe(), server.until_connected(1));
        for _ in 0..publications {
            server.publish_one(&padding);
            tokio::task::yield_now().await;
        }
        let dropped = server.count("papo_server_publications_dropped_total{cause=\"slow_proxy\"}");
        assert!(dropped > 0);
        assert!(server.count("papo_server_publications_unkept_total") > 0);
        let taken = proxy.take(usize::try_from(publications - dropped).unwrap()).await;
        assert!(taken.is_sorted_by(|one, next| one < next), "in order, and each once");
        assert_eq!(taken.last(), Some(&publications), "the newest are kept");
    }
}
