//! What shall exist for a cluster: pure, one module a kind of Kubernetes. Nothing here knows what exists already.

mod config_map;
mod deployment;
mod network_policy;
mod pod;
mod pod_disruption_budget;
mod pod_monitor;
mod quantity;
mod scheduling;
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod volume;

pub use secret::{TOKEN_KEY, Token};
pub use stateful_set::ON_DELETE;
pub use volume::Volume;

use crate::{
    names::{self, Component},
    resource::{ChatCluster, PodMonitor},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use papo_settings::cluster::{API_VERSION, KIND};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Why a cluster's objects could not be built. No valid cluster is known to give one.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The settings have no form in YAML.
    #[error("cannot write the nodes' settings")]
    Settings(#[source] papo_settings::SettingsError),
    /// An object has no form in JSON.
    #[error("cannot write an object as JSON")]
    Json(#[source] serde_json::Error),
}

/// Everything that shall exist for a cluster, by kind.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Of the nodes; without rights and without a mounted token.
    pub service_accounts: Vec<ServiceAccount>,
    /// The cluster token.
    pub secrets: Vec<Secret>,
    /// The nodes' settings.
    pub config_maps: Vec<ConfigMap>,
    /// Services by which the nodes find each other.
    pub node_services: Vec<Service>,
    /// Services for clients, under the cluster's own names.
    pub client_services: Vec<Service>,
    /// Servers and ref.
    pub stateful_sets: Vec<StatefulSet>,
    /// Brokers, proxies, bots.
    pub deployments: Vec<Deployment>,
    /// Of whatever has replicas.
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    /// Who may connect to the pods.
    pub network_policies: Vec<NetworkPolicy>,
    /// What tells Prometheus of the pods.
    pub pod_monitors: Vec<PodMonitor>,
    /// How large the servers' volumes shall be, once Kubernetes has made them.
    pub volumes: Vec<Volume>,
    /// Services under plain names, which another cluster may have.
    pub aliases: Vec<Service>,
}

/// Builds everything.
///
/// # Errors
/// [`BuildError`], for no valid cluster that is known.
pub fn build(cluster: &ValidatedCluster, token: &Token) -> Result<Resources, BuildError> {
    Ok(Resources {
        service_accounts: sealed(vec![service_account::build(cluster)])?,
        secrets: sealed(vec![secret::build(cluster, token)])?,
        config_maps: sealed(vec![config_map::build(cluster)?])?,
        node_services: sealed(service::build_for_nodes(cluster))?,
        client_services: sealed(service::build_for_clients(cluster))?,
        stateful_sets: sealed(vec![
            stateful_set::build_ref(cluster, token)?,
            stateful_set::build_servers(cluster, token)?,
        ])?,
        deployments: sealed(deployment::build(cluster, token)?)?,
        pod_disruption_budgets: sealed(pod_disruption_budget::build(cluster))?,
        network_policies: sealed(network_policy::build(cluster)?)?,
        pod_monitors: sealed(pod_monitor::build(cluster))?,
        volumes: volume::build(cluster),
        aliases: sealed(service::build_aliases(cluster))?,
    })
}

/// The metadata of an object of the cluster, which goes when the cluster goes.
fn metadata(cluster: &ValidatedCluster, name: String, component: Option<Component>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(names::labels(&cluster.name, component)),
        owner_references: Some(vec![owner_reference(cluster)]),
        ..ObjectMeta::default()
    }
}

fn owner_reference(cluster: &ValidatedCluster) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        name: cluster.name.clone(),
        uid: cluster.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Whose object this is, by the reference that [`build`] puts on everything.
#[must_use]
pub fn owner(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let references = metadata.owner_references.as_deref().unwrap_or_default();
    references.iter().find(|reference| reference.controller == Some(true))
}

/// The cluster that owns this object.
#[must_use]
pub fn owning_cluster(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let group = format!("{}/", ChatCluster::group(&()));
    owner(metadata).filter(|reference| reference.kind == KIND && reference.api_version.starts_with(&group))
}

/// Notes on each object its own hash: a field that is no longer set shows only by it.
fn sealed<K: Resource + Serialize>(objects: Vec<K>) -> Result<Vec<K>, BuildError> {
    let seal = |mut object: K| {
        let hash = hash(&serde_json::to_vec(&object).map_err(BuildError::Json)?);
        let annotations = object.meta_mut().annotations.get_or_insert_default();
        annotations.insert(names::ANNOTATION_APPLIED_HASH.to_owned(), hash);
        Ok(object)
    };
    objects.into_iter().map(seal).collect()
}

/// Sixteen hexadecimal digits: enough to tell versions of one object apart.
fn hash(bytes: &[u8]) -> String {
    const BYTES: usize = 8;
    Sha256::digest(bytes).iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// A number of replicas as Kubernetes counts them.
fn count(replicas: u32) -> Option<i32> {
    i32::try_from(replicas).ok()
}
