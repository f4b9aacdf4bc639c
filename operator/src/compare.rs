//! Whether a live object still says what the operator set.
//!
//! The API server fills in defaults, and others may add fields, list entries and annotations of their own: those are left alone.
//!
//! Of a live object only hashes are kept, one of each value and its path: a fifth of its text. Whether two that differ have one hash is
//! left to chance, of which there is one in 10^15.

use serde_json::{Map, Value};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an object says, value by value.
#[derive(Debug, Default)]
pub struct Leaves(Box<[u64]>);

impl Leaves {
    /// Of an object as it is.
    #[must_use]
    pub fn of(live: &Value) -> Self {
        let mut leaves = Vec::new();
        each_leaf(live, 0, &mut |leaf| leaves.push(leaf));
        leaves.sort_unstable();
        leaves.dedup();
        Self(leaves.into())
    }

    /// Whether every value of `desired` is among them.
    #[must_use]
    pub fn cover(&self, desired: &Value) -> bool {
        let mut covered = true;
        each_leaf(desired, 0, &mut |leaf| covered &= self.0.binary_search(&leaf).is_ok());
        covered
    }
}

/// Calls `leaf` with the hash of every value under this path. What is empty says nothing, as the API server leaves it out.
fn each_leaf(value: &Value, path: u64, leaf: &mut impl FnMut(u64)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = hash(path, Step::Field(key));
                // One label more in a selector selects something else.
                if is_whole(key) {
                    leaf(hash(path, value.to_string()));
                } else {
                    each_leaf(value, path, leaf);
                }
            }
        }
        Value::Array(entries) if entries.is_empty() => {}
        Value::Array(entries) => each_leaf_of_list(entries, path, leaf),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => leaf(hash(path, value.to_string())),
    }
}

/// Entries with a name are found by it, as the API server merges them; other lists are compared as they are.
fn each_leaf_of_list(entries: &[Value], path: u64, leaf: &mut impl FnMut(u64)) {
    let names = entries.iter().map(|entry| entry.as_object().and_then(name)).collect::<Option<Vec<_>>>();
    match names {
        Some(names) => {
            for (entry, name) in entries.iter().zip(names) {
                each_leaf(entry, hash(path, Step::Entry(name)), leaf);
            }
        }
        None => {
            leaf(hash(path, Step::Length(entries.len())));
            for (place, entry) in entries.iter().enumerate() {
                each_leaf(entry, hash(path, Step::Place(place)), leaf);
            }
        }
    }
}

/// One step of a path.
#[derive(Hash)]
enum Step<'a> {
    Field(&'a str),
    Entry(&'a str),
    Place(usize),
    Length(usize),
}

fn hash(path: u64, next: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (path, next).hash(&mut hasher);
    hasher.finish()
}

/// Maps that make sense only as a whole (atomic, in the API's own words).
fn is_whole(key: &str) -> bool {
    matches!(key, "selector" | "matchLabels")
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

    fn covers(live: &Value, desired: &Value) -> bool {
        Leaves::of(live).cover(desired)
    }

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
        assert!(covers(&desired, &desired));
        for live in [
            json!({"spec": {"replicas": 2, "args": ["server"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"args": ["server"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"replicas": "3", "args": ["server"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server", "-v"], "env": [{"name": "A", "value": "1"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server"], "env": [{"name": "A", "value": "2"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server"], "env": [{"name": "B", "value": "1"}]}}),
            json!({"spec": {"replicas": 3, "args": ["server"], "env": []}}),
            json!({}),
        ] {
            assert!(!covers(&live, &desired), "{live}");
        }
    }

    #[test]
    fn the_same_values_in_other_places_say_something_else() {
        let desired = json!({"args": ["a", "b"], "one": {"x": "1"}, "two": {"y": "2"}});
        for live in [
            json!({"args": ["b", "a"], "one": {"x": "1"}, "two": {"y": "2"}}),
            json!({"args": ["a", "b"], "two": {"x": "1"}, "one": {"y": "2"}}),
            json!({"args": ["a", "b"], "one": {"x": "2"}, "two": {"y": "1"}}),
        ] {
            assert!(!covers(&live, &desired), "{live}");
        }
    }

    #[test]
    fn a_selector_with_one_label_more_is_another_selector() {
        assert!(covers(&json!({"selector": {"a": "1"}}), &json!({"selector": {"a": "1"}})));
        assert!(!covers(&json!({"selector": {"a": "1", "b": "2"}}), &json!({"selector": {"a": "1"}})));
    }
}
