//! What is told as an Event: what the operator did, and what has changed between two statuses. All but [`Teller`] is pure.
//!
//! An Event is said once, when the status that it follows from has been written; the conditions hold the same for those who look later.

use crate::{
    apply,
    metrics::Metrics,
    names,
    resource::ChatCluster,
    rollout::Target,
    status::{ChatClusterStatus, ConditionStatus, ConditionType, Phase},
};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use std::time::Duration;

/// The longest note that the API server takes.
const NOTE_BYTES_MAX: usize = 1_024;
/// An Event that takes longer is not told: nothing waits for Events.
const PATIENCE: Duration = Duration::from_secs(5);
/// Kind of an Event, for the count of requests.
const KIND: &str = "Event";

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether a person should look at it.
    pub warns: bool,
    /// In one word.
    pub reason: &'static str,
    /// What it came from.
    pub action: &'static str,
    /// In words.
    pub text: String,
}

impl Note {
    fn new(warns: bool, reason: &'static str, action: &'static str, text: impl Into<String>) -> Self {
        Self { warns, reason, action, text: text.into() }
    }

    /// A pod is replaced.
    #[must_use]
    pub fn replaces(target: &Target) -> Self {
        let text = format!("pod {} is replaced: {}", target.name, target.cause);
        Self::new(false, "PodReplaced", "Rollout", text)
    }

    /// The next membership is in force.
    #[must_use]
    pub fn changes_servers(generation: u64, counting: u32, pods: u32) -> Self {
        let text = format!("generation {generation} of the membership: {counting} servers count, {pods} run");
        Self::new(false, "ServersChanged", "ChangeServers", text)
    }
}

/// What is to be told when one status follows another.
#[must_use]
pub fn between(previous: Option<&ChatClusterStatus>, next: &ChatClusterStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let reason_before =
        |kind| previous.and_then(|status| status.condition(kind)).map(|condition| condition.reason.as_str());
    let was = |kind| previous.and_then(|status| status.condition(kind)).map(|condition| condition.status);
    for (kind, reason) in [
        (ConditionType::Diverged, "HistoriesDiffer"),
        (ConditionType::ClockUnverified, "ClockUnverified"),
        (ConditionType::AliasTaken, "AliasTaken"),
    ] {
        let now = next.condition(kind).filter(|condition| condition.status == ConditionStatus::True);
        if let Some(condition) = now.filter(|_| was(kind) != Some(ConditionStatus::True)) {
            notes.push(Note::new(true, reason, "Look", &condition.message));
        }
    }
    if let Some(progressing) = next.condition(ConditionType::Progressing)
        && reason_before(ConditionType::Progressing) != Some(progressing.reason.as_str())
    {
        match progressing.reason.as_str() {
            "RolloutStuck" => {
                notes.push(Note::new(true, "RolloutStuck", "Rollout", &progressing.message));
            }
            "ChangingServers" => {
                notes.push(Note::new(false, "ChangingServers", "ChangeServers", &progressing.message));
            }
            _ => {}
        }
    }
    let phase_before = previous.map(|status| status.phase);
    if phase_before != Some(next.phase) {
        let condition = |kind| next.condition(kind).map(|it| it.message.clone()).unwrap_or_default();
        match next.phase {
            Phase::Ready => notes.push(Note::new(false, "Ready", "Look", condition(ConditionType::Ready))),
            Phase::Degraded if !notes.iter().any(|note| note.reason == "RolloutStuck") => {
                notes.push(Note::new(true, "Degraded", "Look", condition(ConditionType::Degraded)));
            }
            Phase::Invalid => {
                notes.push(Note::new(true, "InvalidSpec", "Validate", condition(ConditionType::Valid)));
            }
            Phase::Pending | Phase::Progressing | Phase::Degraded => {}
        }
    }
    if let Some(coordinator) = &next.coordinator
        && previous.and_then(|status| status.coordinator.as_ref()) != Some(coordinator)
    {
        notes.push(Note::new(false, "CoordinatorChanged", "Look", format!("{coordinator} coordinates")));
    }
    notes
}

/// Tells Events.
#[derive(Clone)]
pub struct Teller {
    recorder: Recorder,
    metrics: Metrics,
}

impl Teller {
    /// In the operator's name.
    #[must_use]
    pub fn new(client: Client, metrics: Metrics) -> Self {
        let instance = std::env::var("HOSTNAME").ok();
        let reporter = Reporter { controller: names::FIELD_MANAGER.to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter), metrics }
    }

    /// Tells them of a cluster. What cannot be told is in the log, and nothing more comes of it.
    pub async fn tell(&self, cluster: &ChatCluster, notes: &[Note]) {
        for note in notes {
            let event = Event {
                type_: if note.warns { EventType::Warning } else { EventType::Normal },
                reason: note.reason.to_owned(),
                note: Some(shortened(&note.text)),
                action: note.action.to_owned(),
                secondary: None,
            };
            self.metrics.on_request(KIND);
            let reference = cluster.object_ref(&());
            let told = tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &reference)).await;
            let error = match told {
                Ok(Ok(())) => continue,
                // Nobody is left there to be told.
                Ok(Err(error)) if apply::says_namespace_is_going(&error) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => "the API server did not answer".to_owned(),
            };
            tracing::warn!(reason = note.reason, text = note.text, %error, "an Event could not be told");
        }
    }
}

/// As much of a text as an Event holds.
fn shortened(text: &str) -> String {
    const ELLIPSIS: &str = "...";
    if text.len() <= NOTE_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(NOTE_BYTES_MAX - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Condition;

    fn status(phase: Phase, conditions: &[(ConditionType, ConditionStatus, &str)]) -> ChatClusterStatus {
        let condition = |(kind, status, reason): &(ConditionType, ConditionStatus, &str)| Condition {
            r#type: *kind,
            status: *status,
            reason: (*reason).to_owned(),
            message: format!("about {reason}"),
            last_transition_time: String::new(),
            observed_generation: 1,
        };
        ChatClusterStatus {
            phase,
            observed_generation: 1,
            replicas: 3,
            ready_replicas: 3,
            selector: String::new(),
            coordinator: None,
            endpoints: None,
            members: Vec::new(),
            conditions: conditions.iter().map(condition).collect(),
        }
    }

    fn reasons(previous: Option<&ChatClusterStatus>, next: &ChatClusterStatus) -> Vec<&'static str> {
        between(previous, next).into_iter().map(|note| note.reason).collect()
    }

    #[test]
    fn what_has_not_changed_is_not_told_again() {
        let conditions = [
            (ConditionType::Progressing, ConditionStatus::False, "RolloutStuck"),
            (ConditionType::AliasTaken, ConditionStatus::True, "HeldByOthers"),
        ];
        let stuck = status(Phase::Degraded, &conditions);
        let rolling =
            status(Phase::Progressing, &[(ConditionType::Progressing, ConditionStatus::True, "RollingOut")]);
        assert_eq!(reasons(Some(&rolling), &stuck), ["AliasTaken", "RolloutStuck"]);
        assert_eq!(reasons(Some(&stuck), &stuck), Vec::<&str>::new());
    }

    #[test]
    fn each_new_phase_and_coordinator_that_matters_is_told() {
        let ready = status(Phase::Ready, &[(ConditionType::Ready, ConditionStatus::True, "AllReady")]);
        assert_eq!(reasons(None, &ready), ["Ready"]);
        let lost = status(Phase::Degraded, &[]);
        assert_eq!(reasons(Some(&ready), &lost), ["Degraded"]);
        assert_eq!(reasons(Some(&ready), &status(Phase::Invalid, &[])), ["InvalidSpec"]);
        assert_eq!(reasons(Some(&ready), &status(Phase::Progressing, &[])), Vec::<&str>::new());
        let led = ChatClusterStatus { coordinator: Some("server-3".to_owned()), ..ready.clone() };
        assert_eq!(reasons(Some(&ready), &led), ["CoordinatorChanged"]);
        assert_eq!(reasons(Some(&led), &ready), Vec::<&str>::new());
    }

    #[test]
    fn a_long_text_is_cut_at_a_letter() {
        let text = shortened(&"é".repeat(NOTE_BYTES_MAX));
        assert!(text.len() <= NOTE_BYTES_MAX && text.ends_with("é..."));
    }
}
