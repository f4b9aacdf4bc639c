//! The manifests on disk, and the schema that follows from the types.

use papo_settings::{ChatCluster, ChatClusterSpec, ImageSpec, read_manifest, validate};

const MINIMAL: &str = include_str!("../../../manifests/minimal.yaml");
const FULL: &str = include_str!("../../../manifests/full.yaml");

#[test]
fn the_minimal_manifest_is_all_defaults() {
    let cluster = read_manifest(MINIMAL).unwrap();
    assert_eq!(cluster, ChatCluster::with_defaults("papo"));
    assert_eq!(validate(&cluster), Ok(()));
}

#[test]
fn the_full_manifest_shows_the_defaults() {
    let cluster = read_manifest(FULL).unwrap();
    assert_eq!(validate(&cluster), Ok(()));
    let mut spec = cluster.spec;
    assert_eq!(spec.cluster_id.take().as_deref(), Some("default/papo"));
    assert!(matches!(spec.image.take(), Some(ImageSpec { repository: Some(_), tag: Some(_), .. })));
    assert!(spec.storage.class.take().is_some());
    assert_eq!(spec, ChatClusterSpec::default());
}

#[test]
fn the_full_manifest_names_every_field() {
    let written: serde_yaml::Value = serde_yaml::from_str(FULL).unwrap();
    let typed = read_manifest(FULL).unwrap();
    assert_eq!(serde_yaml::to_value(&typed).unwrap(), written);
}

#[test]
fn a_cluster_survives_writing_and_reading() {
    for text in [MINIMAL, FULL] {
        let cluster = read_manifest(text).unwrap();
        assert_eq!(read_manifest(&serde_yaml::to_string(&cluster).unwrap()).unwrap(), cluster);
    }
}

#[test]
fn the_schema_documents_and_bounds_every_field() {
    let schema = serde_json::to_value(schemars::schema_for!(ChatClusterSpec)).unwrap();
    let structs = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for properties in structs.filter_map(|part| part["properties"].as_object()) {
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{name} has no description");
            if property["type"] == "integer" {
                assert!(
                    property["minimum"].is_u64() && property["maximum"].is_u64(),
                    "{name} is not bounded"
                );
            }
            let choices = property["anyOf"].as_array();
            let optional = choices.is_none_or(|choices| choices.len() == 2 && choices[1]["type"] == "null");
            assert!(optional, "{name} is a union");
        }
    }
    assert_eq!(schema["properties"]["replicas"]["maximum"], 9);
    assert_eq!(schema["properties"]["replicas"]["default"], 3);
}
