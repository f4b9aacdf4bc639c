//! The ServiceAccount of all nodes: an identity of their own, without rights, and without a token in the pods.

use super::metadata;
use crate::{names, validate::ValidatedCluster};
use k8s_openapi::api::core::v1::ServiceAccount;

pub(super) fn build(cluster: &ValidatedCluster) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(cluster, names::service_account(&cluster.name), None),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
