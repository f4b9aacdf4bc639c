//! Servers that are nothing but a core and an epoch on a disk, in virtual time.
//!
//! Checked after every step: an epoch has one coordinator for ever; who leads does so under the epoch on its own disk; epochs of a
//! server never fall, over restarts too; nobody is obeyed under another epoch than its own.

use super::super::{Act, Coordination, ElectionOrder, ElectionSettings, Fitness, Message, Role};
use super::reference::Reference;
use crate::constants::CHECK_WHEN_EQUAL;
use crate::notice::Notice;
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::{ReferenceAnswer, ReferenceCall};
use papo_protocol::{Boot, ServerName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two servers that can reach each other, until both know it.
const LINK_TAKES: Duration = Duration::from_millis(20);
/// Until a link that carries nothing any more is given up.
const LINK_DIES_AFTER: Duration = Duration::from_millis(2500);
/// Each server says something to the others this often, whoever leads: no more than it must, since all have the same.
const CHATTER: Duration = CHECK_WHEN_EQUAL;
const DISK_TAKES: Duration = Duration::from_millis(4);

pub fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn name(number: usize) -> ServerName {
    ServerName::new(&format!("server-{number}")).unwrap()
}

/// What happens later.
#[derive(Debug, Clone)]
enum Event {
    Message { from: usize, boot: Boot, to: usize, message: Message },
    Greeting { from: usize, boot: Boot, to: usize, epoch: Epoch },
    Asked { from: usize, boot: Boot, call: ReferenceCall },
    Answered { to: usize, boot: Boot, answer: ReferenceAnswer },
    Stored { at: usize, boot: Boot, epoch: Epoch },
    Chatter { from: usize },
}

/// One place for a server.
#[derive(Debug)]
struct Seat {
    running: Option<Coordination>,
    boot: Boot,
    /// On its disk.
    epoch: Epoch,
    writing: bool,
    disk_hangs: bool,
    is_paused: bool,
    fitness: Fitness,
    /// What comes while it is paused.
    kept: Vec<Event>,
}

/// All of it.
pub struct World {
    pub now: Duration,
    pub reference: Reference,
    settings: ElectionSettings,
    seats: BTreeMap<usize, Seat>,
    members: Vec<ServerName>,
    queue: BTreeMap<(Duration, u64), Event>,
    last_event: u64,
    random: u64,
    /// Pairs that cannot reach each other, and since when; those that are linked.
    cut: BTreeMap<(usize, usize), Duration>,
    linked: BTreeSet<(usize, usize)>,
    /// Servers that do not reach the reference service.
    pub cut_off: BTreeSet<usize>,
    /// So many messages are lost.
    pub losing: u32,
    led: BTreeMap<Epoch, usize>,
    /// What was granted, in its order.
    pub granted: Vec<Epoch>,
    pub notices: Vec<(Duration, usize, Notice)>,
    pub announced: Vec<(Duration, usize, Epoch)>,
    /// Messages that were sent.
    pub sent: Vec<(Duration, usize, usize, Message)>,
}

impl World {
    /// So many servers, which start now.
    pub fn new(servers: usize, order: ElectionOrder, seed: u64) -> Self {
        let mut world = Self {
            now: seconds(10),
            reference: Reference { is_up: true, ..Reference::default() },
            settings: ElectionSettings { order, hand_over: seconds(60) },
            seats: BTreeMap::new(),
            members: (1..=servers).map(name).collect(),
            queue: BTreeMap::new(),
            last_event: 0,
            random: seed,
            cut: BTreeMap::new(),
            linked: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            losing: 0,
            led: BTreeMap::new(),
            granted: Vec::new(),
            notices: Vec::new(),
            announced: Vec::new(),
            sent: Vec::new(),
        };
        for number in 1..=servers {
            let phase = CHATTER.mul_f64((world.draw() % 100) as f64 / 100.0);
            world.later(phase, Event::Chatter { from: number });
            world.seats.insert(
                number,
                Seat {
                    running: None,
                    boot: Boot(0),
                    epoch: Epoch::default(),
                    writing: false,
                    disk_hangs: false,
                    is_paused: false,
                    fitness: Fitness::Fit,
                    kept: Vec::new(),
                },
            );
            world.start(number);
        }
        world
    }

    fn draw(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.last_event += 1;
        self.queue.insert((self.now + after, self.last_event), event);
    }

    pub fn numbers(&self) -> Vec<usize> {
        self.seats.keys().copied().collect()
    }

    pub fn start(&mut self, number: usize) {
        let boot = Boot((self.draw() << 32) | self.draw());
        let (now, settings, members) = (self.now, self.settings, self.members.clone());
        let seat = self.seats.get_mut(&number).unwrap();
        if seat.running.is_some() {
            return;
        }
        seat.boot = boot;
        seat.fitness = Fitness::Fit;
        seat.running = Some(Coordination::new(now, name(number), boot, settings, &members, seat.epoch));
        self.with(number, |core, now| core.on_fitness(now, Fitness::Fit));
        self.link();
    }

    /// As `kill -9` does.
    pub fn kill(&mut self, number: usize) {
        let seat = self.seats.get_mut(&number).unwrap();
        if seat.running.take().is_none() {
            return;
        }
        seat.writing = false;
        seat.is_paused = false;
        seat.kept.clear();
        for other in self.numbers() {
            if self.linked.remove(&pair(number, other)) {
                self.with(other, |core, now| core.on_gone(now, &name(number)));
            }
        }
    }

    /// The volume is gone with the process.
    pub fn lose_disk(&mut self, number: usize) {
        self.kill(number);
        self.seats.get_mut(&number).unwrap().epoch = Epoch::default();
    }

    pub fn pause(&mut self, number: usize) {
        self.seats.get_mut(&number).unwrap().is_paused = true;
    }

    pub fn resume(&mut self, number: usize) {
        let seat = self.seats.get_mut(&number).unwrap();
        if !std::mem::take(&mut seat.is_paused) {
            return;
        }
        let kept = std::mem::take(&mut seat.kept);
        // The time shows before what waits in the sockets is read.
        self.with(number, Coordination::tick);
        for event in kept {
            self.happen(event);
        }
        for other in self.numbers() {
            // The other end has given the link up.
            if other != number && !self.linked.contains(&pair(number, other)) {
                self.with(number, |core, now| core.on_gone(now, &name(other)));
            }
        }
        self.link();
    }

    pub fn cut(&mut self, one: usize, other: usize) {
        let now = self.now;
        self.cut.entry(pair(one, other)).or_insert(now);
    }

    /// Cuts this server off from all others.
    pub fn isolate(&mut self, number: usize) {
        for other in self.numbers() {
            if other != number {
                self.cut(number, other);
            }
        }
    }

    pub fn heal(&mut self, one: usize, other: usize) {
        self.cut.remove(&pair(one, other));
        self.link();
    }

    pub fn heal_all(&mut self) {
        self.cut.clear();
        self.cut_off.clear();
        self.losing = 0;
        if !self.reference.is_up {
            self.restart_reference();
        }
        for number in self.numbers() {
            self.resume(number);
            self.set_disk_hangs(number, false);
            self.set_fitness(number, Fitness::Fit);
            self.start(number);
        }
        self.link();
    }

    pub fn set_fitness(&mut self, number: usize, fitness: Fitness) {
        self.seats.get_mut(&number).unwrap().fitness = fitness;
        self.with(number, |core, now| core.on_fitness(now, fitness));
    }

    pub fn set_disk_hangs(&mut self, number: usize, hangs: bool) {
        self.seats.get_mut(&number).unwrap().disk_hangs = hangs;
        let fitness = if hangs { Fitness::Impaired } else { Fitness::Fit };
        self.set_fitness(number, fitness);
    }

    /// The reference service answers a heartbeat of this server's body.
    pub fn answer_heartbeat(&mut self, number: usize) {
        self.with(number, |core, now| core.on_reference(now, ReferenceAnswer::Alive));
    }

    pub fn restart_reference(&mut self) {
        let epoch = self.reference.epoch;
        self.reference.restart(self.now, epoch);
    }

    /// From a copy of its volume that is so many grants old.
    pub fn roll_reference_back(&mut self, grants: usize) {
        let kept = self.granted.len().saturating_sub(grants);
        let epoch = kept.checked_sub(1).map_or(Epoch::default(), |last| self.granted[last]);
        self.reference.restart(self.now, epoch);
    }

    fn is_live(&self, number: usize) -> bool {
        self.seats[&number].running.is_some() && !self.seats[&number].is_paused
    }

    /// Opens what links can be opened.
    fn link(&mut self) {
        for one in self.numbers() {
            for other in self.numbers() {
                let pair = pair(one, other);
                let can =
                    one < other && self.is_live(one) && self.is_live(other) && !self.cut.contains_key(&pair);
                if can && self.linked.insert(pair) {
                    self.greet(one, other);
                    self.greet(other, one);
                }
            }
        }
    }

    fn greet(&mut self, from: usize, to: usize) {
        let seat = &self.seats[&from];
        let (boot, epoch) = (seat.boot, seat.running.as_ref().unwrap().leadership().epoch);
        self.later(LINK_TAKES, Event::Greeting { from, boot, to, epoch });
    }

    /// Gives up links that have carried nothing for long.
    fn unlink(&mut self) {
        for pair in self.linked.clone() {
            let silent_since = self.cut.get(&pair).copied();
            if silent_since.is_some_and(|since| since + LINK_DIES_AFTER <= self.now) {
                self.linked.remove(&pair);
                self.with(pair.0, |core, now| core.on_gone(now, &name(pair.1)));
                self.with(pair.1, |core, now| core.on_gone(now, &name(pair.0)));
            }
        }
    }

    /// A server that is paused for long is given up by the others.
    pub fn give_up(&mut self, number: usize) {
        for other in self.numbers() {
            if self.linked.remove(&pair(number, other)) && other != number {
                self.with(other, |core, now| core.on_gone(now, &name(number)));
            }
        }
    }

    /// Does something with a core, and what it then wants.
    fn with(&mut self, number: usize, act: impl FnOnce(&mut Coordination, Duration)) {
        let now = self.now;
        let seat = self.seats.get_mut(&number).unwrap();
        if seat.is_paused {
            return;
        }
        let Some(core) = seat.running.as_mut() else { return };
        act(core, now);
        let acts = core.take_acts();
        let boot = seat.boot;
        for act in acts {
            match act {
                Act::Send { to, message } => {
                    let to = self.members.iter().position(|name| *name == to).unwrap() + 1;
                    self.sent.push((now, number, to, message.clone()));
                    let after = milliseconds(1 + self.draw() % 5);
                    self.later(after, Event::Message { from: number, boot, to, message });
                }
                Act::Ask(call) => {
                    let after = milliseconds(1 + self.draw() % 3);
                    self.later(after, Event::Asked { from: number, boot, call });
                }
                Act::Announce(epoch) => self.announced.push((now, number, epoch)),
                Act::Notice(notice) => self.notices.push((now, number, notice)),
            }
        }
        self.store(number);
        self.check(number);
    }

    fn store(&mut self, number: usize) {
        let now = self.now;
        let seat = self.seats.get_mut(&number).unwrap();
        let Some(core) = &seat.running else { return };
        if let Some((epoch, not_before)) = core.to_store()
            && not_before <= now
            && !seat.writing
            && !seat.disk_hangs
        {
            seat.writing = true;
            let boot = seat.boot;
            self.later(DISK_TAKES, Event::Stored { at: number, boot, epoch });
        }
    }

    fn check(&mut self, number: usize) {
        let seat = &self.seats[&number];
        let Some(core) = &seat.running else { return };
        let leadership = core.leadership();
        assert_eq!(leadership.epoch, seat.epoch, "what is adopted is on the disk");
        match leadership.role {
            Role::Leading => {
                assert_eq!(leadership.epoch.boot, seat.boot, "nobody leads another's epoch");
                let first = *self.led.entry(leadership.epoch).or_insert(number);
                assert_eq!(first, number, "an epoch has one coordinator");
                assert_eq!(core.to_store(), None, "who has heard of a higher epoch leads no more");
            }
            Role::Following => {
                let leader = self.led.get(&leadership.epoch).map(|leader| name(*leader));
                assert_eq!(
                    leadership.coordinator,
                    leader.as_ref(),
                    "an epoch is followed to its coordinator"
                );
            }
            Role::Electing | Role::Leaderless => {}
        }
    }

    /// What came late.
    pub fn deliver(&mut self, from: usize, to: usize, message: &Message) {
        let boot = self.seats[&from].boot;
        self.with(to, |core, now| core.on_message(now, &name(from), boot, message));
    }

    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        if self.losing > 0 {
            self.losing -= 1;
            return true;
        }
        self.cut.contains_key(&pair(from, to))
    }

    fn happen(&mut self, event: Event) {
        let receiver = match &event {
            Event::Message { to, .. } | Event::Greeting { to, .. } | Event::Answered { to, .. } => Some(*to),
            Event::Stored { at, .. } => Some(*at),
            Event::Asked { .. } | Event::Chatter { .. } => None,
        };
        if let Some(seat) = receiver.and_then(|receiver| self.seats.get_mut(&receiver))
            && seat.is_paused
        {
            return seat.kept.push(event);
        }
        match event {
            Event::Message { from, boot, to, message } => {
                if !self.is_lost(from, to) && self.linked.contains(&pair(from, to)) {
                    self.with(to, |core, now| {
                        core.on_heard(now, &name(from));
                        core.on_message(now, &name(from), boot, &message);
                    });
                }
            }
            Event::Greeting { from, boot, to, epoch } => {
                if self.linked.contains(&pair(from, to)) && self.seats[&from].boot == boot {
                    self.with(to, |core, now| core.on_greeting(now, &name(from), boot, epoch));
                }
            }
            Event::Asked { from, boot, call } => {
                if !self.reference.is_up || self.cut_off.contains(&from) {
                    return;
                }
                let before = self.reference.epoch;
                let answer = self.reference.answer(self.now, &call);
                if self.reference.epoch != before {
                    self.granted.push(self.reference.epoch);
                }
                if self.losing > 0 {
                    self.losing -= 1;
                } else {
                    self.later(milliseconds(1), Event::Answered { to: from, boot, answer });
                }
            }
            Event::Answered { to, boot, answer } => {
                if self.seats[&to].boot == boot {
                    self.with(to, |core, now| core.on_reference(now, answer));
                }
            }
            Event::Stored { at, boot, epoch } => {
                let seat = self.seats.get_mut(&at).unwrap();
                if seat.boot == boot && seat.running.is_some() {
                    seat.writing = false;
                    assert!(epoch > seat.epoch, "epochs only grow");
                    seat.epoch = epoch;
                    self.with(at, |core, now| core.on_stored(now, epoch));
                }
            }
            Event::Chatter { from } => {
                for other in self.numbers() {
                    let link = pair(from, other);
                    let is_open = self.linked.contains(&link) && !self.cut.contains_key(&link);
                    if is_open && self.is_live(from) && self.is_live(other) {
                        self.with(other, |core, now| core.on_heard(now, &name(from)));
                    }
                }
                self.unlink();
                self.later(CHATTER, Event::Chatter { from });
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let ticks = self
                .seats
                .iter()
                .filter(|(_, seat)| !seat.is_paused)
                .filter_map(|(number, seat)| Some((seat.running.as_ref()?.next_tick()?, *number)));
            let tick = ticks.min();
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next = [tick.map(|(at, _)| at), event].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            if event == Some(next) {
                let (_, event) = self.queue.pop_first().unwrap();
                self.happen(event);
            } else if let Some((_, number)) = tick {
                self.with(number, Coordination::tick);
            }
        }
        self.now = end;
    }

    /// Whether all servers that run obey this one, in one epoch.
    pub fn all_follow(&self, number: usize) -> bool {
        let leaderships: Vec<_> =
            self.seats.values().filter_map(|seat| Some(seat.running.as_ref()?.leadership())).collect();
        let epoch = leaderships.first().map(|leadership| leadership.epoch);
        let leader = name(number);
        leaderships
            .iter()
            .all(|leadership| leadership.coordinator == Some(&leader) && Some(leadership.epoch) == epoch)
    }

    /// As [`Self::until_all_follow`], of the others than this one.
    #[track_caller]
    pub fn until_all_follow_but(&mut self, but: usize, number: usize, at_most: Duration) {
        let began = self.now;
        let others: Vec<usize> = self.numbers().into_iter().filter(|other| *other != but).collect();
        while !others.iter().all(|other| self.coordinator(*other) == Some(name(number))) {
            assert!(self.now < began + at_most, "{}", self.story());
            self.pass(milliseconds(10));
        }
    }

    /// Whom this server obeys.
    pub fn coordinator(&self, number: usize) -> Option<ServerName> {
        self.seats[&number].running.as_ref()?.leadership().coordinator.cloned()
    }

    /// What happened, for a test that failed.
    pub fn story(&self) -> String {
        let lines = self.notices.iter().map(|(at, by, notice)| format!("{at:?} server-{by}: {notice:?}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn role(&self, number: usize) -> Role {
        self.seats[&number].running.as_ref().unwrap().leadership().role
    }

    pub fn epoch(&self, number: usize) -> Epoch {
        self.seats[&number].epoch
    }

    /// How many elections this server has begun since then.
    pub fn elections(&self, number: usize, since: Duration) -> usize {
        self.notices
            .iter()
            .filter(|(at, by, notice)| {
                *at >= since && *by == number && matches!(notice, Notice::ElectionBegun { .. })
            })
            .count()
    }

    /// Passes time until all that run obey this server, and says how long it took.
    #[track_caller]
    pub fn until_all_follow(&mut self, number: usize, at_most: Duration) -> Duration {
        let began = self.now;
        while !self.all_follow(number) {
            let obeyed: Vec<_> = self.numbers().into_iter().map(|number| self.coordinator(number)).collect();
            assert!(self.now < began + at_most, "{obeyed:?} after {at_most:?}, {}", self.story());
            self.pass(milliseconds(10));
        }
        self.now - began
    }
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}
