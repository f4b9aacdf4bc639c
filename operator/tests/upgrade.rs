//! An upgrade from the first chart: Kubernetes must take what is new over what is there, and a ChatCluster that was valid must stay so.
//!
//! `upgrade/first_install.yaml` is what the first chart rendered; it is never written anew.

#[cfg(test)]
mod documents;

#[cfg(test)]
mod tests {
    use crate::documents::documents;
    use serde_json::Value;

    fn find<'a>(objects: &'a [Value], like: &Value) -> Option<&'a Value> {
        let key = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
        objects.iter().find(|object| key(object) == key(like))
    }

    #[test]
    fn nothing_that_kubernetes_never_lets_anybody_change_has_changed() {
        let (first, now) =
            (documents("operator/tests/upgrade/first_install.yaml"), documents("manifests/install.yaml"));
        let mut held = 0;
        for old in &first {
            let new = find(&now, old).unwrap_or_else(|| panic!("{} has gone", old["metadata"]["name"]));
            for field in ["/spec/selector", "/roleRef", "/spec/scope", "/spec/names/plural", "/spec/group"] {
                if let Some(fixed) = old.pointer(field) {
                    assert_eq!(Some(fixed), new.pointer(field), "{} {field}", old["kind"]);
                    held += 1;
                }
            }
        }
        assert!(held >= 5);
    }

    #[test]
    fn what_was_valid_under_the_first_schema_is_valid_now() {
        let schema = |path: &str| {
            let objects = documents(path);
            let crd =
                objects.iter().find(|object| object["kind"] == "CustomResourceDefinition").unwrap().clone();
            crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
        };
        let (old, new) =
            (schema("operator/tests/upgrade/first_install.yaml"), schema("manifests/install.yaml"));
        takes_all_of("spec", &old, &new);
    }

    /// Whether every value that the old schema takes, the new one takes, too, and with the same defaults.
    fn takes_all_of(path: &str, old: &Value, new: &Value) {
        assert_eq!(old["type"], new["type"], "{path}");
        assert_eq!(old["pattern"], new["pattern"], "{path}");
        let is_plain = old["properties"].is_null();
        if is_plain {
            assert_eq!(old["default"], new["default"], "{path}");
        }
        // What is new may not be asked for.
        for required in new["required"].as_array().into_iter().flatten() {
            assert!(
                old["required"].as_array().is_some_and(|old| old.contains(required)),
                "{path}.{required}"
            );
        }
        for value in old["enum"].as_array().into_iter().flatten() {
            assert!(new["enum"].as_array().unwrap().contains(value), "{path}: {value}");
        }
        for (least, most) in [("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")] {
            // A bound of a text or list that had none is one that nobody meets: see `bounds`.
            if let (Some(old), Some(new)) = (old[least].as_f64(), new[least].as_f64()) {
                assert!(new <= old, "{path} {least}");
            }
            if let (Some(old), Some(new)) = (old[most].as_f64(), new[most].as_f64()) {
                assert!(new >= old, "{path} {most}");
            }
        }
        for (name, property) in old["properties"].as_object().into_iter().flatten() {
            takes_all_of(&format!("{path}.{name}"), property, &new["properties"][name]);
        }
        if old["items"].is_object() {
            takes_all_of(&format!("{path}[]"), &old["items"], &new["items"]);
        }
    }
}
