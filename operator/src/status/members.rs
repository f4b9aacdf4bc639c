//! What is said of each server, and of all of them together, by what they say of themselves.

use crate::{
    membership::{Epoch, Report, Reports},
    pods::{Fleet, MemberPod},
};
use papo_settings::node_settings::server_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name among the servers.
    pub name: String,
    /// Its pod.
    pub pod: String,
    /// How it stands with its history.
    pub state: MemberState,
    /// By which the servers choose their coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// What it is in the choice of a coordinator: `leading`, `following`, `electing` or `leaderless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The choice of a coordinator that it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Tag or digest of the image that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How it stands with a server's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MemberState {
    /// It has what the others have.
    InSync,
    /// It fetches what the others have.
    CatchingUp,
    /// It does not answer the operator.
    Unreachable,
}

/// Every server that there shall be. What one does not say now, and what cannot have changed, is as it was.
pub(super) fn members(fleet: &Fleet, said: &Reports, previous: &[Member]) -> Vec<Member> {
    let absent = MemberPod::default();
    let member = |number: &u32| {
        let name = server_name(*number);
        let pod = fleet.pods.get(number).unwrap_or(&absent);
        let report = said.get(number).filter(|_| !pod.going);
        let before = previous.iter().find(|member| member.name == name);
        let state = match report {
            None => MemberState::Unreachable,
            Some(report) if report.in_sync.unwrap_or(pod.ready) => MemberState::InSync,
            Some(_) => MemberState::CatchingUp,
        };
        let rank = report.and_then(|report| report.rank);
        Member {
            state,
            rank: rank.or_else(|| before.and_then(|before| before.rank)),
            role: report.and_then(|report| report.role.clone()),
            epoch: report.and_then(|report| report.epoch.as_ref()).map(Epoch::to_string),
            version: Some(version(&pod.image).to_owned()).filter(|version| !version.is_empty()),
            pod: fleet.name(*number),
            name,
        }
    };
    fleet.numbers.iter().map(member).collect()
}

/// Who leads. Of two who both say so, the older office has ended, and its holder has yet to hear of that.
pub(super) fn coordinator(said: &Reports) -> Option<String> {
    let leading = said.iter().filter(|(_, report)| report.leads());
    let newest = leading.max_by_key(|(_, report)| report.epoch.as_ref().map(Epoch::number));
    newest.map(|(number, _)| server_name(*number))
}

/// Pairs of servers that show different histories, in words.
pub(super) fn divergences(said: &Reports) -> Vec<String> {
    let pairs = said.iter().filter(|(_, report)| !report.diverged.is_empty());
    pairs
        .map(|(number, report)| format!("{} and {}", server_name(*number), report.diverged.join(", ")))
        .collect()
}

/// Whether the coordinator doubts the time; `None` while no server says anything of clocks.
pub(super) fn time_is_doubted(said: &Reports) -> Option<bool> {
    let told = said.values().any(|report| report.clock.is_some());
    told.then(|| said.values().any(Report::doubts_the_time))
}

/// Tag or digest.
fn version(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once('@').or_else(|| name.split_once(':')).map_or("", |(_, version)| version)
}
