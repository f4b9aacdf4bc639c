//! The parts of the spec that say how a cluster stands in Kubernetes. Only the operator acts on them: no node reads them, and
//! [`crate::NodeSettings`] leaves them out, so that an older node never meets a field that it does not know.
//!
//! Where Kubernetes has a form for something, it is that form. What is a quantity there is text here, in the forms that
//! [`crate::bounds`] names, as only those are known to come back from the API server as they were written.

use crate::{bounds, scheduling::LabelSelector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// When a server's volume goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetentionSpec {
    /// What becomes of the volumes when the ChatCluster is deleted. With Delete, also when somebody deletes the StatefulSet of the servers.
    pub when_deleted: Retention,
    /// What becomes of a server's volume when the cluster has fewer servers.
    pub when_scaled: Retention,
}

/// What becomes of a volume that nobody uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// It stays, with all that is on it.
    #[default]
    Retain,
    /// Kubernetes deletes its claim, and so, with most storage classes, the data.
    Delete,
}

impl Retention {
    /// As Kubernetes spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// Labels and annotations that every pod gets beside the operator's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodMetadataSpec {
    /// Labels. Those of papo.dev and app.kubernetes.io are the operator's.
    #[schemars(extend("maxProperties" = bounds::POD_METADATA_MAX))]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Those of papo.dev are the operator's.
    #[schemars(extend("maxProperties" = bounds::POD_METADATA_MAX))]
    pub annotations: BTreeMap<String, String>,
}

/// Who may connect to the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicySpec {
    /// Whether there are NetworkPolicies. They work only where the cluster's network enforces them. Clients' ports stay open to all.
    pub enabled: bool,
    /// Foreign servers: who, beside this cluster's own servers, may connect to 5556 (work), 5557 (publish), 5559 and 6000 (ref).
    #[schemars(length(max = bounds::NETWORK_PEERS_MAX))]
    pub foreign: Vec<NetworkPeer>,
    /// Who, beside the operator, may read 8080: metrics, but also /status and the whole history by /export.
    #[schemars(length(max = bounds::NETWORK_PEERS_MAX))]
    pub metrics: Vec<NetworkPeer>,
}

/// Who may connect: either pods, or addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPeer {
    /// Pods; of the ChatCluster's namespace, unless namespaceSelector is given, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces; all pods of them, unless podSelector is given, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Addresses outside, instead of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpBlock {
    /// The range, such as 192.0.2.0/24.
    #[schemars(length(max = bounds::CIDR_BYTES_MAX), regex(pattern = bounds::CIDR_PATTERN))]
    pub cidr: String,
}

/// Whether Prometheus is told of the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MonitoringSpec {
    /// Whether there is a PodMonitor of monitoring.coreos.com, which the Prometheus operator brings.
    pub enabled: bool,
}

/// A Service beside the usual ones, under which clients outside reach brokers (5555) and proxies (5558).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExposeSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ServiceKind,
    /// Its annotations, by which many clouds are told how to make a load balancer. Those of papo.dev are the operator's.
    #[schemars(extend("maxProperties" = bounds::POD_METADATA_MAX))]
    pub annotations: BTreeMap<String, String>,
    /// Addresses that a load balancer lets in, such as 192.0.2.0/24. Default: all.
    #[schemars(length(max = bounds::NETWORK_PEERS_MAX))]
    pub source_ranges: Vec<String>,
}

/// How far a Service reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceKind {
    /// Inside only: there is no such Service beside the usual ones.
    #[default]
    ClusterIP,
    /// A port on every node of Kubernetes, which Kubernetes chooses.
    NodePort,
    /// A load balancer of the cloud.
    LoadBalancer,
}

/// What the pods ask of their machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourcesSpec {
    /// Each server. Default: requests of 50m and 64Mi, no limits.
    pub server: RoleResources,
    /// Each broker. Default: requests of 20m and 32Mi, no limits.
    pub broker: RoleResources,
    /// Each proxy. Default: requests of 20m and 32Mi, no limits.
    pub proxy: RoleResources,
    /// The reference service. Default: requests of 10m and 16Mi, no limits.
    #[serde(rename = "ref")]
    pub reference: RoleResources,
    /// Each bot. Default: requests of 10m and 16Mi, no limits.
    pub bot: RoleResources,
}

/// What the pods of one role ask of their machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoleResources {
    /// What is set aside for each pod.
    pub requests: Amounts,
    /// What a pod never gets more of. Over its memory, Kubernetes ends it.
    pub limits: Amounts,
}

/// Amounts of what a machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Amounts {
    /// Processors, such as "2", or thousandths of one, such as 500m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::QUANTITY_BYTES_MAX), regex(pattern = bounds::CPU_PATTERN))]
    pub cpu: Option<String>,
    /// Memory, such as 256Mi (whole numbers with Ki, Mi, Gi, Ti, k, M, G, T).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::QUANTITY_BYTES_MAX), regex(pattern = bounds::STORAGE_SIZE_PATTERN))]
    pub memory: Option<String>,
}
