//! The StatefulSets: servers and ref, each pod with a volume that outlives it and the cluster.

use super::{BuildError, Token, count, metadata, pod, quantity::canonical_size};
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetOrdinals, StatefulSetPersistentVolumeClaimRetentionPolicy,
            StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};

/// Ref keeps a few lines; the smallest volume that a storage class is likely to give.
const REF_STORAGE: &str = "64Mi";
/// Kubernetes makes anew what is deleted, and deletes nothing by itself.
pub const ON_DELETE: &str = "OnDelete";
/// Servers are counted from 1, as their ranks are.
const FIRST_SERVER: i32 = 1;

pub(super) fn build_servers(cluster: &ValidatedCluster, token: &Token) -> Result<StatefulSet, BuildError> {
    let mut servers = build(
        cluster,
        token,
        Component::Server,
        Shape {
            replicas: cluster.membership.pods(),
            service: names::server_peers(&cluster.name),
            // Kubernetes lets nobody change this; how the volumes grow is in `volume`.
            storage: canonical_size(cluster.first_storage.as_deref().unwrap_or(&cluster.spec.storage.size)),
        },
    )?;
    let default_image = (names::ANNOTATION_DEFAULT_IMAGE.to_owned(), cluster.image.default.clone());
    let membership = (names::ANNOTATION_MEMBERSHIP.to_owned(), cluster.membership.to_json());
    let form = (names::ANNOTATION_POD_FORM.to_owned(), cluster.pod_form.as_str().to_owned());
    servers.metadata.annotations = Some([default_image, membership, form].into());
    servers.spec.ordinals = Some(StatefulSetOrdinals { start: Some(FIRST_SERVER) });
    Ok(servers)
}

pub(super) fn build_ref(cluster: &ValidatedCluster, token: &Token) -> Result<StatefulSet, BuildError> {
    let shape = Shape {
        replicas: 1,
        service: names::component(&cluster.name, Component::Ref),
        storage: REF_STORAGE.to_owned(),
    };
    build(cluster, token, Component::Ref, shape)
}

struct Shape {
    replicas: u32,
    /// Under which the pods have names of their own.
    service: String,
    storage: String,
}

fn build(
    cluster: &ValidatedCluster,
    token: &Token,
    component: Component,
    shape: Shape,
) -> Result<StatefulSet, BuildError> {
    Ok(StatefulSet {
        metadata: metadata(cluster, names::component(&cluster.name, component), Some(component)),
        spec: StatefulSetSpec {
            replicas: count(shape.replicas),
            selector: LabelSelector {
                match_labels: Some(names::selector(&cluster.name, component)),
                ..LabelSelector::default()
            },
            service_name: Some(shape.service),
            // Servers wait for a majority of each other, so one by one would never begin.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator chooses whose turn it is: see `crate::rollout`.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some(ON_DELETE.to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(retention(cluster)),
            template: pod::template(cluster, token, component)?,
            volume_claim_templates: Some(vec![claim(cluster, component, shape.storage)]),
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    })
}

fn retention(cluster: &ValidatedCluster) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let retention = &cluster.spec.storage.retention;
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(retention.when_deleted.as_str().to_owned()),
        when_scaled: Some(retention.when_scaled.as_str().to_owned()),
    }
}

fn claim(cluster: &ValidatedCluster, component: Component, size: String) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::DATA_VOLUME.to_owned()),
            // No owner: whether volumes stay when the cluster goes is said by the retention.
            labels: Some(names::selector(&cluster.name, component)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: cluster.spec.storage.class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
