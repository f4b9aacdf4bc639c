use super::*;
use crate::membership::Written;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const OLD: &str = "r1";
const NEW: &str = "r2";

fn pod(name: &str, revision: &str) -> MemberPod {
    MemberPod {
        name: name.to_owned(),
        uid: format!("uid of {name}"),
        revision: revision.to_owned(),
        token: "t".to_owned(),
        image: "papo:2".to_owned(),
        ready: true,
        running: true,
        created: Some(NOW),
        ..MemberPod::default()
    }
}

/// Three servers and ref, each of this revision.
struct World {
    servers: Fleet,
    reference: Fleet,
    said: Reports,
    later: Reports,
    changing: bool,
    now: Timestamp,
}

fn world(servers: [&str; 3], reference: &str) -> World {
    let fleet = |set: &str, pods: Vec<(u32, MemberPod)>| Fleet {
        set: set.to_owned(),
        numbers: pods.iter().map(|(number, _)| *number).collect(),
        pods: pods.into_iter().collect(),
        revision: Some(NEW.to_owned()),
        token: "t".to_owned(),
    };
    let server = |(number, revision): (u32, &str)| (number, pod(&format!("papo-server-{number}"), revision));
    let said: Reports = (1..=3).map(|number| (number, report(number, 100))).collect();
    World {
        servers: fleet("papo-server", (1..).zip(servers).map(server).collect()),
        reference: fleet("papo-ref", vec![(0, pod("papo-ref-0", reference))]),
        later: said.clone(),
        said,
        changing: false,
        now: NOW,
    }
}

fn report(number: u32, seq: u64) -> Report {
    let written = Written { server: "server-1".to_owned(), boot: "b".to_owned(), seq };
    Report { in_sync: Some(true), vector: vec![written], rank: Some(number), ..Report::default() }
}

impl World {
    fn next(&self) -> Next {
        let World { servers, reference, said, later, changing, now } = self;
        let situation =
            Situation { servers, reference, changing: *changing, said, said_later: None, now: *now };
        match next(situation) {
            Next::Confirm(_) => next(Situation { said_later: Some(later), ..situation }),
            other => other,
        }
    }

    fn server(&mut self, number: u32) -> &mut MemberPod {
        self.servers.pods.get_mut(&number).unwrap()
    }

    fn say(&mut self, number: u32, edit: impl Fn(&mut Report)) {
        for reports in [&mut self.said, &mut self.later] {
            edit(reports.get_mut(&number).unwrap());
        }
    }

    /// The pod that is replaced next, and why.
    fn replaces(&self) -> (String, Cause) {
        match self.next() {
            Next::Replace(targets) if targets.len() == 1 => (targets[0].name.clone(), targets[0].cause),
            other => panic!("{other:?}"),
        }
    }

    fn waits(&self) -> String {
        match self.next() {
            Next::Wait(words) => words,
            other => panic!("{other:?}"),
        }
    }

    fn is_stuck(&self) -> String {
        match self.next() {
            Next::Stuck(words) => words,
            other => panic!("{other:?}"),
        }
    }

    /// Kubernetes has made a replaced pod anew, and it is ready.
    fn replaced(&mut self, name: &str) {
        for fleet in [&mut self.servers, &mut self.reference] {
            for pod in fleet.pods.values_mut().filter(|pod| pod.name == name) {
                *pod = super::tests::pod(name, NEW);
            }
        }
    }
}

#[test]
fn where_every_pod_is_new_nothing_is_done_whatever_ails_it() {
    let mut world = world([NEW; 3], NEW);
    assert_eq!(world.next(), Next::Settled);
    world.server(2).ready = false;
    world.servers.pods.remove(&3);
    world.said.clear();
    assert_eq!(world.next(), Next::Settled);
}

#[test]
fn servers_go_one_by_one_the_coordinator_after_the_others_and_ref_last() {
    let mut world = world([OLD; 3], OLD);
    world.say(2, |report| report.role = Some("leading".to_owned()));
    let mut order = Vec::new();
    while world.next() != Next::Settled {
        let (name, cause) = world.replaces();
        assert_eq!(cause, Cause::Outdated);
        world.replaced(&name);
        order.push(name);
    }
    assert_eq!(order, ["papo-server-1", "papo-server-3", "papo-server-2", "papo-ref-0"]);
}

#[test]
fn none_goes_while_another_is_away_or_a_new_one_is_not_ready() {
    let mut away = world([OLD; 3], OLD);
    away.servers.pods.remove(&3);
    assert_eq!(away.waits(), "server-3 to come back");
    let mut going = world([NEW, OLD, OLD], OLD);
    going.server(1).going = true;
    assert_eq!(going.waits(), "server-1 to come back");
    let mut starting = world([NEW, OLD, OLD], OLD);
    starting.server(1).ready = false;
    assert_eq!(starting.waits(), "server-1 to be ready");
    let mut lonely = world([OLD; 3], NEW);
    lonely.reference.pods.get_mut(&0).unwrap().ready = false;
    assert_eq!(lonely.waits(), "ref to be ready", "without ref nobody could take over from the coordinator");
}

#[test]
fn none_goes_whose_history_the_others_lack() {
    let mut behind = world([OLD; 3], NEW);
    behind.say(3, |report| report.in_sync = Some(false));
    assert_eq!(behind.waits(), "server-3 to have what the others have");
    let mut silent = world([OLD; 3], NEW);
    silent.later.remove(&2);
    assert_eq!(silent.waits(), "server-2 to say how it stands");
    let mut lacking = world([OLD; 3], NEW);
    lacking.said.insert(1, report(1, 101));
    assert_eq!(lacking.waits(), "server-2 to have all that server-1 has");
    for number in 1..=3 {
        lacking.later.insert(number, report(number, 105));
    }
    assert_eq!(lacking.replaces().0, "papo-server-1", "what it had a moment ago is what counts");
}

#[test]
fn a_version_that_says_nothing_of_its_history_is_taken_at_its_readiness() {
    let mut world = world([OLD; 3], NEW);
    for number in 1..=3 {
        world.say(number, |report| *report = Report::default());
    }
    assert_eq!(world.replaces().0, "papo-server-1");
}

#[test]
fn a_new_pod_that_cannot_run_stops_the_rollout_with_its_reason() {
    let mut world = world([NEW, OLD, OLD], OLD);
    world.server(1).ready = false;
    world.server(1).trouble = Some("ImagePullBackOff: no such image".to_owned());
    let words = world.is_stuck();
    assert!(words.contains("papo-server-1") && words.contains("papo:2"), "{words}");
    assert!(words.contains("ImagePullBackOff: no such image"), "{words}");
}

#[test]
fn a_new_pod_that_runs_and_is_never_ready_stops_it_too() {
    let mut world = world([NEW, OLD, OLD], OLD);
    world.server(1).ready = false;
    world.now = NOW + PATIENCE;
    assert_eq!(world.waits(), "server-1 to be ready");
    world.now = NOW + PATIENCE + SignedDuration::from_secs(1);
    assert!(world.is_stuck().contains("10 minutes"));
}

#[test]
fn the_next_good_spec_goes_on_from_a_broken_pod() {
    // Of a third revision, as neither the first nor the broken one is wanted any more.
    let mut world = world(["broken", OLD, OLD], OLD);
    world.server(1).ready = false;
    world.server(1).trouble = Some("CrashLoopBackOff: exit code 1".to_owned());
    world.said.remove(&1);
    assert_eq!(world.replaces(), ("papo-server-1".to_owned(), Cause::Broken));
    // It runs, and never gets ready.
    world.server(1).trouble = None;
    assert_eq!(world.replaces(), ("papo-server-1".to_owned(), Cause::Outdated));
    // Back to what the others still run.
    for number in 2..=3 {
        world.server(number).revision = NEW.to_owned();
    }
    world.reference.pods.get_mut(&0).unwrap().revision = NEW.to_owned();
    assert_eq!(world.replaces().0, "papo-server-1");
    world.replaced("papo-server-1");
    assert_eq!(world.next(), Next::Settled);
}

#[test]
fn a_cluster_that_never_ran_is_replaced_as_a_whole() {
    let mut world = world([OLD; 3], OLD);
    world.said.clear();
    for pod in world.servers.pods.values_mut().chain(world.reference.pods.values_mut()) {
        pod.ready = false;
        pod.trouble = Some("ErrImagePull".to_owned());
    }
    let Next::Replace(targets) = world.next() else { panic!("{:?}", world.next()) };
    assert_eq!(targets.len(), 4);
}

#[test]
fn servers_that_come_or_go_do_so_first_unless_one_cannot_run() {
    let mut world = world([OLD; 3], OLD);
    world.changing = true;
    assert_eq!(world.waits(), "the servers that come or go");
    world.server(3).ready = false;
    assert_eq!(world.waits(), "the servers that come or go");
    world.server(3).trouble = Some("ErrImagePull".to_owned());
    assert_eq!(world.replaces(), ("papo-server-3".to_owned(), Cause::Broken));
}

#[test]
fn pods_of_another_token_go_all_at_once() {
    let mut world = world([OLD, OLD, NEW], OLD);
    for pod in world.servers.pods.values_mut().chain(world.reference.pods.values_mut()) {
        pod.token = "another".to_owned();
    }
    world.server(3).token = "t".to_owned();
    world.changing = true;
    let Next::Replace(targets) = world.next() else { panic!("{:?}", world.next()) };
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["papo-server-1", "papo-server-2", "papo-ref-0"]);
    assert!(targets.iter().all(|target| target.cause == Cause::Token));
}

#[test]
fn nothing_goes_by_a_revision_that_kubernetes_does_not_know_yet() {
    let mut world = world([OLD; 3], OLD);
    world.servers.revision = None;
    assert_eq!(world.next(), Next::Settled);
}

#[test]
fn a_lone_server_is_replaced_though_chat_stands_still_meanwhile() {
    let mut world = world([OLD; 3], NEW);
    world.servers.pods.retain(|number, _| *number == 1);
    world.servers.numbers = vec![1];
    assert_eq!(world.replaces().0, "papo-server-1");
}
