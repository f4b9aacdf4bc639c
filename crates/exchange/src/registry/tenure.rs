//! Epochs: granted one after the other, each to one claimant, and never twice (design section 4, "Ref"; invariant 4).
//!
//! The epoch and its holder are on disk. When the holder was last heard, and how many members it reached then, are in memory only: so
//! nothing is granted at first after a start, that a living holder may say so.
//!
//! A service whose disk went back in time knows a lower epoch than it granted. Then a holder's report teaches it the higher one; and a
//! claimant who has seen a higher one is granted the next after that. No epoch comes twice in either case, since each bears the
//! claimant's boot.

use super::Tenure;
use crate::constants::{CLAIM_QUIET, EPOCH_JUMP_MAX, HOLDER_HEARD_WITHIN};
use papo_protocol::reference::{Claim, ClaimAnswer, ClaimRefusal, Report, Resign};
use papo_protocol::{Epoch, ServerName};
use std::time::Duration;

/// Who leads, and since when it is silent.
#[derive(Debug)]
pub(super) struct Tenures {
    current: Tenure,
    heard: Option<Heard>,
    started: Duration,
}

/// The holder's last word.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Duration,
    reached: u32,
}

impl Tenures {
    pub(super) fn new(stored: Tenure, now: Duration) -> Self {
        Self { current: stored, heard: None, started: now }
    }

    /// The highest epoch, and its holder.
    pub(super) fn current(&self) -> &Tenure {
        &self.current
    }

    /// Grants the next epoch, or says why not.
    pub(super) fn claim(&mut self, claim: Claim, now: Duration) -> ClaimAnswer {
        let next = claim.seen.next(claim.boot);
        if next == Some(self.current.epoch) && self.current.holder.as_ref() == Some(&claim.name) {
            // The same claim again: its first answer was lost.
            return ClaimAnswer::Granted(self.current.epoch);
        }
        match (self.refusal(&claim, now), next) {
            (None, Some(epoch)) => {
                // As good as a report: who was just granted an epoch has a moment to take it up.
                self.heard = Some(Heard { at: now, reached: claim.reached });
                self.current = Tenure { epoch, holder: Some(claim.name) };
                ClaimAnswer::Granted(epoch)
            }
            (why, _) => ClaimAnswer::Refused {
                epoch: self.current.epoch,
                holder: self.current.holder.clone(),
                // There is no number after the last.
                why: why.unwrap_or(ClaimRefusal::Jump),
            },
        }
    }

    fn refusal(&self, claim: &Claim, now: Duration) -> Option<ClaimRefusal> {
        if claim.seen < self.current.epoch {
            Some(ClaimRefusal::Superseded)
        } else if self.is_jump(claim.seen) {
            Some(ClaimRefusal::Jump)
        } else if now.saturating_sub(self.started) < CLAIM_QUIET {
            Some(ClaimRefusal::TooSoon)
        } else if claim.seen == self.current.epoch && self.is_held_against(claim, now) {
            Some(ClaimRefusal::Held)
        } else {
            None
        }
    }

    /// Whether another server holds the current epoch, was heard of late, and reaches at least as many members.
    fn is_held_against(&self, claim: &Claim, now: Duration) -> bool {
        let by_another = self.current.holder.as_ref().is_some_and(|holder| *holder != claim.name);
        let stronger = self.heard.is_some_and(|heard| {
            now.saturating_sub(heard.at) < HOLDER_HEARD_WITHIN && heard.reached >= claim.reached
        });
        by_another && stronger
    }

    fn is_jump(&self, seen: Epoch) -> bool {
        seen.number.saturating_sub(self.current.epoch.number) > EPOCH_JUMP_MAX
    }

    /// Hears from a coordinator. True when its epoch is above all that was known here, and is learned.
    pub(super) fn report(&mut self, report: &Report, now: Duration) -> bool {
        let learned = report.epoch > self.current.epoch && !self.is_jump(report.epoch);
        if learned {
            self.current = Tenure { epoch: report.epoch, holder: Some(report.name.clone()) };
        }
        if self.is_current(report.epoch, &report.name) {
            self.heard = Some(Heard { at: now, reached: report.reached });
        }
        learned
    }

    /// The holder of the current epoch no longer counts. True when it was the holder who said so.
    pub(super) fn resign(&mut self, resign: &Resign) -> bool {
        let resigned = self.is_current(resign.epoch, &resign.name);
        if resigned {
            self.current.holder = None;
            self.heard = None;
        }
        resigned
    }

    fn is_current(&self, epoch: Epoch, name: &ServerName) -> bool {
        epoch == self.current.epoch && self.current.holder.as_ref() == Some(name)
    }
}
