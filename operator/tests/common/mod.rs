//! Clusters, and a namespace that remembers what was applied to it.

// Each test file uses its own part of this module.
#![allow(dead_code)]

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{Resource, ResourceExt};
use papo_operator::{
    build::{self, Resources, Token},
    observe::{
        Found, Observed,
        live::{Kept, Live},
    },
    plan::{Plan, plan},
    resource::{ChatCluster, PodMonitor},
    validate::{ValidatedCluster, validate},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A manifest of the repository, as the API server hands it out.
pub fn manifest(file: &str) -> ChatCluster {
    let path = format!("{}/../manifests/{file}", env!("CARGO_MANIFEST_DIR"));
    let value: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut cluster: ChatCluster = serde_json::from_value(value).unwrap();
    cluster.metadata.namespace = Some("default".to_owned());
    cluster.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    cluster
}

/// A valid cluster of this name and spec; its uid is its name.
#[allow(clippy::needless_pass_by_value)] // So that tests can write `json!` in place.
pub fn cluster(name: &str, spec: Value) -> ValidatedCluster {
    let raw: ChatCluster = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "uid": name },
        "spec": spec,
    }))
    .unwrap();
    validate(&raw, None, "papo:test").unwrap()
}

/// A token that is the same in every test.
pub fn token() -> Token {
    let data = [(build::TOKEN_KEY.to_owned(), ByteString(b"00112233".to_vec()))].into();
    Token::of(&Secret { data: Some(data), ..Secret::default() }).unwrap()
}

/// What shall exist.
pub fn desired(cluster: &ValidatedCluster) -> Resources {
    build::build(cluster, &token()).unwrap()
}

/// Puts objects into a namespace, as they are.
pub fn store<K: Resource>(found: &mut Found<K>, objects: Vec<K>) {
    found.extend(objects.into_iter().enumerate().map(|(place, mut object)| {
        object.meta_mut().uid = Some(format!("{}-{place}", object.name_any()));
        (object.name_any(), Arc::new(object))
    }));
}

/// What exists, in full.
#[derive(Debug, Clone, Default)]
pub struct Namespace {
    pub service_accounts: Found<ServiceAccount>,
    pub secrets: Found<Secret>,
    pub config_maps: Found<ConfigMap>,
    pub services: Found<Service>,
    pub stateful_sets: Found<StatefulSet>,
    pub deployments: Found<Deployment>,
    pub pod_disruption_budgets: Found<PodDisruptionBudget>,
    pub network_policies: Found<NetworkPolicy>,
    pub pod_monitors: Option<Found<PodMonitor>>,
}

impl Namespace {
    /// The same as the operator keeps it.
    pub fn observe(&self) -> Observed {
        Observed {
            service_accounts: kept(&self.service_accounts),
            secrets: kept(&self.secrets),
            config_maps: kept(&self.config_maps),
            services: kept(&self.services),
            stateful_sets: kept(&self.stateful_sets),
            deployments: kept(&self.deployments),
            pod_disruption_budgets: kept(&self.pod_disruption_budgets),
            network_policies: kept(&self.network_policies),
            pod_monitors: self.pod_monitors.as_ref().map(kept),
            ..Observed::default()
        }
    }
}

fn kept<K: Kept + Clone>(found: &Found<K>) -> Found<Live<K>> {
    let keep = |object: &Arc<K>| Arc::new(Live::of(K::clone(object)).unwrap());
    found.iter().map(|(name, object)| (name.clone(), keep(object))).collect()
}

/// A namespace in which everything of these clusters exists.
pub fn namespace_with(clusters: &[&ValidatedCluster]) -> Namespace {
    let mut observed = Namespace::default();
    for cluster in clusters {
        let Resources {
            service_accounts,
            secrets,
            config_maps,
            node_services,
            client_services,
            stateful_sets,
            deployments,
            pod_disruption_budgets,
            network_policies,
            pod_monitors,
            volumes: _,
            aliases,
        } = desired(cluster);
        store(&mut observed.service_accounts, service_accounts);
        store(&mut observed.secrets, secrets);
        store(&mut observed.config_maps, config_maps);
        store(&mut observed.services, node_services);
        store(&mut observed.services, client_services);
        store(&mut observed.stateful_sets, stateful_sets);
        store(&mut observed.deployments, deployments);
        store(&mut observed.pod_disruption_budgets, pod_disruption_budgets);
        store(&mut observed.network_policies, network_policies);
        store(observed.pod_monitors.get_or_insert_default(), pod_monitors);
        let free = aliases.into_iter().filter(|alias| !observed.services.contains_key(&alias.name_any()));
        let free = free.collect();
        store(&mut observed.services, free);
    }
    observed
}

/// What is to be done for a cluster where this exists.
pub fn plan_for(cluster: &ValidatedCluster, namespace: &Namespace) -> Plan {
    plan(&cluster.uid, desired(cluster), &namespace.observe()).unwrap()
}
