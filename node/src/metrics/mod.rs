//! Prometheus metrics of every role (docs/metrics.md). The minds count in plain numbers; here they get names. No user, channel or
//! address is ever a label.

mod clock;
mod links;

use clock::ClockMetrics;
pub use links::{EndpointMetrics, EndpointsMetrics};

use papo_exchange::{Dispatch, Now, Routing};
use papo_replica::{ElectionOutcome, Notice, Replica};
use papo_zmtp::{Posted, SendError, SendOutcome};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::time::Duration;

/// How often the minds' counts are taken over: often enough for any scraper, too seldom to cost.
pub const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Upper bounds in seconds of how long requests take: a read without a disk takes a tenth of a millisecond, a write with its fsync
/// some; 3 and 10 are a server's and a broker's deadline as they are set by default.
const REQUEST_SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// The same for elections: at best an answer of the reference service and an fsync; after a failure, until the dead holder no longer
/// counts; at worst several claims in vain.
const ELECTION_SECONDS: [f64; 8] = [0.01, 0.05, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

type Result<T> = std::result::Result<T, prometheus::Error>;

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// By outcome, all of which are there from the start: what has never happened is 0.
fn elections(registry: &Registry) -> Result<IntCounterVec> {
    let name = "papo_server_elections_total";
    let elections =
        counters(registry, name, "Elections that this server held, by how they ended", &["outcome"])?;
    for outcome in ElectionOutcome::ALL {
        elections.with_label_values(&[outcome.as_str()]);
    }
    Ok(elections)
}

fn request_seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram> {
    histogram(registry, name, help, &REQUEST_SECONDS)
}

fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// Brings a counter up to a mind's own count, which never falls.
fn advance(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn size(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Messages that a link lost because of a bound, by cause.
#[derive(Clone)]
struct Dropped {
    slow: IntCounter,
    no_room: IntCounter,
}

impl Dropped {
    fn register(registry: &Registry, name: &str, help: &str, slow: &str) -> Result<Self> {
        let causes = counters(registry, name, help, &["cause"])?;
        Ok(Self { slow: causes.with_label_values(&[slow]), no_room: causes.with_label_values(&["no_room"]) })
    }

    fn dropped(&self, SendOutcome { dropped }: SendOutcome) {
        self.slow.inc_by(u64::try_from(dropped).unwrap_or(u64::MAX));
    }

    fn refused(&self, error: SendError, messages: usize) {
        match error {
            SendError::Full => self.no_room.inc_by(u64::try_from(messages).unwrap_or(u64::MAX)),
            // Its end is counted with the connections.
            SendError::Gone => {}
        }
    }
}

/// Of the broker.
pub struct BrokerMetrics {
    /// Of the connections of clients.
    pub clients: EndpointMetrics,
    /// Of the connections of workers.
    pub workers: EndpointMetrics,
    events: IntCounterVec,
    in_flight: IntGauge,
    waiting: IntGauge,
    ready_workers: IntGauge,
    request_seconds: Histogram,
}

impl BrokerMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        let endpoints = EndpointsMetrics::register(registry)?;
        Ok(Self {
            clients: endpoints.endpoint("clients"),
            workers: endpoints.endpoint("workers"),
            events: counters(
                registry,
                "papo_broker_events_total",
                "Requests by what happened to them",
                &["event"],
            )?,
            in_flight: gauge(registry, "papo_broker_in_flight", "Requests that a worker has")?,
            waiting: gauge(registry, "papo_broker_waiting", "Requests that wait for a worker")?,
            ready_workers: gauge(registry, "papo_broker_ready_workers", "Workers that take requests")?,
            request_seconds: request_seconds(
                registry,
                "papo_broker_request_duration_seconds",
                "Time from a client's request to its answer",
            )?,
        })
    }

    /// A client was answered so long after its request came.
    pub fn answered(&self, after: Duration) {
        self.request_seconds.observe(after.as_secs_f64());
    }

    /// Takes over the mind's counts.
    pub fn update(&self, dispatch: &Dispatch) {
        for (event, count) in dispatch.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        self.in_flight.set(size(dispatch.in_flight()));
        self.waiting.set(size(dispatch.waiting()));
        self.ready_workers.set(size(dispatch.ready_workers()));
    }
}

/// Of the proxy.
pub struct ProxyMetrics {
    /// Of the connections of publishers.
    pub publishers: EndpointMetrics,
    /// Of the connections of subscribers.
    pub subscribers: EndpointMetrics,
    events: IntCounterVec,
    connected: IntGauge,
    subscriptions: IntGauge,
    dropped: Dropped,
}

impl ProxyMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        let endpoints = EndpointsMetrics::register(registry)?;
        Ok(Self {
            publishers: endpoints.endpoint("publishers"),
            subscribers: endpoints.endpoint("subscribers"),
            events: counters(
                registry,
                "papo_proxy_events_total",
                "Publications by what happened to them",
                &["event"],
            )?,
            connected: gauge(registry, "papo_proxy_subscribers", "Connected subscribers")?,
            subscriptions: gauge(registry, "papo_proxy_subscriptions", "Pairs of a subscriber and a topic")?,
            dropped: Dropped::register(
                registry,
                "papo_proxy_dropped_total",
                "Messages that a subscriber lost, by cause",
                "slow_subscriber",
            )?,
        })
    }

    /// So many messages were queued for subscribers.
    pub fn posted(&self, posted: &Posted, messages: usize) {
        self.dropped.dropped(SendOutcome { dropped: posted.dropped });
        for (_, error) in &posted.refused {
            self.dropped.refused(*error, messages);
        }
    }

    /// Takes over the mind's counts.
    pub fn update(&self, routing: &Routing) {
        for (event, count) in routing.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        self.connected.set(size(routing.subscribers()));
        self.subscriptions.set(size(routing.subscriptions()));
    }
}
/// Of a server.
pub struct ServerMetrics {
    /// Of the connections of clients that ask this server directly.
    pub clients: EndpointMetrics,
    /// Of the connections to brokers.
    pub brokers: EndpointMetrics,
    /// Of the connections to proxies.
    pub proxies: EndpointMetrics,
    /// Of the connections to other servers.
    pub peers_dialled: EndpointMetrics,
    /// Of the connections of other servers.
    pub peers: EndpointMetrics,
    /// Of the connection to the reference service.
    pub reference: EndpointMetrics,
    /// Of what goes to the proxies.
    pub publisher: PublisherMetrics,
    events: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: Histogram,
    operations: IntGauge,
    in_flight: IntGauge,
    lamport: IntGauge,
    clock: ClockMetrics,
    generation: IntGauge,
    diverged: IntGauge,
    epoch: IntGauge,
    is_coordinator: IntGauge,
    elections: IntCounterVec,
    election_seconds: Histogram,
}

impl ServerMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        let endpoints = EndpointsMetrics::register(registry)?;
        Ok(Self {
            clients: endpoints.endpoint("clients"),
            brokers: endpoints.endpoint("brokers"),
            proxies: endpoints.endpoint("proxies"),
            peers_dialled: endpoints.endpoint("peers_dialled"),
            peers: endpoints.endpoint("peers"),
            reference: endpoints.endpoint("ref"),
            publisher: PublisherMetrics::register(registry)?,
            events: counters(
                registry,
                "papo_server_events_total",
                "What a server's mind counted, by event",
                &["event"],
            )?,
            requests: counters(
                registry,
                "papo_server_requests_total",
                "Requests by service and outcome",
                &["service", "outcome"],
            )?,
            request_seconds: request_seconds(
                registry,
                "papo_server_request_duration_seconds",
                "Time from a request to its answer, its fsync and waiting for peers included",
            )?,
            operations: gauge(registry, "papo_server_operations", "Operations held")?,
            in_flight: gauge(registry, "papo_server_in_flight", "Requests without an answer")?,
            lamport: gauge(registry, "papo_server_lamport", "Value of the Lamport clock")?,
            clock: ClockMetrics::register(registry)?,
            generation: gauge(
                registry,
                "papo_server_membership_generation",
                "Generation of the membership in force",
            )?,
            diverged: gauge(
                registry,
                "papo_server_peers_diverged",
                "Servers that show other operations than this one under the same numbers",
            )?,
            epoch: gauge(registry, "papo_server_epoch", "Number of the epoch that is obeyed")?,
            is_coordinator: gauge(
                registry,
                "papo_server_is_coordinator",
                "1 on the coordinator, 0 elsewhere",
            )?,
            elections: elections(registry)?,
            election_seconds: histogram(
                registry,
                "papo_server_election_duration_seconds",
                "Time from a server's first question to the end of its election, whoever won",
                &ELECTION_SECONDS,
            )?,
        })
    }

    /// A request was answered so long after it came.
    pub fn answered(&self, after: Duration) {
        self.request_seconds.observe(after.as_secs_f64());
    }

    /// Takes over the mind's counts.
    pub fn update(&self, replica: &Replica, in_flight: usize) {
        for (event, count) in replica.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        for (service, outcome, count) in replica.counters().requests() {
            advance(&self.requests.with_label_values(&[service, outcome]), count);
        }
        self.operations.set(size(replica.history().len()));
        self.in_flight.set(size(in_flight));
        self.lamport.set(i64::try_from(replica.lamport().get()).unwrap_or(i64::MAX));
        self.clock.update(replica);
        self.generation.set(i64::try_from(replica.membership().generation).unwrap_or(i64::MAX));
        self.diverged.set(size(replica.diverged().count()));
        let leadership = replica.leadership();
        self.epoch.set(i64::try_from(leadership.epoch.number).unwrap_or(i64::MAX));
        self.is_coordinator.set(i64::from(leadership.role == papo_replica::Role::Leading));
    }

    /// Something happened.
    pub fn notice(&self, notice: &Notice) {
        if let Notice::ElectionEnded { outcome, took } = notice {
            self.elections.with_label_values(&[outcome.as_str()]).inc();
            self.election_seconds.observe(took.as_secs_f64());
        }
    }
}

/// Of what a server sends to the proxies; cloning shares it.
#[derive(Clone)]
pub struct PublisherMetrics {
    dropped: Dropped,
    unkept: IntCounter,
}

impl PublisherMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            dropped: Dropped::register(
                registry,
                "papo_server_publications_dropped_total",
                "Publications that a proxy's link lost, by cause; they are sent again if it breaks in time",
                "slow_proxy",
            )?,
            unkept: counter(
                registry,
                "papo_server_publications_unkept_total",
                "Publications forgotten before their time: too many to keep them all for a proxy that comes back",
            )?,
        })
    }

    /// A publication was queued for a proxy, and some older ones dropped for it.
    pub fn dropped(&self, outcome: SendOutcome) {
        self.dropped.dropped(outcome);
    }

    /// A publication was not queued for a proxy.
    pub fn refused(&self, error: SendError) {
        self.dropped.refused(error, 1);
    }

    /// So many were forgotten too early.
    pub fn unkept(&self, count: usize) {
        self.unkept.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// Of the reference service.
pub struct ReferenceMetrics {
    /// Of the connections of servers, and of whoever else asks.
    pub clients: EndpointMetrics,
    /// Requests answered.
    pub requests: IntCounter,
    servers: IntGauge,
    epoch: IntGauge,
    events: IntCounterVec,
}

impl ReferenceMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            clients: EndpointsMetrics::register(registry)?.endpoint("clients"),
            requests: counter(registry, "papo_ref_requests_total", "Requests answered")?,
            servers: gauge(registry, "papo_ref_servers", "Servers with a heartbeat within the expiry")?,
            epoch: gauge(registry, "papo_ref_epoch", "Number of the highest epoch granted")?,
            events: counters(
                registry,
                "papo_ref_events_total",
                "What happened to names and epochs",
                &["event"],
            )?,
        })
    }

    /// Takes over the mind's counts.
    pub fn update(&self, registry: &papo_exchange::Registry, now: Now) {
        for (event, count) in registry.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        self.servers.set(size(registry.listed(now)));
        self.epoch.set(i64::try_from(registry.epoch().number).unwrap_or(i64::MAX));
    }
}
