//! The CustomResourceDefinition, made from the types of `papo-settings` and of [`crate::status`].
//!
//! The API server takes only *structural* schemas: no `oneOf` of constants, no `additionalProperties: false` beside properties, no
//! number formats of Rust. [`structural`] rewrites what schemars writes into that form and keeps every description.

use crate::{
    resource::{GROUP, PLURAL, VERSION},
    status::ChatClusterStatus,
};
use papo_settings::{ChatClusterSpec, bounds, cluster::KIND};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The first lines of the generated file.
const HEADER: &str =
    "# Generated from crates/settings and operator/src/crd.rs by `papo-operator crd`; do not edit.\n";

/// Why the definition could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the CustomResourceDefinition as YAML")]
pub struct CrdError(#[from] serde_yaml::Error);

/// The definition as YAML, as in `crds/`.
///
/// # Errors
/// When a value has no form in YAML, which none here is known to lack.
pub fn to_yaml() -> Result<String, CrdError> {
    Ok(format!("{HEADER}{}", serde_yaml::to_string(&definition())?))
}

/// The definition.
#[must_use]
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{PLURAL}.{GROUP}") },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "singular": KIND.to_lowercase(),
                "shortNames": ["cc"],
                "categories": ["papo"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": schema() },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "additionalPrinterColumns": [
                    column("Phase", "string", ".status.phase", "How it stands"),
                    column("Ready", "integer", ".status.readyReplicas", "Servers ready"),
                    column("Servers", "integer", ".spec.replicas", "Servers wanted"),
                    column("Coordinator", "string", ".status.coordinator", "The server that keeps the time"),
                    column("Age", "date", ".metadata.creationTimestamp", "Time since it was created"),
                ],
            }],
        },
    })
}

fn column(name: &str, kind: &str, path: &str, description: &str) -> Value {
    json!({ "name": name, "type": kind, "jsonPath": path, "description": description })
}

/// Every field of the spec, without the rules.
pub(crate) fn spec_schema() -> Value {
    schema_of::<ChatClusterSpec>()
}

fn schema() -> Value {
    let mut spec = spec_schema();
    add_rules(&mut spec);
    add_kubernetes_rules(&mut spec);
    // An empty default: the API server then fills in that of every field.
    set(&mut spec, "default", json!({}));
    json!({
        "type": "object",
        "description": "A chat service that any ZeroMQ client can talk to.",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": spec,
            "status": schema_of::<ChatClusterStatus>(),
        },
        "x-kubernetes-validations": [{
            "rule": format!(
                "size(self.metadata.name) <= {} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                bounds::CLUSTER_NAME_BYTES_MAX
            ),
            "message": format!(
                "metadata.name: give 1 to {} small letters, digits or `-`, beginning with a letter and not ending with `-`",
                bounds::CLUSTER_NAME_BYTES_MAX
            ),
        }],
    })
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    structural(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

/// What spans several fields, or two versions of one, in the API server's own language (CEL).
fn add_rules(spec: &mut Value) {
    let immutable = |field: &str| {
        json!({
            "rule": format!(
                "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
            ),
            "message": format!("spec.{field} cannot be changed: make a new ChatCluster"),
        })
    };
    rules(spec, &[], vec![immutable("clusterId")]);
    rules(
        spec,
        &["storage"],
        vec![
            json!({
                "rule": "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
                "fieldPath": ".size",
                "message": "spec.storage.size can only grow: no volume can shrink",
            }),
            json!({
                "rule": "has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)",
                "message": "spec.storage.class cannot be changed: the volumes are made once",
            }),
        ],
    );
    // The messages cannot show the values: the API server takes the text of a number to be of any length, and so too costly.
    rules(
        spec,
        &["ref"],
        vec![json!({
            "rule": format!("self.expirySeconds >= {} * self.heartbeatSeconds", bounds::HEARTBEATS_IN_EXPIRY),
            "fieldPath": ".expirySeconds",
            "message": format!(
                "give expirySeconds at least {} x heartbeatSeconds, so that one lost heartbeat expires nobody",
                bounds::HEARTBEATS_IN_EXPIRY
            ),
        })],
    );
    rules(
        spec,
        &["broker"],
        vec![json!({
            "rule": format!("self.deadlineSeconds >= {} * self.serverDeadlineSeconds", bounds::ATTEMPTS_IN_DEADLINE),
            "fieldPath": ".deadlineSeconds",
            "message": format!(
                "give deadlineSeconds at least {} x serverDeadlineSeconds, so that two failovers fit",
                bounds::ATTEMPTS_IN_DEADLINE
            ),
        })],
    );
    rules(
        spec,
        &["bots", "pauseSeconds"],
        vec![json!({
            "rule": "self.min <= self.max",
            "fieldPath": ".max",
            "message": "give pauseSeconds.max at least pauseSeconds.min",
        })],
    );
    rules(
        spec,
        &["limits"],
        vec![
            json!({
                "rule": "self.queueBytes > self.requestBytes",
                "fieldPath": ".queueBytes",
                "message": "give queueBytes more than requestBytes, so that one message fits",
            }),
            json!({
                "rule": format!("self.queueBytesTotal >= {} * self.queueBytes", bounds::QUEUES_IN_TOTAL),
                "fieldPath": ".queueBytesTotal",
                "message": format!(
                    "give queueBytesTotal at least {} x queueBytes, so that one slow peer leaves room for others",
                    bounds::QUEUES_IN_TOTAL
                ),
            }),
            json!({
                "rule": format!("self.pingTimeoutSeconds >= {} * self.pingSeconds", bounds::PINGS_IN_TIMEOUT),
                "fieldPath": ".pingTimeoutSeconds",
                "message": format!(
                    "give pingTimeoutSeconds at least {} x pingSeconds, so that one late answer ends no connection",
                    bounds::PINGS_IN_TIMEOUT
                ),
            }),
        ],
    );
}

/// What the parts of the spec about Kubernetes must keep to.
fn add_kubernetes_rules(spec: &mut Value) {
    for role in ["server", "broker", "proxy", "ref", "bot"] {
        let no_less = |resource: &str| {
            json!({
                "rule": format!(
                    "!has(self.limits.{resource}) || !has(self.requests.{resource}) || \
                     quantity(self.limits.{resource}).compareTo(quantity(self.requests.{resource})) >= 0"
                ),
                "fieldPath": format!(".limits.{resource}"),
                "message": format!("give limits.{resource} at least requests.{resource}"),
            })
        };
        rules(spec, &["resources", role], vec![no_less("cpu"), no_less("memory")]);
    }
    let not_ours = |rule: &str, ours: &str| json!({ "rule": rule, "message": format!("leave out keys of {ours}: they are the operator's own") });
    rules(
        spec,
        &["podMetadata", "labels"],
        vec![not_ours(
            "self.all(key, !key.startsWith('papo.dev/') && !key.startsWith('app.kubernetes.io/'))",
            "papo.dev and app.kubernetes.io",
        )],
    );
    for path in [&["podMetadata", "annotations"], &["expose", "annotations"]] {
        rules(spec, path, vec![not_ours("self.all(key, !key.startsWith('papo.dev/'))", "papo.dev")]);
    }
    rules(
        spec,
        &["scheduling", "tolerations", ITEMS],
        vec![
            json!({
                "rule": "self.operator == 'Exists' || has(self.key)",
                "message": "give a key, or the operator Exists for every key",
            }),
            json!({
                "rule": "self.operator == 'Equal' || !has(self.value)",
                "fieldPath": ".value",
                "message": "leave the value out: with the operator Exists, any value will do",
            }),
            json!({
                "rule": "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "fieldPath": ".tolerationSeconds",
                "message": "give the effect NoExecute, or leave tolerationSeconds out: only that effect ends pods",
            }),
        ],
    );
    rules(
        spec,
        &["expose"],
        vec![
            json!({
                "rule": "self.type != 'ClusterIP' || size(self.annotations) == 0",
                "fieldPath": ".annotations",
                "message": "set type to NodePort or LoadBalancer, or leave annotations out: there is no Service to bear them",
            }),
            json!({
                "rule": "self.type == 'LoadBalancer' || size(self.sourceRanges) == 0",
                "fieldPath": ".sourceRanges",
                "message": "set type to LoadBalancer, or leave sourceRanges out: nothing else obeys them",
            }),
        ],
    );
    for list in ["foreign", "metrics"] {
        rules(
            spec,
            &["networkPolicy", list, ITEMS],
            vec![json!({
                "rule": "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
                "message": "give podSelector, namespaceSelector or both; or else ipBlock",
            })],
        );
    }
}

/// In a path: the entries of a list.
const ITEMS: &str = "[]";

fn rules(spec: &mut Value, path: &[&str], rules: Vec<Value>) {
    let step =
        |field: &&str| if *field == ITEMS { "/items".to_owned() } else { format!("/properties/{field}") };
    let pointer: String = path.iter().map(step).collect();
    if let Some(schema) = spec.pointer_mut(&pointer) {
        set(schema, "x-kubernetes-validations", Value::Array(rules));
    }
}

fn set(schema: &mut Value, key: &str, value: Value) {
    if let Some(object) = schema.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Rewrites a schema, and all schemas in it, into the form that the API server takes.
fn structural(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    merge_nullable(object);
    merge_constants(object);
    // Unknown fields are refused by `kubectl` and pruned by the API server anyway. What stays is a map's.
    match object.get_mut("additionalProperties") {
        Some(values @ Value::Object(_)) => structural(values),
        Some(_) => drop(object.remove("additionalProperties")),
        None => {}
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    // The schema's own bounds say what the type's would; the API server knows only `int32` and `int64`.
    if object.get("type").and_then(Value::as_str) == Some("integer") {
        object.insert("format".to_owned(), json!("int64"));
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(structural);
    }
    if let Some(items) = object.get_mut("items") {
        structural(items);
    }
}

/// `anyOf: [T, null]` is how schemars says "optional": an absent field says the same.
fn merge_nullable(object: &mut Map<String, Value>) {
    if let Some(Value::Array(variants)) = object.remove("anyOf")
        && let Some(Value::Object(inner)) = variants.into_iter().next()
    {
        for (key, value) in inner {
            object.entry(key).or_insert(value);
        }
    }
    object.remove("nullable");
}

/// `oneOf` of documented constants becomes one `enum`, their documentation a list in the description.
fn merge_constants(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.remove("oneOf") else { return };
    let mut values = Vec::new();
    let mut lines: Vec<String> =
        object.get("description").and_then(Value::as_str).map(str::to_owned).into_iter().collect();
    for variant in &variants {
        // A documented variant is one constant; those without documentation share an `enum`.
        let constants = match (variant.get("const"), variant.get("enum").and_then(Value::as_array)) {
            (Some(constant), _) => vec![constant.clone()],
            (None, Some(several)) => several.clone(),
            (None, None) => Vec::new(),
        };
        if let (Some(description), [Value::String(value)]) =
            (variant.get("description").and_then(Value::as_str), constants.as_slice())
        {
            lines.push(format!("{value}: {description}"));
        }
        values.extend(constants);
    }
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), Value::Array(values));
    object.insert("description".to_owned(), json!(lines.join("\n")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    #[test]
    fn the_api_types_hold_every_field_of_the_definition() {
        /// The API's types count bounds as floating point numbers.
        fn as_floats(value: Value) -> Value {
            match value {
                Value::Number(number) => json!(number.as_f64()),
                Value::Array(list) => list.into_iter().map(as_floats).collect(),
                Value::Object(map) => map.into_iter().map(|(key, value)| (key, as_floats(value))).collect(),
                other => other,
            }
        }
        let typed: CustomResourceDefinition = serde_json::from_value(definition()).unwrap();
        let kept = as_floats(serde_json::to_value(typed).unwrap());
        assert!(kept == as_floats(definition()), "a field of the definition is unknown to the API");
    }

    #[test]
    fn the_schema_is_structural() {
        fn check(path: &str, schema: &Value) {
            let object = schema.as_object().unwrap_or_else(|| panic!("{path} is no schema"));
            for forbidden in ["oneOf", "anyOf", "allOf", "const", "$ref", "$defs", "$schema"] {
                assert!(!object.contains_key(forbidden), "{forbidden} at {path}");
            }
            assert!(object["type"].is_string(), "no type at {path}");
            if let Some(values) = object.get("additionalProperties") {
                assert!(!object.contains_key("properties"), "a map with fields at {path}");
                check(&format!("{path}{{}}"), values);
            }
            for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                check(&format!("{path}.{name}"), property);
            }
            if let Some(items) = object.get("items") {
                check(&format!("{path}[]"), items);
            }
        }
        for part in ["spec", "status"] {
            check(part, &schema()["properties"][part]);
        }
    }

    #[test]
    fn ranges_defaults_and_enums_are_in_the_schema() {
        let spec = &schema()["properties"]["spec"]["properties"];
        assert_eq!(spec["replicas"]["minimum"], 1);
        assert_eq!(spec["replicas"]["maximum"], 9);
        assert_eq!(spec["replicas"]["default"], 3);
        assert_eq!(spec["durability"]["enum"], json!(["local", "majority", "all"]));
        assert_eq!(spec["durability"]["default"], "majority");
        assert_eq!(spec["broker"]["properties"]["deadlineSeconds"]["default"], 10);
        assert_eq!(
            spec["image"]["properties"]["pullPolicy"]["enum"],
            json!(["Always", "IfNotPresent", "Never"])
        );
        for ruled in [
            &spec["storage"],
            &spec["expose"],
            &spec["resources"]["properties"]["ref"],
            &spec["podMetadata"]["properties"]["labels"],
            &spec["scheduling"]["properties"]["tolerations"]["items"],
            &spec["networkPolicy"]["properties"]["foreign"]["items"],
        ] {
            assert!(ruled["x-kubernetes-validations"].is_array(), "{ruled}");
        }
        assert!(spec["bots"]["properties"]["pauseSeconds"]["x-kubernetes-validations"].is_array());
    }

    #[test]
    fn the_definition_stays_under_200_kilobytes() {
        assert!(to_yaml().unwrap().len() < 200_000);
    }
}
