//! Between [`Timekeeping`], which knows servers by name, and the links and effects. What the time is is no business of this module's.

use super::{Effect, Now, PeerLink, Replica};
use crate::coordination::Role;
use crate::notice::Notice;
use crate::peer::PeerMessage;
use crate::timekeeping::{ClockStatus, KeptClock, Message, Moment, Place, Timekeeping};
use papo_protocol::ServerName;
use std::time::Duration;

impl Replica {
    /// What was done about the time, for metrics.
    #[must_use]
    pub fn timekeeping(&self) -> &Timekeeping {
        &self.timekeeping
    }

    /// The clock at this moment of the monotonic clock.
    #[must_use]
    pub fn clock(&self, monotonic: Duration) -> ClockStatus {
        self.timekeeping.status(monotonic)
    }

    /// What the disk must have before the effects are carried out: no time above its ceiling may leave this process.
    #[must_use]
    pub fn kept_clock(&self) -> KeptClock {
        self.timekeeping.clock().kept()
    }

    /// From what the machine's clocks say to the time that everything here is stamped with.
    pub(super) fn read_clocks(&mut self, machine: Now) -> Now {
        self.note_place(machine);
        self.timekeeping.read(machine)
    }

    /// Operations, replies and publications carry stamps.
    pub(super) fn note_given_out(&mut self, now: Now, effects: &[Effect]) {
        let is_stamped = |effect: &Effect| match effect {
            Effect::Store { ops, .. } => !ops.is_empty(),
            Effect::Reply { .. } | Effect::Publish { .. } => true,
            Effect::Elsewhere { .. }
            | Effect::Unknown { .. }
            | Effect::ToPeer { .. }
            | Effect::AskReference(_)
            | Effect::Notice(_) => false,
        };
        if effects.iter().any(is_stamped) {
            self.timekeeping.clock_mut().give_out(now.monotonic);
        }
    }

    /// This server took an operation at a time that it does not remember itself: its clock goes on from there.
    pub(super) fn note_taken_at(&mut self, now: Now) {
        if let Some(at) = self.last_taken_at {
            self.timekeeping.clock_mut().rise_above(now.monotonic, Moment::from(at));
        }
    }

    fn note_place(&mut self, now: Now) {
        let leadership = self.coordination.leadership();
        let place = match (leadership.role, leadership.coordinator) {
            (Role::Leading, _) => Place::Leads(leadership.epoch),
            (Role::Following, Some(coordinator)) => {
                Place::Obeys { coordinator: coordinator.clone(), epoch: leadership.epoch }
            }
            (Role::Following | Role::Electing | Role::Leaderless, _) if self.is_alone() => Place::Alone,
            (Role::Following | Role::Electing | Role::Leaderless, _) => Place::Nobody,
        };
        self.timekeeping.on_place(now.monotonic, place);
    }

    /// Whether this is the only server of its cluster.
    fn is_alone(&self) -> bool {
        let membership = &self.settings.membership;
        let mut all = membership.members.iter().chain(&membership.joining).chain(&membership.leaving);
        all.all(|name| *name == self.settings.name)
    }

    pub(super) fn on_time(&mut self, now: Now, from: PeerLink, message: Message, effects: &mut Vec<Effect>) {
        let Some(from) = self.peers.links.get(&from).and_then(|link| link.name()).cloned() else { return };
        if self.is_of_the_cluster(&from) {
            let answers = self.timekeeping.on_message(now.monotonic, &from, message);
            self.send_about_time(answers, effects);
        }
    }

    /// Holds rounds, if that is this server's part.
    pub(super) fn keep_time(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.note_place(now);
        if self.timekeeping.round_is_due(now.monotonic) {
            let names = self.peers.names().into_iter().filter(|name| self.is_of_the_cluster(name));
            let others = names.filter(|name| self.link_to_coordinate(name).is_some()).collect();
            let probes = self.timekeeping.begin_round(now.monotonic, others);
            self.send_about_time(probes, effects);
        }
        if let Some((adjustments, report)) = self.timekeeping.end_round(now.monotonic) {
            self.send_about_time(adjustments, effects);
            effects.push(Effect::Notice(Notice::RoundHeld(report)));
        }
    }

    fn send_about_time(&self, messages: Vec<(ServerName, Message)>, effects: &mut Vec<Effect>) {
        for (to, message) in messages {
            if let Some(link) = self.link_to_coordinate(&to) {
                effects.push(Effect::ToPeer { link, bytes: PeerMessage::Time(message).encode() });
            }
        }
    }
}
