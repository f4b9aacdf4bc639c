//! Who the servers are, while the world goes on: what the operator does with settings and volumes (docs/adr/0007), by what the servers
//! that run say of themselves. They take the settings over one after the other, as the kubelet brings them.

use super::World;
use crate::clock::{MILLISECOND, Micros};
use crate::hosts::server::{End, Server};
use crate::node::{Alarm, Node, Role};
use crate::shared::number_of;
use papo_protocol::ServerName;
use papo_replica::{Membership, Now, Replica};

/// New settings reach a server after this, at least and at most.
const SETTINGS_TAKE: [Micros; 2] = [20 * MILLISECOND, 1200 * MILLISECOND];

impl World {
    /// Takes the next step towards so many members as are wanted, if the servers are where it needs them.
    pub(super) fn operate(&mut self) {
        let Membership { generation, mut members, mut joining, mut leaving } = self.shared.membership.clone();
        if (joining.is_empty() && leaving.is_empty() && members.len() == self.wanted)
            || !members.iter().all(|name| self.has_it(name))
        {
            return;
        }
        if let Some(name) = joining.first().cloned() {
            if !self.has_it(&name) || !self.says(&name, Replica::is_in_sync) {
                return;
            }
            members.push(name);
            joining.clear();
            self.shared.count("member_joined");
        } else if let Some(name) = leaving.first().cloned() {
            if !self.is_handing_over {
                // What the leaver has by now is all that anybody ever counted on its disk.
                self.is_handing_over = true;
            } else if self.has_it(&name) && self.says(&name, |replica, _| replica.is_released()) {
                leaving.clear();
                self.is_handing_over = false;
                self.shared.count("member_left");
                self.part(&name);
            } else {
                return;
            }
        } else if members.len() < self.wanted {
            let Some(name) = self.names.get(members.len()).cloned() else { return };
            joining.push(name);
        } else {
            leaving.extend(members.pop());
        }
        self.write_settings(Membership { generation: generation + 1, members, joining, leaving });
    }

    fn write_settings(&mut self, membership: Membership) {
        let before = std::mem::replace(&mut self.shared.membership, membership);
        let now = self.shared.now;
        self.shared.trace.line(now, || format!("the settings say {:?}", self.shared.membership));
        self.shared.members_changed_at = now;
        self.shared.note_members();
        self.reference.set_members(&self.shared);
        for name in self.shared.membership.all().cloned().collect::<Vec<_>>() {
            let Some(node) = number_of(&name).map(Node::server) else { continue };
            if before.all().any(|known| *known == name) {
                let [least, most] = SETTINGS_TAKE;
                let at = now + self.settings_random.within(least, most);
                self.shared.alarm(node, at, Alarm::Settings);
            } else {
                self.start(node);
            }
        }
    }

    /// A server has gone for good, and its volume with it.
    fn part(&mut self, name: &ServerName) {
        let Some(node) = number_of(name).map(Node::server) else { return };
        self.end_server(node, End::Left, 0);
        self.shared.checker.on_ceiling(node.number, true);
        self.shared.checker.epochs.on_harmed(node.number);
        let last = self.shared.network.last();
        if let Some(volume) = self.shared.volumes.get_mut(node.number) {
            volume.roll_back(self.shared.now, volume.commits(), last);
        }
    }

    /// Whether a server says that it has the settings as they are.
    fn has_it(&self, name: &ServerName) -> bool {
        let generation = self.shared.membership.generation;
        self.says(name, |replica, _| replica.membership().generation >= generation)
    }

    /// What a server says of itself; nothing unless it runs.
    fn says(&self, name: &ServerName, what: impl Fn(&Replica, Now) -> bool) -> bool {
        number_of(name).is_some_and(|number| {
            let node = Node::server(number);
            let replica = self.servers.get(number).and_then(Server::replica);
            self.shared.is_awake(node)
                && replica.is_some_and(|replica| what(replica, self.shared.clock(node)))
        })
    }

    /// Whether as many servers are members as are wanted, and no change is under way.
    pub(super) fn is_settled(&self) -> bool {
        let Membership { members, joining, leaving, .. } = &self.shared.membership;
        members.len() == self.wanted && joining.is_empty() && leaving.is_empty()
    }

    /// From now on so many members are wanted: one more, or one less.
    pub(super) fn want(&mut self, amount: u64) -> bool {
        if !self.is_settled() {
            return false;
        }
        let more = self.wanted < self.servers.len() && (amount.is_multiple_of(2) || self.wanted <= 2);
        self.wanted = if more { self.wanted + 1 } else { self.wanted.saturating_sub(1).max(1) };
        true
    }

    /// Whether a process may run: of servers those that the settings name.
    pub(super) fn may_run(&self, node: Node) -> bool {
        node.role != Role::Server
            || self.shared.membership.all().any(|name| number_of(name) == Some(node.number))
    }
}
