//! What the operator reads of the pods of a StatefulSet: which revision each has, whether it is ready, and what ails it. Pure.
//!
//! This module must not know what follows from that: see [`crate::rollout`].

use crate::{build::owner, names, observe::Found};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ContainerStatus, Pod, PodStatus},
};
use kube::ResourceExt;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Reasons for which a container waits while all is well.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberPod {
    /// Its name.
    pub name: String,
    /// Which of all pods that ever had the name.
    pub uid: String,
    /// Of the StatefulSet's template that it was made from.
    pub revision: String,
    /// Hash of the cluster token that it was made with.
    pub token: String,
    /// What it runs.
    pub image: String,
    /// Kubernetes leads clients to it.
    pub ready: bool,
    /// It is about to go.
    pub going: bool,
    /// Its program runs, so it may be asked.
    pub running: bool,
    /// Why its program does not run, or not for long: `ImagePullBackOff: ...`.
    pub trouble: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

impl MemberPod {
    /// Reads one.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let ready = status.is_some_and(is_ready);
        let running = !containers.is_empty()
            && containers.iter().all(|it| it.state.as_ref().is_some_and(|state| state.running.is_some()));
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            revision: pod.labels().get(names::LABEL_REVISION).cloned().unwrap_or_default(),
            token: pod.annotations().get(names::ANNOTATION_TOKEN).cloned().unwrap_or_default(),
            image: container.and_then(|container| container.image.clone()).unwrap_or_default(),
            ready,
            going: pod.metadata.deletion_timestamp.is_some(),
            running,
            trouble: status.filter(|_| !ready).and_then(|status| trouble(&pod.name_any(), status)),
            address: status.and_then(|status| status.pod_ip.clone()),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }

    /// It can do nothing, and will not by itself.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.ready && self.trouble.is_some()
    }
}

fn is_ready(status: &PodStatus) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What keeps a pod that is not ready from running, in Kubernetes' words.
fn trouble(name: &str, status: &PodStatus) -> Option<String> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let unscheduled = conditions.iter().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = unscheduled {
        return Some(said(
            condition.reason.as_deref().unwrap_or("Unscheduled"),
            condition.message.as_deref(),
        ));
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    containers.iter().find_map(|container| trouble_of_container(name, container))
}

fn trouble_of_container(name: &str, container: &ContainerStatus) -> Option<String> {
    let ended = |status: &ContainerStatus| {
        let states = [status.state.as_ref(), status.last_state.as_ref()];
        states.into_iter().flatten().find_map(|state| state.terminated.clone()).map(|end| end.exit_code)
    };
    let program_ended = |code| {
        format!(
            "the program ended with exit code {code}; `kubectl logs {name} --previous` has its last words"
        )
    };
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    if let Some(reason) = reason.filter(|reason| !STARTING.contains(reason)) {
        return Some(match ended(container) {
            Some(code) => format!("{reason}: {}", program_ended(code)),
            None => said(reason, waiting.and_then(|waiting| waiting.message.as_deref())),
        });
    }
    // Between two attempts it looks as if it ran.
    let code = ended(container).filter(|_| container.restart_count > 0)?;
    Some(format!("Restarting: {} times, {}", container.restart_count, program_ended(code)))
}

fn said(reason: &str, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

/// The pods of a StatefulSet, and what they shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The StatefulSet's name, with which those of the pods begin.
    pub set: String,
    /// Pods that are there, by their number.
    pub pods: BTreeMap<u32, MemberPod>,
    /// Pods that shall be there.
    pub numbers: Vec<u32>,
    /// The revision that all shall have; `None` while Kubernetes has not taken note of the newest template.
    pub revision: Option<String>,
    /// Hash of the cluster token that all shall have.
    pub token: String,
}

impl Fleet {
    /// Of a StatefulSet; others' pods are not counted.
    #[must_use]
    pub fn of(set: &StatefulSet, numbers: RangeInclusive<u32>, pods: &Found<Pod>) -> Self {
        let status = set.status.as_ref();
        let noted = status.filter(|status| status.observed_generation >= set.metadata.generation);
        let token = set.spec.template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        let number = |pod: &Pod| {
            owner(&pod.metadata).filter(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())?;
            let suffix = pod.metadata.name.as_deref()?.strip_prefix(&set.name_any())?.strip_prefix('-')?;
            suffix.parse().ok()
        };
        Self {
            set: set.name_any(),
            pods: pods.values().filter_map(|pod| Some((number(pod)?, MemberPod::of(pod)))).collect(),
            numbers: numbers.collect(),
            revision: noted.and_then(|status| status.update_revision.clone()),
            token: token.and_then(|it| it.get(names::ANNOTATION_TOKEN).cloned()).unwrap_or_default(),
        }
    }

    /// What the pod with this number is called.
    #[must_use]
    pub fn name(&self, number: u32) -> String {
        format!("{}-{number}", self.set)
    }

    /// Pods whose program runs, and where it may be asked.
    #[must_use]
    pub fn addresses(&self) -> Vec<(u32, String)> {
        let askable = self.pods.iter().filter(|(_, pod)| pod.running && !pod.going);
        askable.filter_map(|(number, pod)| Some((*number, pod.address.clone()?))).collect()
    }
}

/// Forgets what the operator never reads of a pod, which is most of it.
#[must_use]
pub fn stripped(mut pod: Pod) -> Pod {
    if let Some(spec) = pod.spec.take() {
        let containers = spec.containers.into_iter().map(|container| k8s_openapi::api::core::v1::Container {
            name: container.name,
            image: container.image,
            ..Default::default()
        });
        pod.spec = Some(k8s_openapi::api::core::v1::PodSpec {
            containers: containers.collect(),
            ..Default::default()
        });
    }
    if let Some(status) = pod.status.take() {
        pod.status = Some(PodStatus {
            conditions: status.conditions,
            container_statuses: status.container_statuses,
            pod_ip: status.pod_ip,
            ..PodStatus::default()
        });
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: &Value) -> MemberPod {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "papo-server-1", "uid": "u", "labels": { "controller-revision-hash": "r1" } },
            "spec": { "containers": [{ "name": "server", "image": "papo:1" }] },
            "status": status,
        }))
        .unwrap();
        assert_eq!(
            MemberPod::of(&stripped(pod.clone())),
            MemberPod::of(&pod),
            "what is forgotten is never read"
        );
        MemberPod::of(&pod)
    }

    fn container(state: &Value, restarts: u32) -> Value {
        json!({ "containerStatuses": [{
            "name": "server", "image": "papo:1", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
            "lastState": if restarts > 0 { json!({ "terminated": { "exitCode": 1 } }) } else { json!({}) },
        }] })
    }

    #[test]
    fn what_ails_a_pod_is_told_in_kubernetes_own_words() {
        let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
        assert_eq!(pod(&container(&waiting, 0)).trouble.unwrap(), "ImagePullBackOff: no such image");
        let crashed = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 5m" } });
        assert_eq!(
            pod(&container(&crashed, 3)).trouble.unwrap(),
            "CrashLoopBackOff: the program ended with exit code 1; `kubectl logs papo-server-1 --previous` has its last words"
        );
        let again = pod(&container(&json!({ "running": {} }), 3));
        assert!(again.running && again.is_broken());
        let nowhere = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" },
        ] });
        assert_eq!(pod(&nowhere).trouble.unwrap(), "Unschedulable: 0/1 nodes");
    }

    #[test]
    fn a_pod_that_starts_or_is_ready_is_not_broken() {
        let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
        for status in [json!({}), container(&creating, 0), container(&json!({ "running": {} }), 0)] {
            assert!(!pod(&status).is_broken(), "{status}");
        }
        let mut ready = container(&json!({ "running": {} }), 3);
        ready["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
        let ready = pod(&ready);
        assert!(ready.ready && ready.running && !ready.is_broken());
        assert_eq!((ready.revision.as_str(), ready.image.as_str()), ("r1", "papo:1"));
    }

    #[test]
    fn a_fleet_is_the_sets_own_pods_and_knows_no_revision_before_kubernetes_does() {
        let mut set: StatefulSet = serde_json::from_value(json!({
            "metadata": { "name": "papo-server", "uid": "s", "generation": 2 },
            "spec": { "selector": {}, "serviceName": "x", "template": {} },
            "status": { "replicas": 1, "observedGeneration": 1, "updateRevision": "r2" },
        }))
        .unwrap();
        let pod = |name: &str, owner: &str| -> Pod {
            let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "x", "uid": owner, "controller": true });
            serde_json::from_value(json!({ "metadata": { "name": name, "ownerReferences": [owner] } }))
                .unwrap()
        };
        let pods = [pod("papo-server-2", "s"), pod("papo-server-3", "other"), pod("papo-ref-0", "s")];
        let pods: Found<Pod> = pods.into_iter().map(|pod| (pod.name_any(), pod.into())).collect();
        let fleet = Fleet::of(&set, 1..=2, &pods);
        assert_eq!(fleet.pods.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!((fleet.revision, fleet.numbers), (None, vec![1, 2]));
        set.status.as_mut().unwrap().observed_generation = Some(2);
        assert_eq!(Fleet::of(&set, 1..=2, &pods).revision.as_deref(), Some("r2"));
    }
}
