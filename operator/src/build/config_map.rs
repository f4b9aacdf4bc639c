//! The ConfigMap with the settings of all nodes, and which of them a role reads at its start only.
//!
//! The file is mounted whole, so it follows a change within the kubelet's minute. Servers and ref take a change of who the servers
//! are from it while they run; everything else is read at the start, so a hash of that is part of the pods, and a change of it replaces them.

use super::{BuildError, hash, metadata};
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::api::core::v1::ConfigMap;
use papo_settings::{
    BotsSpec, BrokerSpec, ChatClusterSpec, CompatSpec, ImageSpec, JsonPublications, ProxySpec, StorageSpec,
};
use serde_json::json;

/// The ConfigMap's key, and so the file's name in the pods.
pub(super) const SETTINGS_KEY: &str = "settings.yaml";

pub(super) fn build(cluster: &ValidatedCluster) -> Result<ConfigMap, BuildError> {
    let text = cluster.settings.to_yaml().map_err(BuildError::Settings)?;
    Ok(ConfigMap {
        metadata: metadata(cluster, names::settings(&cluster.name), None),
        data: Some([(SETTINGS_KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    })
}

/// Hash of what a role reads at its start only. A new field of the spec does not compile until it has its place here.
pub(super) fn start_settings_hash(
    cluster: &ValidatedCluster,
    component: Component,
) -> Result<String, BuildError> {
    let ChatClusterSpec {
        // Servers and ref follow the membership; no other role counts servers.
        replicas: _,
        // Never changes, and stands in the settings as resolved.
        cluster_id: _,
        // In the pod itself.
        image: None | Some(ImageSpec { repository: _, tag: _, pull_policy: _, pull_secrets: _ }),
        storage: StorageSpec { size: _, class: _, retention: _ },
        durability,
        login_policy,
        election,
        clock_sync,
        reference,
        broker,
        proxy: ProxySpec { replicas: _ },
        bots,
        compat,
        limits,
        logging,
        // No node reads these.
        resources: _,
        scheduling: _,
        pod_metadata: _,
        expose: _,
        network_policy: _,
        monitoring: _,
    } = &cluster.spec;
    let BrokerSpec {
        replicas: _,
        server_deadline_seconds,
        deadline_seconds,
        foreign_worker_requests,
        waiting_requests,
    } = broker;
    let BotsSpec { replicas: _, channels, messages, message_milliseconds, pause_seconds } = bots;
    let CompatSpec { publish_ok, list_as_map, json_publications } = compat;
    let compat = json!({"publishOk": publish_ok, "listAsMap": list_as_map});
    let of_the_role = match component {
        Component::Server => json!([durability, login_policy, election, clock_sync, reference, compat]),
        Component::Broker => {
            json!([server_deadline_seconds, deadline_seconds, foreign_worker_requests, waiting_requests])
        }
        // Nothing for the default, as before there was a choice.
        Component::Proxy if *json_publications == JsonPublications::default() => json!([]),
        Component::Proxy => json!([json_publications]),
        Component::Ref => json!([reference, compat]),
        Component::Bot => json!([channels, messages, message_milliseconds, pause_seconds]),
    };
    let all = json!([cluster.settings.cluster_id, limits, logging, of_the_role]);
    serde_json::to_vec(&all).map(|bytes| hash(&bytes)).map_err(BuildError::Json)
}
