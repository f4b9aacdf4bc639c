//! What a coordinator does: it beats, reports to the reference service, and hands its office over to a better server that has been
//! there for long, or to any when it goes.
//!
//! ```text
//! a better one, in contact for long --> Offer --> Accept --> resign --> HandOver --> its higher epoch
//! this one stops or leaves -------------------------------> resign --> HandOver --> the same, or it just stops leading
//! ```
//!
//! It goes on leading until it hears of the higher epoch, so that nobody misses a coordinator meanwhile. Who takes too long has
//! failed, and the old coordinator claims a new epoch: the one that it resigned from may be nobody's.

use super::{Act, Coordination, ElectionOutcome, Fitness, Message, Notice, State, Step};
use crate::constants::{
    ACCEPT_WAIT, HAND_OVER_WAIT, LEAD_INTERVAL, REACHED_WITHIN, REPORT_INTERVAL, RESIGN_WAIT,
};
use papo_protocol::ServerName;
use papo_protocol::reference::{ReferenceCall, Report, Resign};
use std::time::Duration;

/// How far the office is on its way to another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HandOver {
    /// Nobody is asked; contact counts from then on.
    Kept { contact_from: Duration },
    /// A better server is asked whether it could lead.
    Offered { to: ServerName, until: Duration },
    /// The reference service is told that the epoch has no holder any more.
    Resigning { to: ServerName, until: Duration },
    /// The other server is to claim.
    Handed { to: ServerName, until: Duration },
}

/// What a coordinator keeps.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) since: Duration,
    pub(super) beat_at: Duration,
    pub(super) report_at: Duration,
    pub(super) hand_over: HandOver,
}

impl Office {
    fn new(now: Duration) -> Self {
        let hand_over = HandOver::Kept { contact_from: now };
        Self { since: now, beat_at: now, report_at: now, hand_over }
    }

    /// Says nothing until then.
    pub(super) fn wait_until(&mut self, then: Duration) {
        (self.beat_at, self.report_at) = (then, then);
    }

    /// Whether something is expected of this server.
    pub(super) fn awaits(&self, name: &ServerName) -> bool {
        match &self.hand_over {
            HandOver::Kept { .. } => false,
            HandOver::Offered { to, .. } | HandOver::Resigning { to, .. } | HandOver::Handed { to, .. } => {
                to == name
            }
        }
    }
}

impl Coordination {
    /// The granted epoch is on the disk.
    pub(super) fn lead(&mut self, now: Duration) {
        self.end_election(now, ElectionOutcome::Won);
        self.acts.push(Act::Notice(Notice::Leads { epoch: self.adopted }));
        self.acts.push(Act::Announce(self.adopted));
        self.state = State::Leading(Office::new(now));
        self.lead_on(now);
    }

    /// Beats and reports when it is time, and looks after the hand-over.
    pub(super) fn lead_on(&mut self, now: Duration) {
        self.hand_over_on(now);
        self.beat(now);
        self.report(now);
    }

    fn beat(&mut self, now: Duration) {
        let State::Leading(office) = &mut self.state else { return };
        if now < office.beat_at {
            return;
        }
        office.beat_at = now + LEAD_INTERVAL;
        // Who is to take over would take it for a sign to leave it.
        let successor = match &office.hand_over {
            HandOver::Handed { to, .. } => Some(to.clone()),
            HandOver::Kept { .. } | HandOver::Offered { .. } | HandOver::Resigning { .. } => None,
        };
        let epoch = self.adopted;
        let servers: Vec<ServerName> = self.contacts.names().cloned().collect();
        for server in servers.iter().filter(|name| Some(*name) != successor.as_ref()) {
            self.send(server, Message::Lead { epoch });
        }
    }

    fn report(&mut self, now: Duration) {
        let (epoch, reached) = (self.adopted, self.reached(now, REACHED_WITHIN));
        let State::Leading(office) = &mut self.state else { return };
        if now < office.report_at {
            return;
        }
        office.report_at = now + REPORT_INTERVAL;
        match &office.hand_over {
            HandOver::Kept { .. } | HandOver::Offered { .. } => {
                let report = Report { name: self.name.clone(), epoch, reached };
                self.acts.push(Act::Ask(ReferenceCall::Report(report)));
            }
            // It has resigned.
            HandOver::Resigning { .. } | HandOver::Handed { .. } => {}
        }
    }

    /// The next step of a hand-over, or its first.
    fn hand_over_on(&mut self, now: Duration) {
        let State::Leading(office) = &self.state else { return };
        match office.hand_over.clone() {
            HandOver::Kept { .. } | HandOver::Offered { .. } if self.fitness == Fitness::Unfit => {
                self.leave_office(now);
            }
            HandOver::Kept { contact_from } => self.offer_to_better(now, contact_from),
            HandOver::Offered { to, until } if until <= now || !self.contacts.has(&to) => {
                self.keep_office(now);
            }
            HandOver::Resigning { to, until } if until <= now || !self.contacts.has(&to) => {
                self.hand(now, to);
            }
            HandOver::Handed { to, until } if until <= now || !self.contacts.has(&to) => {
                self.take_back(now, to);
            }
            HandOver::Offered { .. } | HandOver::Resigning { .. } | HandOver::Handed { .. } => {}
        }
    }

    fn set_hand_over(&mut self, next: HandOver) {
        if let State::Leading(office) = &mut self.state {
            office.hand_over = next;
        }
    }

    /// Nobody takes it now; who wants it must have been there for as long again.
    fn keep_office(&mut self, now: Duration) {
        self.set_hand_over(HandOver::Kept { contact_from: now });
    }

    /// The best of the better members that have been there for long is asked.
    fn offer_to_better(&mut self, now: Duration, contact_from: Duration) {
        let has_been_there = |name: &&ServerName| {
            let since = self.contacts.unbroken_since(now, name);
            since.is_some_and(|since| since.max(contact_from) + self.settings.hand_over <= now)
        };
        let better = self.members.iter().take_while(|name| self.is_better(name));
        let Some(to) = better.into_iter().find(has_been_there).cloned() else { return };
        self.send(&to, Message::Offer { epoch: self.adopted });
        self.set_hand_over(HandOver::Offered { to, until: now + ACCEPT_WAIT });
    }

    /// This server stops, or leaves the cluster.
    fn leave_office(&mut self, now: Duration) {
        match self.best_reached(now).cloned() {
            Some(to) => self.resign(now, to),
            None => {
                self.acts.push(Act::Notice(Notice::HandsOver { to: None }));
                self.tell_that_it_resigns();
                self.await_coordinator(now);
            }
        }
    }

    fn tell_that_it_resigns(&mut self) {
        let resign = Resign { name: self.name.clone(), epoch: self.adopted };
        self.acts.push(Act::Ask(ReferenceCall::Resign(resign)));
    }

    fn resign(&mut self, now: Duration, to: ServerName) {
        self.acts.push(Act::Notice(Notice::HandsOver { to: Some(to.clone()) }));
        self.tell_that_it_resigns();
        self.set_hand_over(HandOver::Resigning { to, until: now + RESIGN_WAIT });
    }

    /// The reference service has taken note of something; if it was the resignation, the other server may claim. (If it was a report
    /// on its way before that, the other's first claim may come too early, and it claims again.)
    pub(super) fn on_resigned(&mut self, now: Duration) {
        if let State::Leading(Office { hand_over: HandOver::Resigning { to, .. }, .. }) = &self.state {
            let to = to.clone();
            self.hand(now, to);
        }
    }

    fn hand(&mut self, now: Duration, to: ServerName) {
        self.send(&to, Message::HandOver { epoch: self.adopted });
        self.set_hand_over(HandOver::Handed { to, until: now + HAND_OVER_WAIT });
    }

    /// The other server has not taken it.
    fn take_back(&mut self, now: Duration, to: ServerName) {
        self.acts.push(Act::Notice(Notice::HandOverFailed { to }));
        if self.fitness == Fitness::Fit {
            self.begin_claiming(now, now);
        } else {
            // The others will miss a coordinator, and elect one.
            self.await_coordinator(now);
        }
    }

    /// The coordinator offers its office to this server.
    pub(super) fn on_offer(&mut self, now: Duration, from: &ServerName) {
        let is_obeyed = match &self.state {
            State::Following { coordinator, .. } => coordinator == from,
            State::Leaderless { .. } | State::Electing { .. } | State::Leading(_) => false,
        };
        if !is_obeyed || self.is_better(from) || !self.may_elect() {
            return;
        }
        self.offer = Some(from.clone());
        if self.hears_reference(now) {
            self.answer_offer(now);
        } else {
            self.ask_reference(now);
        }
    }

    /// The reference service is there, so the office can be accepted.
    pub(super) fn answer_offer(&mut self, now: Duration) {
        if let Some(from) = self.offer.take() {
            let reached = self.reached(now, REACHED_WITHIN);
            self.send(&from, Message::Accept { epoch: self.adopted, reached });
        }
    }

    /// The better server could lead. It should not if it would lead fewer: the others would elect the old coordinator again.
    pub(super) fn on_accept(&mut self, now: Duration, from: &ServerName, reached: u32) {
        let State::Leading(Office { hand_over: HandOver::Offered { to, .. }, .. }) = &self.state else {
            return;
        };
        if to != from {
            return;
        }
        let to = to.clone();
        if reached < self.reached(now, REACHED_WITHIN) {
            self.keep_office(now);
        } else {
            self.resign(now, to);
        }
    }

    /// The coordinator has resigned, for this server to lead.
    pub(super) fn on_hand_over(&mut self, now: Duration) {
        match &self.state {
            State::Leaderless { .. } | State::Following { .. } if self.may_elect() => {
                self.begin_claiming(now, now);
            }
            State::Electing { step: Step::Asking { .. } | Step::Awaiting { .. }, began } => {
                self.begin_claiming(now, *began);
            }
            State::Leaderless { .. }
            | State::Following { .. }
            | State::Electing { .. }
            | State::Leading(_) => {}
        }
    }
}
