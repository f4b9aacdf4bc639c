//! The PodMonitor: tells a Prometheus operator to collect the metrics of all pods that have an HTTP port.

use super::{metadata, pod::HTTP_PORT};
use crate::{
    names,
    resource::{PodMetricsEndpoint, PodMonitor, PodMonitorSpec},
    validate::ValidatedCluster,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Every metric of a role is taken over from its mind once a second; twice a minute is what Prometheus usually asks.
const INTERVAL: &str = "30s";

pub(super) fn build(cluster: &ValidatedCluster) -> Vec<PodMonitor> {
    if !cluster.spec.monitoring.enabled {
        return Vec::new();
    }
    let labels = [(names::LABEL_NAME, names::APPLICATION), (names::LABEL_INSTANCE, &cluster.name)];
    let monitor = PodMonitor {
        metadata: metadata(cluster, names::monitor(&cluster.name), None),
        spec: PodMonitorSpec {
            selector: LabelSelector {
                match_labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..LabelSelector::default()
            },
            // Alerts and the dashboard tell clusters and roles apart by these labels.
            pod_target_labels: vec![names::LABEL_INSTANCE.to_owned(), names::LABEL_COMPONENT.to_owned()],
            pod_metrics_endpoints: vec![PodMetricsEndpoint {
                port: HTTP_PORT.to_owned(),
                path: "/metrics".to_owned(),
                interval: INTERVAL.to_owned(),
            }],
        },
        ..PodMonitor::default()
    };
    vec![monitor]
}
