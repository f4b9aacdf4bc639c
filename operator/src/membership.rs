//! Who the servers are, step by step: from the membership in force and from what the servers say, the next one. Pure.
//!
//! `members` changes by one server at a time, and only once every member has the membership before (docs/adr, "One server at a
//! time"). The servers are numbered without gaps, so that numbers say it all. What is in force stands in an annotation of the
//! StatefulSet, written together with what follows from it.

use crate::names;
use k8s_openapi::api::apps::v1::StatefulSet;
use papo_settings::{NodeSettings, node_settings::server_name};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The servers of a cluster, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Counts the changes.
    pub generation: u64,
    /// Servers from 1 on whose disks count.
    pub members: u32,
    /// What is going on beside.
    #[serde(default)]
    pub change: Change,
}

/// A change under way: the numbers follow those of the members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// None.
    #[default]
    None,
    /// So many servers fetch what there is, and do not count yet.
    Joining(u32),
    /// One server counts no more. Until every member has heard of that, they may count its disk.
    Leaving,
    /// Every member has heard of it: the server stays until they have what it has.
    HandingOver,
}

/// What a server says of itself. What a version does not say is as if it said nothing of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Of the membership that it has.
    pub generation: u64,
    /// It had, a moment ago, all that a majority of the members had.
    pub in_sync: Option<bool>,
    /// It leaves, and every member has all that it had.
    pub released: bool,
    /// How much it has of each writer.
    pub vector: Vec<Written>,
    /// By which the servers choose their coordinator.
    pub rank: Option<u32>,
    /// What it is in the choice of a coordinator: leading, following, electing, leaderless.
    pub role: Option<String>,
    /// Whom it takes for the coordinator.
    pub coordinator: Option<String>,
    /// The number of the choice that it goes by.
    pub epoch: Option<Epoch>,
    /// Servers that show other operations than this one under the same positions.
    pub diverged: Vec<String>,
    /// Its clock.
    pub clock: Option<Clock>,
}

/// How much a server has of what one writer wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Written {
    /// The writer's name.
    pub server: String,
    /// Which of its starts.
    pub boot: String,
    /// Operations from the first on.
    pub seq: u64,
}

/// The number of a choice of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Epoch {
    /// In one text.
    Text(String),
    /// In two parts.
    Parts {
        /// Counts the choices.
        number: u64,
        /// Which start of the coordinator it belongs to.
        boot: String,
    },
}

/// What a server says of its clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Clock {
    /// The last round of comparison that it led, if it led one.
    pub last_round: Option<Round>,
}

/// A round of comparing clocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Round {
    /// What it came to.
    pub outcome: String,
}

impl Report {
    /// It coordinates, in its own eyes.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role.as_deref() == Some("leading")
    }

    /// It led the last round of comparing clocks, and corrected nobody, as too few agreed.
    #[must_use]
    pub fn doubts_the_time(&self) -> bool {
        let round = self.clock.as_ref().and_then(|clock| clock.last_round.as_ref());
        self.leads() && round.is_some_and(|round| matches!(round.outcome.as_str(), "withheld" | "disagreed"))
    }

    /// It has all that the other one had.
    #[must_use]
    pub fn has_all_of(&self, other: &Self) -> bool {
        other.vector.iter().all(|wanted| {
            let mine = self.vector.iter().find(|it| it.server == wanted.server && it.boot == wanted.boot);
            mine.map_or(0, |mine| mine.seq) >= wanted.seq
        })
    }
}

impl Epoch {
    /// Counts the choices; 0 where the text says no number.
    #[must_use]
    pub fn number(&self) -> u64 {
        match self {
            Self::Text(text) => text.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0),
            Self::Parts { number, .. } => *number,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Parts { number, boot } => write!(f, "{number}-{boot}"),
        }
    }
}

/// What the servers say, by number. Who did not answer is not in it.
pub type Reports = BTreeMap<u32, Report>;

/// What follows from a membership and the reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// As many members as wanted, and nothing under way.
    Settled,
    /// This membership is next.
    Next(Membership),
    /// Something is waited for, in words.
    Wait(String),
}

impl Membership {
    /// Of a cluster that begins: all count.
    #[must_use]
    pub fn first(servers: u32) -> Self {
        Self { generation: 1, members: servers, change: Change::None }
    }

    /// What is in force, by the live StatefulSet. One that an operator made who knew nothing of this has as many members as pods.
    #[must_use]
    pub fn in_force(servers: &StatefulSet) -> Option<Self> {
        let annotations = servers.metadata.annotations.as_ref();
        let written = annotations.and_then(|annotations| annotations.get(names::ANNOTATION_MEMBERSHIP));
        if let Some(membership) = written.and_then(|text| serde_json::from_str(text).ok()) {
            return Some(membership);
        }
        let replicas = servers.spec.replicas?;
        Some(Self { generation: 0, members: u32::try_from(replicas).ok()?, change: Change::None })
    }

    /// As the annotation has it.
    #[must_use]
    pub fn to_json(self) -> String {
        #[expect(clippy::expect_used, reason = "two numbers and a name have a form in JSON")]
        serde_json::to_string(&self).expect("a membership has a form in JSON")
    }

    /// How many pods there shall be.
    #[must_use]
    pub fn pods(self) -> u32 {
        match self.change {
            Change::None => self.members,
            Change::Joining(servers) => self.members.saturating_add(servers),
            Change::Leaving | Change::HandingOver => self.members.saturating_add(1),
        }
    }

    /// Writes it into the nodes' settings.
    pub fn describe(self, settings: &mut NodeSettings) {
        let rest: Vec<String> = (self.members + 1..=self.pods()).map(server_name).collect();
        settings.generation = self.generation;
        settings.members = (1..=self.members).map(server_name).collect();
        (settings.joining, settings.leaving) = match self.change {
            Change::None => (Vec::new(), Vec::new()),
            Change::Joining(_) => (rest, Vec::new()),
            Change::Leaving | Change::HandingOver => (Vec::new(), rest),
        };
    }

    /// What to do when so many servers are wanted.
    #[must_use]
    pub fn step(self, wanted: u32, reports: &Reports) -> Step {
        if self.members == wanted && self.change == Change::None {
            return Step::Settled;
        }
        // Somebody has what this operator has forgotten, as when its StatefulSet was made anew: a number must not come twice.
        if let Some(newest) = reports.values().map(|report| report.generation).max()
            && newest > self.generation
        {
            return Step::Next(Self { generation: newest + 1, ..self });
        }
        // Whoever joins does not count, so it may be taken back, or be joined by more, whatever the others know.
        if matches!(self.change, Change::Joining(_)) && self.pods() != wanted.max(self.members) {
            return Step::Next(self.next(self.members, joining(wanted.saturating_sub(self.members))));
        }
        let behind: Vec<String> = (1..=self.members)
            .filter(|number| reports.get(number).is_none_or(|report| report.generation < self.generation))
            .map(server_name)
            .collect();
        if !behind.is_empty() {
            return Step::Wait(format!(
                "{} to take over generation {} of the membership",
                behind.join(", "),
                self.generation
            ));
        }
        let after = self.members + 1;
        let report = reports.get(&after).cloned().unwrap_or_default();
        match self.change {
            Change::None if wanted > self.members => {
                Step::Next(self.next(self.members, joining(wanted - self.members)))
            }
            Change::None => Step::Next(self.next(self.members - 1, Change::Leaving)),
            Change::Joining(servers)
                if report.in_sync == Some(true) && report.generation >= self.generation =>
            {
                Step::Next(self.next(after, joining(servers - 1)))
            }
            Change::Joining(_) => Step::Wait(format!("{} to have what the others have", server_name(after))),
            // What the leaver has by now is all that anybody ever counted on its disk.
            Change::Leaving => Step::Next(self.next(self.members, Change::HandingOver)),
            Change::HandingOver if report.released && report.generation >= self.generation => {
                Step::Next(self.next(self.members, Change::None))
            }
            Change::HandingOver => Step::Wait(format!(
                "{}, which leaves, until every other server has all that it has",
                server_name(after)
            )),
        }
    }

    fn next(self, members: u32, change: Change) -> Self {
        Self { generation: self.generation + 1, members, change }
    }
}

fn joining(servers: u32) -> Change {
    if servers == 0 { Change::None } else { Change::Joining(servers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(generation: u64, members: u32, change: Change) -> Membership {
        Membership { generation, members, change }
    }

    fn report(generation: u64) -> Report {
        Report { generation, in_sync: Some(true), released: true, ..Report::default() }
    }

    /// Servers that have this generation and have done all that is asked of them.
    fn all(servers: u32, generation: u64) -> Reports {
        (1..=servers).map(|number| (number, report(generation))).collect()
    }

    /// Every membership on the way, each at once known to all.
    fn way(from: Membership, wanted: u32) -> Vec<(u32, Change)> {
        let (mut at, mut way) = (from, Vec::new());
        loop {
            match at.step(wanted, &all(9, at.generation)) {
                Step::Settled => return way,
                Step::Next(next) => {
                    assert_eq!(next.generation, at.generation + 1);
                    assert!(next.members.abs_diff(at.members) <= 1, "{at:?} {next:?}");
                    way.push((next.members, next.change));
                    at = next;
                }
                Step::Wait(what) => panic!("{at:?} waits for {what}"),
            }
        }
    }

    #[test]
    fn a_cluster_grows_and_shrinks_by_one_counting_server_at_a_time() {
        use Change::{HandingOver, Joining, Leaving, None};
        assert_eq!(way(Membership::first(3), 3), []);
        assert_eq!(way(Membership::first(1), 3), [(1, Joining(2)), (2, Joining(1)), (3, None)]);
        assert_eq!(
            way(Membership::first(3), 1),
            [(2, Leaving), (2, HandingOver), (2, None), (1, Leaving), (1, HandingOver), (1, None)]
        );
    }

    #[test]
    fn no_step_is_made_before_every_member_has_the_one_before() {
        for (at, wanted) in [
            (Membership::first(3), 5),
            (Membership::first(3), 2),
            (membership(2, 3, Change::Joining(2)), 5),
            (membership(2, 2, Change::Leaving), 2),
        ] {
            let mut reports = all(9, at.generation);
            reports.insert(2, report(at.generation - 1));
            let Step::Wait(words) = at.step(wanted, &reports) else { panic!("{at:?}") };
            assert!(words.contains("server-2") && !words.contains("server-1"), "{words}");
            reports.remove(&2);
            assert!(matches!(at.step(wanted, &reports), Step::Wait(_)), "nor while one is silent");
        }
    }

    #[test]
    fn a_server_counts_once_it_is_in_sync_and_goes_once_it_is_released() {
        for (change, word) in [(Change::Joining(1), "to have what"), (Change::HandingOver, "leaves")] {
            let at = membership(7, 3, change);
            let wanted = if change == Change::HandingOver { 3 } else { 4 };
            for last in [Report::default(), Report { generation: 7, ..Report::default() }, report(6)] {
                let mut reports = all(3, 7);
                reports.insert(4, last.clone());
                let Step::Wait(words) = at.step(wanted, &reports) else { panic!("{at:?} {last:?}") };
                assert!(words.contains("server-4") && words.contains(word), "{words}");
            }
            assert!(matches!(at.step(wanted, &all(4, 7)), Step::Next(_)));
        }
    }

    #[test]
    fn a_number_that_a_server_has_heard_of_is_not_given_again() {
        let at = Membership::first(3);
        assert_eq!(at.step(4, &all(3, 7)), Step::Next(membership(8, 3, Change::None)));
    }

    #[test]
    fn who_joins_may_be_taken_back_at_once() {
        let at = membership(2, 3, Change::Joining(2));
        assert_eq!(at.step(3, &Reports::new()), Step::Next(membership(3, 3, Change::None)));
        assert_eq!(at.step(4, &Reports::new()), Step::Next(membership(3, 3, Change::Joining(1))));
        assert_eq!(at.step(1, &Reports::new()), Step::Next(membership(3, 3, Change::None)));
        assert_eq!(at.step(9, &Reports::new()), Step::Next(membership(3, 3, Change::Joining(6))));
    }

    #[test]
    fn what_is_in_force_is_read_from_the_stateful_set() {
        let mut servers = StatefulSet::default();
        assert_eq!(Membership::in_force(&servers), None);
        servers.spec.replicas = Some(3);
        assert_eq!(
            Membership::in_force(&servers),
            Some(membership(0, 3, Change::None)),
            "of an older operator"
        );
        for at in
            [Membership::first(5), membership(4, 2, Change::Joining(2)), membership(5, 2, Change::Leaving)]
        {
            let annotation = (names::ANNOTATION_MEMBERSHIP.to_owned(), at.to_json());
            servers.metadata.annotations = Some([annotation].into());
            assert_eq!(Membership::in_force(&servers), Some(at));
        }
    }

    #[test]
    fn the_nodes_are_told_names() {
        let mut settings = NodeSettings::of(&papo_settings::ChatCluster::with_defaults("papo"));
        membership(4, 1, Change::Joining(2)).describe(&mut settings);
        assert_eq!((settings.generation, &*settings.members[0]), (4, "server-1"));
        assert_eq!(settings.joining, ["server-2", "server-3"]);
        membership(5, 1, Change::Leaving).describe(&mut settings);
        assert_eq!((settings.joining.len(), settings.leaving), (0, vec!["server-2".to_owned()]));
    }
}
