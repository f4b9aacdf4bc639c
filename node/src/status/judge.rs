//! Whether a cluster is well, from what its servers say. No I/O.

use super::ask::Status;
use std::collections::{BTreeMap, BTreeSet};

/// One server that was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// As it was asked for.
    pub asked: String,
    /// What it said, or why nothing.
    pub said: Result<Status, String>,
}

impl Member {
    /// Its own name, if it has said so.
    pub fn name(&self) -> &str {
        self.said.as_ref().map_or(&self.asked, |status| &status.server)
    }
}

/// In a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All servers answer and agree, and nothing is wrong.
    Well,
    /// [`Overview::problems`] says what is not.
    Degraded,
    /// Nobody answers.
    Unreachable,
}

impl Health {
    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Degraded => "degraded",
            Self::Unreachable => "unreachable",
        }
    }
}

/// All servers, and what follows from what they say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// As they were asked for.
    pub members: Vec<Member>,
    /// What is wrong, in sentences; empty when all is well.
    pub problems: Vec<String>,
    /// On whom all that answer agree.
    pub coordinator: Option<String>,
    /// The epoch they agree on.
    pub epoch: Option<String>,
    /// Operations that somebody has, of each writer.
    most: BTreeMap<(String, String), u64>,
}

impl Overview {
    /// Judges.
    pub fn of(members: Vec<Member>) -> Self {
        let mut overview =
            Self { problems: Vec::new(), coordinator: None, epoch: None, most: BTreeMap::new(), members };
        let statuses: Vec<Status> = overview.answering().cloned().collect();
        for member in &overview.members {
            if let Err(why) = &member.said {
                overview.problems.push(format!("{} does not answer: {why}", member.asked));
            }
        }
        for status in &statuses {
            for ((server, boot), seq) in status.written() {
                let most = overview.most.entry((server.to_owned(), boot.to_owned())).or_default();
                *most = seq.max(*most);
            }
            overview.problems.extend(problems_of(status));
        }
        overview.judge_leadership(&statuses);
        overview
    }

    fn judge_leadership(&mut self, statuses: &[Status]) {
        let named: BTreeSet<_> = statuses.iter().map(|status| (&status.coordinator, &status.epoch)).collect();
        let leading: Vec<&str> =
            statuses.iter().filter(|status| is_leading(status)).map(|status| &*status.server).collect();
        let mut problem = |text: String| self.problems.push(text);
        match named.first() {
            None => {}
            Some((None, _)) if named.len() == 1 => problem("there is no coordinator".to_owned()),
            Some((coordinator, epoch)) if named.len() == 1 => {
                self.coordinator = coordinator.as_ref().cloned();
                self.epoch = epoch.as_ref().cloned();
            }
            Some(_) => problem("the servers do not agree on who leads".to_owned()),
        }
        if leading.len() > 1 {
            self.problems.push(format!("{} lead at once", leading.join(" and ")));
        }
    }

    /// What those say that answer.
    pub fn answering(&self) -> impl Iterator<Item = &Status> {
        self.members.iter().filter_map(|member| member.said.as_ref().ok())
    }

    /// How many operations a server lacks that another one has.
    pub fn lag(&self, status: &Status) -> u64 {
        let written = status.written();
        let lacks = |((server, boot), most): (&(String, String), &u64)| {
            most.saturating_sub(written.get(&(server.as_str(), boot.as_str())).copied().unwrap_or(0))
        };
        self.most.iter().map(lacks).fold(0, u64::saturating_add)
    }

    /// In a word.
    pub fn health(&self) -> Health {
        if self.answering().next().is_none() {
            Health::Unreachable
        } else if self.problems.is_empty() {
            Health::Well
        } else {
            Health::Degraded
        }
    }
}

/// Whether it takes itself for the coordinator.
pub fn is_leading(status: &Status) -> bool {
    status.role.as_deref() == Some("leading")
}

fn problems_of(status: &Status) -> Vec<String> {
    let name = &status.server;
    let mut problems = Vec::new();
    if !status.diverged.is_empty() {
        problems.push(format!("{name} shows other operations than {}", status.diverged.join(" and ")));
    }
    if !status.caught_up {
        problems.push(format!("{name} has not caught up with the others since it started"));
    } else if !status.in_sync {
        problems.push(format!("{name} lacks operations that others have, or reaches too few of them"));
    }
    let round = status.clock.as_ref().and_then(|clock| clock.last_round.as_ref());
    if let Some(round) =
        round.filter(|round| is_leading(status) && ["withheld", "disagreed"].contains(&&*round.outcome))
    {
        problems
            .push(format!("{name} could not have the clocks agree: the last round was {}", round.outcome));
    }
    problems
}

#[cfg(test)]
mod tests;
