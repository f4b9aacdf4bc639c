//! Who may connect to whom, told from the NetworkPolicies as a network that enforces them would. No network here does.

#[cfg(test)]
mod common;

use common::{cluster, desired};
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;
use serde_json::json;
use std::collections::BTreeMap;

/// Who connects.
#[derive(Clone)]
struct Caller {
    name: &'static str,
    namespace: &'static str,
    labels: BTreeMap<String, String>,
}

fn caller(name: &'static str, namespace: &'static str, labels: &[(&str, &str)]) -> Caller {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Caller { name, namespace, labels }
}

fn node(name: &'static str, cluster: &str, role: &str) -> Caller {
    let labels = [
        ("app.kubernetes.io/name", "papo"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", role),
    ];
    caller(name, "default", &labels)
}

/// Whether a selector holds, as far as the operator writes any: labels alone.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    assert!(selector.match_expressions.is_none(), "this test reads labels only");
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn is(peer: &NetworkPolicyPeer, caller: &Caller) -> bool {
    let namespace = [("kubernetes.io/metadata.name".to_owned(), caller.namespace.to_owned())].into();
    let namespace_fits = match &peer.namespace_selector {
        Some(selector) => selects(selector, &namespace),
        None => caller.namespace == "default",
    };
    peer.ip_block.is_none()
        && namespace_fits
        && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &caller.labels))
}

/// A pod that some policy selects may be reached only as one of those says.
fn may_connect(policies: &[NetworkPolicy], caller: &Caller, role: &str, port: u16) -> bool {
    let pod = node("the pod", "papo", role).labels;
    let specs = policies.iter().filter_map(|policy| policy.spec.as_ref());
    let about: Vec<_> = specs
        .filter(|spec| spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, &pod)))
        .collect();
    let rules = || about.iter().flat_map(|spec| spec.ingress.iter().flatten());
    about.is_empty()
        || rules().any(|rule| {
            let ports = rule.ports.as_ref();
            let from = rule.from.as_ref();
            ports.is_none_or(|ports| ports.iter().any(|p| p.port == Some(IntOrString::Int(port.into()))))
                && from.is_none_or(|peers| peers.iter().any(|peer| is(peer, caller)))
        })
}

fn policies() -> Vec<NetworkPolicy> {
    let policy = json!({
        "enabled": true,
        "foreign": [{"podSelector": {"matchLabels": {"app": "seed"}}}],
        "metrics": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    });
    desired(&cluster("papo", json!({"networkPolicy": policy, "bots": {"replicas": 1}}))).network_policies
}

#[test]
fn each_port_is_open_to_those_who_need_it_and_to_nobody_else() {
    let callers = [
        caller("client", "elsewhere", &[]),
        node("server", "papo", "server"),
        node("broker", "papo", "broker"),
        node("other cluster's server", "other", "server"),
        caller("foreign", "default", &[("app", "seed")]),
        caller("foreign elsewhere", "elsewhere", &[("app", "seed")]),
        caller("operator", "papo-system", &[("app.kubernetes.io/name", "papo-operator")]),
        caller("prometheus", "monitoring", &[]),
    ];
    let everybody: Vec<&str> = callers.iter().map(|caller| caller.name).collect();
    let (servers, and_foreign) = (vec!["server"], vec!["server", "foreign"]);
    let watchers = vec!["operator", "prometheus"];
    let policies = policies();
    for (role, port, allowed) in [
        ("server", 5555, &everybody),
        ("server", 5550, &servers),
        ("server", 8080, &watchers),
        ("broker", 5555, &everybody),
        ("broker", 5556, &and_foreign),
        ("broker", 8080, &watchers),
        ("proxy", 5557, &and_foreign),
        ("proxy", 5558, &everybody),
        ("proxy", 5560, &everybody),
        ("proxy", 8080, &watchers),
        ("ref", 5559, &and_foreign),
        ("ref", 6000, &and_foreign),
        ("ref", 8080, &watchers),
        ("bot", 8080, &Vec::new()),
        ("server", 22, &Vec::new()),
    ] {
        let able = callers.iter().filter(|caller| may_connect(&policies, caller, role, port));
        assert_eq!(&able.map(|caller| caller.name).collect::<Vec<_>>(), allowed, "{role}:{port}");
    }
}

#[test]
fn every_port_of_every_pod_is_named_in_its_policy() {
    let built = desired(&cluster("papo", json!({"networkPolicy": {"enabled": true}})));
    let sets = built.stateful_sets.iter().map(|set| (set.name_any(), &set.spec.template));
    let deployments =
        built.deployments.iter().map(|deployment| (deployment.name_any(), &deployment.spec.template));
    for (name, template) in sets.chain(deployments) {
        let policy = built.network_policies.iter().find(|policy| policy.name_any() == name).unwrap();
        let rules = policy.spec.as_ref().unwrap().ingress.as_ref().unwrap();
        let named: Vec<&IntOrString> = rules
            .iter()
            .flat_map(|rule| rule.ports.iter().flatten())
            .filter_map(|port| port.port.as_ref())
            .collect();
        let container = &template.spec.as_ref().unwrap().containers[0];
        for port in container.ports.iter().flatten() {
            assert!(named.contains(&&IntOrString::Int(port.container_port)), "{name}: {port:?}");
        }
    }
}

#[test]
fn without_the_field_nobody_is_shut_out() {
    assert!(desired(&cluster("papo", json!({}))).network_policies.is_empty());
}
