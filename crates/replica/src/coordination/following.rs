//! Whom this server obeys: the coordinator of the highest epoch that it knows of, once that is on its disk, for as long as it beats.

use super::{Act, Coordination, Herald, Lull, Message, State};
use crate::constants::CLOSED_LINK_GRACE;
use crate::notice::{ElectionOutcome, Notice};
use crate::planted::Planted;
use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use std::time::Duration;

impl Coordination {
    /// Somebody knows this epoch. A higher one is stored, and whoever led before it does no longer.
    pub(super) fn note_epoch(&mut self, now: Duration, epoch: Epoch) {
        if epoch <= self.highest() {
            return;
        }
        self.pending = Some((epoch, Duration::ZERO));
        match &self.state {
            State::Leading(_) => {
                self.acts.push(Act::Notice(Notice::Deposed { own: self.adopted, by: epoch }));
                self.await_coordinator(now);
            }
            State::Following { .. } => self.await_coordinator(now),
            State::Leaderless { .. } => self.hasten(now),
            // It goes on: a server that was away may hear of old epochs, whose coordinators are gone, one after the other.
            State::Electing { .. } => {}
        }
    }

    pub(super) fn note_barrier(&mut self, now: Duration) {
        let known = |name: &&ServerName| **name == self.name || self.greeted.contains(*name);
        let heard = self.members.iter().filter(known).count();
        if !self.is_past_barrier && heard > self.members.len() / 2 {
            self.is_past_barrier = true;
            self.await_coordinator(now);
        }
    }

    /// There is no coordinator, and one has the time to show itself.
    pub(super) fn await_coordinator(&mut self, now: Duration) {
        self.state = State::Leaderless { elect_at: now + self.suspicion(), lull: Lull::Grace };
    }

    /// Something changed: an election that is due much later may lead to something now.
    pub(super) fn hasten(&mut self, now: Duration) {
        let soon = now + self.suspicion();
        if let State::Leaderless { elect_at, lull } = &mut self.state
            && soon < *elect_at
        {
            (*elect_at, *lull) = (soon, Lull::Grace);
        }
    }

    /// If this is the coordinator, a short silence is enough from now on.
    pub(super) fn give_grace(&mut self, now: Duration, name: &ServerName) {
        let grace = now + CLOSED_LINK_GRACE + self.jitter();
        if let State::Following { coordinator, suspect_at, .. } = &mut self.state
            && coordinator == name
        {
            *suspect_at = grace.min(*suspect_at);
        }
    }

    /// A beat of the coordinator of an epoch that is no lower than any known.
    pub(super) fn on_lead(&mut self, now: Duration, from: &ServerName, epoch: Epoch) {
        if (epoch == self.adopted || self.plant.has(Planted::EpochUnfenced)) && self.is_past_barrier {
            return self.follow(now, from);
        }
        // It is obeyed once its epoch is on the disk, and gets the time for that.
        self.herald = Some(Herald { coordinator: from.clone(), epoch, heard: now });
        self.end_election(now, ElectionOutcome::Lost);
        self.await_coordinator(now);
    }

    pub(super) fn follow(&mut self, now: Duration, coordinator: &ServerName) {
        let suspect_at = now + self.suspicion();
        if let State::Following { coordinator: before, suspect_at: at, .. } = &mut self.state
            && before == coordinator
        {
            *at = suspect_at;
            return;
        }
        self.end_election(now, ElectionOutcome::Lost);
        let coordinator = coordinator.clone();
        let notice = Notice::Follows { coordinator: coordinator.clone(), epoch: self.adopted };
        self.acts.push(Act::Notice(notice));
        self.state = State::Following { coordinator, since: now, suspect_at };
    }

    /// What this server obeys, for one that obeys a lower epoch or hears no coordinator.
    pub(super) fn tell_what_is_obeyed(&mut self, to: &ServerName) {
        let message = match &self.state {
            State::Leading(_) => Message::Lead { epoch: self.adopted },
            State::Following { coordinator, .. } => {
                Message::Follows { epoch: self.adopted, coordinator: Some(coordinator.clone()) }
            }
            State::Leaderless { .. } | State::Electing { .. } => {
                Message::Follows { epoch: self.adopted, coordinator: None }
            }
        };
        self.send(to, message);
    }

    /// Nothing was heard of the coordinator for too long, or it is known to be gone.
    pub(super) fn suspect(&mut self, now: Duration) {
        if let State::Following { coordinator, .. } = &self.state {
            let notice =
                Notice::CoordinatorSuspected { coordinator: coordinator.clone(), epoch: self.adopted };
            self.acts.push(Act::Notice(notice));
        }
        self.state = State::Leaderless { elect_at: now, lull: Lull::Grace };
        if self.may_elect() {
            self.elect(now);
        }
    }
}
