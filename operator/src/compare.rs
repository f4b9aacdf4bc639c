//! Whether a live object still says what the operator set.
//!
//! The API server fills in defaults, and others may add fields, list entries and annotations of their own: those are left alone.

use serde_json::{Map, Value};

/// Whether every field of `desired` has the same value in `live`.
#[must_use]
pub fn covers(live: &Value, desired: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, wanted)| {
            let found = live.get(key).unwrap_or(&Value::Null);
            // One label more in a selector selects something else.
            if is_whole(key) { wanted == found } else { covers(found, wanted) }
        }),
        (Value::Array(desired), Value::Array(live)) => covers_list(live, desired),
        // The API server leaves out what is empty.
        (Value::Object(desired), Value::Null) => desired.is_empty(),
        (Value::Array(desired), Value::Null) => desired.is_empty(),
        _ => desired == live,
    }
}

/// Maps that make sense only as a whole (atomic, in the API's own words).
fn is_whole(key: &str) -> bool {
    matches!(key, "selector" | "matchLabels")
}

/// Entries with a name are found by it, as the API server merges them; other lists are compared as they are.
fn covers_list(live: &[Value], desired: &[Value]) -> bool {
    let named = desired.iter().map(|entry| entry.as_object().and_then(name)).collect::<Option<Vec<_>>>();
    match named {
        Some(names) => desired.iter().zip(names).all(|(wanted, name)| {
            live.iter()
                .any(|entry| entry.as_object().and_then(self::name) == Some(name) && covers(entry, wanted))
        }),
        None => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, wanted)| covers(live, wanted))
        }
    }
}

/// What tells an entry of a list from the others.
fn name(entry: &Map<String, Value>) -> Option<&str> {
    let own = entry.get("name");
    let in_metadata = || entry.get("metadata").and_then(|metadata| metadata.get("name"));
    own.or_else(in_metadata).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_add_is_left_alone() {
        let desired = json!({"spec": {"ports": [{"name": "a", "port": 1}], "empty": {}}, "metadata": {"labels": {"x": "1"}}});
        let live = json!({
            "spec": {"ports": [{"name": "b", "port": 2}, {"name": "a", "port": 1, "protocol": "TCP"}], "type": "ClusterIP"},
            "metadata": {"labels": {"x": "1", "y": "2"}, "uid": "u"},
        });
        assert!(covers(&live, &desired));
    }

    #[test]
    fn a_changed_or_removed_field_is_noticed() {
        let desired =
            json!({"spec": {"replicas": 3, "args": ["server"], "env": [{"name": "A", "value": "1"}]}});
        for live in [
            json!({"spec": {"replicas": 2, "args": ["server"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"args": ["server"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server", "-v"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server"], "env": [{"name": "A", "value": "2"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server"], "env": []}}),
            json!({}),
        ] {
            assert!(!covers(&live, &desired), "{live}");
        }
    }

    #[test]
    fn a_selector_with_one_label_more_is_another_selector() {
        assert!(!covers(&json!({"selector": {"a": "1", "b": "2"}}), &json!({"selector": {"a": "1"}})));
    }
}
