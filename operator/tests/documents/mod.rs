//! Reads files of the repository.

// Each test file uses its own part of this module.
#![allow(dead_code)]

use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// A file's text.
pub fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file.
pub fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}
