//! The world: all processes of one cluster and all who use it, from one seed. First a time of faults, then a time without, in
//! which everything must come to rest; the checker looks on all the time.
//!
//! Nothing here may ask the machine for time or chance, or depend on the order of a hash map.

mod faults;
mod membership;
mod rest;

use crate::bug::Bug;
use crate::checker::{Checker, Harm, Invariant, Violation};
use crate::clock::{CALENDAR_OFF_MAX, MILLISECOND, MachineClock, Micros, SECOND};
use crate::hosts::broker::Broker;
use crate::hosts::client::Client;
use crate::hosts::proxy::Proxy;
use crate::hosts::reference::Reference;
use crate::hosts::server::{End, Server, server_names};
use crate::hosts::subscriber::Subscriber;
use crate::network::{Item, Network};
use crate::node::{ConnectionId, Happening, Node, Role, Side};
use crate::plan::{EVENTS_MIN, FaultKind, Plan};
use crate::queue::{Event, Queue};
use crate::random::Random;
use crate::shared::{Process, Shared};
use crate::trace::Trace;
use crate::volume::Volume;
use papo_protocol::ServerName;
use papo_replica::{ClockSync, Durability, ElectionOrder, ElectionSettings, LoginPolicy};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Between two comparisons of the servers.
const LOOK_EVERY: Micros = 500 * MILLISECOND;
/// After the last fault, everything must have come to rest within this: longer than a broker's deadline and a lost pull together.
const REST_WITHIN: Micros = 50 * SECOND;
/// A better server takes over from a coordinator after this: soon enough to be seen, or as late as the settings have it.
const HAND_OVER_SOON: Duration = Duration::from_secs(2);
const HAND_OVER_LATE: Duration = Duration::from_secs(60);
/// Servers compare their clocks this often, beside every ten messages: soon enough to be seen, or as the settings have it.
const CLOCK_SYNC_SOON: Duration = Duration::from_secs(2);
const CLOCK_SYNC_LATE: Duration = Duration::from_secs(30);
/// After the last fault all servers agree on a coordinator within this: who held an election that came to nothing holds the next half a
/// minute later, and in some worlds a hand-over follows.
const AGREED_WITHIN: Micros = 45 * SECOND;
/// Seldom it takes longer than this.
const AGREED_SOON: Micros = 10 * SECOND;
/// What a client still asks after the last fault, it asks within this: in a long world, and in another.
const ASKED_UNTIL: [Micros; 2] = [2 * SECOND, 500 * MILLISECOND];
/// Publications on their way arrive within this after the last fault; a world that is not long waits no longer than it must.
const HEARD_WITHIN: [Micros; 2] = [5 * SECOND, 2500 * MILLISECOND];
/// Events that a world has before the last fault ends, at least: most of what it must have.
const EVENTS_BEFORE_HEALING: u64 = EVENTS_MIN * 3 / 4;
/// Pages of a walk at most.
const PAGES_MAX: usize = 1000;
/// A restarted process is back after this at least.
const RESTART_AFTER: Micros = 200 * MILLISECOND;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was broken, if anything was.
    pub violation: Option<Violation>,
    /// Events.
    pub events: u64,
    /// Virtual time.
    pub ended_at: Micros,
    /// Of all that happened; the same for the same plan.
    pub hash: u64,
    /// Faults that began, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often each rare path was taken.
    pub coverage: BTreeMap<&'static str, u64>,
    /// What happened, for people, if wanted.
    pub lines: Vec<String>,
}

/// One world.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    durability: Durability,
    shared: Shared,
    servers: Vec<Server>,
    brokers: Vec<Broker>,
    proxies: Vec<Proxy>,
    reference: Reference,
    clients: Vec<Client>,
    subscribers: Vec<Subscriber>,
    harm: Harm,
    faults: BTreeMap<FaultKind, u64>,
    events: u64,
    healed_at: Option<Micros>,
    looks: u64,
    hand_over: Duration,
    /// So many members are wanted.
    wanted: usize,
    /// Every member has heard that one leaves.
    is_handing_over: bool,
    names: Vec<ServerName>,
    settings_random: Random,
    agreed: bool,
    rested: bool,
}

impl World {
    /// Runs a plan to its end. Where a mind panics the world ends, and only that is known of it.
    #[must_use]
    pub fn run(plan: &Plan, bug: Option<Bug>, verbose: bool) -> Outcome {
        std::panic::catch_unwind(|| Self::run_to_end(plan, bug, verbose)).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = said.unwrap_or_default();
            Outcome {
                violation: Some(Violation { invariant: Invariant::Panics, at: 0, text }),
                events: 0,
                ended_at: 0,
                hash: 0,
                faults: BTreeMap::new(),
                coverage: BTreeMap::new(),
                lines: Vec::new(),
            }
        })
    }

    fn run_to_end(plan: &Plan, bug: Option<Bug>, verbose: bool) -> Outcome {
        let mut world = Self::new(plan, bug, verbose);
        world.begin();
        while world.shared.checker.violation.is_none()
            && !world.rested
            && let Some((at, event)) = world.shared.queue.pop()
        {
            world.shared.now = at;
            world.events += 1;
            world.step(event);
        }
        world.finish()
    }

    fn new(plan: &Plan, bug: Option<Bug>, verbose: bool) -> Self {
        let seed = plan.seed;
        let mut random = Random::stream(seed, 2);
        let login_policy = if random.once_in(5) { LoginPolicy::Unique } else { LoginPolicy::Idempotent };
        let durability = match random.within(0, 10) {
            0..2 => Durability::Local,
            2 => Durability::All,
            _ => Durability::Majority,
        };
        let every = if random.once_in(2) { CLOCK_SYNC_SOON } else { CLOCK_SYNC_LATE };
        let clock_sync = ClockSync { every_operations: 10, every };
        let lowest_leads = random.once_in(4);
        let hand_over = if random.once_in(2) { HAND_OVER_SOON } else { HAND_OVER_LATE };
        let election = ElectionSettings {
            order: if lowest_leads { ElectionOrder::Lowest } else { ElectionOrder::Highest },
            hand_over,
        };
        let mut clocks = Random::stream(seed, 3);
        let mut processes = BTreeMap::new();
        let groups = [
            (Role::Server, plan.servers),
            (Role::Broker, plan.brokers),
            (Role::Proxy, plan.proxies),
            (Role::Client, plan.clients),
            (Role::Subscriber, plan.subscribers),
            (Role::Reference, 1),
        ];
        for (role, count) in groups {
            for number in 0..count {
                // A stream of its own, so that fewer clients change nobody else's clock.
                let node = Node { role, number };
                let mut random = Random::stream(clocks.draw() ^ seed, node.index());
                let signed = |random: &mut Random, most: u64| {
                    i64::try_from(random.within(0, 2 * most + 1)).unwrap_or(0)
                        - i64::try_from(most).unwrap_or(0)
                };
                let drift = signed(&mut random, 10_000);
                let skew = signed(&mut random, CALENDAR_OFF_MAX.unsigned_abs());
                let base = random.within(SECOND, 1000 * SECOND);
                let clock = MachineClock::new(
                    base,
                    if plan.has(FaultKind::ClockDrift) { drift } else { 0 },
                    if plan.has(FaultKind::ClockSkew) { skew } else { 0 },
                );
                let process = Process {
                    incarnation: 0,
                    up: false,
                    paused_at: None,
                    stood_still: 0,
                    held: VecDeque::new(),
                    clock,
                    awake_since: 0,
                };
                processes.insert(node, process);
            }
        }
        let users = plan.clients;
        Self {
            servers: (0..plan.servers)
                .map(|number| Server::new(number, durability, login_policy, election, clock_sync))
                .collect(),
            reference: Reference::new(server_names(plan.servers)),
            brokers: (0..plan.brokers).map(|number| Broker::new(number, &mut random)).collect(),
            proxies: (0..plan.proxies).map(Proxy::new).collect(),
            clients: (0..plan.clients)
                .map(|number| {
                    let random = Random::stream(seed, Node::client(number).index());
                    Client::new(number, plan.brokers, plan.servers, users, random)
                })
                .collect(),
            subscribers: (0..plan.subscribers)
                .map(|number| {
                    let mut random = Random::stream(seed, Node::subscriber(number).index());
                    Subscriber::new(number, plan.proxies, users, &mut random)
                })
                .collect(),
            shared: Shared {
                now: 0,
                queue: Queue::default(),
                network: Network::new(Random::stream(seed, 4)),
                volumes: (0..plan.servers).map(|_| Volume::default()).collect(),
                processes,
                checker: Checker::new(durability, plan.members),
                trace: Trace::new(verbose),
                coverage: BTreeMap::new(),
                told: Vec::new(),
                bug,
                calendars_agree: !plan.has(FaultKind::ClockSkew)
                    && !plan.has(FaultKind::ClockJump)
                    && !plan.has(FaultKind::Liar),
                membership: server_names(plan.members).into(),
                members_changed_at: 0,
                lowest_leads,
                leaving: BTreeSet::new(),
                disk_random: Random::stream(seed, 5),
                boot_random: Random::stream(seed, 6),
            },
            harm: Harm::default(),
            faults: BTreeMap::new(),
            events: 0,
            healed_at: None,
            looks: 0,
            hand_over,
            wanted: plan.members,
            is_handing_over: false,
            names: server_names(plan.servers),
            settings_random: Random::stream(seed, 7),
            agreed: false,
            rested: false,
            plan: plan.clone(),
            durability,
        }
    }

    fn begin(&mut self) {
        let durability = self.durability;
        self.shared.checker.has_liar = self.plan.has(FaultKind::Liar);
        // A liar lies before it starts.
        let liars: Vec<usize> = self
            .plan
            .active()
            .filter(|(_, fault)| fault.kind == FaultKind::Liar)
            .map(|(index, _)| index)
            .collect();
        for index in liars {
            self.begin_fault(index);
        }
        self.shared.trace.line(0, || format!("durability {durability:?}"));
        for node in self.shared.processes.keys().copied().collect::<Vec<_>>() {
            self.start(node);
        }
        let active: Vec<_> = self
            .plan
            .active()
            .filter(|(_, fault)| fault.kind != FaultKind::Liar)
            .map(|(index, fault)| (index, fault.at))
            .collect();
        for (index, at) in active {
            self.shared.queue.at(at, Event::FaultBegins(index));
        }
        self.shared.queue.at(self.plan.heal_at, Event::Heal);
        self.shared.queue.at(LOOK_EVERY, Event::Look);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrival { connection, side } => self.on_arrival(connection, side),
            Event::Dial { from, incarnation, to } => self.on_dial(from, incarnation, to),
            Event::GiveUp { connection } => {
                let Shared { network, queue, now, .. } = &mut self.shared;
                network.give_up(*now, connection, queue);
            }
            Event::Own { node, incarnation, happening } => {
                if self.shared.incarnation(node) == incarnation {
                    self.deliver(node, happening);
                }
            }
            Event::FaultBegins(index) => self.begin_fault(index),
            Event::FaultEnds(index) => self.end_fault(index),
            Event::Start(node) => self.start(node),
            Event::Resume(node) => self.resume(node),
            Event::Heal => self.heal(),
            Event::Look => self.look(),
        }
    }

    fn on_arrival(&mut self, connection: ConnectionId, side: Side) {
        let Some((to, from, item)) = self.shared.network.on_arrival(self.shared.now, connection, side) else {
            return;
        };
        let trace = &mut self.shared.trace;
        trace.number(self.shared.now);
        trace.number(to.index() << 32 | from.index());
        let happening = match item {
            Item::Opened => Happening::Opened { connection, peer: from, side },
            Item::Closed => Happening::Closed { connection, peer: from },
            Item::Frames(frames) => {
                for frame in &frames {
                    trace.bytes(frame);
                }
                Happening::Frames { connection, frames }
            }
        };
        trace.line(self.shared.now, || match &happening {
            Happening::Frames { frames, .. } => {
                let bytes: usize = frames.iter().map(bytes::Bytes::len).sum();
                format!("{from} -> {to} {bytes} bytes on {}", connection.0)
            }
            Happening::Opened { .. } => format!("{to} is connected with {from} by {}", connection.0),
            _ => format!("{to} loses {from} on {}", connection.0),
        });
        self.deliver(to, happening);
    }

    /// A call succeeds when both run and can hear each other.
    fn on_dial(&mut self, from: Node, incarnation: u64, to: Node) {
        if self.shared.incarnation(from) != incarnation
            || !self.shared.processes.get(&from).is_some_and(|process| process.up)
        {
            return;
        }
        let awake = self.shared.is_awake(to);
        let Shared { network, queue, now, .. } = &mut self.shared;
        if awake && !network.is_blocked(from, to) && !network.is_blocked(to, from) {
            network.open(*now, from, to, queue);
        } else {
            self.deliver(from, Happening::Unreachable { target: to });
        }
    }

    /// Something happens to a process; one that is stopped hears of it when it goes on.
    fn deliver(&mut self, node: Node, happening: Happening) {
        let Some(process) = self.shared.processes.get_mut(&node) else { return };
        if !process.up {
            return;
        }
        if process.paused_at.is_some() {
            process.held.push_back(happening);
            return;
        }
        let shared = &mut self.shared;
        match node.role {
            Role::Server => {
                let end = self
                    .servers
                    .get_mut(node.number)
                    .and_then(|server| server.on_happening(shared, happening));
                if let Some(end) = end {
                    self.end_server(node, end, RESTART_AFTER);
                }
            }
            Role::Broker => {
                if let Some(broker) = self.brokers.get_mut(node.number) {
                    broker.on_happening(shared, happening);
                }
            }
            Role::Proxy => {
                if let Some(proxy) = self.proxies.get_mut(node.number) {
                    proxy.on_happening(shared, happening);
                }
            }
            Role::Reference => self.reference.on_happening(shared, happening),
            Role::Client => {
                if let Some(client) = self.clients.get_mut(node.number) {
                    client.on_happening(shared, happening);
                }
            }
            Role::Subscriber => {
                if let Some(subscriber) = self.subscribers.get_mut(node.number) {
                    subscriber.on_happening(shared, happening);
                }
            }
        }
    }

    fn start(&mut self, node: Node) {
        if !self.may_run(node) {
            return;
        }
        let Some(process) = self.shared.processes.get_mut(&node) else { return };
        if process.up {
            return;
        }
        process.up = true;
        process.paused_at = None;
        process.stood_still = 0;
        process.awake_since = self.shared.now;
        process.held.clear();
        process.incarnation += 1;
        self.shared.trace.line(self.shared.now, || format!("{node} starts"));
        let shared = &mut self.shared;
        match node.role {
            Role::Server => {
                shared.checker.on_start(node.number);
                shared.checker.times.on_disturbed();
                if let Some(server) = self.servers.get_mut(node.number) {
                    server.start(shared);
                }
            }
            Role::Broker => {
                if let Some(broker) = self.brokers.get_mut(node.number) {
                    broker.start(shared);
                }
            }
            Role::Proxy => {
                if let Some(proxy) = self.proxies.get_mut(node.number) {
                    proxy.start();
                }
            }
            Role::Reference => self.reference.start(shared),
            Role::Client => {
                if let Some(client) = self.clients.get_mut(node.number) {
                    client.start(shared);
                }
            }
            Role::Subscriber => {
                if let Some(subscriber) = self.subscribers.get_mut(node.number) {
                    subscriber.start(shared);
                }
            }
        }
    }

    fn resume(&mut self, node: Node) {
        let now = self.shared.now;
        let Some(process) = self.shared.processes.get_mut(&node) else { return };
        let Some(since) = process.paused_at.take() else { return };
        process.stood_still += now - since;
        process.awake_since = now;
        self.shared.trace.line(now, || format!("{node} goes on"));
        while let Some(happening) =
            self.shared.processes.get_mut(&node).and_then(|process| process.held.pop_front())
        {
            self.deliver(node, happening);
        }
    }

    /// All faults are over.
    fn heal(&mut self) {
        if self.plan.fill && self.events < EVENTS_BEFORE_HEALING {
            self.shared.queue.at(self.shared.now + SECOND / 2, Event::Heal);
            return;
        }
        self.healed_at = Some(self.shared.now);
        self.shared.checker.times.on_disturbed();
        self.shared.trace.line(self.shared.now, || "all faults are over".to_owned());
        for volume in &mut self.shared.volumes {
            volume.fails_next = false;
        }
        for node in self.shared.processes.keys().copied().collect::<Vec<_>>() {
            self.resume(node);
            self.start(node);
        }
    }

    /// A server's process ends, and starts again later.
    fn end_server(&mut self, node: Node, how: End, back_after: Micros) {
        let shared = &mut self.shared;
        if !shared.processes.get(&node).is_some_and(|process| process.up) {
            return;
        }
        shared.trace.line(shared.now, || format!("{node} ends: {how:?}"));
        if let Some(server) = self.servers.get_mut(node.number) {
            server.end(shared, how, back_after);
        }
        self.end(node, how == End::PowerLost, back_after);
    }

    /// A process ends, and starts again later.
    fn end(&mut self, node: Node, whole_machine: bool, back_after: Micros) {
        let Some(process) = self.shared.processes.get_mut(&node) else { return };
        process.up = false;
        process.paused_at = None;
        process.held.clear();
        let Shared { network, queue, now, .. } = &mut self.shared;
        network.vanish(*now, node, whole_machine, queue);
        queue.at(*now + back_after.max(RESTART_AFTER), Event::Start(node));
    }
}
