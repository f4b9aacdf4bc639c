//! PodDisruptionBudgets: who drains a node takes one server, broker or proxy at a time. None where there is only one, as it could
//! never be drained.

use super::metadata;
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// Replicas from which on one may be away.
const REPLICAS_MIN: u32 = 2;

pub(super) fn build(cluster: &ValidatedCluster) -> Vec<PodDisruptionBudget> {
    let spec = &cluster.spec;
    [
        (Component::Server, cluster.membership.pods()),
        (Component::Broker, spec.broker.replicas),
        (Component::Proxy, spec.proxy.replicas),
    ]
    .into_iter()
    .filter(|(_, replicas)| *replicas >= REPLICAS_MIN)
    .map(|(component, _)| budget(cluster, component))
    .collect()
}

fn budget(cluster: &ValidatedCluster, component: Component) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(cluster, names::component(&cluster.name, component), Some(component)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&cluster.name, component)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
