use super::*;
use crate::resource::ChatCluster;
use crate::{
    membership::{Clock, Epoch, Report, Round},
    pods::MemberPod,
};
use serde_json::json;
use std::sync::LazyLock;

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
    Outcome {
        workloads,
        unknown_fields: &[],
        aliases_taken: &[],
        failures: &[],
        change: None,
        rollout: None,
        servers: &NO_PODS,
        said: &NO_WORDS,
    }
}

static NO_PODS: LazyLock<Fleet> = LazyLock::new(Fleet::default);
static NO_WORDS: LazyLock<Reports> = LazyLock::new(Reports::new);

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
    let outcome = Outcome { failures: &failures, ..outcome(&READY) };
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
    let outcome = Outcome { aliases_taken: &taken, ..outcome(&READY) };
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

#[test]
fn a_stuck_rollout_is_no_progress_and_says_why() {
    let cluster = cluster();
    let ready = of_outcome(page(None, 0), &cluster, outcome(&READY));
    let workloads = [Workload { rolled_out: false, ..workload(Component::Server, 2, 3) }];
    let waits = Outcome { rollout: Some(Rollout::Waits("server-1 to be ready")), ..outcome(&workloads) };
    let rolling = of_outcome(page(Some(&ready), 1), &cluster, waits);
    assert_eq!(rolling.phase, Phase::Progressing);
    let progressing = condition(&rolling, ConditionType::Progressing);
    assert_eq!(progressing.message, "waiting for server 2 of 3 (rolling out); for server-1 to be ready");
    assert_eq!(condition(&rolling, ConditionType::Degraded).status, ConditionStatus::False);

    let why = "server-1 does not get ready: ErrImagePull";
    let stuck = Outcome { rollout: Some(Rollout::Stuck(why)), ..outcome(&workloads) };
    let stuck = of_outcome(page(Some(&rolling), 2), &cluster, stuck);
    assert_eq!(stuck.phase, Phase::Degraded);
    for (kind, status) in [
        (ConditionType::Progressing, ConditionStatus::False),
        (ConditionType::Degraded, ConditionStatus::True),
    ] {
        let condition = condition(&stuck, kind);
        assert_eq!((condition.status, condition.reason.as_str()), (status, "RolloutStuck"));
        assert_eq!(condition.message, why);
    }
}

/// Three servers with pods.
fn fleet() -> Fleet {
    let image = "host:5000/papo:1.2".to_owned();
    let pod = |number: u32| {
        let pod = MemberPod {
            name: format!("papo-server-{number}"),
            image: image.clone(),
            ready: true,
            ..Default::default()
        };
        (number, pod)
    };
    Fleet {
        set: "papo-server".to_owned(),
        pods: (1..=3).map(pod).collect(),
        numbers: vec![1, 2, 3],
        ..Fleet::default()
    }
}

#[test]
fn every_server_is_shown_with_what_it_says_of_itself() {
    let (cluster, fleet) = (cluster(), fleet());
    let leading = |epoch: &str| Report {
        in_sync: Some(true),
        rank: Some(3),
        role: Some("leading".to_owned()),
        epoch: Some(Epoch::Text(epoch.to_owned())),
        ..Report::default()
    };
    let said: Reports = [
        (1, Report { in_sync: Some(false), rank: Some(1), ..Report::default() }),
        (2, leading("9-aa")),
        (3, leading("10-bb")),
    ]
    .into();
    let of = |said: &Reports, previous: Option<&ChatClusterStatus>| {
        of_outcome(page(previous, 0), &cluster, Outcome { servers: &fleet, said, ..outcome(&READY) })
    };
    let status = of(&said, None);
    assert_eq!(status.coordinator.as_deref(), Some("server-3"), "of the newest epoch");
    let states: Vec<MemberState> = status.members.iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::CatchingUp, MemberState::InSync, MemberState::InSync]);
    let last = &status.members[2];
    assert_eq!((last.name.as_str(), last.pod.as_str()), ("server-3", "papo-server-3"));
    assert_eq!(
        (last.rank, last.epoch.as_deref(), last.version.as_deref()),
        (Some(3), Some("10-bb"), Some("1.2"))
    );

    let silent = of(&Reports::new(), Some(&status));
    assert_eq!(silent.coordinator, None);
    assert!(
        silent.members.iter().all(|member| member.state == MemberState::Unreachable && member.role.is_none())
    );
    assert_eq!(silent.members[2].rank, Some(3), "a rank stays");
}

#[test]
fn histories_that_differ_and_a_time_that_nobody_vouches_for_are_told() {
    let (cluster, fleet) = (cluster(), fleet());
    let of = |report: Report, previous: Option<&ChatClusterStatus>| {
        let said: Reports = [(1, report)].into();
        of_outcome(page(previous, 0), &cluster, Outcome { servers: &fleet, said: &said, ..outcome(&READY) })
    };
    let clock = |outcome: &str| Some(Clock { last_round: Some(Round { outcome: outcome.to_owned() }) });
    let well = of(Report { clock: clock("adjusted"), ..Report::default() }, None);
    for kind in [ConditionType::Diverged, ConditionType::ClockUnverified] {
        assert_eq!(condition(&well, kind).status, ConditionStatus::False);
    }
    let role = Some("leading".to_owned());
    let ill =
        Report { clock: clock("withheld"), role, diverged: vec!["server-2".to_owned()], ..Report::default() };
    let ill = of(ill, None);
    assert!(condition(&ill, ConditionType::Diverged).message.contains("server-1 and server-2"));
    assert_eq!(condition(&ill, ConditionType::ClockUnverified).status, ConditionStatus::True);
    let silent = of_outcome(page(Some(&ill), 1), &cluster, outcome(&READY));
    assert_eq!(
        condition(&silent, ConditionType::Diverged).status,
        ConditionStatus::True,
        "silence heals nothing"
    );
    let older = of(Report::default(), None);
    assert!(older.condition(ConditionType::ClockUnverified).is_none(), "a version that keeps no time");
}

#[test]
fn other_words_are_no_other_state() {
    let cluster = cluster();
    let status = |waiting: &str| {
        let outcome = Outcome { change: Some(waiting), ..outcome(&READY) };
        of_outcome(page(None, 0), &cluster, outcome)
    };
    let one = status("server-2 to answer");
    assert!(one != status("server-3 to answer") && one.has_the_states_of(&status("server-3 to answer")));
    assert!(!one.has_the_states_of(&of_outcome(page(None, 0), &cluster, outcome(&READY))));
}
