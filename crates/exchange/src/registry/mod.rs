//! The mind of the reference service: which servers there are, with which rank, and which of them leads (design section 4, "Ref"; rows
//! F01-F06, G01-G04).
//!
//! A call passes through [`Registry::answer`], which gives the reply and what must be on disk before the reply leaves: a rank or an epoch
//! that was told is never told differently, whenever the process dies. [`ranks`] knows names and heartbeats, [`tenure`] epochs and
//! claims; neither knows the other. This module must not know what the leader does.

mod ranks;
mod tenure;
#[cfg(test)]
mod tests;

use crate::Now;
use crate::counters::counters;
use papo_protocol::reference::{ClaimAnswer, ClaimRefusal, ReferenceCall, ReferenceReply, Registration};
use papo_protocol::reply::{Code, Refusal};
use papo_protocol::{Epoch, ServerName};
use ranks::{NoRoom, Ranks};
use std::collections::BTreeMap;
use std::time::Duration;
use tenure::Tenures;

/// Who asks, as the cluster token tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// One of papo's own servers.
    Papo,
    /// Whoever else.
    Foreign,
}

/// What a registry is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrySettings {
    /// After so long without a heartbeat a server leaves the list.
    pub expiry: Duration,
    /// `compat.listAsMap`.
    pub list_as_map: bool,
}

/// Everything that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Each name's rank.
    pub ranks: BTreeMap<ServerName, u32>,
    /// Who leads.
    pub tenure: Tenure,
}

/// An epoch, and who was granted it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tenure {
    /// The highest that was ever granted.
    pub epoch: Epoch,
    /// Its holder; `None` before the first, and when the holder resigned.
    pub holder: Option<ServerName>,
}

/// What comes of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// For the asker.
    pub reply: Result<ReferenceReply, Refusal>,
    /// When given: must be on disk before the reply leaves.
    pub store: Option<Stored>,
}

counters! {
    /// What a registry counts.
    RegistryCounters {
        /// A claim got an epoch, perhaps the one that it had got before.
        claims_granted,
        /// A claim was refused: the claimant did not know the highest epoch.
        claims_superseded,
        /// A claim was refused: somebody else leads.
        claims_held,
        /// A claim was refused: this service has just started.
        claims_too_soon,
        /// A claim was refused: its epoch is far above all that was granted.
        claims_jump,
        /// Another server leads than before.
        holder_changes,
        /// A coordinator resigned.
        resignations,
        /// A coordinator reported an epoch above the highest known here: this service has an older file than it had.
        epochs_learned,
        /// A call that needs the cluster token came without it.
        without_token,
        /// A name got no rank: there are too many.
        names_refused,
        /// A name and its rank were forgotten to make room for another.
        names_forgotten,
    }
}

/// The tables.
#[derive(Debug)]
pub struct Registry {
    ranks: Ranks,
    tenures: Tenures,
    list_as_map: bool,
    counters: RegistryCounters,
}

impl Registry {
    /// Starts from what is on disk.
    pub fn new<'a>(
        settings: RegistrySettings,
        members: impl Iterator<Item = &'a ServerName>,
        stored: Stored,
        now: Now,
    ) -> Self {
        let mut ranks = Ranks::new(stored.ranks, settings.expiry, now.monotonic);
        ranks.set_members(members, now.monotonic);
        Self {
            ranks,
            tenures: Tenures::new(stored.tenure, now.monotonic),
            list_as_map: settings.list_as_map,
            counters: RegistryCounters::default(),
        }
    }

    /// These are members from now on: each named `x-n` has rank n, and room for ever.
    pub fn set_members<'a>(&mut self, members: impl Iterator<Item = &'a ServerName>, now: Now) {
        self.ranks.set_members(members, now.monotonic);
    }

    /// Answers one call.
    pub fn answer(&mut self, call: ReferenceCall, asker: Asker, now: Now) -> Answer {
        let before = (self.ranks.changes(), self.tenures.current().clone());
        let reply = self.reply(call, asker, now);
        if before.1.holder != self.tenures.current().holder && self.tenures.current().holder.is_some() {
            self.counters.holder_changes += 1;
        }
        let changed = before != (self.ranks.changes(), self.tenures.current().clone());
        Answer { reply, store: changed.then(|| self.stored()) }
    }

    fn reply(&mut self, call: ReferenceCall, asker: Asker, now: Now) -> Result<ReferenceReply, Refusal> {
        if call.needs_token() && asker == Asker::Foreign {
            self.counters.without_token += 1;
            let text = "only this cluster's servers may ask this: present the cluster token".to_owned();
            return Err(Refusal { code: Code::UnknownService, text, retry: false });
        }
        Ok(match call {
            ReferenceCall::Rank(registration) => ReferenceReply::Rank(self.beat(registration, now)?),
            ReferenceCall::Heartbeat(registration) => {
                self.beat(registration, now)?;
                ReferenceReply::Alive
            }
            ReferenceCall::List => {
                ReferenceReply::List { servers: self.ranks.list(now.monotonic), as_map: self.list_as_map }
            }
            ReferenceCall::Clock => ReferenceReply::Time,
            ReferenceCall::Claim(claim) => {
                let answer = self.tenures.claim(claim, now.monotonic);
                self.count(&answer);
                ReferenceReply::Claimed(answer)
            }
            ReferenceCall::Report(report) => {
                let learned = self.tenures.report(&report, now.monotonic);
                self.counters.epochs_learned += u64::from(learned);
                ReferenceReply::Reported(self.epoch())
            }
            ReferenceCall::Resign(resign) => {
                let resigned = self.tenures.resign(&resign);
                self.counters.resignations += u64::from(resigned);
                ReferenceReply::Reported(self.epoch())
            }
        })
    }

    fn beat(&mut self, registration: Registration, now: Now) -> Result<u32, Refusal> {
        let ranked = self.ranks.beat(registration, now).map_err(|full @ NoRoom| {
            self.counters.names_refused += 1;
            // Not final: names expire.
            Refusal { code: Code::TooLarge, text: full.to_string(), retry: true }
        })?;
        self.counters.names_forgotten += ranked.forgotten;
        Ok(ranked.rank)
    }

    fn count(&mut self, answer: &ClaimAnswer) {
        let counter = match answer {
            ClaimAnswer::Granted(_) => &mut self.counters.claims_granted,
            ClaimAnswer::Refused { why, .. } => match why {
                ClaimRefusal::Superseded => &mut self.counters.claims_superseded,
                ClaimRefusal::Held => &mut self.counters.claims_held,
                ClaimRefusal::TooSoon => &mut self.counters.claims_too_soon,
                ClaimRefusal::Jump => &mut self.counters.claims_jump,
            },
        };
        *counter += 1;
    }

    /// What must be on disk.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored { ranks: self.ranks.stored(), tenure: self.tenures.current().clone() }
    }

    /// The highest epoch known here.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.tenures.current().epoch
    }

    /// Who holds it.
    #[must_use]
    pub fn holder(&self) -> Option<&ServerName> {
        self.tenures.current().holder.as_ref()
    }

    /// How many servers [`ReferenceCall::List`] would list.
    #[must_use]
    pub fn listed(&self, now: Now) -> usize {
        self.ranks.listed(now.monotonic)
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &RegistryCounters {
        &self.counters
    }
}
