//! How a coordinator is found: suspicion, asking the better servers, claiming an epoch.

use super::{Act, Coordination, Fitness, Lull, Message, State, Step};
use crate::constants::{
    ADOPT_WAIT, ANSWER_WAIT, CLAIM_AGAIN, CLAIM_REACHED_WITHIN, CLAIMS_MAX, ELECTION_AGAIN, LEAD_WAIT,
};
use crate::notice::{ElectionOutcome, Notice};
use crate::planted::Planted;
use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::{Claim, ClaimAnswer, ClaimRefusal, ReferenceCall, Resign};
use std::mem;
use std::time::Duration;

impl Coordination {
    /// Asks the better servers; without any, there is nobody to wait for.
    pub(super) fn elect(&mut self, now: Duration) {
        let is_better_member = |name: &&ServerName| self.members.contains(name) && self.is_better(name);
        let asked: Vec<ServerName> = self.contacts.names().filter(is_better_member).cloned().collect();
        for better in &asked {
            self.send(better, Message::Elect { epoch: self.adopted });
        }
        let is_best = asked.is_empty();
        self.acts.push(Act::Notice(Notice::ElectionBegun { asked }));
        self.state = State::Electing { began: now, step: Step::Asking { until: now + ANSWER_WAIT } };
        if is_best {
            self.acts.push(Act::Notice(Notice::NobodyAnswered));
            self.begin_claiming(now, now);
        }
    }

    /// A worse server holds an election. Only if this one may lead now, it says so, and holds its own.
    pub(super) fn on_elect(&mut self, now: Duration, from: &ServerName) {
        match &self.state {
            State::Leading(_) | State::Following { .. } => self.tell_what_is_obeyed(from),
            // It would be refused as it was a moment ago.
            State::Leaderless { lull: Lull::Failed, .. } => {}
            State::Leaderless { .. } | State::Electing { .. }
                if !self.may_elect() || !self.is_asked_by(from) => {}
            State::Leaderless { .. } | State::Electing { .. } => {
                self.askers.insert(from.clone());
                if self.plant.has(Planted::TwoElections) {
                    self.elect(now);
                }
                if self.hears_reference(now) {
                    self.answer_askers(now);
                } else {
                    self.ask_reference(now);
                }
            }
        }
    }

    fn is_asked_by(&self, asker: &ServerName) -> bool {
        self.members.contains(asker) && !self.is_better(asker)
    }

    /// Tells those who asked that this server is at it: at once, and again with each answer of the reference service, so that they
    /// wait as long as its election goes on.
    pub(super) fn answer_askers(&mut self, now: Duration) {
        let is_free = match &self.state {
            State::Leaderless { .. } | State::Electing { .. } => self.may_elect(),
            State::Following { .. } | State::Leading(_) => false,
        };
        if !is_free || self.askers.is_empty() {
            return;
        }
        for asker in self.askers.clone() {
            self.send(&asker, Message::Answer { epoch: self.adopted });
        }
        // Its own election is due within the time that they wait, and no sooner: after a partition an old question may come before
        // the beat of the coordinator that answered it.
        self.hasten(now);
    }

    /// A better server is at it. Whoever has asked for an epoch already lets go of it, too.
    pub(super) fn on_answer(&mut self, now: Duration, from: &ServerName) {
        let State::Electing { step, .. } = &mut self.state else { return };
        match step {
            Step::Asking { .. } | Step::Claiming { .. } => {
                let notice = Notice::ElectionTakenOver { by: from.clone() };
                self.acts.push(Act::Notice(notice));
            }
            Step::Awaiting { .. } => {}
            Step::Adopting { .. } => return,
        }
        *step = Step::Awaiting { until: now + LEAD_WAIT };
    }

    /// A better server hears a coordinator that this one does not hear: an election would change nothing.
    pub(super) fn on_follows(&mut self, now: Duration, coordinator: &ServerName) {
        let State::Electing { step, .. } = &self.state else { return };
        match step {
            Step::Asking { .. } | Step::Awaiting { .. } | Step::Claiming { .. } => {
                if *coordinator != self.name {
                    self.fail(now, Lull::Failed);
                }
            }
            Step::Adopting { .. } => {}
        }
    }

    /// A wait is over.
    pub(super) fn go_on_electing(&mut self, now: Duration) {
        let State::Electing { began, step } = &self.state else { return };
        match step {
            Step::Asking { until } | Step::Awaiting { until } if *until <= now => {
                self.acts.push(Act::Notice(Notice::NobodyAnswered));
                self.begin_claiming(now, *began);
            }
            Step::Claiming { next, .. } if *next <= now => self.claim(now),
            Step::Adopting { until, .. } if *until <= now => self.fail(now, Lull::Failed),
            Step::Asking { .. } | Step::Awaiting { .. } | Step::Claiming { .. } | Step::Adopting { .. } => {}
        }
    }

    /// This server is to lead.
    pub(super) fn begin_claiming(&mut self, now: Duration, began: Duration) {
        let step = Step::Claiming { claims: 0, next: now, is_answered: false };
        self.state = State::Electing { began, step };
        self.claim(now);
    }

    /// Asks the reference service for an epoch, once the highest that is known is on the disk.
    fn claim(&mut self, now: Duration) {
        let State::Electing { step: Step::Claiming { claims, next, is_answered }, .. } = &mut self.state
        else {
            return;
        };
        if self.pending.is_some() {
            return;
        }
        if *claims >= CLAIMS_MAX {
            let lull = if *is_answered { Lull::Failed } else { Lull::ReferenceSilent };
            return self.fail(now, lull);
        }
        *claims += 1;
        *next = now + CLAIM_AGAIN;
        *is_answered = false;
        let claim = Claim {
            name: self.name.clone(),
            boot: self.boot,
            seen: self.adopted,
            reached: self.reached(now, CLAIM_REACHED_WITHIN),
        };
        self.acts.push(Act::Ask(ReferenceCall::Claim(claim)));
    }

    /// The answer to a claim, perhaps to one of an election that is over.
    pub(super) fn on_claimed(&mut self, now: Duration, answer: ClaimAnswer) {
        match answer {
            ClaimAnswer::Granted(epoch) => self.on_granted(now, epoch),
            ClaimAnswer::Refused { epoch, holder, why } => {
                self.note_epoch(now, epoch);
                self.on_claim_refused(now, epoch, holder, why);
            }
        }
    }

    /// The epoch is this server's, whatever it does by now: nobody else will lead it, and no lower one leads any more.
    fn on_granted(&mut self, now: Duration, epoch: Epoch) {
        if epoch.boot != self.boot || epoch <= self.highest() {
            return;
        }
        let began = match &self.state {
            State::Electing { began, .. } => *began,
            State::Leaderless { .. } | State::Following { .. } | State::Leading(_) => now,
        };
        self.note_epoch(now, epoch);
        if self.plant.has(Planted::LeadsBeforeAdopting) {
            self.adopted = epoch;
            return self.lead(now);
        }
        if self.fitness == Fitness::Fit {
            let step = Step::Adopting { epoch, until: now + ADOPT_WAIT };
            self.state = State::Electing { began, step };
        } else {
            let resign = Resign { name: self.name.clone(), epoch };
            self.acts.push(Act::Ask(ReferenceCall::Resign(resign)));
        }
    }

    fn on_claim_refused(
        &mut self,
        now: Duration,
        epoch: Epoch,
        holder: Option<ServerName>,
        why: ClaimRefusal,
    ) {
        let State::Electing { step: Step::Claiming { next, is_answered, .. }, .. } = &mut self.state else {
            return;
        };
        // Who has just started may grant something as soon as it may: until then it counts as silent.
        *is_answered |= why != ClaimRefusal::TooSoon;
        self.acts.push(Act::Notice(Notice::ClaimRefused { epoch, holder, why }));
        match why {
            ClaimRefusal::Superseded => {
                *next = now;
                self.claim(now);
            }
            // The next claim comes by itself.
            ClaimRefusal::Held | ClaimRefusal::TooSoon => {}
            ClaimRefusal::Jump => self.fail(now, Lull::Failed),
        }
    }

    /// The reference service grants this server nothing, and would not in a moment either.
    pub(super) fn on_claim_denied(&mut self, now: Duration) {
        if let State::Electing { step: Step::Claiming { .. }, .. } = &self.state {
            self.fail(now, Lull::Failed);
        }
    }

    /// This election came to nothing.
    pub(super) fn fail(&mut self, now: Duration, lull: Lull) {
        self.end_election(now, ElectionOutcome::Failed);
        self.state = State::Leaderless { elect_at: now + ELECTION_AGAIN + self.jitter(), lull };
    }

    /// Says how the election ended, if there was one. What follows is the caller's.
    pub(super) fn end_election(&mut self, now: Duration, outcome: ElectionOutcome) {
        if let State::Electing { began, .. } = &self.state {
            let took = now.saturating_sub(*began);
            self.acts.push(Act::Notice(Notice::ElectionEnded { outcome, took }));
        }
        drop(mem::take(&mut self.askers));
    }
}
