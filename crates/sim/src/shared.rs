//! What all processes of a world share: time, the network, the disks, and the checker that sees everything.

use crate::bug::Bug;
use crate::checker::{Checker, Invariant};
use crate::clock::{MachineClock, Micros};
use crate::network::Network;
use crate::node::{Alarm, ConnectionId, Happening, Node, Role, Side};
use crate::queue::{Event, Queue};
use crate::random::Random;
use crate::trace::Trace;
use crate::volume::Volume;
use bytes::Bytes;
use papo_protocol::time::Now;
use std::collections::{BTreeMap, VecDeque};

/// Whether a process runs.
#[derive(Debug)]
pub struct Process {
    /// Counts its starts.
    pub incarnation: u64,
    /// Whether it runs, or is stopped.
    pub up: bool,
    /// Since when it is stopped.
    pub paused_at: Option<Micros>,
    /// For how long it was stopped in this incarnation.
    pub stood_still: Micros,
    /// What came while it was stopped.
    pub held: VecDeque<Happening>,
    /// What it thinks the time is.
    pub clock: MachineClock,
}

/// What all processes share.
#[derive(Debug)]
pub struct Shared {
    /// The time.
    pub now: Micros,
    /// What will happen.
    pub queue: Queue,
    /// Connections.
    pub network: Network,
    /// The servers' disks.
    pub volumes: Vec<Volume>,
    /// Every process.
    pub processes: BTreeMap<Node, Process>,
    /// What must hold.
    pub checker: Checker,
    /// What happened.
    pub trace: Trace,
    /// How often each rare path was taken.
    pub coverage: BTreeMap<&'static str, u64>,
    /// What is planted.
    pub bug: Option<Bug>,
    /// Whether all machines have the same calendar, as publishing again presumes.
    pub calendars_agree: bool,
    /// Chance of disks.
    pub disk_random: Random,
    /// Chance of boots.
    pub boot_random: Random,
}

impl Shared {
    /// Sends on a connection.
    pub fn send(&mut self, connection: ConnectionId, from: Side, frames: Vec<Bytes>) {
        self.network.send(self.now, connection, from, frames, &mut self.queue);
    }

    /// Closes a connection.
    pub fn close(&mut self, connection: ConnectionId, from: Side) {
        self.network.close(self.now, connection, from, &mut self.queue);
    }

    /// Calls another process in a moment.
    pub fn dial(&mut self, from: Node, to: Node) {
        let at = self.now + self.network.dial_delay();
        let incarnation = self.incarnation(from);
        self.queue.at(at, Event::Dial { from, incarnation, to });
    }

    /// Has an alarm ring in this process, unless it ends before.
    pub fn alarm(&mut self, node: Node, at: Micros, alarm: Alarm) {
        let incarnation = self.incarnation(node);
        let happening = Happening::Alarm(alarm);
        self.queue.at(at.max(self.now), Event::Own { node, incarnation, happening });
    }

    /// How often a process has started.
    #[must_use]
    pub fn incarnation(&self, node: Node) -> u64 {
        self.processes.get(&node).map_or(0, |process| process.incarnation)
    }

    /// Whether a process runs and is not stopped.
    #[must_use]
    pub fn is_awake(&self, node: Node) -> bool {
        self.processes.get(&node).is_some_and(|process| process.up && process.paused_at.is_none())
    }

    /// What a process thinks the time is.
    #[must_use]
    pub fn clock(&self, node: Node) -> Now {
        self.processes
            .get(&node)
            .map_or_else(|| MachineClock::new(0, 0, 0).read(self.now), |process| process.clock.read(self.now))
    }

    /// How long a process has run in this incarnation, or would have, had nobody stopped it.
    #[must_use]
    pub fn stood_still(&self, node: Node) -> Micros {
        self.processes.get(&node).map_or(0, |process| process.stood_still)
    }

    /// All processes of these roles.
    #[must_use]
    pub fn nodes(&self, roles: &[Role]) -> Vec<Node> {
        self.processes.keys().filter(|node| roles.contains(&node.role)).copied().collect()
    }

    /// All proxies.
    #[must_use]
    pub fn proxies(&self) -> Vec<Node> {
        self.nodes(&[Role::Proxy])
    }

    /// Counts a rare path.
    pub fn count(&mut self, path: &'static str) {
        *self.coverage.entry(path).or_default() += 1;
    }

    /// Takes note that an invariant does not hold. The first counts.
    pub fn violate(&mut self, invariant: Invariant, text: impl FnOnce() -> String) {
        self.checker.violate(self.now, invariant, text);
    }
}
