//! Where a role's pods may run, and what they ask of their machine.

use super::{BuildError, quantity};
use crate::{
    names::{self, Component},
    validate::{PodForm, ValidatedCluster},
};
use k8s_openapi::{
    api::core::v1::{PodSpec, ResourceRequirements, TopologySpreadConstraint},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use papo_settings::{
    Amounts, TopologySpread,
    validate::{cpu_millis, storage_bytes},
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// What a role asks of its machine where the spec says nothing: what an idle one uses, rounded up, so that a whole cluster fits on a
/// laptop.
fn least(component: Component) -> (&'static str, &'static str) {
    match component {
        Component::Server => ("50m", "64Mi"),
        Component::Broker | Component::Proxy => ("20m", "32Mi"),
        Component::Ref | Component::Bot => ("10m", "16Mi"),
    }
}

/// What the spec asks of the machine, over what the role needs at least.
pub(super) fn resources(cluster: &ValidatedCluster, component: Component) -> ResourceRequirements {
    let resources = &cluster.spec.resources;
    let of_role = match component {
        Component::Server => &resources.server,
        Component::Broker => &resources.broker,
        Component::Proxy => &resources.proxy,
        Component::Ref => &resources.reference,
        Component::Bot => &resources.bot,
    };
    let (cpu, memory) = least(component);
    let limits = amounts(&of_role.limits);
    let requests = Amounts {
        cpu: Some(asked(&of_role.requests.cpu, &of_role.limits.cpu, cpu, cpu_millis)),
        memory: Some(asked(&of_role.requests.memory, &of_role.limits.memory, memory, storage_bytes)),
    };
    ResourceRequirements {
        requests: Some(amounts(&requests)),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }
}

/// What is asked where the spec gives an amount, a limit, or neither: never more than the limit, which would be refused.
fn asked(
    amount: &Option<String>,
    limit: &Option<String>,
    default: &str,
    measure: fn(&str) -> Option<u64>,
) -> String {
    let lower_limit = || limit.clone().filter(|limit| measure(limit) < measure(default));
    amount.clone().or_else(lower_limit).unwrap_or_else(|| default.to_owned())
}

fn amounts(amounts: &Amounts) -> BTreeMap<String, Quantity> {
    let Amounts { cpu, memory } = amounts;
    let cpu = cpu.as_deref().map(|cpu| ("cpu".to_owned(), Quantity(quantity::canonical_cpu(cpu))));
    let memory =
        memory.as_deref().map(|memory| ("memory".to_owned(), Quantity(quantity::canonical_size(memory))));
    cpu.into_iter().chain(memory).collect()
}

/// The pod with all that the spec says of where it may run.
pub(super) fn place(
    cluster: &ValidatedCluster,
    component: Component,
    pod: PodSpec,
) -> Result<PodSpec, BuildError> {
    let scheduling = &cluster.spec.scheduling;
    let spread = match &scheduling.topology_spread_constraints {
        Some(given) => given.clone(),
        // Those of older forms were made without; they are spread when they are replaced anyhow.
        None if cluster.pod_form >= PodForm::Draining => vec![TopologySpread::default()],
        None => Vec::new(),
    };
    let constraints = spread
        .iter()
        .map(|constraint| {
            let constraint: TopologySpreadConstraint = same(constraint)?;
            let selector = LabelSelector {
                match_labels: Some(names::selector(&cluster.name, component)),
                ..LabelSelector::default()
            };
            Ok(TopologySpreadConstraint { label_selector: Some(selector), ..constraint })
        })
        .collect::<Result<Vec<_>, BuildError>>()?;
    Ok(PodSpec {
        node_selector: (!scheduling.node_selector.is_empty()).then(|| scheduling.node_selector.clone()),
        tolerations: (!scheduling.tolerations.is_empty())
            .then(|| same(&scheduling.tolerations))
            .transpose()?,
        affinity: scheduling.affinity.as_ref().map(same).transpose()?,
        topology_spread_constraints: (!constraints.is_empty()).then_some(constraints),
        priority_class_name: scheduling.priority_class_name.clone(),
        ..pod
    })
}

/// The same in Kubernetes' own type: the spec's fields have Kubernetes' names.
pub(super) fn same<T: DeserializeOwned>(ours: &impl Serialize) -> Result<T, BuildError> {
    serde_json::to_value(ours).and_then(serde_json::from_value).map_err(BuildError::Json)
}
