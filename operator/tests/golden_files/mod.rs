//! Comparison with files that are kept and reviewed.

use crate::common::{desired, manifest};
use k8s_openapi::api::apps::v1::StatefulSet;
use papo_operator::{build::Resources, validate::validate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Compares a file of the repository with what it should hold, or writes it when asked to.
pub fn check(path: &str, text: &str, command: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept != text {
        let line = kept.lines().zip(text.lines()).take_while(|(kept, new)| kept == new).count();
        panic!(
            "{} differs from line {}: kept {:?}, now {:?}. If that is meant: {command}",
            path.display(),
            line + 1,
            kept.lines().nth(line),
            text.lines().nth(line),
        );
    }
}

fn documents<K: Serialize>(objects: &[K]) -> String {
    objects.iter().map(|object| format!("---\n{}", serde_yaml::to_string(object).unwrap())).collect()
}

/// Compares every object of a manifest with its golden file.
pub fn check_manifest(name: &str) {
    let cluster = validate(&manifest(&format!("{name}.yaml")), None, "papo:0.1.0").unwrap();
    let Resources {
        service_accounts,
        secrets,
        config_maps,
        node_services,
        client_services,
        stateful_sets,
        deployments,
        pod_disruption_budgets,
        network_policies,
        pod_monitors,
        volumes,
        aliases,
    } = desired(&cluster);
    for (kind, text) in [
        ("service_accounts", documents(&service_accounts)),
        ("secrets", documents(&secrets)),
        ("config_maps", documents(&config_maps)),
        ("node_services", documents(&node_services)),
        ("client_services", documents(&client_services)),
        ("stateful_sets", documents(&stateful_sets)),
        ("deployments", documents(&deployments)),
        ("pod_disruption_budgets", documents(&pod_disruption_budgets)),
        ("aliases", documents(&aliases)),
        ("network_policies", documents(&network_policies)),
        ("pod_monitors", documents(&pod_monitors)),
        ("volumes", volumes.iter().map(|volume| format!("{}: {}\n", volume.claim, volume.size)).collect()),
    ] {
        let path = format!("tests/golden/{name}/{kind}.yaml");
        if text.is_empty() {
            assert!(
                !PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&path).exists(),
                "{path}: there are none"
            );
            continue;
        }
        check(&path, &text, "UPDATE_GOLDEN=1 cargo test -p papo-operator --test golden");
    }
}

/// Builds the manifest's workloads where those of an older operator run, and compares the pods' templates with theirs, and what
/// Kubernetes would not let anybody change.
pub fn check_first_form(name: &str) {
    let path =
        |kind: &str| format!("{}/tests/golden/first_form/{name}_{kind}.yaml", env!("CARGO_MANIFEST_DIR"));
    let kept = |kind: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(path(kind)).unwrap();
        serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .collect()
    };
    let (kept_sets, kept_deployments) = (kept("stateful_sets"), kept("deployments"));
    let servers = kept_sets.iter().find(|set| set["metadata"]["name"] == "papo-server").unwrap();
    let running: StatefulSet = serde_json::from_value(servers.clone()).unwrap();
    let built = desired(&validate(&manifest(&format!("{name}.yaml")), Some(&running), "papo:2").unwrap());
    let built_sets: Vec<Value> =
        built.stateful_sets.iter().map(|set| serde_json::to_value(set).unwrap()).collect();
    let built_deployments: Vec<Value> =
        built.deployments.iter().map(|deployment| serde_json::to_value(deployment).unwrap()).collect();
    for (kept, built) in [(kept_sets, built_sets), (kept_deployments, built_deployments)] {
        assert_eq!(kept.len(), built.len());
        for (kept, built) in kept.iter().zip(&built) {
            for field in
                ["template", "volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"]
            {
                assert_eq!(kept["spec"][field], built["spec"][field], "{name} {field}");
            }
        }
    }
}
