//! Who leads: the Bully algorithm, fenced by epochs.
//!
//! Garcia-Molina ("Elections in a Distributed Computing System", IEEE Transactions on Computers 31(1), 1982) has the best server
//! that is up lead: who suspects the coordinator asks the better servers; if one answers, it takes the election over; if none does,
//! the asker leads and says so. That is right where a server that does not answer in time is dead. Where it may be paused, or behind a
//! partition, two servers lead. So two things are added here.
//!
//! **Epochs.** Nobody leads without an epoch, which the reference service grants: each higher than all before, each to one boot of one
//! server. A server *adopts* an epoch when it is on its disk, and only then acts on it, obeys it and announces it. What comes under a
//! lower epoch than that changes nothing. So there may be two that believe to lead, and only one that anybody obeys: whoever has
//! heard of a higher epoch stops at once.
//!
//! **Prudence.** Raft's pre-vote and check-quorum (Ongaro 2014, section 9.6) keep a server behind a broken link from deposing a
//! coordinator that all others hear. Here a better server answers only if it may lead at this moment, and who hears a living
//! coordinator says so instead; the reference service grants nothing while a holder that reaches as many reports to it; and an
//! election that came to nothing is not repeated for half a minute, unless something changes.
//!
//! ```text
//! Leaderless --> Electing: Asking --nobody answers--> Claiming --granted--> Adopting --on disk--> Leading
//!                             | a better one answers     ^  | refused or unheard, time and again
//!                             v                          |  v
//!                          Awaiting --no coordinator-----+  Leaderless, for half a minute
//!
//! Leaderless, Electing --a beat under the adopted epoch--> Following --no beat, or its link is closed--> Leaderless
//! Leading, Following --a higher epoch--> Leaderless, until its coordinator beats
//! ```
//!
//! `contacts` knows whom there is a link to, `following` whom to obey, `election` finds a coordinator, `leading` is what one does, with
//! handing over its office; `order` says who is better. Nothing here knows links, bytes, disks or clocks: servers are names, time is an
//! argument, and what must be done is an [`Act`].

mod contacts;
mod election;
mod following;
mod leadership;
mod leading;
mod message;
mod order;
#[cfg(test)]
mod tests;

pub use leadership::{Leadership, Role};
pub(crate) use message::Message;
pub use order::ElectionOrder;
pub(crate) use order::rank;

use crate::constants::{
    JITTER_OF_BOOT, JITTER_OF_PLACE, LISTEN_AFTER_PAUSE, PAUSED_AFTER, REACHED_WITHIN, REFERENCE_WITHIN,
    SUSPECT_COORDINATOR_AFTER,
};
use crate::notice::{ElectionOutcome, Notice};
use crate::planted::{Plant, Planted};
use contacts::Contacts;
use leading::Office;
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::{ReferenceAnswer, ReferenceCall, Report};
use papo_protocol::{Boot, ServerName};
use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;

/// How a coordinator is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionSettings {
    /// Which rank wins.
    pub order: ElectionOrder,
    /// After so long an unbroken contact a better server takes over from a living coordinator.
    pub hand_over: Duration,
}

/// What the host must do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// Send to a server.
    Send { to: ServerName, message: Message },
    /// Ask the reference service.
    Ask(ReferenceCall),
    /// Announce on topic `servers` that this server leads.
    Announce(Epoch),
    /// Say so.
    Notice(Notice),
}

/// What this server is good for at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// It may lead.
    Fit,
    /// It may not begin to lead, because it cannot store an epoch: its disk hangs or is full. Who leads already goes on, since
    /// leading needs no disk, and who hears of a higher epoch stops whether it can store that or not.
    Impaired,
    /// It may not lead: it joins, leaves or stops. Who leads already hands over.
    Unfit,
}

/// Why nothing is done while there is no coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lull {
    /// One has the time to show itself.
    Grace,
    /// An election came to nothing.
    Failed,
    /// The same, because the reference service did not answer: when it does, there is hope.
    ReferenceSilent,
}

/// A step of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The better servers were asked.
    Asking { until: Duration },
    /// One of them answered.
    Awaiting { until: Duration },
    /// The reference service is asked for an epoch: so often so far, when again, and whether it answered the last time.
    Claiming { claims: u32, next: Duration, is_answered: bool },
    /// It granted this one, which is on the way to the disk.
    Adopting { epoch: Epoch, until: Duration },
}

#[derive(Debug)]
enum State {
    /// There is no coordinator, and no election until then.
    Leaderless { elect_at: Duration, lull: Lull },
    /// There is one; without a beat it is suspected then.
    Following { coordinator: ServerName, since: Duration, suspect_at: Duration },
    /// This server holds an election.
    Electing { began: Duration, step: Step },
    /// It is the coordinator.
    Leading(Office),
}

/// A beat under an epoch that is not on the disk yet.
#[derive(Debug)]
struct Herald {
    coordinator: ServerName,
    epoch: Epoch,
    heard: Duration,
}

/// The pure core of coordination. Methods `on_*` take what happens, [`Self::tick`] what time brings; [`Self::take_acts`] gives what
/// must be done, and [`Self::to_store`] what must be stored.
#[derive(Debug)]
pub(crate) struct Coordination {
    name: ServerName,
    boot: Boot,
    settings: ElectionSettings,
    /// The best first.
    members: Vec<ServerName>,
    fitness: Fitness,
    contacts: Contacts,
    /// Who has said its epoch since the start.
    greeted: BTreeSet<ServerName>,
    /// Whether a majority of the members has: before, nobody is obeyed and nothing is claimed, as this server's own disk may have
    /// been lost or rolled back.
    is_past_barrier: bool,
    /// The highest epoch on this server's disk.
    adopted: Epoch,
    /// A higher one that was heard of; it is not to be stored before that time.
    pending: Option<(Epoch, Duration)>,
    state: State,
    herald: Option<Herald>,
    /// When the reference service last answered.
    reference_heard: Option<Duration>,
    /// Worse servers that hold an election, and are to hear that this one does.
    askers: BTreeSet<ServerName>,
    /// A coordinator that offers its office, and waits for an answer.
    offer: Option<ServerName>,
    /// It was called late, and has given others the time to be heard.
    is_resuming: bool,
    acts: Vec<Act>,
    pub(crate) plant: Plant,
}

impl Coordination {
    /// Starts from the epoch that is stored.
    pub(crate) fn new(
        now: Duration,
        name: ServerName,
        boot: Boot,
        settings: ElectionSettings,
        members: &[ServerName],
        adopted: Epoch,
    ) -> Self {
        let mut coordination = Self {
            name,
            boot,
            settings,
            members: Vec::new(),
            fitness: Fitness::Unfit,
            contacts: Contacts::default(),
            greeted: BTreeSet::new(),
            is_past_barrier: false,
            adopted,
            pending: None,
            state: State::Leaderless { elect_at: now, lull: Lull::Grace },
            herald: None,
            reference_heard: None,
            askers: BTreeSet::new(),
            offer: None,
            is_resuming: false,
            acts: Vec::new(),
            plant: Plant::default(),
        };
        coordination.on_members(now, members);
        coordination
    }

    /// Whom this server obeys, and what it is itself.
    pub(crate) fn leadership(&self) -> Leadership<'_> {
        let (coordinator, role, since) = match &self.state {
            State::Leaderless { .. } => (None, Role::Leaderless, Duration::ZERO),
            State::Electing { .. } => (None, Role::Electing, Duration::ZERO),
            State::Following { coordinator, since, .. } => (Some(coordinator), Role::Following, *since),
            State::Leading(office) => (Some(&self.name), Role::Leading, office.since),
        };
        Leadership { epoch: self.adopted, coordinator, role, since }
    }

    /// The epoch to put on the disk with the next batch, by itself if no batch comes; and from when on, which is later than now where
    /// the disk has just refused it.
    pub(crate) fn to_store(&self) -> Option<(Epoch, Duration)> {
        self.pending
    }

    /// What must be done, since this was asked last.
    pub(crate) fn take_acts(&mut self) -> Vec<Act> {
        mem::take(&mut self.acts)
    }

    /// When to call [`Self::tick`] at the latest; `None` while nothing waits for time.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        match &self.state {
            State::Leaderless { elect_at, .. } => self.may_elect().then_some(*elect_at),
            State::Following { suspect_at, .. } => Some(*suspect_at),
            State::Electing { step, .. } => match step {
                Step::Asking { until } | Step::Awaiting { until } | Step::Adopting { until, .. } => {
                    Some(*until)
                }
                // Until the disk has what the claim rests on, it is the disk that is waited for.
                Step::Claiming { next, .. } => self.pending.is_none().then_some(*next),
            },
            State::Leading(office) => Some(office.beat_at.min(office.report_at)),
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Duration) {
        // A coordinator that stalls for a moment beats on: nobody misses it yet, and its contacts are fresh.
        let patience = if self.is_leading() { SUSPECT_COORDINATOR_AFTER } else { PAUSED_AFTER };
        let is_late = self.next_tick().is_some_and(|due| due + patience < now);
        // Only once: who is always late must conclude something, too.
        if is_late && !mem::replace(&mut self.is_resuming, is_late) {
            return self.resume(now);
        }
        self.is_resuming &= is_late;
        match &self.state {
            State::Leaderless { elect_at, .. } if *elect_at <= now && self.may_elect() => self.elect(now),
            State::Following { suspect_at, .. } if *suspect_at <= now => self.suspect(now),
            State::Electing { .. } => self.go_on_electing(now),
            State::Leading(_) => self.lead_on(now),
            State::Leaderless { .. } | State::Following { .. } => {}
        }
    }

    /// This server was paused: whatever it waits for, it listens a while longer.
    fn resume(&mut self, now: Duration) {
        let listened = now + LISTEN_AFTER_PAUSE + self.jitter();
        match &mut self.state {
            State::Leaderless { elect_at, .. } => *elect_at = listened,
            State::Following { suspect_at, .. } => *suspect_at = listened,
            State::Electing { step, .. } => match step {
                Step::Asking { until } | Step::Awaiting { until } | Step::Adopting { until, .. } => {
                    *until = listened;
                }
                Step::Claiming { next, .. } => *next = listened,
            },
            // It would report that it reaches nobody.
            State::Leading(office) => office.wait_until(listened),
        }
    }

    /// The members of the cluster.
    pub(crate) fn on_members(&mut self, now: Duration, members: &[ServerName]) {
        self.members = members.to_vec();
        self.settings.order.sort(&mut self.members);
        self.greeted.retain(|name| members.contains(name));
        self.greeted.extend(self.contacts.names().filter(|name| members.contains(name)).cloned());
        self.note_barrier(now);
    }

    /// What this server is good for now. To be told before anything else.
    pub(crate) fn on_fitness(&mut self, now: Duration, fitness: Fitness) {
        if mem::replace(&mut self.fitness, fitness) == fitness {
            return;
        }
        match (&self.state, fitness) {
            (State::Leaderless { .. }, Fitness::Fit) => self.await_coordinator(now),
            // Its epoch may still come to the disk.
            (State::Electing { step: Step::Adopting { .. }, .. }, Fitness::Impaired) => {}
            (State::Electing { .. }, Fitness::Impaired | Fitness::Unfit) => self.fail(now, Lull::Failed),
            (State::Leading(_), Fitness::Unfit) => self.lead_on(now),
            (State::Leaderless { .. } | State::Following { .. } | State::Leading(_), _)
            | (State::Electing { .. }, Fitness::Fit) => {}
        }
    }

    /// There is a link to this server, which says what epoch it has adopted.
    pub(crate) fn on_greeting(&mut self, now: Duration, name: &ServerName, boot: Boot, epoch: Epoch) {
        let is_new = self.contacts.greet(now, name, boot);
        let is_member = self.members.contains(name);
        if is_member {
            self.greeted.insert(name.clone());
        }
        self.note_epoch(now, epoch);
        self.note_barrier(now);
        if boot != self.adopted.boot {
            // If it was the coordinator, it has restarted, and leads no more.
            self.give_grace(now, name);
        }
        if is_new && is_member {
            self.hasten(now);
            if let State::Leading(office) = &mut self.state {
                // Before it stands for anything itself it shall hear who leads.
                office.beat_at = now;
            }
        }
    }

    /// There is no link to this server any more.
    pub(crate) fn on_gone(&mut self, now: Duration, name: &ServerName) {
        self.contacts.lose(name);
        self.give_grace(now, name);
        match &self.state {
            State::Leading(office) if office.awaits(name) => self.lead_on(now),
            State::Leaderless { .. } if self.members.contains(name) => self.hasten(now),
            State::Leaderless { .. }
            | State::Following { .. }
            | State::Electing { .. }
            | State::Leading(_) => {}
        }
    }

    /// This server said anything at all.
    pub(crate) fn on_heard(&mut self, now: Duration, name: &ServerName) {
        self.contacts.hear(now, name);
    }

    /// A message of this boot of this server, which has greeted.
    pub(crate) fn on_message(&mut self, now: Duration, from: &ServerName, boot: Boot, message: &Message) {
        let epoch = message.epoch();
        self.note_epoch(now, epoch);
        match message {
            Message::Elect { .. } => return self.on_elect(now, from),
            Message::Answer { .. } if self.plant.has(Planted::AnswerIgnored) => return,
            Message::Answer { .. } => return self.on_answer(now, from),
            Message::Lead { .. }
            | Message::Follows { .. }
            | Message::Offer { .. }
            | Message::Accept { .. }
            | Message::HandOver { .. } => {}
        }
        // From here on, what has a lower epoch changes nothing.
        if epoch < self.highest() && !self.plant.has(Planted::EpochUnfenced) {
            if epoch < self.adopted {
                self.tell_what_is_obeyed(from);
            }
            return;
        }
        match message {
            Message::Lead { .. } if epoch.boot == boot => self.on_lead(now, from, epoch),
            Message::Follows { coordinator: Some(coordinator), .. } => self.on_follows(now, coordinator),
            Message::Offer { .. } if epoch.boot == boot => self.on_offer(now, from),
            Message::Accept { reached, .. } => self.on_accept(now, from, *reached),
            Message::HandOver { .. } if epoch.boot == boot => self.on_hand_over(now),
            Message::Lead { .. } | Message::Offer { .. } | Message::HandOver { .. } => {
                tracing::warn!(%from, %epoch, "ignored a coordinator under an epoch that is not its own");
            }
            Message::Follows { coordinator: None, .. } | Message::Elect { .. } | Message::Answer { .. } => {}
        }
    }

    /// The reference service answered.
    pub(crate) fn on_reference(&mut self, now: Duration, answer: ReferenceAnswer) {
        self.reference_heard = Some(now);
        match answer {
            ReferenceAnswer::Alive | ReferenceAnswer::Rank(_) => {}
            ReferenceAnswer::Reported(epoch) => {
                self.note_epoch(now, epoch);
                self.on_resigned(now);
            }
            ReferenceAnswer::Claimed(answer) => self.on_claimed(now, answer),
            ReferenceAnswer::Denied => self.on_claim_denied(now),
        }
        self.answer_askers(now);
        self.answer_offer(now);
        if let State::Leaderless { lull: Lull::ReferenceSilent, .. } = &self.state {
            self.hasten(now);
        }
    }

    /// This epoch is on this server's disk.
    pub(crate) fn on_stored(&mut self, now: Duration, epoch: Epoch) {
        self.adopted = self.adopted.max(epoch);
        if self.highest() > self.adopted {
            // A higher one was heard of meanwhile, and is the one that counts.
            return;
        }
        self.pending = None;
        match &self.state {
            State::Electing { step: Step::Adopting { epoch, .. }, .. } if *epoch == self.adopted => {
                self.lead(now);
            }
            State::Electing { step: Step::Adopting { .. }, .. } => {
                // Whoever has the higher one will show itself.
                self.end_election(now, ElectionOutcome::Lost);
                self.await_coordinator(now);
            }
            State::Electing { step: Step::Claiming { .. }, .. } => self.go_on_electing(now),
            State::Leaderless { .. }
            | State::Electing { .. }
            | State::Following { .. }
            | State::Leading(_) => {}
        }
        if let Some(herald) = self.herald.take_if(|herald| herald.epoch <= self.adopted)
            && herald.epoch == self.adopted
            && herald.heard + SUSPECT_COORDINATOR_AFTER > now
        {
            self.on_lead(now, &herald.coordinator, herald.epoch);
        }
    }

    /// The disk took nothing.
    pub(crate) fn on_refused(&mut self, again_at: Duration) {
        if let Some((_, not_before)) = &mut self.pending {
            *not_before = again_at;
        }
    }

    /// The highest epoch that this server knows of.
    fn highest(&self) -> Epoch {
        self.pending.map_or(self.adopted, |(epoch, _)| epoch)
    }

    /// Whether this server may claim, if the reference service answers.
    fn may_elect(&self) -> bool {
        self.fitness == Fitness::Fit && self.is_past_barrier
    }

    /// Whether the reference service answered a moment ago.
    fn hears_reference(&self, now: Duration) -> bool {
        self.reference_heard.is_some_and(|heard| heard + REFERENCE_WITHIN > now)
    }

    /// It answers with its own epoch; from a server that does not lead this is no report.
    fn ask_reference(&mut self, now: Duration) {
        // Without an epoch: a reference service that lost its disk would take the sender for the holder of the one that it names.
        let report = Report {
            name: self.name.clone(),
            epoch: Epoch::default(),
            reached: self.reached(now, REACHED_WITHIN),
        };
        self.acts.push(Act::Ask(ReferenceCall::Report(report)));
    }

    /// How many members were heard within this time, this one included.
    fn reached(&self, now: Duration, within: Duration) -> u32 {
        let is_reached =
            |name: &&ServerName| **name == self.name || self.contacts.has_heard(now, name, within);
        u32::try_from(self.members.iter().filter(is_reached).count()).unwrap_or(u32::MAX)
    }

    /// Without randomness: the better a server, the sooner it suspects, and no two at once.
    fn jitter(&self) -> Duration {
        let place = self.members.iter().position(|name| *name == self.name).unwrap_or_default();
        let of_place = JITTER_OF_PLACE * u32::try_from(place).unwrap_or_default();
        let of_boot = u128::from(self.boot.0) % JITTER_OF_BOOT.as_millis();
        of_place + Duration::from_millis(u64::try_from(of_boot).unwrap_or_default())
    }

    /// How long a coordinator may be silent.
    fn suspicion(&self) -> Duration {
        SUSPECT_COORDINATOR_AFTER + self.jitter()
    }

    fn send(&mut self, to: &ServerName, message: Message) {
        self.acts.push(Act::Send { to: to.clone(), message });
    }

    fn is_better(&self, name: &ServerName) -> bool {
        self.settings.order.prefers(name, &self.name)
    }

    /// The server with which the coordinator would leave its office: the best of the members that it reaches.
    fn best_reached(&self, now: Duration) -> Option<&ServerName> {
        self.members
            .iter()
            .find(|name| **name != self.name && self.contacts.has_heard(now, name, REACHED_WITHIN))
    }

    /// Whether this server is the coordinator.
    pub(crate) fn is_leading(&self) -> bool {
        matches!(self.state, State::Leading(_))
    }
}
