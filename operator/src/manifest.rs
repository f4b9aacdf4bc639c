//! Reads the spec of a ChatCluster as the API server hands it out.
//!
//! The API server has dropped every field that its schema does not know. So a field that is unknown *here* comes from a schema newer than
//! this operator: the schema is upgraded first, and fills in defaults of new fields everywhere. It is left aside and told of, as an
//! operator that stopped at it would look after no cluster at all.

use crate::{crd, resource::Json};
use papo_settings::{
    ChatCluster, SettingsError,
    cluster::{API_VERSION, KIND},
    read_manifest,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

/// A spec that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Of the form that `papo local` reads, too.
    pub cluster: ChatCluster,
    /// Fields of the spec that were left aside.
    pub unknown: Vec<String>,
}

/// Reads it.
///
/// # Errors
/// [`SettingsError`], in one line that names field and value.
pub fn read(name: &str, namespace: &str, spec: &Json) -> Result<Manifest, SettingsError> {
    // Text that came as JSON is JSON; what is not there says nothing.
    let spec = spec.read().ok().filter(|spec: &Value| !spec.is_null()).unwrap_or_else(|| json!({}));
    let mut manifest = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    });
    // Nearly always this is all: reading it as text takes many times as long, and is for its words.
    if let Ok(cluster) = ChatCluster::deserialize(&manifest) {
        return Ok(Manifest { cluster, unknown: Vec::new() });
    }
    let mut unknown = Vec::new();
    if let Some(spec) = manifest.get_mut("spec") {
        SPEC.set_unknown_aside("spec", spec, &mut unknown);
    }
    // JSON is YAML: the reader that `papo local` uses names the field and says what was expected.
    Ok(Manifest { cluster: read_manifest(&manifest.to_string())?, unknown })
}

/// Which fields there are.
static SPEC: LazyLock<Fields> = LazyLock::new(|| Fields::of(&crd::spec_schema()));

/// What may stand at a place of the spec.
enum Fields {
    /// A value without fields.
    None,
    /// These fields.
    Named(BTreeMap<String, Fields>),
    /// Any names, and the same in each.
    Map(Box<Fields>),
    /// Entries that are alike.
    List(Box<Fields>),
}

impl Fields {
    fn of(schema: &Value) -> Self {
        if let Some(Value::Object(properties)) = schema.get("properties") {
            let fields = properties.iter().map(|(name, schema)| (name.clone(), Self::of(schema)));
            return Self::Named(fields.collect());
        }
        if let Some(values) = schema.get("additionalProperties") {
            return Self::Map(Box::new(Self::of(values)));
        }
        if let Some(entries) = schema.get("items") {
            return Self::List(Box::new(Self::of(entries)));
        }
        Self::None
    }

    fn set_unknown_aside(&self, path: &str, value: &mut Value, unknown: &mut Vec<String>) {
        match (self, value) {
            (Self::Named(fields), Value::Object(values)) => values.retain(|name, value| {
                let path = format!("{path}.{name}");
                match fields.get(name) {
                    Some(fields) => fields.set_unknown_aside(&path, value, unknown),
                    None => unknown.push(path),
                }
                fields.contains_key(name)
            }),
            (Self::Map(fields), Value::Object(values)) => {
                for (name, value) in values {
                    fields.set_unknown_aside(&format!("{path}[{name}]"), value, unknown);
                }
            }
            (Self::List(fields), Value::Array(entries)) => {
                for (place, entry) in entries.iter_mut().enumerate() {
                    fields.set_unknown_aside(&format!("{path}[{place}]"), entry, unknown);
                }
            }
            // What stands where fields should be is named by the reader.
            (Self::None | Self::Named(_) | Self::Map(_) | Self::List(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_newer_schema_are_left_aside_and_named() {
        let spec = json!({
            "replicas": 2,
            "federation": { "with": ["a"] },
            "broker": { "replicas": 1, "zones": 3 },
            "podMetadata": { "labels": { "team": "chat" } },
            "scheduling": { "tolerations": [{ "key": "a" }, { "key": "b", "since": "now" }] },
        });
        let manifest = read("papo", "chat", &spec.into()).unwrap();
        assert_eq!(
            manifest.unknown,
            ["spec.broker.zones", "spec.federation", "spec.scheduling.tolerations[1].since"]
        );
        let spec = manifest.cluster.spec;
        assert_eq!((spec.replicas, spec.broker.replicas), (2, 1));
        assert_eq!(spec.pod_metadata.labels["team"], "chat", "a label is no field");
        assert_eq!(spec.scheduling.tolerations.len(), 2);
    }

    #[test]
    fn a_value_that_no_version_here_knows_is_still_wrong() {
        let spec = json!({ "federation": {}, "durability": "quorum" });
        let error = read("papo", "chat", &spec.into()).unwrap_err().to_string();
        assert!(error.contains("durability") && error.contains("quorum"), "{error}");
    }

    #[test]
    fn every_field_that_is_read_is_in_the_schema() {
        let whole = serde_json::to_value(papo_settings::ChatClusterSpec::default()).unwrap();
        let (mut pruned, mut unknown) = (whole.clone(), Vec::new());
        SPEC.set_unknown_aside("spec", &mut pruned, &mut unknown);
        assert_eq!((pruned, unknown), (whole, Vec::new()));
    }
}
