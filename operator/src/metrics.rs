//! What the operator counts of itself, for Prometheus. No cluster's name is ever a label.

use crate::{
    resource::ChatCluster,
    status::{ChatClusterStatus, Phase},
};
use kube::runtime::reflector::Store;
use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};
use std::time::Duration;

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing to do: no request was sent.
    Unchanged,
    /// Objects or status were brought up to date.
    Changed,
    /// The spec cannot work.
    Invalid,
    /// Something could not be done.
    Failed,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

/// The operator's metrics; cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    seconds: Histogram,
    requests: IntCounterVec,
    clusters: IntGaugeVec,
    lease: IntGauge,
}

impl Metrics {
    /// Names them.
    ///
    /// # Errors
    /// When two have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let reconciles =
            Opts::new("papo_operator_reconciles_total", "Looks at a ChatCluster, by how they ended");
        let seconds =
            HistogramOpts::new("papo_operator_reconcile_seconds", "Time that a look at a ChatCluster took")
                .buckets(vec![0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0]);
        let requests = Opts::new(
            "papo_operator_api_requests_total",
            "Requests to the API server beside watches, by kind",
        );
        let clusters = Opts::new("papo_operator_chat_clusters", "ChatClusters, by phase");
        let lease = Opts::new("papo_operator_lease_held", "Whether this operator works (1) or stands by (0)");
        Ok(Self {
            lease: register(&registry, IntGauge::with_opts(lease)?)?,
            reconciles: register(&registry, IntCounterVec::new(reconciles, &["ending"])?)?,
            seconds: register(&registry, Histogram::with_opts(seconds)?)?,
            requests: register(&registry, IntCounterVec::new(requests, &["kind"])?)?,
            clusters: register(&registry, IntGaugeVec::new(clusters, &["phase"])?)?,
            registry,
        })
    }

    /// A reconcile ended.
    pub fn on_reconcile(&self, ending: Ending, took: Duration) {
        self.reconciles.with_label_values(&[ending.as_str()]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A request is sent.
    pub fn on_request(&self, kind: &str) {
        self.requests.with_label_values(&[kind]).inc();
    }

    /// Everything as text, with the clusters counted now; none where this operator stands by.
    ///
    /// # Errors
    /// When a metric has no form in text, which none here is known to lack.
    pub fn render(
        &self,
        holds_lease: bool,
        clusters: Option<&Store<ChatCluster>>,
    ) -> Result<String, prometheus::Error> {
        self.lease.set(i64::from(holds_lease));
        for phase in Phase::ALL {
            self.clusters.with_label_values(&[phase.as_str()]).set(0);
        }
        for cluster in clusters.map(Store::state).unwrap_or_default() {
            let status: Option<ChatClusterStatus> = cluster.status.read().ok();
            let phase = status.map_or(Phase::Pending, |status| status.phase);
            self.clusters.with_label_values(&[phase.as_str()]).inc();
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
