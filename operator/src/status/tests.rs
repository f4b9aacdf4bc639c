use super::*;
use crate::resource::ChatCluster;
use serde_json::json;

fn cluster() -> ValidatedCluster {
    let raw: ChatCluster = serde_json::from_value(json!({
        "metadata": { "name": "papo", "namespace": "chat", "uid": "u1" },
    }))
    .unwrap();
    crate::validate::validate(&raw, None, "papo:1").unwrap()
}

fn page(previous: Option<&ChatClusterStatus>, second: i64) -> Page<'_> {
    Page { generation: 4, previous, now: Timestamp::from_second(second).unwrap() }
}

fn workload(component: Component, ready: u32, wanted: u32) -> Workload {
    Workload { component, wanted, ready, rolled_out: true }
}

fn outcome(workloads: &[Workload]) -> Outcome<'_> {
    Outcome { workloads, aliases_taken: &[], failures: &[], change: None }
}

fn condition(status: &ChatClusterStatus, kind: ConditionType) -> &Condition {
    status.conditions.iter().find(|condition| condition.r#type == kind).unwrap()
}

const READY: [Workload; 2] = [
    Workload { component: Component::Server, wanted: 3, ready: 3, rolled_out: true },
    Workload { component: Component::Broker, wanted: 2, ready: 2, rolled_out: true },
];

#[test]
fn a_new_cluster_goes_from_pending_over_progressing_to_ready() {
    let cluster = cluster();
    let pending = of_outcome(page(None, 0), &cluster, outcome(&[workload(Component::Server, 0, 3)]));
    assert_eq!((pending.phase, pending.replicas, pending.ready_replicas), (Phase::Pending, 3, 0));
    assert_eq!(condition(&pending, ConditionType::Ready).message, "waiting for server 0 of 3");
    let one = [workload(Component::Server, 1, 3), workload(Component::Broker, 0, 2)];
    let progressing = of_outcome(page(Some(&pending), 1), &cluster, outcome(&one));
    assert_eq!(progressing.phase, Phase::Progressing);
    assert_eq!(
        condition(&progressing, ConditionType::Ready).message,
        "waiting for server 1 of 3, broker 0 of 2"
    );
    let ready = of_outcome(page(Some(&progressing), 2), &cluster, outcome(&READY));
    assert_eq!((ready.phase, ready.ready_replicas, ready.observed_generation), (Phase::Ready, 3, 4));
    assert_eq!(condition(&ready, ConditionType::Ready).status, ConditionStatus::True);
    assert_eq!(ready.endpoints.unwrap().broker, "tcp://papo-broker.chat.svc:5555");
}

#[test]
fn a_lost_pod_degrades_and_a_rollout_only_progresses() {
    let cluster = cluster();
    let ready = of_outcome(page(None, 0), &cluster, outcome(&READY));
    let lost = of_outcome(page(Some(&ready), 1), &cluster, outcome(&[workload(Component::Server, 2, 3)]));
    assert_eq!(lost.phase, Phase::Degraded);
    let rolling = [Workload { rolled_out: false, ..workload(Component::Server, 2, 3) }];
    let rolling = of_outcome(page(Some(&ready), 1), &cluster, outcome(&rolling));
    assert_eq!(rolling.phase, Phase::Progressing);
    assert_eq!(
        condition(&rolling, ConditionType::Progressing).message,
        "waiting for server 2 of 3 (rolling out)"
    );
}

#[test]
fn the_transition_time_stays_while_the_status_does() {
    let cluster = cluster();
    let first = of_outcome(page(None, 0), &cluster, outcome(&READY));
    assert_eq!(of_outcome(page(Some(&first), 100), &cluster, outcome(&READY)), first);
    let lost = of_outcome(page(Some(&first), 100), &cluster, outcome(&[workload(Component::Server, 2, 3)]));
    assert_eq!(condition(&lost, ConditionType::Ready).last_transition_time, "1970-01-01T00:01:40Z");
    assert_eq!(condition(&lost, ConditionType::Valid).last_transition_time, "1970-01-01T00:00:00Z");
}

#[test]
fn a_failure_is_told_with_its_cause() {
    let failures = ["cannot apply Service papo-ref: exceeded quota".to_owned()];
    let outcome = Outcome { workloads: &READY, aliases_taken: &[], failures: &failures, change: None };
    let status = of_outcome(page(None, 0), &cluster(), outcome);
    assert_eq!(status.phase, Phase::Degraded);
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::False, "CannotApply"));
    assert!(ready.message.contains("exceeded quota"));
}

#[test]
fn a_taken_alias_is_named_with_its_holder_and_does_no_harm() {
    let taken = [Taken {
        kind: "Service".to_owned(),
        name: "broker".to_owned(),
        holder: "belongs to ChatCluster other".to_owned(),
    }];
    let outcome = Outcome { workloads: &READY, aliases_taken: &taken, failures: &[], change: None };
    let status = of_outcome(page(None, 0), &cluster(), outcome);
    assert_eq!(status.phase, Phase::Ready);
    let alias = condition(&status, ConditionType::AliasTaken);
    assert_eq!(alias.status, ConditionStatus::True);
    assert!(alias.message.contains("broker (belongs to ChatCluster other)"), "{}", alias.message);
}

#[test]
fn an_invalid_spec_keeps_what_is_known_and_says_every_problem() {
    let ready = of_outcome(page(None, 0), &cluster(), outcome(&READY));
    let problems = Invalid(vec!["spec.replicas: 0 does not work".to_owned(), "spec.x: bad".to_owned()]);
    let status = of_invalid(page(Some(&ready), 1), "papo", &problems);
    assert_eq!((status.phase, status.ready_replicas), (Phase::Invalid, 3));
    assert_eq!(
        condition(&status, ConditionType::Valid).message,
        "spec.replicas: 0 does not work\nspec.x: bad"
    );
    assert_eq!(condition(&status, ConditionType::Ready).status, ConditionStatus::Unknown);
}

#[test]
fn workloads_are_read_from_live_objects() {
    let live = |observed: i64, replicas: i32, updated: i32| -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": { "generation": 2 },
            "spec": { "selector": {}, "serviceName": "x", "template": {} },
            "status": { "observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": 2 },
        }))
        .unwrap()
    };
    let of = |live: &StatefulSet| Workload::of_stateful_set(Component::Server, 3, Some(live));
    assert_eq!(of(&live(2, 3, 3)), workload(Component::Server, 2, 3));
    for old in [live(1, 3, 3), live(2, 4, 3), live(2, 3, 1)] {
        assert!(!of(&old).rolled_out);
    }
    assert!(!Workload::of_stateful_set(Component::Server, 3, None).rolled_out);
    assert!(Workload::of_deployment(Component::Bot, 0, None).is_ready());
}

#[test]
fn a_status_reads_back_as_it_was_written() {
    let status = of_outcome(page(None, 0), &cluster(), outcome(&READY));
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(ChatClusterStatus::deserialize(&written).unwrap(), status);
    assert!(written.get("coordinator").is_none());
}

#[test]
fn a_change_of_the_servers_is_progress_and_says_what_it_waits_for() {
    let cluster = cluster();
    let ready = of_outcome(page(None, 0), &cluster, outcome(&READY));
    let change = Outcome { change: Some("server-4 to have what the others have"), ..outcome(&READY) };
    let changing = of_outcome(page(Some(&ready), 1), &cluster, change);
    assert_eq!(changing.phase, Phase::Progressing);
    let progressing = condition(&changing, ConditionType::Progressing);
    assert_eq!(progressing.reason, "ChangingServers");
    assert_eq!(progressing.message, "waiting for server-4 to have what the others have");
    let workloads = [workload(Component::Server, 2, 3)];
    let lost = Outcome { change: Some("server-2 to answer"), ..outcome(&workloads) };
    let lost = of_outcome(page(Some(&changing), 2), &cluster, lost);
    assert_eq!(
        condition(&lost, ConditionType::Progressing).message,
        "waiting for server 2 of 3; for server-2 to answer"
    );
}
