//! The StatefulSets: servers and ref, each pod with a volume that outlives it and the cluster.

use super::{BuildError, Token, count, metadata, pod};
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetOrdinals, StatefulSetSpec, StatefulSetUpdateStrategy},
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};
use papo_settings::validate::storage_bytes;

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
            storage: canonical_size(&cluster.spec.storage.size),
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
            template: pod::template(cluster, token, component)?,
            volume_claim_templates: Some(vec![claim(cluster, component, shape.storage)]),
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    })
}

fn claim(cluster: &ValidatedCluster, component: Component, size: String) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::DATA_VOLUME.to_owned()),
            // No owner: volumes stay when the cluster goes.
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

/// The size as the API server writes it back: in the largest unit of its kind. Otherwise `1024Mi` would look changed for ever.
fn canonical_size(size: &str) -> String {
    const BINARY: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    const DECIMAL: [(&str, u64); 4] =
        [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];
    let Some(bytes) = storage_bytes(size) else { return size.to_owned() };
    let units = if size.ends_with('i') { BINARY } else { DECIMAL };
    let unit = units.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor));
    unit.map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::canonical_size;

    #[test]
    fn sizes_are_written_as_the_api_server_writes_them() {
        for (written, canonical) in [
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1000M", "1G"),
            ("1073741824", "1073741824"),
            ("32000000", "32M"),
            ("016Mi", "16Mi"),
        ] {
            assert_eq!(canonical_size(written), canonical);
        }
    }
}
