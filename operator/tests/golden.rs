//! Every object that the operator makes, byte by byte, for the manifests of the repository. A change shows up in review.
//!
//! `UPDATE_GOLDEN=1 cargo test -p papo-operator` writes the files anew; then read the difference.

#[cfg(test)]
mod common;
#[cfg(test)]
mod golden_files;

use golden_files::{check, check_first_form, check_manifest};
use papo_operator::crd;

#[test]
fn the_objects_of_the_minimal_manifest_are_as_reviewed() {
    check_manifest("minimal");
}

#[test]
fn the_objects_of_the_full_manifest_are_as_reviewed() {
    check_manifest("full");
}

#[test]
fn the_objects_of_the_production_manifest_are_as_reviewed() {
    check_manifest("production");
}

/// The files of `first_form` are what the first operators made, and are never written anew.
#[test]
fn an_operator_upgrade_changes_no_pod_of_a_manifest_that_it_finds_running() {
    for manifest in ["minimal", "full"] {
        check_first_form(manifest);
    }
}

#[test]
fn the_crd_in_the_repository_is_the_one_that_the_operator_prints() {
    check(
        "../crds/chatclusters.papo.dev.yaml",
        &crd::to_yaml().unwrap(),
        "cargo run -p papo-operator -- crd > crds/chatclusters.papo.dev.yaml",
    );
}
