//! The ChatCluster as the API server hands it out; and the one kind that somebody else defines.
//!
//! Spec and status are kept as they came: a ChatCluster that cannot be read must still be one object of the watch, whose status can
//! say so, and not a fault that stops the watch for all others. [`crate::validate`] reads the spec.

use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::Resource;
use papo_settings::cluster::KIND;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;

/// API group of the custom resource.
pub const GROUP: &str = "papo.dev";
/// Version of the custom resource.
pub const VERSION: &str = "v1alpha1";
/// Plural name, as in URLs.
pub const PLURAL: &str = "chatclusters";

/// A ChatCluster, read as far as nothing can go wrong.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChatCluster {
    /// Name, namespace, uid, generation.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the cluster shall be.
    #[serde(default)]
    pub spec: Json,
    /// What was last said of it.
    #[serde(default)]
    pub status: Json,
}

/// Any JSON, as text: as a tree of values, or as a struct of Kubernetes, it takes many times the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Writes it.
    ///
    /// # Errors
    /// When it has no form in JSON.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_string(value)?.into()))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl Default for Json {
    fn default() -> Self {
        Value::Null.into()
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

impl Resource for ChatCluster {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Group of the kinds that the Prometheus operator brings.
pub const MONITORING_GROUP: &str = "monitoring.coreos.com";

/// Tells a Prometheus operator which pods to ask for metrics: of that kind, what papo sets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMonitor {
    /// Group and version. Lists leave it out of their entries.
    pub api_version: String,
    /// The kind. The same.
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: ObjectMeta,
    /// Which pods, and how.
    pub spec: PodMonitorSpec,
}

impl Default for PodMonitor {
    fn default() -> Self {
        Self {
            api_version: Self::api_version(&()).into_owned(),
            kind: Self::kind(&()).into_owned(),
            metadata: ObjectMeta::default(),
            spec: PodMonitorSpec::default(),
        }
    }
}

/// Which pods to ask, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMonitorSpec {
    /// The pods.
    pub selector: LabelSelector,
    /// Labels of the pods that become labels of their metrics.
    pub pod_target_labels: Vec<String>,
    /// Where they serve metrics.
    pub pod_metrics_endpoints: Vec<PodMetricsEndpoint>,
}

/// Where a pod serves metrics.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMetricsEndpoint {
    /// Name of the port.
    pub port: String,
    /// Path in the URL.
    pub path: String,
    /// Time between two looks.
    pub interval: String,
}

impl Resource for PodMonitor {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "PodMonitor".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        MONITORING_GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "podmonitors".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_settings::cluster::API_VERSION;

    #[test]
    fn group_and_version_are_those_of_the_manifest() {
        assert_eq!(API_VERSION, format!("{GROUP}/{VERSION}"));
    }

    #[test]
    fn an_unreadable_spec_is_still_a_cluster() {
        let cluster: ChatCluster =
            serde_json::from_str(r#"{"metadata":{"name":"a"},"spec":{"replicas":"x"},"status":7}"#).unwrap();
        assert_eq!(cluster.metadata.name.as_deref(), Some("a"));
    }
}
