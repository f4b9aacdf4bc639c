//! Comparison with files that are kept and reviewed.

use crate::common::{desired, manifest};
use papo_operator::{build::Resources, validate::validate};
use serde::Serialize;
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
    ] {
        check(
            &format!("tests/golden/{name}/{kind}.yaml"),
            &text,
            "UPDATE_GOLDEN=1 cargo test -p papo-operator --test golden",
        );
    }
}
