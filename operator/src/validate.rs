//! From the raw manifest to a [`ValidatedCluster`], the one input of the builders; or to lines that a person can act on.
//!
//! The API server has checked most of it by the schema already, but not for objects that are older than the schema.

use crate::{
    manifest::{self, Manifest},
    membership::Membership,
    names,
    resource::ChatCluster,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use papo_settings::{ChatClusterSpec, ImageSpec, NodeSettings, PullPolicy};

/// What is wrong with a manifest: a line each, with field, value and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<String>);

/// The image of every role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Repository with tag or digest.
    pub reference: String,
    /// When a node pulls it.
    pub pull_policy: PullPolicy,
    /// What the cluster runs as far as its spec says nothing.
    pub default: String,
}

/// A cluster in which nothing is missing and nothing contradicts.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedCluster {
    /// Its name, a DNS label.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which of all clusters that ever had this name.
    pub uid: String,
    /// The spec with every default filled in.
    pub spec: ChatClusterSpec,
    /// What its nodes read.
    pub settings: NodeSettings,
    /// Who its servers are.
    pub membership: Membership,
    /// What its nodes run.
    pub image: Image,
    /// What its pods are like.
    pub pod_form: PodForm,
    /// The size that the servers' volumes had first, in a cluster that is there: their StatefulSet says it for ever.
    pub first_storage: Option<String>,
    /// Fields of the spec that a newer schema has, and that were left aside.
    pub unknown_fields: Vec<String>,
}

/// What pods are like, beside what the spec says of them. A new form comes with a new image only: by itself, an operator restarts no pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodForm {
    /// Of the first operators.
    First,
    /// Servers have a startup probe, brokers and proxies are drained before they are told to stop.
    Draining,
}

impl PodForm {
    /// That of pods which are made today.
    const NEWEST: Self = Self::Draining;

    /// As the annotation has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Draining => "draining",
        }
    }

    /// The form in force, or the newest where pods are made anew anyhow.
    fn choose(running: Option<&StatefulSet>, image: &str) -> Self {
        let Some(running) = running else { return Self::NEWEST };
        let template = running.spec.template.spec.as_ref();
        let container = template.and_then(|template| template.containers.first());
        if container.and_then(|container| container.image.as_deref()) != Some(image) {
            return Self::NEWEST;
        }
        let annotations = running.metadata.annotations.as_ref();
        match annotations.and_then(|annotations| annotations.get(names::ANNOTATION_POD_FORM)) {
            Some(form) if form == Self::Draining.as_str() => Self::Draining,
            Some(_) | None => Self::First,
        }
    }
}

/// Checks a manifest. `running` is the live StatefulSet of servers, `default_image` what the operator was told.
///
/// # Errors
/// [`Invalid`] with every problem found.
pub fn validate(
    cluster: &ChatCluster,
    running: Option<&StatefulSet>,
    default_image: &str,
) -> Result<ValidatedCluster, Invalid> {
    let metadata = &cluster.metadata;
    let (Some(name), Some(namespace), Some(uid)) = (&metadata.name, &metadata.namespace, &metadata.uid)
    else {
        return Err(Invalid(vec![
            "metadata: the API server gave no name, namespace or uid; report this".to_owned(),
        ]));
    };
    let Manifest { cluster: manifest, unknown } = manifest::read(name, namespace, &cluster.spec)
        .map_err(|error| Invalid(vec![without_place(&error)]))?;
    papo_settings::validate(&manifest)
        .map_err(|problems| Invalid(problems.iter().map(ToString::to_string).collect()))?;
    let default = running.and_then(default_in_force).unwrap_or(default_image);
    let membership = running.and_then(Membership::in_force);
    let membership = membership.unwrap_or_else(|| Membership::first(manifest.spec.replicas));
    let image = choose_image(manifest.spec.image.as_ref(), default);
    let cluster = ValidatedCluster {
        name: name.clone(),
        namespace: namespace.clone(),
        uid: uid.clone(),
        settings: NodeSettings::of(&manifest),
        membership,
        pod_form: PodForm::choose(running, &image.reference),
        image,
        first_storage: running.and_then(first_storage),
        spec: manifest.spec,
        unknown_fields: unknown,
    };
    Ok(cluster.with_membership(membership))
}

impl ValidatedCluster {
    /// The same with these servers.
    #[must_use]
    pub fn with_membership(mut self, membership: Membership) -> Self {
        membership.describe(&mut self.settings);
        Self { membership, ..self }
    }
}

/// Line and column of a text that nobody wrote would only confuse.
fn without_place(error: &papo_settings::SettingsError) -> String {
    match error {
        papo_settings::SettingsError::Yaml { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// The default when the cluster was made: it stays, as an operator with another one must not restart any pod.
fn default_in_force(servers: &StatefulSet) -> Option<&str> {
    let annotations = servers.metadata.annotations.as_ref()?;
    annotations.get(names::ANNOTATION_DEFAULT_IMAGE).map(String::as_str)
}

fn first_storage(servers: &StatefulSet) -> Option<String> {
    let claim = servers.spec.volume_claim_templates.as_ref()?.first()?.spec.as_ref()?;
    claim.resources.as_ref()?.requests.as_ref()?.get("storage").map(|size| size.0.clone())
}

fn choose_image(wanted: Option<&ImageSpec>, default: &str) -> Image {
    let (repository, version) = split_image(default);
    let pull_policy = wanted.map(|image| image.pull_policy).unwrap_or_default();
    let repository = wanted.and_then(|image| image.repository.as_deref()).unwrap_or(repository);
    let version = match wanted.and_then(|image| image.tag.as_deref()) {
        Some(tag) => format!(":{tag}"),
        None => version.to_owned(),
    };
    Image { reference: format!("{repository}{version}"), pull_policy, default: default.to_owned() }
}

/// Repository, and tag or digest with its separator.
fn split_image(image: &str) -> (&str, &str) {
    let digest = image.find('@');
    // A colon before the last slash belongs to the registry's port.
    let tag = image.rfind(':').filter(|colon| image.rfind('/').is_none_or(|slash| slash < *colon));
    image.split_at(digest.or(tag).unwrap_or(image.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::{Value, json};

    fn cluster(name: &str, spec: Value) -> ChatCluster {
        ChatCluster {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("chat".to_owned()),
                uid: Some("u1".to_owned()),
                ..ObjectMeta::default()
            },
            spec: spec.into(),
            ..ChatCluster::default()
        }
    }

    fn servers(default_image: &str) -> StatefulSet {
        let annotations = [(names::ANNOTATION_DEFAULT_IMAGE.to_owned(), default_image.to_owned())];
        StatefulSet {
            metadata: ObjectMeta { annotations: Some(annotations.into()), ..ObjectMeta::default() },
            ..StatefulSet::default()
        }
    }

    #[test]
    fn an_empty_spec_is_a_whole_cluster() {
        for spec in [Value::Null, json!({})] {
            let valid = validate(&cluster("papo", spec), None, "papo:1").unwrap();
            assert_eq!(valid.spec, ChatClusterSpec::default());
            assert_eq!(valid.settings.cluster_id.as_str(), "chat/papo");
            assert_eq!(valid.image.reference, "papo:1");
        }
    }

    #[test]
    fn a_field_of_a_newer_schema_stops_nothing() {
        let valid = validate(&cluster("papo", json!({"zones": 3, "replicas": 2})), None, "papo:1").unwrap();
        assert_eq!((valid.spec.replicas, valid.unknown_fields), (2, vec!["spec.zones".to_owned()]));
    }

    #[test]
    fn a_new_operator_does_not_change_the_image_of_a_cluster() {
        let image = |spec, running: Option<&StatefulSet>| {
            validate(&cluster("papo", spec), running, "papo:2").unwrap().image.reference
        };
        let running = servers("host:5000/papo:1");
        assert_eq!(image(json!({}), Some(&running)), "host:5000/papo:1");
        assert_eq!(image(json!({"image": {"tag": "3"}}), Some(&running)), "host:5000/papo:3");
        assert_eq!(image(json!({"image": {"repository": "mine/papo"}}), None), "mine/papo:2");
        assert_eq!(
            image(json!({"image": {"repository": "mine/papo", "tag": "4"}}), Some(&running)),
            "mine/papo:4"
        );
    }

    #[test]
    fn a_new_operator_gives_pods_another_form_only_with_another_image() {
        let form = |spec, running: Option<&StatefulSet>| {
            validate(&cluster("papo", spec), running, "papo:1").unwrap().pod_form
        };
        assert_eq!(form(json!({}), None), PodForm::NEWEST);
        let mut running = servers("papo:1");
        let template = json!({ "spec": { "containers": [{ "name": "server", "image": "papo:1" }] } });
        running.spec.template = serde_json::from_value(template).unwrap();
        assert_eq!(form(json!({}), Some(&running)), PodForm::First);
        assert_eq!(form(json!({"image": {"tag": "2"}}), Some(&running)), PodForm::NEWEST);
        let annotations = running.metadata.annotations.as_mut().unwrap();
        annotations.insert(names::ANNOTATION_POD_FORM.to_owned(), PodForm::Draining.as_str().to_owned());
        assert_eq!(form(json!({}), Some(&running)), PodForm::Draining);
    }

    #[test]
    fn an_image_is_split_where_its_version_begins() {
        for (image, parts) in [
            ("papo", ("papo", "")),
            ("papo:1", ("papo", ":1")),
            ("host:5000/papo", ("host:5000/papo", "")),
            ("host:5000/papo:1", ("host:5000/papo", ":1")),
            ("host/papo@sha256:ab", ("host/papo", "@sha256:ab")),
        ] {
            assert_eq!(split_image(image), parts);
        }
    }

    #[test]
    fn bad_manifests_are_named_with_field_value_and_remedy() {
        for (name, spec, parts) in [
            ("papo", json!({"replicas": 0}), ["spec.replicas", "0", "from 1 to 9"]),
            ("papo", json!({"replicas": "three"}), ["spec.replicas", "three", "a whole number"]),
            ("papo", json!({"replicas": 2.5}), ["spec.replicas", "2.5", "a whole number"]),
            ("papo", json!({"durability": "most"}), ["spec.durability", "most", "`majority`"]),
            ("papo", json!({"storage": {"size": "big"}}), ["spec.storage.size", "big", "for example 1Gi"]),
            ("papo", json!({"storage": {"size": "1Ki"}}), ["spec.storage.size", "1Ki", "at least 16Mi"]),
            (
                "papo",
                json!({"broker": {"deadlineSeconds": 8}}),
                ["spec.broker.deadlineSeconds", "8", "at least 9"],
            ),
            ("papo", json!({"ref": {"expirySeconds": 15}}), ["spec.ref.expirySeconds", "15", "at least 20"]),
            ("papo", json!({"clusterId": "a b"}), ["spec.clusterId", "a b", "leave it out"]),
            ("papo", json!({"image": {"tag": "a b"}}), ["spec.image.tag", "a b", "without white space"]),
            ("papo", json!({"bots": {"channels": []}}), ["spec.bots.channels", "list of 0", "name 1 to"]),
            (
                "papo",
                json!({"limits": {"queueBytes": 65536}}),
                ["spec.limits.queueBytes", "65536", "more than"],
            ),
            ("1papo", json!({}), ["metadata.name", "1papo", "beginning with a letter"]),
            ("papo", json!("everything"), ["spec", "everything", "expected"]),
        ] {
            let Invalid(lines) = validate(&cluster(name, spec), None, "papo:1").unwrap_err();
            assert_eq!(lines.len(), 1, "{lines:?}");
            for part in parts {
                assert!(lines[0].contains(part), "`{part}` is not in: {}", lines[0]);
            }
            assert!(!lines[0].contains("line 1"), "{}", lines[0]);
        }
    }
}
