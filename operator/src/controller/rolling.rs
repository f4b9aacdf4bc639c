//! The part of a reconcile that replaces pods: looks, looks again, and deletes whose turn it is.

use super::{Operator, ReconcileError};
use crate::{
    apply,
    membership::Reports,
    names::{self, Component},
    observe::Found,
    pods::Fleet,
    rollout::{self, Next, Situation, Target},
    validate::ValidatedCluster,
};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use papo_settings::node_settings::server_name;
use std::{ops::RangeInclusive, time::Duration};

/// Before the servers are asked a second time whether they have what one had that is to go: far more than a write takes to reach them.
const REPLICATION: Duration = Duration::from_millis(300);

/// How the replacing of pods goes on.
pub(super) enum Rolling {
    /// Every pod is as it shall be.
    Settled,
    /// It waits for this.
    Waits(String),
    /// It does not go on by itself, for this reason.
    Stuck(String),
    /// These pods have just been deleted.
    Replaced(Vec<Target>),
}

impl Rolling {
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Settled => None,
            Self::Waits(words) | Self::Stuck(words) => Some(words.clone()),
            Self::Replaced(targets) => {
                let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
                Some(format!("{} to come back", names.join(", ")))
            }
        }
    }
}

/// The pods of the StatefulSets.
pub(super) struct Fleets {
    pub(super) servers: Fleet,
    pub(super) reference: Fleet,
}

impl Fleets {
    pub(super) fn of(cluster: &ValidatedCluster, sets: &Found<StatefulSet>, pods: &Found<Pod>) -> Self {
        let fleet = |component, numbers: RangeInclusive<u32>| {
            let set = sets.get(&names::component(&cluster.name, component));
            set.map(|set| Fleet::of(set, numbers, pods)).unwrap_or_default()
        };
        Self {
            servers: fleet(Component::Server, 1..=cluster.membership.pods()),
            reference: fleet(Component::Ref, 0..=0),
        }
    }

    pub(super) fn is_rolling(&self) -> bool {
        rollout::is_under_way(&self.servers, &self.reference)
    }
}

impl Operator {
    /// Replaces the pods whose turn it is. A watch may be behind, so what the caches say is looked at again before a pod goes.
    pub(super) async fn roll(
        &self,
        cluster: &ValidatedCluster,
        fleets: &Fleets,
        changing: bool,
        said: &Reports,
    ) -> Result<Rolling, ReconcileError> {
        let situation = |fleets: &'_ Fleets, said_later: Option<&'_ Reports>| {
            let Fleets { servers, reference } = fleets;
            rollout::next(Situation { servers, reference, changing, said, said_later, now: Timestamp::now() })
        };
        match situation(fleets, None) {
            Next::Settled => return Ok(Rolling::Settled),
            Next::Wait(what) => return Ok(Rolling::Waits(what)),
            Next::Stuck(why) => return Ok(Rolling::Stuck(why)),
            Next::Confirm(_) | Next::Replace(_) => {}
        }
        tokio::time::sleep(REPLICATION).await;
        let looked = apply::look_again(&self.client, &self.metrics, cluster).await;
        let (pods, sets) = looked.map_err(ReconcileError::Rollout)?;
        let fleets = Fleets::of(cluster, &sets, &pods);
        let said_later = self.prober.ask(&fleets.servers.addresses()).await;
        let targets = match situation(&fleets, Some(&said_later)) {
            Next::Replace(targets) => targets,
            Next::Settled => return Ok(Rolling::Settled),
            Next::Wait(what) => return Ok(Rolling::Waits(what)),
            Next::Stuck(why) => return Ok(Rolling::Stuck(why)),
            Next::Confirm(number) => {
                return Ok(Rolling::Waits(format!("a second look at {}", server_name(number))));
            }
        };
        for target in &targets {
            tracing::info!(
                cluster = %cluster.name, namespace = %cluster.namespace, pod = %target.name, cause = ?target.cause, "replace"
            );
            let deleted = apply::delete_pod(&self.client, &self.metrics, cluster, target).await;
            deleted.map_err(ReconcileError::Rollout)?;
        }
        Ok(Rolling::Replaced(targets))
    }
}
