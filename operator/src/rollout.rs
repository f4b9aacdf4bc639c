//! Which pod of the servers, or of ref, is replaced next, from what exists and what the servers say. Pure.
//!
//! Kubernetes makes each pod anew that is gone (`OnDelete`), so a step is to delete one. What is under way is told by what exists
//! alone: an operator that starts in the middle goes on where another one ended.
//!
//! In this order:
//!
//! 1. Pods with another cluster token go, all at once: servers of two tokens do not know each other, so one by one would never end.
//! 2. Pods of an older revision that cannot run go at once: they serve nobody, and the newer revision may be the remedy.
//! 3. Nothing else goes while a change of the servers is under way, a pod is missing, or one of the new revision is not ready.
//! 4. Servers of the older revision go one at a time: those first that are not ready; then the ready ones, each only when every other
//!    one is ready, in sync, and has all that this one had a moment ago; the coordinator last.
//! 5. Ref goes after them: while it is away no other server could take over, and a bad image has shown itself before.

use crate::{
    membership::{Report, Reports},
    pods::{Fleet, MemberPod},
};
use jiff::{SignedDuration, Timestamp};
use papo_settings::node_settings::server_name;
use std::fmt;

/// A pod that is not ready after so long does not get ready by itself: reading a history of millions of messages takes a minute, and
/// a volume that moves to another node takes a few.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: every pod has the newest revision, as far as Kubernetes knows it.
    Settled,
    /// These pods go.
    Replace(Vec<Target>),
    /// This server may go, unless another look shows that the others lack what it has.
    Confirm(u32),
    /// Something is waited for, in words.
    Wait(String),
    /// It does not go on by itself, and why.
    Stuck(String),
}

/// A pod to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Only this one.
    pub uid: String,
    /// Why.
    pub cause: Cause,
}

/// Why a pod is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It has another cluster token.
    Token,
    /// It has an older revision, and cannot run.
    Broken,
    /// It has an older revision.
    Outdated,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "the cluster token was made anew",
            Self::Broken => "it cannot run as it is, and the spec has changed",
            Self::Outdated => "the spec has changed, and every other server has all that it has",
        })
    }
}

/// All that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The servers' pods.
    pub servers: &'a Fleet,
    /// Ref's pod.
    pub reference: &'a Fleet,
    /// Servers come or go.
    pub changing: bool,
    /// What the servers said.
    pub said: &'a Reports,
    /// What they said a moment later, when they were asked again.
    pub said_later: Option<&'a Reports>,
    /// Now.
    pub now: Timestamp,
}

/// Decides.
#[must_use]
pub fn next(situation: Situation<'_>) -> Next {
    let Situation { servers, reference, .. } = situation;
    let (Some(_), Some(_)) = (&servers.revision, &reference.revision) else {
        // Which pods are of an older revision is not known yet; the watches will tell.
        return Next::Settled;
    };
    let all = || {
        [servers, reference].into_iter().flat_map(|fleet| fleet.pods.values().map(move |pod| (fleet, pod)))
    };
    let strangers = all().filter(|(fleet, pod)| pod.token != fleet.token).map(|(_, pod)| pod);
    if let Some(replace) = replace(strangers, Cause::Token) {
        return replace;
    }
    let broken = all().filter(|(fleet, pod)| is_outdated(fleet, pod) && pod.is_broken()).map(|(_, pod)| pod);
    if let Some(replace) = replace(broken, Cause::Broken) {
        return replace;
    }
    if !is_under_way(servers, reference) {
        return Next::Settled;
    }
    if situation.changing {
        return Next::Wait("the servers that come or go".to_owned());
    }
    let hindrance = hindrance(servers, situation.now, &server_name)
        .or_else(|| hindrance(reference, situation.now, &|_| "ref".to_owned()));
    if let Some(hindrance) = hindrance {
        return hindrance;
    }
    let unready = [servers, reference]
        .into_iter()
        .find_map(|fleet| fleet.pods.values().find(|pod| is_outdated(fleet, pod) && !pod.ready));
    if let Some(pod) = unready {
        return Next::Replace(vec![target(pod, Cause::Outdated)]);
    }
    match candidate(servers, situation.said) {
        Some(number) => next_server(situation, number),
        None => {
            let outdated = reference.pods.values().filter(|pod| is_outdated(reference, pod));
            replace(outdated, Cause::Outdated).unwrap_or(Next::Settled)
        }
    }
}

/// Whether pods of an older revision are there.
#[must_use]
pub fn is_under_way(servers: &Fleet, reference: &Fleet) -> bool {
    [servers, reference].into_iter().any(|fleet| fleet.pods.values().any(|pod| is_outdated(fleet, pod)))
}

fn is_outdated(fleet: &Fleet, pod: &MemberPod) -> bool {
    !pod.going && fleet.revision.as_ref().is_some_and(|revision| *revision != pod.revision)
}

fn target(pod: &MemberPod, cause: Cause) -> Target {
    Target { name: pod.name.clone(), uid: pod.uid.clone(), cause }
}

fn replace<'a>(pods: impl Iterator<Item = &'a MemberPod>, cause: Cause) -> Option<Next> {
    let targets: Vec<Target> = pods.filter(|pod| !pod.going).map(|pod| target(pod, cause)).collect();
    (!targets.is_empty()).then_some(Next::Replace(targets))
}

/// What keeps the next pod from going: one that is away, or a new one that is not ready.
fn hindrance(fleet: &Fleet, now: Timestamp, name: &dyn Fn(u32) -> String) -> Option<Next> {
    for number in &fleet.numbers {
        let name = name(*number);
        let Some(pod) = fleet.pods.get(number).filter(|pod| !pod.going) else {
            return Some(Next::Wait(format!("{name} to come back")));
        };
        if pod.ready || is_outdated(fleet, pod) {
            continue;
        }
        let stuck = |why: &str| {
            Next::Stuck(format!(
                "{name} (pod {}, image {}) does not get ready: {why}. The other pods stay as they are; put the spec right, and \
                 this pod is replaced first",
                pod.name, pod.image
            ))
        };
        if let Some(trouble) = &pod.trouble {
            return Some(stuck(trouble));
        }
        let late = pod.created.is_some_and(|created| now.duration_since(created) > PATIENCE);
        if late {
            return Some(stuck(&format!("it has had {} minutes; look at its log", PATIENCE.as_mins())));
        }
        return Some(Next::Wait(format!("{name} to be ready")));
    }
    None
}

/// The next server to go: the coordinator last, since each hand-over is an interruption.
fn candidate(servers: &Fleet, said: &Reports) -> Option<u32> {
    let leads = |number: &u32| said.get(number).is_some_and(Report::leads);
    let outdated =
        servers.pods.iter().filter(|(_, pod)| is_outdated(servers, pod)).map(|(number, _)| *number);
    outdated.min_by_key(|number| (leads(number), *number))
}

fn next_server(situation: Situation<'_>, number: u32) -> Next {
    let Situation { servers, said, said_later, .. } = situation;
    let name = server_name(number);
    let newest = said_later.unwrap_or(said);
    for other in servers.numbers.iter().copied().chain([number]) {
        let other_name = server_name(other);
        match newest.get(&other) {
            None => return Next::Wait(format!("{other_name} to say how it stands")),
            // A server of a version that does not say so is taken at its readiness.
            Some(report) if other != number && report.in_sync == Some(false) => {
                return Next::Wait(format!("{other_name} to have what the others have"));
            }
            Some(_) => {}
        }
    }
    let Some(later) = said_later else { return Next::Confirm(number) };
    let Some(had) = said.get(&number) else { return Next::Wait(format!("{name} to say how it stands")) };
    let others = servers.numbers.iter().copied().filter(|other| *other != number);
    for other in others {
        if !later.get(&other).is_some_and(|report| report.has_all_of(had)) {
            return Next::Wait(format!("{} to have all that {name} has", server_name(other)));
        }
    }
    match servers.pods.get(&number) {
        Some(pod) => Next::Replace(vec![target(pod, Cause::Outdated)]),
        None => Next::Wait(format!("{name} to come back")),
    }
}

#[cfg(test)]
mod tests;
