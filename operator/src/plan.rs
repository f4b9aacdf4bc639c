//! What is to be done: what shall exist against what exists. Pure.
//!
//! Nobody's objects are stolen: a name that another owner holds is reported and left alone, each name by itself.

use crate::{
    build::{ON_DELETE, Resources, Volume},
    observe::{
        Found, Observed,
        live::{Kept, Live, Owner},
    },
    resource::PodMonitor,
    volumes,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{Resource, ResourceExt};
use std::{collections::BTreeSet, fmt};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An object has no form in JSON, in which objects are compared.
    #[error("cannot compare an object as JSON")]
    Json(#[from] serde_json::Error),
}

/// Everything to do for a cluster, by kind.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of the token. What is missing is created, never applied: see [`crate::apply`].
    pub secrets: Steps<Secret>,
    /// Of the nodes' identity.
    pub service_accounts: Steps<ServiceAccount>,
    /// Of the settings.
    pub config_maps: Steps<ConfigMap>,
    /// Of Services by which the nodes find each other.
    pub node_services: Steps<Service>,
    /// Of Services for clients, under the cluster's own names; also the removal of every Service that is no longer wanted.
    pub client_services: Steps<Service>,
    /// StatefulSets of an older operator, whose pods Kubernetes still replaces by itself: that is to end before anything else about
    /// them changes.
    pub taken_over: Vec<String>,
    /// Of servers and ref.
    pub stateful_sets: Steps<StatefulSet>,
    /// Of brokers, proxies, bots.
    pub deployments: Steps<Deployment>,
    /// Of disruption budgets.
    pub pod_disruption_budgets: Steps<PodDisruptionBudget>,
    /// Of who may connect.
    pub network_policies: Steps<NetworkPolicy>,
    /// Of what tells Prometheus; `None` where it is wanted, and Kubernetes does not know the kind.
    pub pod_monitors: Option<Steps<PodMonitor>>,
    /// Volumes that are too small.
    pub grow: Vec<Volume>,
    /// Of Services under plain names.
    pub aliases: Steps<Service>,
}

/// What to do with the objects of one kind.
#[derive(Debug, Clone)]
pub struct Steps<K> {
    /// Objects to apply.
    pub apply: Vec<Apply<K>>,
    /// Objects to delete.
    pub delete: Vec<Delete>,
    /// Names that others hold.
    pub taken: Vec<Taken>,
}

/// An object to apply.
#[derive(Debug, Clone)]
pub struct Apply<K> {
    /// As it shall be.
    pub object: K,
    /// Why.
    pub cause: Cause,
}

/// Why an object is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It does not exist, as far as the watches know.
    Missing,
    /// It is ours, and says something else.
    Differs,
}

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Its name.
    pub name: String,
    /// Only this one: by now somebody may have made another of the name.
    pub uid: String,
}

/// A name that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Kind of the object.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Who holds it, in words.
    pub holder: String,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}: it is left alone; delete it, or give this ChatCluster another name",
            self.kind, self.name, self.holder
        )
    }
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            secrets,
            service_accounts,
            config_maps,
            node_services,
            client_services,
            taken_over,
            stateful_sets,
            deployments,
            pod_disruption_budgets,
            network_policies,
            pod_monitors,
            grow,
            aliases,
        } = self;
        secrets.is_empty()
            && service_accounts.is_empty()
            && config_maps.is_empty()
            && node_services.is_empty()
            && client_services.is_empty()
            && taken_over.is_empty()
            && stateful_sets.is_empty()
            && deployments.is_empty()
            && pod_disruption_budgets.is_empty()
            && network_policies.is_empty()
            && pod_monitors.as_ref().is_none_or(Steps::is_empty)
            && grow.is_empty()
            && aliases.is_empty()
    }
}

impl<K> Steps<K> {
    fn none() -> Self {
        Self { apply: Vec::new(), delete: Vec::new(), taken: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.delete.is_empty()
    }
}

/// Plans for the cluster with this uid.
///
/// # Errors
/// [`PlanError`], for no object that is known.
pub fn plan(uid: &str, desired: Resources, observed: &Observed) -> Result<Plan, PlanError> {
    let Resources {
        service_accounts,
        secrets,
        config_maps,
        node_services,
        client_services,
        stateful_sets,
        deployments,
        pod_disruption_budgets,
        network_policies,
        pod_monitors,
        volumes,
        aliases,
    } = desired;
    // To tell which Services are no longer wanted, all are looked at together.
    let wanted_services = names(node_services.iter().chain(&client_services).chain(&aliases));
    let aliases = steps(uid, aliases, &observed.services)?;
    Ok(Plan {
        secrets: all_steps(uid, secrets, &observed.secrets)?,
        service_accounts: all_steps(uid, service_accounts, &observed.service_accounts)?,
        config_maps: all_steps(uid, config_maps, &observed.config_maps)?,
        node_services: steps(uid, node_services, &observed.services)?,
        client_services: Steps {
            delete: obsolete(uid, &wanted_services, &observed.services),
            ..steps(uid, client_services, &observed.services)?
        },
        taken_over: taken_over(uid, &observed.stateful_sets, &stateful_sets)?,
        stateful_sets: all_steps(uid, stateful_sets, &observed.stateful_sets)?,
        deployments: all_steps(uid, deployments, &observed.deployments)?,
        pod_disruption_budgets: all_steps(uid, pod_disruption_budgets, &observed.pod_disruption_budgets)?,
        network_policies: all_steps(uid, network_policies, &observed.network_policies)?,
        pod_monitors: match &observed.pod_monitors {
            Some(found) => Some(all_steps(uid, pod_monitors, found)?),
            None if pod_monitors.is_empty() => Some(Steps::none()),
            None => None,
        },
        grow: volumes::to_grow(volumes, &observed.claims),
        aliases,
    })
}

/// To say `OnDelete` beside what the other strategy left behind is refused, and only a patch of its own can take that away.
fn taken_over(
    uid: &str,
    found: &Found<Live<StatefulSet>>,
    desired: &[StatefulSet],
) -> Result<Vec<String>, PlanError> {
    let mut taken_over = Vec::new();
    for name in desired.iter().map(ResourceExt::name_any) {
        let Some(live) = found.get(&name).filter(|live| live.is_owned_by(uid)) else { continue };
        let strategy = live.read.read::<StatefulSet>()?.spec.update_strategy;
        if strategy.and_then(|strategy| strategy.type_).as_deref() != Some(ON_DELETE) {
            taken_over.push(name);
        }
    }
    Ok(taken_over)
}

fn names<'a, K: Resource + 'a>(objects: impl Iterator<Item = &'a K>) -> BTreeSet<String> {
    objects.map(ResourceExt::name_any).collect()
}

/// Applies, deletes and reports for a kind.
fn all_steps<K: Kept>(uid: &str, desired: Vec<K>, found: &Found<Live<K>>) -> Result<Steps<K>, PlanError> {
    let delete = obsolete(uid, &names(desired.iter()), found);
    Ok(Steps { delete, ..steps(uid, desired, found)? })
}

/// Applies and reports for a kind.
fn steps<K: Kept>(uid: &str, desired: Vec<K>, found: &Found<Live<K>>) -> Result<Steps<K>, PlanError> {
    let mut steps = Steps::none();
    for object in desired {
        let name = object.name_any();
        let Some(live) = found.get(&name) else {
            steps.apply.push(Apply { object, cause: Cause::Missing });
            continue;
        };
        if !live.is_owned_by(uid) {
            let kind = K::kind(&()).into_owned();
            steps.taken.push(Taken { kind, name, holder: holder(live.owner.as_ref()) });
        } else if live.going {
            // It is going. When it is gone, it is missing.
        } else if !live.says(&object)? {
            steps.apply.push(Apply { object, cause: Cause::Differs });
        }
    }
    Ok(steps)
}

/// What the cluster owns and no longer wants.
fn obsolete<K: Kept>(uid: &str, wanted: &BTreeSet<String>, found: &Found<Live<K>>) -> Vec<Delete> {
    let ours = found.iter().filter(|(name, live)| !wanted.contains(*name) && live.is_owned_by(uid));
    let present = ours.filter(|(_, live)| !live.going && !live.uid.is_empty());
    present.map(|(name, live)| Delete { name: name.clone(), uid: live.uid.to_string() }).collect()
}

/// Who holds an object that is not ours.
pub fn holder(owner: Option<&Owner>) -> String {
    match owner {
        Some(owner) => format!("belongs to {} {}", owner.kind, owner.name),
        None => "was made by somebody else".to_owned(),
    }
}
