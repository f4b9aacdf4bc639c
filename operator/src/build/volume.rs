//! How large the servers' volumes shall be. The claims themselves are made by Kubernetes, from the template in the StatefulSet, which
//! nobody may change: so it keeps the size of the day it was made, and a claim made from it is grown like the others.

use super::quantity::canonical_size;
use crate::{names, validate::ValidatedCluster};

/// A server's volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The claim's name.
    pub claim: String,
    /// What it shall ask for, as the API server writes it.
    pub size: String,
}

pub(super) fn build(cluster: &ValidatedCluster) -> Vec<Volume> {
    let size = canonical_size(&cluster.spec.storage.size);
    let claim = |number| names::server_claim(&cluster.name, number);
    (1..=cluster.membership.pods())
        .map(|number| Volume { claim: claim(number), size: size.clone() })
        .collect()
}
