//! What each fault does, and undoes.

use super::{RESTART_AFTER, World};
use crate::clock::{MILLISECOND, Micros};
use crate::hosts::server::End;
use crate::network::SLOWNESS_MAX;
use crate::node::{Node, Role};
use crate::plan::{Fault, FaultKind};
use crate::queue::Event;
use crate::shared::Shared;

/// By how many milliseconds a liar is off.
const LIE: i64 = 3_600_000;
/// Commits that a volume loses at most when it is rolled back, and when its disk lied about the last.
const ROLLED_BACK_MAX: u64 = 40;
const SYNC_LOST_MAX: u64 = 3;

impl World {
    pub(super) fn begin_fault(&mut self, index: usize) {
        let Some(fault) = self.plan.faults.get(index).cloned() else { return };
        if self.healed_at.is_some() {
            return;
        }
        let now = self.shared.now;
        self.shared.trace.line(now, || format!("fault {index}: {fault:?}"));
        let server = Node::server(fault.target % self.plan.servers);
        let broker = Node::broker(fault.target % self.plan.brokers);
        let proxy = Node::proxy(fault.target % self.plan.proxies);
        let mut ends = false;
        let mut happens = true;
        match fault.kind {
            FaultKind::ConnectionsCut => {
                let nodes = self.shared.nodes(&[Role::Server, Role::Broker, Role::Proxy, Role::Client]);
                if let Some(node) = nodes.get(fault.target % nodes.len().max(1)) {
                    let Shared { network, queue, .. } = &mut self.shared;
                    network.cut_all(now, *node, queue);
                }
            }
            FaultKind::Partition | FaultKind::OneWayPartition | FaultKind::SlowLink => {
                ends = true;
                self.change_network(&fault, true);
            }
            FaultKind::ServerKilled => self.end_server(server, End::Killed, fault.length),
            FaultKind::ServerPowerLost => self.end_server(server, End::PowerLost, fault.length),
            FaultKind::ServerLeaves => {
                happens = self.shared.is_awake(server)
                    && self.servers.get(server.number).is_some_and(|server| !server.is_leaving());
                if let (true, Some(host)) = (happens, self.servers.get_mut(server.number)) {
                    host.leave(&mut self.shared);
                }
            }
            FaultKind::BrokerKilled => self.end_broker(broker, fault.length),
            FaultKind::ProxyKilled => self.end_proxy(proxy, fault.length),
            FaultKind::ServerPaused => happens = self.pause(server, fault.length),
            FaultKind::BrokerPaused => happens = self.pause(broker, fault.length),
            FaultKind::ProxyPaused => happens = self.pause(proxy, fault.length),
            FaultKind::DiskFull | FaultKind::DiskSlow => {
                ends = true;
                self.change_disk(&fault, true);
            }
            FaultKind::FsyncError => {
                if let Some(volume) = self.shared.volumes.get_mut(server.number) {
                    volume.fails_next = true;
                }
            }
            FaultKind::VolumeRolledBack | FaultKind::VolumeReplaced | FaultKind::SyncLost => {
                happens = self.harm(server, &fault);
            }
            FaultKind::ClockJump => {
                let milliseconds = i64::try_from(fault.amount % 20_000).unwrap_or(0) - 10_000;
                self.shared.checker.times.on_disturbed();
                if let Some(process) = self.shared.processes.get_mut(&server) {
                    process.clock.jump(milliseconds);
                }
            }
            FaultKind::ReferenceCutOff | FaultKind::PeersCutOff => {
                ends = true;
                self.change_network(&fault, true);
            }
            FaultKind::ReferenceKilled => self.end_reference(fault.length),
            FaultKind::ReferencePaused => happens = self.pause(Node::reference(), fault.length),
            FaultKind::ReferenceRolledBack => {
                self.end_reference(fault.length);
                self.reference.roll_back(&mut self.shared, fault.amount);
            }
            FaultKind::ReferenceDiskSlow => {
                ends = true;
                self.reference.slow_down(true);
            }
            FaultKind::MembersChange => happens = self.want(fault.amount),
            FaultKind::Liar => {
                let hour = if fault.amount.is_multiple_of(2) { LIE } else { -LIE };
                if let Some(process) = self.shared.processes.get_mut(&server) {
                    process.clock.lie(hour);
                }
            }
            // From the start on.
            FaultKind::ClockSkew | FaultKind::ClockDrift => {}
        }
        if happens {
            *self.faults.entry(fault.kind).or_default() += 1;
        }
        if ends {
            self.shared.queue.at(now + fault.length, Event::FaultEnds(index));
        }
    }

    pub(super) fn end_fault(&mut self, index: usize) {
        let Some(fault) = self.plan.faults.get(index).cloned() else { return };
        self.shared.trace.line(self.shared.now, || format!("fault {index} ends"));
        match fault.kind {
            FaultKind::Partition
            | FaultKind::OneWayPartition
            | FaultKind::SlowLink
            | FaultKind::ReferenceCutOff
            | FaultKind::PeersCutOff => self.change_network(&fault, false),
            FaultKind::ReferenceDiskSlow => self.reference.slow_down(false),
            FaultKind::DiskFull | FaultKind::DiskSlow => self.change_disk(&fault, false),
            _ => {}
        }
    }

    /// The directions that a fault of the network concerns.
    fn directions(&self, fault: &Fault) -> Vec<(Node, Node)> {
        let server = Node::server(fault.target % self.plan.servers);
        let both = |other: Node| vec![(server, other), (other, server)];
        match fault.kind {
            FaultKind::ReferenceCutOff => return both(Node::reference()),
            FaultKind::PeersCutOff => {
                let after = 1 + fault.other % self.plan.servers.saturating_sub(1).max(1);
                return both(Node::server((server.number + after) % self.plan.servers));
            }
            _ => {}
        }
        let others = self.shared.nodes(&[Role::Server, Role::Broker, Role::Proxy, Role::Reference]);
        let others: Vec<Node> = others.into_iter().filter(|node| *node != server).collect();
        if fault.kind == FaultKind::Partition {
            // From all, or from the other servers only.
            let all = fault.amount.is_multiple_of(2);
            let cut = others.iter().filter(|node| all || node.role == Role::Server);
            return cut.flat_map(|other| [(server, *other), (*other, server)]).collect();
        }
        let Some(other) = others.get(fault.other % others.len().max(1)) else { return Vec::new() };
        vec![if fault.amount.is_multiple_of(2) { (server, *other) } else { (*other, server) }]
    }

    fn change_network(&mut self, fault: &Fault, begins: bool) {
        for (from, to) in self.directions(fault) {
            let Shared { network, queue, now, .. } = &mut self.shared;
            match (fault.kind, begins) {
                (FaultKind::SlowLink, true) => {
                    let least = 20 * MILLISECOND;
                    network.slow_down(*now, from, to, least + fault.amount % (SLOWNESS_MAX - least));
                }
                (FaultKind::SlowLink, false) => network.slow_down(*now, from, to, 0),
                (_, true) => network.block(*now, from, to, queue),
                (_, false) => network.unblock(*now, from, to, queue),
            }
        }
    }

    fn change_disk(&mut self, fault: &Fault, begins: bool) {
        let Some(volume) = self.shared.volumes.get_mut(fault.target % self.plan.servers) else { return };
        if fault.kind == FaultKind::DiskFull {
            volume.fill(self.shared.now, begins);
        } else {
            volume.slow_down(self.shared.now, begins);
        }
    }

    fn pause(&mut self, node: Node, length: Micros) -> bool {
        let now = self.shared.now;
        let Some(process) = self.shared.processes.get_mut(&node) else { return false };
        if !process.up || process.paused_at.is_some() {
            return false;
        }
        process.paused_at = Some(now);
        self.shared.queue.at(now + length, Event::Resume(node));
        true
    }

    fn end_broker(&mut self, node: Node, length: Micros) {
        if let Some(broker) = self.brokers.get_mut(node.number) {
            broker.end();
        }
        self.end(node, false, length);
    }

    fn end_reference(&mut self, length: Micros) {
        self.reference.end(&mut self.shared);
        self.end(Node::reference(), false, length);
    }

    fn end_proxy(&mut self, node: Node, length: Micros) {
        if let Some(proxy) = self.proxies.get_mut(node.number) {
            proxy.end();
        }
        self.end(node, false, length);
    }

    /// Takes from a volume what it had promised to keep, unless too many were harmed already. The server ends first.
    fn harm(&mut self, server: Node, fault: &Fault) -> bool {
        // While the members change a disk counts for more than one majority.
        let members = self.shared.members();
        if !self.is_settled()
            || !members.contains(&server.number)
            || !self.harm.admit(server.number, members.len())
        {
            return false;
        }
        let how = if fault.kind == FaultKind::SyncLost { End::PowerLost } else { End::Killed };
        self.end_server(server, how, fault.length.max(RESTART_AFTER));
        let Some(volume) = self.shared.volumes.get_mut(server.number) else { return false };
        let commits = match fault.kind {
            FaultKind::VolumeReplaced => volume.commits(),
            FaultKind::SyncLost => usize::try_from(1 + fault.amount % SYNC_LOST_MAX).unwrap_or(1),
            _ => usize::try_from(1 + fault.amount % ROLLED_BACK_MAX).unwrap_or(1),
        };
        self.shared.checker.epochs.on_harmed(server.number);
        let gone = volume.roll_back(self.shared.now, commits, self.shared.network.last());
        self.shared.count("volume_harmed");
        // Nobody can say what the server had said.
        self.shared.checker.on_ceiling(server.number, true);
        self.shared.checker.on_harm(gone, &self.shared.volumes);
        true
    }
}
