//! What all processes of a world share: time, the network, the disks, and the checker that sees everything.

use crate::bug::Bug;
use crate::checker::{Checker, Created, Invariant};
use crate::clock::{MILLISECOND, MachineClock, Micros, SECOND};
use crate::hosts::LIMITS;
use crate::network::Network;
use crate::node::{Alarm, ConnectionId, Happening, Node, Role, Side};
use crate::queue::{Event, Queue};
use crate::random::Random;
use crate::trace::Trace;
use crate::volume::{Beside, Volume};
use bytes::Bytes;
use papo_protocol::request::{Call, HistoryScope, read_request};
use papo_protocol::time::Now;
use papo_protocol::{Boot, Epoch, ServerName};
use papo_replica::{Membership, Op};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A write on a slow disk may take so long.
pub const DISK_SLOW_MAX: Micros = 2 * SECOND;
/// A server that has heard another at once for so long has no older question open.
const ASKING_TAKES: Micros = 500 * MILLISECOND;

/// Who hears others at once for so long has exchanged greetings with them, and rests from a stop.
const READY_WITHIN: Micros = SECOND;
/// A server that had no room on its disk has found out within this that there is some again; and all servers have new settings.
const ROOM_KNOWN_WITHIN: Micros = 5 * SECOND;

/// The number of a server, from 0.
#[must_use]
pub fn number_of(name: &ServerName) -> Option<usize> {
    name.as_str().rsplit_once('-')?.1.parse::<usize>().ok()?.checked_sub(1)
}

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
    /// Since when it runs without a stop.
    pub awake_since: Micros,
}

impl Process {
    /// Whether it will hear that a connection with this process is gone which is no younger than `last`.
    fn has_yet_to_lose(&self, node: Node, last: ConnectionId) -> bool {
        self.held.iter().any(|happening| {
            matches!(happening, Happening::Closed { connection, peer } if *peer == node && *connection <= last)
        })
    }
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
    /// Channels that clients have created and told each other of, past papo.
    pub told: Vec<String>,
    /// What is planted.
    pub bug: Option<Bug>,
    /// Whether all machines have the same calendar, as publishing again presumes.
    pub calendars_agree: bool,
    /// Who the servers are, as the settings say.
    pub membership: Membership,
    /// When that last changed.
    pub members_changed_at: Micros,
    /// Whether the lowest rank is the best coordinator.
    pub lowest_leads: bool,
    /// Servers that were told to stop.
    pub leaving: BTreeSet<usize>,
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

    /// Whether the calendar of a process lies.
    #[must_use]
    pub fn lies(&self, node: Node) -> bool {
        self.processes.get(&node).is_some_and(|process| process.clock.lies())
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

    /// A volume takes a batch, and what is then on enough disks stays there.
    pub fn commit(&mut self, node: Node, ops: &[Arc<Op>], mut beside: Beside) {
        beside.epoch.take_if(|_| self.bug == Some(Bug::EpochNotPersisted));
        if let Some(volume) = self.volumes.get_mut(node.number) {
            volume.commit(ops, beside);
        }
        for (number, volume) in self.volumes.iter_mut().enumerate() {
            let server = Node::server(number);
            if let Some(last) = volume.harmed_after()
                && !self.network.is_remembered(server, last)
                && !self.processes.values().any(|process| process.has_yet_to_lose(server, last))
            {
                volume.forget_ghosts();
            }
        }
        self.checker.on_commit(ops, &self.volumes);
    }

    /// Since when two processes have run and heard each other at once; `None` if they do not.
    #[must_use]
    pub fn quick_since(&self, a: Node, b: Node) -> Option<Micros> {
        let awake_since = |node| {
            let process = self.processes.get(&node).filter(|_| self.is_awake(node));
            process.map(|process| process.awake_since)
        };
        Some(self.network.quick_since(a, b)?.max(awake_since(a)?).max(awake_since(b)?))
    }

    /// A server refuses a request because something does not exist. If it was created before the request came, then neither this
    /// server nor any that it could ask without trouble has it on its disk.
    pub fn check_absence(&mut self, node: Node, body: &[u8], came_at: Micros) {
        let Ok(request) = read_request(body, &LIMITS) else { return };
        let name = match &request.call {
            Call::Publish { channel, .. } | Call::History { scope: HistoryScope::Channel(channel), .. } => {
                Created::Channel(channel.to_string())
            }
            Call::Message { dst, .. } => Created::User(dst.to_string()),
            _ => return,
        };
        let Some(creation) = self.checker.created.get(&name).filter(|creation| creation.heard_at < came_at)
        else {
            return;
        };
        let holds = |number: &usize| {
            let volume = self.volumes.get(*number);
            volume.is_some_and(|volume| volume.harmed_at().is_none_or(|at| at < creation.heard_at))
        };
        let sound_disk = self.volumes.get(node.number).is_some_and(|volume| {
            !volume.is_slow() && !volume.is_full() && volume.troubled_until() + DISK_SLOW_MAX < came_at
        });
        let can_ask = |number: &usize| {
            *number == node.number
                || (sound_disk
                    && self
                        .quick_since(node, Node::server(*number))
                        .is_some_and(|since| since + ASKING_TAKES < came_at))
        };
        let witness = creation.holders.iter().find(|number| holds(number) && can_ask(number)).copied();
        self.count("absence_checked");
        if let Some(witness) = witness {
            self.violate(Invariant::Honest, || {
                format!("{node} says that {name:?} does not exist, which {} has", Node::server(witness))
            });
        }
    }

    /// The numbers of the members.
    #[must_use]
    pub fn members(&self) -> Vec<usize> {
        self.membership.members.iter().filter_map(number_of).collect()
    }

    /// The members are others, or a server has taken that over.
    pub fn note_members(&mut self) {
        let members = self.members();
        self.checker.on_members(members, &self.volumes);
    }

    /// The reference service grants an epoch. Whoever claims has asked all that are better; if one of those could lead, it has
    /// answered.
    pub fn on_granted(&mut self, name: &ServerName, boot: Boot, epoch: Epoch) {
        let Some(claimant) = number_of(name) else { return };
        self.count("epochs_granted");
        self.checker.on_granted(self.now, claimant, boot, epoch);
        let Some(began) = self.checker.epochs.unanswered_since(boot) else { return };
        let is_better = |other: &usize| if self.lowest_leads { *other < claimant } else { *other > claimant };
        let better =
            (0..self.volumes.len()).filter(is_better).find(|other| self.would_lead(*other, claimant, began));
        if let Some(better) = better {
            let better = Node::server(better);
            self.violate(Invariant::Leads, || {
                format!("{epoch} is granted to {name}, which heard nothing of {better}, which is better and as able to lead")
            });
        }
    }

    /// Whether a server would surely have led when this other one began its election: it was a member past its start barrier, had room
    /// on its disk, and all who matter heard each other at once. None but the best may then go on to claim.
    fn would_lead(&self, server: usize, asker: usize, began: Micros) -> bool {
        let is_quick = |a, b| self.quick_since(a, b).is_some_and(|since| since + READY_WITHIN < began);
        let long_ago = |at: Micros| at == 0 || at + ROOM_KNOWN_WITHIN < began;
        let (node, asker, reference) = (Node::server(server), Node::server(asker), Node::reference());
        let has_room = self.volumes.get(server).is_some_and(|volume| {
            !volume.is_slow() && !volume.is_full() && long_ago(volume.troubled_until())
        });
        let members = self.members();
        let others =
            members.iter().filter(|other| **other != server && is_quick(node, Node::server(**other)));
        has_room
            && long_ago(self.members_changed_at)
            && members.contains(&server)
            && others.count() + 1 > members.len() / 2
            && !self.leaving.contains(&server)
            && !self.checker.epochs.may_stay_out(self.now, server)
            && is_quick(node, reference)
            && is_quick(node, asker)
            && is_quick(asker, reference)
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
