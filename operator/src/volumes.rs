//! Which volumes are to grow: what their claims shall ask for, against what they ask for. Pure.
//!
//! Nothing is asked to shrink, as no storage can; and nothing is asked of a claim that has no volume yet, as Kubernetes refuses that.

use crate::{build::Volume, observe::Found};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use papo_settings::validate::storage_bytes;

/// Phase of a claim that has its volume.
const BOUND: &str = "Bound";

/// The volumes that are there and too small.
#[must_use]
pub fn to_grow(wanted: Vec<Volume>, claims: &Found<PersistentVolumeClaim>) -> Vec<Volume> {
    let too_small = |volume: &Volume| {
        let claim = claims.get(&volume.claim)?;
        let phase = claim.status.as_ref()?.phase.as_deref();
        if phase != Some(BOUND) || claim.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let asked = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?;
        Some(storage_bytes(&asked.0)? < storage_bytes(&volume.size)?)
    };
    wanted.into_iter().filter(|volume| too_small(volume) == Some(true)).collect()
}

/// Forgets what is never read of a claim.
#[must_use]
pub fn stripped(claim: PersistentVolumeClaim) -> PersistentVolumeClaim {
    let PersistentVolumeClaim { metadata, spec, status } = claim;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: metadata.name,
            deletion_timestamp: metadata.deletion_timestamp,
            ..ObjectMeta::default()
        },
        spec: spec.map(|spec| PersistentVolumeClaimSpec { resources: spec.resources, ..Default::default() }),
        status: status
            .map(|status| PersistentVolumeClaimStatus { phase: status.phase, ..Default::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn grown(wanted: &str, asked: &str, phase: &str) -> bool {
        let claim = json!({
            "spec": { "resources": { "requests": { "storage": asked } } },
            "status": { "phase": phase },
        });
        let claim = stripped(serde_json::from_value(claim).unwrap());
        let claims = [("data-papo-server-1".to_owned(), Arc::new(claim))];
        let volume = |number| Volume { claim: format!("data-papo-server-{number}"), size: wanted.to_owned() };
        let grown = to_grow(vec![volume(1), volume(2)], &claims.into());
        assert!(
            grown.iter().all(|volume| volume.claim == "data-papo-server-1"),
            "the other one is not there"
        );
        !grown.is_empty()
    }

    #[test]
    fn volumes_that_are_there_and_too_small_grow() {
        assert!(grown("2Gi", "1Gi", "Bound"));
        assert!(grown("1Gi", "1G", "Bound"), "whatever the unit");
    }

    #[test]
    fn nothing_shrinks_and_nothing_is_asked_twice() {
        assert!(!grown("1Gi", "1Gi", "Bound"));
        assert!(!grown("1Gi", "1024Mi", "Bound"));
        assert!(!grown("1Gi", "2Gi", "Bound"), "somebody wanted more");
    }

    #[test]
    fn a_claim_without_a_volume_is_left_alone_until_it_has_one() {
        assert!(!grown("2Gi", "1Gi", "Pending"));
        assert!(!grown("2Gi", "1Gi", "Lost"));
    }
}
