//! When an operation counts as kept, and by whom a server must have been heard before it writes.
//!
//! An operation is *durable* when the promised number of members have fsynced it, this server among them if it is one. It is
//! shown from then on, here and wherever this server's word of it comes, whatever becomes of boots, members or durability later.

use super::{Effect, Now, Replica};
use crate::constants::{REPUBLISH_WITHIN, START_WAIT};
use crate::membership::Standing;
use crate::op::Op;
use crate::planted::Planted;
use crate::vector::Writer;
use papo_protocol::ServerName;
use std::time::Duration;

/// On how many disks a write must be before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On that of the server that took it.
    Local,
    /// On those of more than half of the members.
    #[default]
    Majority,
    /// On those of all members.
    All,
}

impl Durability {
    /// So many of the members.
    fn disks(self, members: usize) -> usize {
        match self {
            Self::Local => 1,
            Self::Majority => majority(members),
            Self::All => members,
        }
    }
}

fn majority(members: usize) -> usize {
    members / 2 + 1
}

impl Replica {
    fn members(&self) -> &[ServerName] {
        &self.settings.membership.members
    }

    /// Whether it is of interest what this server has: it counts, or may soon, or did.
    pub(super) fn is_of_the_cluster(&self, name: &ServerName) -> bool {
        self.settings.membership.all().any(|known| known == name)
    }

    /// How many members fulfil this; this server does if it is a member.
    fn count(&self, fulfils: impl Fn(&ServerName) -> bool) -> usize {
        self.members().iter().filter(|name| **name == self.settings.name || fulfils(name)).count()
    }

    pub(super) fn is_majority(&self, fulfils: impl Fn(&ServerName) -> bool) -> bool {
        self.count(fulfils) >= majority(self.members().len())
    }

    /// How many operations of `writer` this member has on disk, as far as known.
    fn fsynced_by(&self, member: &ServerName, writer: &Writer) -> u64 {
        if *member == self.settings.name {
            self.history.count(writer)
        } else {
            self.peers.fsynced(member, writer).max(self.plant.had(member, writer))
        }
    }

    /// On how many members' disks this operation is, as far as known.
    pub(super) fn disks_with(&self, op: &Op) -> usize {
        let writer = Writer::of(&op.dot);
        self.members().iter().filter(|member| self.fsynced_by(member, &writer) >= op.dot.seq).count()
    }

    /// How many operations of `writer` are durable as promised.
    fn durable(&self, writer: &Writer) -> u64 {
        let members = self.members();
        let mut counts: Vec<u64> = members.iter().map(|member| self.fsynced_by(member, writer)).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let live =
            self.plant.has(Planted::QuorumOverLive).then(|| self.count(|name| self.peers.is_linked(name)));
        let last = self.settings.durability.disks(live.unwrap_or(members.len())).saturating_sub(1);
        counts.get(last).copied().unwrap_or(0)
    }

    /// Shows what is durable, or was according to a peer.
    pub(super) fn show_durable(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let lagging: Vec<Writer> = self.history.lagging().cloned().collect();
        let mut newly: Vec<(Writer, u64)> = Vec::new();
        for writer in lagging {
            let mut count = self.durable(&writer).max(self.peers.claimed.get(&writer));
            if self.plant.has(Planted::ShownBeforeDurable) {
                count = u64::MAX;
            }
            let before = self.history.shown().get(&writer);
            if self.history.show(&writer, count) {
                self.news.shown.insert(writer.clone());
                self.shown_is_stored = false;
                newly.push((writer, before));
            }
        }
        for (writer, before) in newly {
            self.publish_for_the_suspected(now, &writer, before, effects);
        }
    }

    /// Whether this server may append now.
    ///
    /// It is a member. A new boot has heard from a majority, so that it rises above all that was acknowledged; and there are links
    /// to as many members as must store the write, without whom it would end in `unknown`.
    pub(super) fn may_write(&self, now: Now) -> bool {
        if self.standing() != Standing::Member {
            return false;
        }
        if self.plant.has(Planted::StartBarrierSkipped) {
            return true;
        }
        let heard = self.is_majority(|name| self.peers.heard.contains(name));
        match self.settings.durability {
            Durability::Local => heard || self.has_waited(now),
            durability @ (Durability::Majority | Durability::All) => {
                let linked = self.count(|name| self.peers.is_linked(name));
                heard && linked >= durability.disks(self.members().len())
            }
        }
    }

    /// Whether this server may answer from its history: once it had all that a majority had, or after it asked for long and there
    /// is no majority. While there is one, others know better, however long this server takes to catch up.
    pub(super) fn may_read(&self, now: Now) -> bool {
        let is_alone = || !self.is_majority(|name| self.peers.is_linked(name));
        self.has_caught_up || (self.has_waited(now) && is_alone())
    }

    fn has_waited(&self, now: Now) -> bool {
        now.monotonic >= self.started + START_WAIT
    }

    /// Whether this server has had everything that a majority of the members had within the last [`REPUBLISH_WITHIN`].
    ///
    /// Only such a server publishes its writes. Another server may have shown and published a twin (the same identity, through a
    /// retry there): this one must know it, or publish so soon after it that the proxies still remember the identity. It does.
    /// Say it publishes now, and a twin was shown elsewhere. Whoever showed the twin counted a majority of fsynced vectors, and
    /// this server covered a majority's vectors at some time in the last 30 s; so one member is in both. If that member stored the
    /// twin before it was covered, the twin is held here. If after, the twin was shown later than that, less than 30 s ago, and
    /// the proxies, which remember 60 s, drop the second. To cover all vectors that were counted for the write itself would give
    /// the same and would make each write wait for the slowest of all other writers. (Under durability `local` no two servers need
    /// have a member in common, and nothing of this kind can be had.)
    pub(super) fn is_current(&self, now: Now) -> bool {
        self.settings.durability == Durability::Local
            || self.is_majority(|name| {
                self.peers.covered.get(name).is_some_and(|at| *at + REPUBLISH_WITHIN > now.monotonic)
            })
    }

    /// Everything that this member had when it was asked is here.
    pub(super) fn note_covered(&mut self, asked: Duration, name: ServerName) {
        if self.is_of_the_cluster(&name) {
            self.peers.heard.insert(name.clone());
            let at = self.peers.covered.entry(name).or_default();
            *at = asked.max(*at);
        }
        self.note_caught_up();
    }

    /// Whether the members heard of suffice, which they may when the members change too.
    pub(super) fn note_caught_up(&mut self) {
        self.has_caught_up |= self.is_majority(|name| self.peers.covered.contains_key(name));
    }
}
