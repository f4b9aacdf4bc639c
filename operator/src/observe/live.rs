//! An object as the operator keeps it: who owns it, and whether it says what was built.
//!
//! An operator of a thousand clusters keeps tens of thousands of objects. Of most, only one thing is ever asked: does it still say what
//! was set? So of what came the leaves are kept until that has been found once, and then the hash of what it says; whatever changes
//! comes whole again by the watch.

use crate::{
    build::{self, Token},
    compare::Leaves,
    names,
    resource::{Json, PodMonitor},
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, PodSpec, PodTemplateSpec, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// A kind whose objects the operator makes.
pub trait Kept: Resource<DynamicType = ()> + Serialize {
    /// What is read of an object beside its owner.
    type Read: fmt::Debug;

    /// Reads it, and forgets the rest.
    ///
    /// # Errors
    /// When what is read has no form in JSON.
    fn read(self) -> Result<Self::Read, serde_json::Error>;
}

/// Whom an object belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Kind of the owner.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Which of all that ever had the name.
    pub uid: Box<str>,
}

impl Owner {
    /// By the metadata of what is owned.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let owner = build::owner(metadata)?;
        let [kind, name, uid] = [&owner.kind, &owner.name, &owner.uid].map(|text| text.as_str().into());
        Some(Self { kind, name, uid })
    }
}

/// One object.
pub struct Live<K: Kept> {
    /// Which of all objects that ever had the name.
    pub uid: Box<str>,
    /// Whom it belongs to.
    pub owner: Option<Owner>,
    /// It is about to go.
    pub going: bool,
    /// What is read of it.
    pub read: K::Read,
    content: Mutex<Content>,
}

/// What it says.
enum Content {
    /// All of it.
    Whole(Leaves),
    /// At least what was built with this hash.
    Built(Box<str>),
}

impl<K: Kept> Live<K> {
    /// Takes an object as the API server has it.
    ///
    /// # Errors
    /// When it has no form in JSON, which none is known to lack.
    pub fn of(object: K) -> Result<Self, serde_json::Error> {
        let owner = Owner::of(object.meta());
        // What is nobody's or somebody else's is only ever looked at for that.
        let whole = if build::owning_cluster(object.meta()).is_some() {
            Leaves::of(&serde_json::to_value(&object)?)
        } else {
            Leaves::default()
        };
        Ok(Self {
            uid: object.uid().unwrap_or_default().into(),
            going: object.meta().deletion_timestamp.is_some(),
            owner,
            read: object.read()?,
            content: Mutex::new(Content::Whole(whole)),
        })
    }

    /// Whether it says all that `desired` sets.
    ///
    /// # Errors
    /// When what is desired has no form in JSON.
    pub fn says(&self, desired: &K) -> Result<bool, serde_json::Error> {
        let hash = desired.annotations().get(names::ANNOTATION_APPLIED_HASH);
        // What it holds is right whatever panicked.
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        match &*content {
            Content::Built(built) => Ok(hash.is_some_and(|hash| **built == **hash)),
            Content::Whole(live) => {
                let says = live.cover(&serde_json::to_value(desired)?);
                if let Some(hash) = hash.filter(|_| says) {
                    *content = Content::Built(hash.as_str().into());
                }
                Ok(says)
            }
        }
    }

    /// Whether the cluster with this uid made it.
    #[must_use]
    pub fn is_owned_by(&self, uid: &str) -> bool {
        self.owner.as_ref().is_some_and(|owner| *owner.uid == *uid)
    }
}

impl<K: Kept> fmt::Debug for Live<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("uid", &self.uid)
            .field("owner", &self.owner)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

macro_rules! only_compared {
    ($($kind:ty),*) => {
        $(impl Kept for $kind {
            type Read = ();

            fn read(self) -> Result<(), serde_json::Error> {
                Ok(())
            }
        })*
    };
}

only_compared!(ServiceAccount, ConfigMap, Service, PodDisruptionBudget, NetworkPolicy, PodMonitor);

impl Kept for Secret {
    type Read = Option<Token>;

    fn read(self) -> Result<Option<Token>, serde_json::Error> {
        Ok(Token::of(&self))
    }
}

impl Kept for StatefulSet {
    type Read = Json;

    fn read(mut self) -> Result<Json, serde_json::Error> {
        trim(&mut self.metadata);
        let spec = std::mem::take(&mut self.spec);
        self.spec.replicas = spec.replicas;
        self.spec.update_strategy = spec.update_strategy;
        self.spec.template = trimmed(spec.template);
        self.spec.volume_claim_templates = spec.volume_claim_templates;
        for claim in self.spec.volume_claim_templates.iter_mut().flatten() {
            claim.metadata = ObjectMeta::default();
            claim.status = None;
        }
        Json::of(&self)
    }
}

impl Kept for Deployment {
    type Read = Json;

    fn read(mut self) -> Result<Json, serde_json::Error> {
        trim(&mut self.metadata);
        self.spec = Default::default();
        if let Some(status) = &mut self.status {
            status.conditions = None;
        }
        Json::of(&self)
    }
}

/// Forgets what is read of no workload.
fn trim(metadata: &mut ObjectMeta) {
    metadata.labels = None;
    metadata.owner_references = None;
    metadata.resource_version = None;
    metadata.namespace = None;
}

/// Of a template: the image of its container, and its annotations.
fn trimmed(template: PodTemplateSpec) -> PodTemplateSpec {
    let containers = template.spec.into_iter().flat_map(|spec| spec.containers);
    let images = containers.map(|container| k8s_openapi::api::core::v1::Container {
        name: container.name,
        image: container.image,
        ..Default::default()
    });
    PodTemplateSpec {
        metadata: template
            .metadata
            .map(|metadata| ObjectMeta { annotations: metadata.annotations, ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: images.collect(), ..PodSpec::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn map(hash: &str, data: &Value) -> ConfigMap {
        let owner = json!({ "apiVersion": "papo.dev/v1alpha1", "kind": "ChatCluster", "name": "papo", "uid": "u", "controller": true });
        let annotations = json!({ names::ANNOTATION_APPLIED_HASH: hash });
        let metadata =
            json!({ "name": "m", "uid": "m1", "ownerReferences": [owner], "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
    }

    #[test]
    fn what_was_found_to_say_it_is_known_by_its_hash_from_then_on() {
        let live = Live::of(map("h1", &json!({ "a": "1", "b": "2" }))).unwrap();
        assert!(live.is_owned_by("u") && !live.is_owned_by("v") && !live.going);
        let wanted = map("h1", &json!({ "a": "1" }));
        assert!(live.says(&wanted).unwrap() && live.says(&wanted).unwrap());
        assert!(matches!(&*live.content.lock().unwrap(), Content::Built(hash) if **hash == *"h1"));
        assert!(!live.says(&map("h2", &json!({ "a": "2" }))).unwrap());
    }

    #[test]
    fn what_does_not_say_it_stays_whole() {
        let live = Live::of(map("h1", &json!({ "a": "edited" }))).unwrap();
        let wanted = map("h1", &json!({ "a": "1" }));
        assert!(!live.says(&wanted).unwrap() && !live.says(&wanted).unwrap());
        assert!(live.says(&map("h1", &json!({ "a": "edited" }))).unwrap());
    }

    #[test]
    fn what_is_forgotten_of_a_workload_is_never_read() {
        let servers: StatefulSet = serde_json::from_value(json!({
            "metadata": { "name": "papo-server", "uid": "s", "generation": 2, "annotations": { names::ANNOTATION_MEMBERSHIP: "{}" } },
            "spec": {
                "replicas": 3, "selector": {}, "serviceName": "x", "updateStrategy": { "type": "OnDelete" },
                "template": {
                    "metadata": { "annotations": { names::ANNOTATION_TOKEN: "t" } },
                    "spec": { "containers": [{ "name": "server", "image": "papo:1", "args": ["server"] }] },
                },
                "volumeClaimTemplates": [{ "spec": { "resources": { "requests": { "storage": "1Gi" } } } }],
            },
            "status": { "replicas": 3, "observedGeneration": 2, "updateRevision": "r2" },
        }))
        .unwrap();
        let read: StatefulSet = servers.clone().read().unwrap().read().unwrap();
        assert_eq!(
            (&read.metadata.name, &read.metadata.annotations),
            (&servers.metadata.name, &servers.metadata.annotations)
        );
        assert_eq!((read.spec.replicas, &read.status), (Some(3), &servers.status));
        assert_eq!(read.spec.update_strategy, servers.spec.update_strategy);
        assert_eq!(read.spec.volume_claim_templates, servers.spec.volume_claim_templates);
        let container = |set: &StatefulSet| set.spec.template.spec.as_ref().unwrap().containers[0].clone();
        assert_eq!(container(&read).image, container(&servers).image);
        assert_eq!(container(&read).args, None);
        assert_eq!(read.spec.template.metadata, servers.spec.template.metadata);
    }
}
