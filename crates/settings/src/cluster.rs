//! The `ChatCluster` manifest as a whole, and the identity that follows from it.

use crate::spec::ChatClusterSpec;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{collections::BTreeMap, fmt};

/// The manifest's `apiVersion`.
pub const API_VERSION: &str = "papo.dev/v1alpha1";
/// The manifest's `kind`.
pub const KIND: &str = "ChatCluster";
/// The namespace of a manifest that names none, as in Kubernetes.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A ChatCluster as a person writes it. A `status` and what the API server adds to the metadata are accepted and ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Written")]
pub struct ChatCluster {
    /// [`API_VERSION`], checked by [`crate::read_manifest`].
    pub api_version: String,
    /// [`KIND`], checked by [`crate::read_manifest`].
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What the cluster shall be.
    pub spec: ChatClusterSpec,
}

/// The part of a manifest's metadata that papo reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenMetadata")]
pub struct Metadata {
    /// The cluster's name, a DNS label.
    pub name: String,
    /// The namespace; [`DEFAULT_NAMESPACE`] without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The identity of a cluster's data, by default `namespace/name`: never changes, and is checked at every meeting of two servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(String);

impl ClusterId {
    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ChatCluster {
    /// A cluster of this name with every setting at its default.
    #[must_use]
    pub fn with_defaults(name: &str) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                namespace: None,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
            },
            spec: ChatClusterSpec::default(),
        }
    }

    /// The spec's `clusterId`, or `namespace/name`.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId(self.spec.cluster_id.clone().unwrap_or_else(|| {
            let namespace = self.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            format!("{namespace}/{}", self.metadata.name)
        }))
    }
}

/// What may stand in a manifest, with what papo accepts and ignores.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: ChatClusterSpec,
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

impl From<Written> for ChatCluster {
    fn from(written: Written) -> Self {
        let Written { api_version, kind, metadata, spec, _status: _ } = written;
        Self { api_version, kind, metadata, spec }
    }
}

/// `kubectl get -o yaml` prints what the API server added; such a file shall run with `papo local` as it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMetadata {
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "creationTimestamp")]
    _creation_timestamp: IgnoredAny,
    #[serde(default, rename = "deletionTimestamp")]
    _deletion_timestamp: IgnoredAny,
    #[serde(default, rename = "deletionGracePeriodSeconds")]
    _deletion_grace_period_seconds: IgnoredAny,
    #[serde(default, rename = "finalizers")]
    _finalizers: IgnoredAny,
    #[serde(default, rename = "generation")]
    _generation: IgnoredAny,
    #[serde(default, rename = "managedFields")]
    _managed_fields: IgnoredAny,
    #[serde(default, rename = "ownerReferences")]
    _owner_references: IgnoredAny,
    #[serde(default, rename = "resourceVersion")]
    _resource_version: IgnoredAny,
    #[serde(default, rename = "selfLink")]
    _self_link: IgnoredAny,
    #[serde(default, rename = "uid")]
    _uid: IgnoredAny,
}

impl From<WrittenMetadata> for Metadata {
    fn from(written: WrittenMetadata) -> Self {
        let WrittenMetadata { name, namespace, labels, annotations, .. } = written;
        Self { name, namespace, labels, annotations }
    }
}
