//! The conditions of a valid cluster: each from the outcome of a reconcile, with a reason and words that a person can act on.

use super::{Condition, ConditionStatus, ConditionType, Outcome, Page, Phase, Workload, members};
use crate::{membership::Reports, plan::Taken};

/// All of them. Those of which nobody says anything are left out.
pub(super) fn of_outcome(page: Page<'_>, outcome: Outcome<'_>, phase: Phase) -> Vec<Condition> {
    [
        Some(ready(page, outcome)),
        Some(progressing(page, outcome, phase)),
        Some(degraded(page, outcome, phase)),
        diverged(page, outcome.said),
        clock(page, outcome.said),
        Some(valid(page, outcome.unknown_fields)),
        Some(alias(page, outcome.aliases_taken)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ready(page: Page<'_>, outcome: Outcome<'_>) -> Condition {
    let kind = ConditionType::Ready;
    if !outcome.failures.is_empty() {
        return page.condition(kind, ConditionStatus::False, "CannotApply", outcome.failures.join("\n"));
    }
    let waiting = waiting_for(outcome.workloads);
    if waiting.is_empty() {
        page.condition(kind, ConditionStatus::True, "AllReady", "every pod is ready")
    } else {
        page.condition(kind, ConditionStatus::False, "PodsNotReady", format!("waiting for {waiting}"))
    }
}

fn progressing(page: Page<'_>, outcome: Outcome<'_>, phase: Phase) -> Condition {
    let kind = ConditionType::Progressing;
    if let Some(why) = outcome.stuck() {
        return page.condition(kind, ConditionStatus::False, "RolloutStuck", why);
    }
    match phase {
        Phase::Pending | Phase::Progressing => {
            let workloads = waiting_for(outcome.workloads);
            let workloads = Some(workloads.as_str()).filter(|text| !text.is_empty());
            let waiting: Vec<&str> = workloads.into_iter().chain(outcome.waits()).collect();
            let reason = if outcome.change.is_some() { "ChangingServers" } else { "RollingOut" };
            let message = format!("waiting for {}", waiting.join("; for "));
            page.condition(kind, ConditionStatus::True, reason, message)
        }
        Phase::Ready => {
            page.condition(kind, ConditionStatus::False, "Complete", "everything is as the spec says")
        }
        Phase::Degraded | Phase::Invalid => page.condition(
            kind,
            ConditionStatus::False,
            "Stuck",
            "look at the condition Ready, and at the pods with `kubectl describe`",
        ),
    }
}

fn degraded(page: Page<'_>, outcome: Outcome<'_>, phase: Phase) -> Condition {
    let kind = ConditionType::Degraded;
    if phase != Phase::Degraded {
        return page.condition(
            kind,
            ConditionStatus::False,
            "AsExpected",
            "nothing that was there is missing",
        );
    }
    let (reason, message) = match (outcome.failures, outcome.stuck()) {
        ([], Some(why)) => ("RolloutStuck", why.to_owned()),
        ([], None) => ("PodsNotReady", format!("waiting for {}", waiting_for(outcome.workloads))),
        (failures, _) => ("CannotApply", failures.join("\n")),
    };
    page.condition(kind, ConditionStatus::True, reason, message)
}

/// Nothing is said of it while no server answers.
fn diverged(page: Page<'_>, said: &Reports) -> Option<Condition> {
    let kind = ConditionType::Diverged;
    let found = members::divergences(said);
    if said.is_empty() {
        let before = page.previous?.conditions.iter().find(|condition| condition.r#type == kind)?;
        return Some(page.condition(kind, before.status, &before.reason, before.message.clone()));
    }
    Some(if found.is_empty() {
        page.condition(kind, ConditionStatus::False, "AllAgree", "servers with equal histories show the same")
    } else {
        let message = format!(
            "different histories are shown by {}: take the exports of these servers, compare them, and replace the volume of the \
             wrong one",
            found.join("; ")
        );
        page.condition(kind, ConditionStatus::True, "HistoriesDiffer", message)
    })
}

/// Nothing is said of it while no server says anything of clocks.
fn clock(page: Page<'_>, said: &Reports) -> Option<Condition> {
    let kind = ConditionType::ClockUnverified;
    Some(if members::time_is_doubted(said)? {
        page.condition(
            kind,
            ConditionStatus::True,
            "TooFewAgree",
            "the coordinator corrected no clock in its last round, as too few servers agree on the time: look at the nodes' clocks (NTP)",
        )
    } else {
        page.condition(kind, ConditionStatus::False, "Agreed", "the servers agree on the time")
    })
}

fn valid(page: Page<'_>, unknown_fields: &[String]) -> Condition {
    let kind = ConditionType::Valid;
    if unknown_fields.is_empty() {
        return page.condition(kind, ConditionStatus::True, "Checked", "the spec can work");
    }
    let message = format!(
        "the spec can work, without fields that this operator ({}) does not know: {}; the CustomResourceDefinition is newer than the \
         operator, so upgrade the operator, too",
        env!("CARGO_PKG_VERSION"),
        unknown_fields.join(", ")
    );
    page.condition(kind, ConditionStatus::True, "UnknownFields", message)
}

fn alias(page: Page<'_>, taken: &[Taken]) -> Condition {
    let kind = ConditionType::AliasTaken;
    if taken.is_empty() {
        return page.condition(
            kind,
            ConditionStatus::False,
            "AllHeld",
            "every plain Service name is this cluster's",
        );
    }
    let list: Vec<String> = taken.iter().map(|taken| format!("{} ({})", taken.name, taken.holder)).collect();
    let message = format!(
        "these Services belong to others and are left alone: {}; clients reach this cluster by the addresses in \
         status.endpoints, or delete those Services",
        list.join(", ")
    );
    page.condition(kind, ConditionStatus::True, "HeldByOthers", message)
}

/// `server 2 of 3, broker 0 of 2 (rolling out)`; empty when nothing is awaited.
fn waiting_for(workloads: &[Workload]) -> String {
    let waiting = workloads.iter().filter(|workload| !workload.is_ready());
    let parts: Vec<String> = waiting
        .map(|workload| {
            let note = if workload.rolled_out { "" } else { " (rolling out)" };
            format!("{} {} of {}{note}", workload.component, workload.ready, workload.wanted)
        })
        .collect();
    parts.join(", ")
}
