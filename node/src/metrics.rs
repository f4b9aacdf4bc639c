//! Prometheus metrics of every role (docs/metrics.md). The minds count in plain numbers; here they get names. No user, channel or
//! address is ever a label.

use papo_exchange::{Dispatch, Routing};
use papo_replica::Replica;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::time::Duration;

/// How often the minds' counts are taken over: often enough for any scraper, too seldom to cost.
pub const METRICS_INTERVAL: Duration = Duration::from_secs(1);

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

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// Brings a counter up to a mind's own count, which never falls.
fn advance(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn size(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Of the broker.
pub struct BrokerMetrics {
    events: IntCounterVec,
    in_flight: IntGauge,
    waiting: IntGauge,
    workers: IntGauge,
}

impl BrokerMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            events: counters(
                registry,
                "papo_broker_events_total",
                "Requests by what happened to them",
                "event",
            )?,
            in_flight: gauge(registry, "papo_broker_in_flight", "Requests that a worker has")?,
            waiting: gauge(registry, "papo_broker_waiting", "Requests that wait for a worker")?,
            workers: gauge(registry, "papo_broker_ready_workers", "Workers that take requests")?,
        })
    }

    /// Takes over the mind's counts.
    pub fn update(&self, dispatch: &Dispatch) {
        for (event, count) in dispatch.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        self.in_flight.set(size(dispatch.in_flight()));
        self.waiting.set(size(dispatch.waiting()));
        self.workers.set(size(dispatch.ready_workers()));
    }
}

/// Of the proxy.
pub struct ProxyMetrics {
    events: IntCounterVec,
    subscribers: IntGauge,
    /// Messages that a subscriber lost because it did not read.
    pub dropped_slow: IntCounter,
}

impl ProxyMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            events: counters(
                registry,
                "papo_proxy_events_total",
                "Publications by what happened to them",
                "event",
            )?,
            subscribers: gauge(registry, "papo_proxy_subscribers", "Connected subscribers")?,
            dropped_slow: counter(
                registry,
                "papo_proxy_dropped_total",
                "Messages dropped for a subscriber that did not read in time",
            )?,
        })
    }

    /// Takes over the mind's counts.
    pub fn update(&self, routing: &Routing) {
        for (event, count) in routing.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        self.subscribers.set(size(routing.subscribers()));
    }
}

/// Of a server.
pub struct ServerMetrics {
    events: IntCounterVec,
    requests: IntCounterVec,
    operations: IntGauge,
    in_flight: IntGauge,
    lamport: IntGauge,
}

impl ServerMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            events: counters(
                registry,
                "papo_server_events_total",
                "What a server's mind counted, by event",
                "event",
            )?,
            requests: counters(
                registry,
                "papo_server_requests_total",
                "Requests served, by service",
                "service",
            )?,
            operations: gauge(registry, "papo_server_operations", "Operations held")?,
            in_flight: gauge(registry, "papo_server_in_flight", "Requests without an answer")?,
            lamport: gauge(registry, "papo_server_lamport", "Value of the Lamport clock")?,
        })
    }

    /// Takes over the mind's counts.
    pub fn update(&self, replica: &Replica, in_flight: usize) {
        for (event, count) in replica.counters().each() {
            advance(&self.events.with_label_values(&[event]), count);
        }
        for (service, count) in replica.counters().services() {
            advance(&self.requests.with_label_values(&[service]), count);
        }
        self.operations.set(size(replica.history().len()));
        self.in_flight.set(size(in_flight));
        self.lamport.set(i64::try_from(replica.lamport().get()).unwrap_or(i64::MAX));
    }
}

/// Of the reference service.
pub struct ReferenceMetrics {
    /// Requests answered.
    pub requests: IntCounter,
    /// Servers listed.
    pub servers: IntGauge,
}

impl ReferenceMetrics {
    /// Names them.
    pub fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            requests: counter(registry, "papo_ref_requests_total", "Requests answered")?,
            servers: gauge(registry, "papo_ref_servers", "Servers with a heartbeat within the expiry")?,
        })
    }
}
