//! What `compat.jsonPublications` (row B01) changes: the proxies and the port of their Service, and nobody else's pods.

#[cfg(test)]
mod common;

use common::{cluster, desired};
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::util::intstr::IntOrString};
use kube::ResourceExt;
use papo_operator::build::Resources;
use serde_json::json;
use std::collections::BTreeMap;

fn resources(setting: &str) -> Resources {
    desired(&cluster("papo", json!({"compat": {"jsonPublications": setting}})))
}

/// The annotations of each workload's pods, which replace them when they change.
fn pods(resources: &Resources) -> BTreeMap<String, Option<BTreeMap<String, String>>> {
    let annotations = |template: &PodTemplateSpec| {
        template.metadata.as_ref().and_then(|metadata| metadata.annotations.clone())
    };
    let deployments = resources.deployments.iter().map(|one| (one.name_any(), &one.spec.template));
    let sets = resources.stateful_sets.iter().map(|one| (one.name_any(), &one.spec.template));
    deployments.chain(sets).map(|(name, template)| (name, annotations(template))).collect()
}

/// Where the proxies' Service leads who connects to 5560: the names of the pods' ports.
fn targets_of_the_alias(resources: &Resources) -> Vec<IntOrString> {
    let specs = resources.client_services.iter().filter_map(|service| service.spec.as_ref());
    let ports = specs.flat_map(|spec| spec.ports.iter().flatten());
    ports.filter(|port| port.port == 5560).filter_map(|port| port.target_port.clone()).collect()
}

#[test]
fn b01_json_at_the_alias_has_a_way_of_its_own_through_the_service() {
    assert_eq!(targets_of_the_alias(&resources("none")), [IntOrString::String("subscribers".to_owned())]);
    assert_eq!(targets_of_the_alias(&resources("alias")), [IntOrString::String("subs-alias".to_owned())]);
    assert_eq!(targets_of_the_alias(&resources("all")), [IntOrString::String("subscribers".to_owned())]);
}

#[test]
fn b01_only_the_proxies_are_replaced_when_the_setting_changes() {
    let before = pods(&resources("none"));
    for setting in ["alias", "all"] {
        let after = pods(&resources(setting));
        let changed: Vec<_> = before
            .iter()
            .filter(|(name, pod)| after.get(*name) != Some(*pod))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(changed, ["papo-proxy"]);
    }
    assert!(before.values().all(|annotations| annotations.as_ref().is_some_and(|found| found.len() > 1)));
    let unset = pods(&desired(&cluster("papo", json!({}))));
    assert_eq!(unset, before);
}
