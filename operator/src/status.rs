//! What is said of a ChatCluster: a pure function of what was found and done, in words that a person can act on.
//!
//! It holds states, not live figures, so that it changes when something happened and not at every look.

use crate::{
    membership::Reports,
    names::{self, Component},
    plan::Taken,
    pods::Fleet,
    validate::{Invalid, ValidatedCluster},
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use papo_settings::ports;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod conditions;
mod members;

pub use members::{Member, MemberState};

/// How it stands with a ChatCluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatClusterStatus {
    /// All of it in one word.
    pub phase: Phase,
    /// The generation of the spec that this speaks of.
    pub observed_generation: i64,
    /// Number of servers.
    pub replicas: u32,
    /// Number of servers that are ready.
    pub ready_replicas: u32,
    /// Selects the servers' pods, for whoever scales by figures.
    pub selector: String,
    /// The server that coordinates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// Where clients connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Each server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<Member>,
    /// The parts of the truth, with reasons.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// All of a status in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// No server has been ready yet.
    Pending,
    /// On the way to what the spec says.
    Progressing,
    /// As the spec says.
    Ready,
    /// Something that was there is missing, or cannot be made.
    Degraded,
    /// The spec cannot work; what runs runs on as it was.
    Invalid,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Progressing, Self::Ready, Self::Degraded, Self::Invalid];

    /// The phase as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Progressing => "Progressing",
            Self::Ready => "Ready",
            Self::Degraded => "Degraded",
            Self::Invalid => "Invalid",
        }
    }
}

/// Where clients connect, as ZeroMQ writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// For requests (REQ).
    pub broker: String,
    /// For subscriptions (SUB).
    pub proxy: String,
}

/// One aspect, as Kubernetes writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect.
    pub r#type: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: String,
    /// The generation of the spec that this speaks of.
    pub observed_generation: i64,
}

/// The aspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// Every pod that the spec asks for is ready.
    Ready,
    /// Something is being changed.
    Progressing,
    /// Something that was there is missing, cannot be made, or does not get ready.
    Degraded,
    /// Servers show different histories, which no order of events explains.
    Diverged,
    /// Too few servers agree on the time for the coordinator to set their clocks.
    ClockUnverified,
    /// The spec can work.
    Valid,
    /// A plain Service name, such as `broker`, belongs to somebody else.
    AliasTaken,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// How far a StatefulSet or a Deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Whose pods.
    pub component: Component,
    /// Pods that the spec asks for.
    pub wanted: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Every pod is as the spec says, and none too many.
    pub rolled_out: bool,
}

impl Workload {
    /// Of a StatefulSet; none means that it does not exist.
    #[must_use]
    pub fn of_stateful_set(component: Component, wanted: u32, live: Option<&StatefulSet>) -> Self {
        let status = live.and_then(|live| live.status.as_ref());
        Self::new(
            component,
            wanted,
            status.and_then(|status| status.ready_replicas),
            live.zip(status).is_some_and(|(live, status)| {
                status.observed_generation >= live.metadata.generation
                    && is(wanted, Some(status.replicas))
                    && is(wanted, status.updated_replicas)
            }),
        )
    }

    /// Of a Deployment; none means that it does not exist, as that of no bots.
    #[must_use]
    pub fn of_deployment(component: Component, wanted: u32, live: Option<&Deployment>) -> Self {
        let status = live.and_then(|live| live.status.as_ref());
        let rolled_out = match (live, status) {
            (Some(live), Some(status)) => {
                status.observed_generation >= live.metadata.generation
                    && is(wanted, status.replicas)
                    && is(wanted, status.updated_replicas)
            }
            (None, _) => wanted == 0,
            (Some(_), None) => false,
        };
        Self::new(component, wanted, status.and_then(|status| status.ready_replicas), rolled_out)
    }

    fn new(component: Component, wanted: u32, ready: Option<i32>, rolled_out: bool) -> Self {
        let ready = ready.and_then(|ready| u32::try_from(ready).ok()).unwrap_or(0);
        Self { component, wanted, ready, rolled_out }
    }

    fn is_ready(&self) -> bool {
        self.rolled_out && self.ready >= self.wanted
    }
}

/// Whether Kubernetes counts as many; it leaves out a count of zero.
fn is(wanted: u32, counted: Option<i32>) -> bool {
    i64::from(counted.unwrap_or(0)) == i64::from(wanted)
}

/// What every status is written upon.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// `metadata.generation` of what was read.
    pub generation: i64,
    /// The status so far.
    pub previous: Option<&'a ChatClusterStatus>,
    /// Now.
    pub now: Timestamp,
}

/// What a reconcile of a valid cluster came to.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// Every workload of the cluster.
    pub workloads: &'a [Workload],
    /// Fields of the spec that were left aside, as a newer schema has them.
    pub unknown_fields: &'a [String],
    /// Aliases that others own.
    pub aliases_taken: &'a [Taken],
    /// What could not be made, a line each.
    pub failures: &'a [String],
    /// What a change of the servers waits for, in words; `None` while there is none.
    pub change: Option<&'a str>,
    /// How the replacing of pods goes on; `None` while there is none.
    pub rollout: Option<Rollout<'a>>,
    /// The servers' pods.
    pub servers: &'a Fleet,
    /// What the servers say.
    pub said: &'a Reports,
}

/// How the replacing of pods goes on, in words.
#[derive(Debug, Clone, Copy)]
pub enum Rollout<'a> {
    /// It waits for this.
    Waits(&'a str),
    /// It does not go on by itself, for this reason.
    Stuck(&'a str),
}

impl<'a> Outcome<'a> {
    /// Something is being changed.
    fn is_changing(&self) -> bool {
        self.change.is_some() || self.rollout.is_some()
    }

    fn stuck(&self) -> Option<&'a str> {
        match self.rollout {
            Some(Rollout::Stuck(why)) => Some(why),
            Some(Rollout::Waits(_)) | None => None,
        }
    }

    /// What is awaited, in words.
    fn waits(&self) -> impl Iterator<Item = &'a str> {
        let rollout = match self.rollout {
            Some(Rollout::Waits(what)) => Some(what),
            Some(Rollout::Stuck(_)) | None => None,
        };
        [self.change, rollout].into_iter().flatten()
    }
}

/// The status of a cluster whose spec cannot work. What was known of its servers stays.
#[must_use]
pub fn of_invalid(page: Page<'_>, cluster: &str, Invalid(problems): &Invalid) -> ChatClusterStatus {
    let previous = page.previous;
    ChatClusterStatus {
        phase: Phase::Invalid,
        observed_generation: page.generation,
        replicas: previous.map_or(0, |status| status.replicas),
        ready_replicas: previous.map_or(0, |status| status.ready_replicas),
        selector: selector(cluster),
        coordinator: previous.and_then(|status| status.coordinator.clone()),
        endpoints: previous.and_then(|status| status.endpoints.clone()),
        members: previous.map(|status| status.members.clone()).unwrap_or_default(),
        conditions: vec![
            page.condition(
                ConditionType::Ready,
                ConditionStatus::Unknown,
                "InvalidSpec",
                "what runs runs on as it was; put the spec right",
            ),
            page.condition(
                ConditionType::Progressing,
                ConditionStatus::False,
                "InvalidSpec",
                "nothing is changed",
            ),
            page.condition(ConditionType::Valid, ConditionStatus::False, "InvalidSpec", problems.join("\n")),
        ],
    }
}

/// The status of a cluster whose objects were brought up to date, as far as that went.
#[must_use]
pub fn of_outcome(page: Page<'_>, cluster: &ValidatedCluster, outcome: Outcome<'_>) -> ChatClusterStatus {
    let servers = outcome.workloads.iter().find(|workload| workload.component == Component::Server);
    let host =
        |component| format!("{}.{}.svc", names::component(&cluster.name, component), cluster.namespace);
    let phase = phase(page.previous, outcome);
    ChatClusterStatus {
        phase,
        observed_generation: page.generation,
        replicas: servers.map_or(0, |servers| servers.wanted),
        ready_replicas: servers.map_or(0, |servers| servers.ready),
        selector: selector(&cluster.name),
        coordinator: members::coordinator(outcome.said),
        endpoints: Some(Endpoints {
            broker: format!("tcp://{}:{}", host(Component::Broker), ports::BROKER_CLIENTS),
            proxy: format!("tcp://{}:{}", host(Component::Proxy), ports::PROXY_SUBSCRIBERS),
        }),
        members: members::members(
            outcome.servers,
            outcome.said,
            page.previous.map(|status| status.members.as_slice()).unwrap_or_default(),
        ),
        conditions: conditions::of_outcome(page, outcome, phase),
    }
}

fn phase(previous: Option<&ChatClusterStatus>, outcome: Outcome<'_>) -> Phase {
    if !outcome.failures.is_empty() || outcome.stuck().is_some() {
        return Phase::Degraded;
    }
    if !outcome.is_changing() && outcome.workloads.iter().all(Workload::is_ready) {
        return Phase::Ready;
    }
    let was = previous.map(|status| status.phase);
    let rolled_out = outcome.workloads.iter().all(|workload| workload.rolled_out);
    match was {
        // It was complete, and nobody asked for a change: something is lost.
        Some(Phase::Ready | Phase::Degraded) if rolled_out && !outcome.is_changing() => Phase::Degraded,
        Some(Phase::Ready | Phase::Degraded | Phase::Progressing) => Phase::Progressing,
        Some(Phase::Pending | Phase::Invalid) | None => {
            let a_server_is_ready = outcome
                .workloads
                .iter()
                .any(|workload| workload.component == Component::Server && workload.ready > 0);
            if a_server_is_ready { Phase::Progressing } else { Phase::Pending }
        }
    }
}

/// The label selector of the servers' pods, as text.
fn selector(cluster: &str) -> String {
    let labels = names::selector(cluster, Component::Server);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

impl Page<'_> {
    /// A condition; its transition time stays while its status does.
    fn condition(
        &self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) -> Condition {
        let before = self.previous.and_then(|status| status.conditions.iter().find(|it| it.r#type == kind));
        let last_transition_time = match before {
            Some(before) if before.status == status => before.last_transition_time.clone(),
            Some(_) | None => self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        Condition {
            r#type: kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
            last_transition_time,
            observed_generation: self.generation,
        }
    }
}

impl ChatClusterStatus {
    /// Whether another status says the same in other words: every state is equal, and messages may differ.
    #[must_use]
    pub fn has_the_states_of(&self, other: &Self) -> bool {
        let wordless = |status: &Self| {
            let mut status = status.clone();
            for condition in &mut status.conditions {
                condition.message.clear();
            }
            status
        };
        wordless(self) == wordless(other)
    }

    /// Whether every server has what the others have, and one coordinates, if they choose one at all.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let chooses = self.members.iter().any(|member| member.role.is_some());
        let in_sync = self.members.iter().all(|member| member.state == MemberState::InSync);
        in_sync && (self.coordinator.is_some() || !chooses)
    }

    /// A condition.
    #[must_use]
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == kind)
    }
}

#[cfg(test)]
mod tests;
