//! The ChatCluster as the API server hands it out.
//!
//! Spec and status are kept as they came: a ChatCluster that cannot be read must still be one object of the watch, whose status can
//! say so, and not a fault that stops the watch for all others. [`crate::validate`] reads the spec.

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use papo_settings::cluster::KIND;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// API group of the custom resource.
pub const GROUP: &str = "papo.dev";
/// Version of the custom resource.
pub const VERSION: &str = "v1alpha1";
/// Plural name, as in URLs.
pub const PLURAL: &str = "chatclusters";

/// A ChatCluster, read as far as nothing can go wrong.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ChatCluster {
    /// Name, namespace, uid, generation.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the cluster shall be.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub spec: Value,
    /// What was last said of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub status: Value,
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
