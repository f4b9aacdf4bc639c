//! Reads a manifest file: YAML of one or several documents, exactly one of them a ChatCluster.
//!
//! A fault in a person's file gives one line: where it is, which field, what was found, what to write.

use crate::cluster::{API_VERSION, ChatCluster, KIND};
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml::{Deserializer, Value};

/// Why a text is no manifest, or no settings file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not YAML, an unknown field, or a value of the wrong kind.
    #[error("line {line}, column {column}: {message}")]
    Yaml {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The field, what was found and what was expected.
        message: String,
    },
    /// As [`Self::Yaml`], where the place is not known.
    #[error("{message}")]
    Content {
        /// The field, what was found and what was expected.
        message: String,
    },
    /// No document of the kind.
    #[error(
        "kind: there is no ChatCluster in this file; write `kind: {KIND}` with `apiVersion: {API_VERSION}`"
    )]
    NoCluster,
    /// More than one.
    #[error("kind: there are {count} ChatClusters in this file; keep one")]
    SeveralClusters {
        /// How many.
        count: usize,
    },
    /// Another version of the API, or another group.
    #[error("apiVersion: `{found}` is not known here; write {API_VERSION}")]
    ApiVersion {
        /// What was given.
        found: String,
    },
    /// Settings that cannot be written.
    #[error("cannot write the settings: {message}")]
    Write {
        /// The cause.
        message: String,
    },
}

/// Reads the one ChatCluster of a manifest; other kinds beside it are left alone.
///
/// # Errors
/// [`SettingsError`], in one line.
pub fn read_manifest(text: &str) -> Result<ChatCluster, SettingsError> {
    // First only the kinds: a second, typed pass keeps line and column of a fault, which a `Value` has lost.
    let mut places = Vec::new();
    for (place, document) in Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).map_err(|error| located(&error))?;
        if value.get("kind").and_then(Value::as_str) == Some(KIND) {
            let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            if api_version != API_VERSION {
                return Err(SettingsError::ApiVersion { found: api_version.to_owned() });
            }
            places.push(place);
        }
    }
    let place = match places.as_slice() {
        [] => return Err(SettingsError::NoCluster),
        [place] => *place,
        several => return Err(SettingsError::SeveralClusters { count: several.len() }),
    };
    let document = Deserializer::from_str(text).nth(place).ok_or(SettingsError::NoCluster)?;
    ChatCluster::deserialize(document).map_err(|error| located(&error))
}

/// Reads a text of one document.
pub(crate) fn parse_yaml<T: DeserializeOwned>(text: &str) -> Result<T, SettingsError> {
    serde_yaml::from_str(text).map_err(|error| located(&error))
}

/// One line: place, field, value and what was expected, in words of YAML and not of Rust.
fn located(error: &serde_yaml::Error) -> SettingsError {
    let text = error.to_string();
    let text = text.lines().collect::<Vec<_>>().join(" ");
    match error.location() {
        Some(location) => {
            let (line, column) = (location.line(), location.column());
            let message = plain_words(&text.replace(&format!(" at line {line} column {column}"), ""));
            SettingsError::Yaml { line, column, message }
        }
        None => SettingsError::Content { message: plain_words(&text) },
    }
}

fn plain_words(message: &str) -> String {
    let message = message
        .replace("expected u32", "expected a whole number")
        .replace("unit value", "nothing")
        .replace("expected unit variant", "expected a single word");
    // "expected struct BrokerSpec" names a type that the reader has never heard of.
    match message.split_once("expected struct ") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            format!("{before}expected fields with values{rest}")
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata:\n  name: papo\n";

    fn message(manifest: &str) -> String {
        let message = read_manifest(manifest).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    }

    #[test]
    fn every_default_holds_without_a_spec() {
        assert_eq!(read_manifest(MINIMAL).unwrap(), ChatCluster::with_defaults("papo"));
    }

    #[test]
    fn other_kinds_and_what_the_api_server_adds_are_left_alone() {
        let text = format!(
            "kind: Namespace\nmetadata: {{name: chat}}\n---\n{MINIMAL}  uid: abc\n  managedFields: [{{a: 1}}]\nstatus: {{phase: Ready}}\n"
        );
        assert_eq!(read_manifest(&text).unwrap().metadata.name, "papo");
    }

    #[test]
    fn exactly_one_cluster_is_wanted() {
        assert!(message("").contains("write `kind: ChatCluster`"));
        assert!(message("kind: Pod\n").contains("no ChatCluster"));
        assert!(message(&format!("{MINIMAL}---\n{MINIMAL}")).contains("2 ChatClusters"));
        assert!(message("kind: ChatCluster\napiVersion: papo.dev/v9\n").contains("write papo.dev/v1alpha1"));
    }

    #[test]
    fn a_fault_is_named_with_place_field_value_and_remedy() {
        for (spec, parts) in [
            ("replicaz: 3", ["line 6, column 3", "spec", "`replicaz`", "`replicas`"]),
            (
                "broker: {deadline: 3}",
                ["line 6, column 12", "spec.broker", "`deadline`", "`deadlineSeconds`"],
            ),
            ("replicas: many", ["line 6", "spec.replicas", "\"many\"", "a whole number"]),
            ("replicas: -1", ["line 6", "spec.replicas", "`-1`", "a whole number"]),
            ("durability: most", ["line 6", "spec.durability", "`most`", "`majority`"]),
            ("broker: 5", ["line 6", "spec.broker", "`5`", "expected fields"]),
            (
                "ref: {heartbeatSeconds: 1.5}",
                ["line 6", "spec.ref.heartbeatSeconds", "1.5", "a whole number"],
            ),
            ("compat: {listAsMap: perhaps}", ["line 6", "spec.compat.listAsMap", "perhaps", "boolean"]),
        ] {
            let message = message(&format!("{MINIMAL}spec:\n  {spec}\n"));
            for part in parts {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
    }

    #[test]
    fn broken_yaml_is_one_line_with_its_place() {
        assert!(message("kind: [\nfoo: }").starts_with("line "));
        assert!(message(&format!("{MINIMAL}kind: Other\n")).contains("duplicate"));
        assert!(
            message("apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\n")
                .contains("missing field `metadata`")
        );
    }
}
