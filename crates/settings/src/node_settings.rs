//! What a node process reads from its `--settings` file: the ConfigMap in Kubernetes, a file that `papo local` writes.
//!
//! Written and read by the same type, so that writer and reader cannot drift apart.

use crate::{
    cluster::{ChatCluster, ClusterId},
    manifest::{SettingsError, parse_yaml},
    spec::ChatClusterSpec,
};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// Fields that only the operator acts on, each with where it stands.
const NOT_FOR_NODES: &[(&[&str], &str)] = &[
    (&["spec"], "resources"),
    (&["spec"], "scheduling"),
    (&["spec"], "podMetadata"),
    (&["spec"], "expose"),
    (&["spec"], "networkPolicy"),
    (&["spec"], "monitoring"),
    (&["spec", "storage"], "retention"),
    (&["spec", "image"], "pullSecrets"),
];

/// The settings of every node of one cluster. What a newer writer adds here, an older node reads past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSettings {
    /// Which cluster this is.
    pub cluster_id: ClusterId,
    /// Counts the changes of who the servers are. Not written where it is 0: a node that knows nothing of it reads nothing unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// The names of the servers whose disks count; `server-n` has rank n.
    pub members: Vec<String>,
    /// Servers that fetch what there is, and do not count yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joining: Vec<String>,
    /// Servers that count no more, and stay until the members have what they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<String>,
    /// The spec, with every default filled in.
    pub spec: ChatClusterSpec,
}

impl NodeSettings {
    /// The settings that follow from a manifest.
    #[must_use]
    pub fn of(cluster: &ChatCluster) -> Self {
        Self {
            cluster_id: cluster.cluster_id(),
            generation: 0,
            members: member_names(cluster.spec.replicas),
            joining: Vec::new(),
            leaving: Vec::new(),
            spec: cluster.spec.clone(),
        }
    }

    /// Reads the settings file's text.
    ///
    /// # Errors
    /// [`SettingsError::Yaml`] with line, column and field.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        parse_yaml(text)
    }

    /// The settings file's text. What only the operator acts on is left out: a node that is older than such a field would refuse it.
    ///
    /// # Errors
    /// [`SettingsError::Write`] when a value has no form in YAML, which no value of these types is known to do.
    pub fn to_yaml(&self) -> Result<String, SettingsError> {
        let wrong = |error: serde_yaml::Error| SettingsError::Write { message: error.to_string() };
        let mut settings = serde_yaml::to_value(self).map_err(wrong)?;
        for (path, field) in NOT_FOR_NODES {
            let parent = path.iter().try_fold(&mut settings, |value, key| value.get_mut(*key));
            if let Some(parent) = parent.and_then(Value::as_mapping_mut) {
                parent.shift_remove(*field);
            }
        }
        serde_yaml::to_string(&settings).map_err(wrong)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(generation: &u64) -> bool {
    *generation == 0
}

/// The names of `replicas` servers: `server-1` and so on.
#[must_use]
pub fn member_names(replicas: u32) -> Vec<String> {
    (1..=replicas).map(server_name).collect()
}

/// The name of the server with this rank.
#[must_use]
pub fn server_name(rank: u32) -> String {
    format!("server-{rank}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_a_node_is_what_it_reads() {
        let mut cluster = ChatCluster::with_defaults("papo");
        cluster.metadata.namespace = Some("chat".to_owned());
        cluster.spec.replicas = 2;
        let settings = NodeSettings::of(&cluster);
        assert_eq!(settings.cluster_id.as_str(), "chat/papo");
        assert_eq!(settings.members, ["server-1", "server-2"]);
        assert_eq!(NodeSettings::read(&settings.to_yaml().unwrap()).unwrap(), settings);
    }

    #[test]
    fn a_node_reads_past_what_a_newer_writer_adds() {
        let text = "clusterId: chat/papo\nmembers: [server-1]\njoining: [server-2]\nzones: [a, b]\nspec: {replicas: 1}\n";
        let settings = NodeSettings::read(text).unwrap();
        assert_eq!((settings.generation, settings.joining), (0, vec!["server-2".to_owned()]));
    }

    #[test]
    fn a_node_is_not_told_what_only_the_operator_acts_on() {
        let spec = "{image: {tag: '1', pullSecrets: [a]}, storage: {retention: {whenScaled: Delete}}, podMetadata: {labels: {a: b}}}";
        let text = format!(
            "apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata: {{name: papo}}\nspec: {spec}\n"
        );
        let cluster = crate::read_manifest(&text).unwrap();
        let written = NodeSettings::of(&cluster).to_yaml().unwrap();
        let value: Value = serde_yaml::from_str(&written).unwrap();
        let keys = |value: &Value| -> Vec<String> {
            value.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
        };
        // All that a node of 0.1.0 knows: it refuses any other field.
        assert_eq!(
            keys(&value["spec"]),
            [
                "replicas",
                "image",
                "storage",
                "durability",
                "loginPolicy",
                "election",
                "clockSync",
                "ref",
                "broker",
                "proxy",
                "bots",
                "compat",
                "limits",
                "logging",
            ]
        );
        assert_eq!(keys(&value["spec"]["storage"]), ["size"]);
        assert_eq!(keys(&value["spec"]["image"]), ["tag", "pullPolicy"]);
        assert_eq!(NodeSettings::read(&written).unwrap().spec.storage.size, "1Gi");
    }

    #[test]
    fn a_given_cluster_id_wins() {
        let mut cluster = ChatCluster::with_defaults("papo");
        assert_eq!(cluster.cluster_id().as_str(), "default/papo");
        cluster.spec.cluster_id = Some("restored-2026".to_owned());
        assert_eq!(cluster.cluster_id().as_str(), "restored-2026");
    }
}
