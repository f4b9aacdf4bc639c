//! A server's volume: batches of operations that are committed whole or not at all, and the Lamport ceiling. What harms a volume
//! is here; when it does is the plan's business.

use crate::clock::Micros;
use crate::node::ConnectionId;
use papo_protocol::lamport::Lamport;
use papo_protocol::{Boot, Epoch, Identity};
use papo_replica::{KeptClock, Moment, Offset, Op, VersionVector};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Lamport values that may be sent beyond the last one stored. Far fewer than a real server has, so that it matters.
const LAMPORT_LEASE: u64 = 8;

/// Times that may be given out beyond the last one stored (`node` has the same).
const TIME_LEASE: Duration = Duration::from_secs(2);

/// One commit.
#[derive(Debug, Clone)]
struct Commit {
    ops: Vec<Arc<Op>>,
    /// As they were then.
    ceiling: Lamport,
    shown: VersionVector,
    epoch: Epoch,
    clock: KeptClock,
}

/// What a batch stores beside operations, in place of what was stored before; `None` while that is the same.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What is shown.
    pub shown: Option<VersionVector>,
    /// The highest epoch of a coordinator.
    pub epoch: Option<Epoch>,
}

/// What is on one server's disk.
#[derive(Debug, Default)]
pub struct Volume {
    commits: Vec<Commit>,
    /// How many operations of each identity are on it.
    identities: BTreeMap<Identity, u32>,
    /// How many operations of each boot are on it.
    counts: HashMap<Boot, u64>,
    /// The same of before it was harmed, and after which connection that was.
    ghosts: HashMap<Boot, u64>,
    harmed_after: Option<ConnectionId>,
    harmed_at: Option<Micros>,
    troubled_until: Micros,
    ceiling: Lamport,
    shown: VersionVector,
    epoch: Epoch,
    clock: KeptClock,
    /// Faults by which it is full.
    full: u32,
    /// Faults by which it is slow.
    slow: u32,
    /// Its next fsync fails.
    pub fails_next: bool,
}

impl Volume {
    /// Writes a batch and fsyncs it.
    pub fn commit(&mut self, ops: &[Arc<Op>], beside: Beside) {
        self.shown = beside.shown.unwrap_or_else(|| std::mem::take(&mut self.shown));
        self.epoch = beside.epoch.unwrap_or(self.epoch);
        for op in ops {
            *self.identities.entry(op.identity).or_default() += 1;
            let count = self.counts.entry(op.dot.boot).or_default();
            *count = (*count).max(op.dot.seq);
        }
        self.commits.push(Commit {
            ops: ops.to_vec(),
            ceiling: self.ceiling,
            shown: self.shown.clone(),
            epoch: self.epoch,
            clock: self.clock,
        });
    }

    /// All operations, in the order in which they were written.
    #[must_use]
    pub fn ops(&self) -> Vec<Op> {
        self.commits.iter().flat_map(|commit| &commit.ops).map(|op| Op::clone(op)).collect()
    }

    /// Whether an operation of this identity is on it.
    #[must_use]
    pub fn holds(&self, identity: &Identity) -> bool {
        self.identities.contains_key(identity)
    }

    /// The boots that wrote what is on it, or was before it was harmed.
    pub fn boots(&self) -> impl Iterator<Item = Boot> {
        self.counts.keys().chain(self.ghosts.keys()).copied()
    }

    /// How many operations of a boot are on it.
    #[must_use]
    pub fn count(&self, boot: Boot) -> u64 {
        self.counts.get(&boot).copied().unwrap_or(0)
    }

    /// How many were on it before it was harmed, while others may not know of that.
    #[must_use]
    pub fn ghosts(&self, boot: Boot) -> u64 {
        self.ghosts.get(&boot).copied().unwrap_or(0)
    }

    /// The number of the last connection of before it was harmed, while others may not know of that.
    #[must_use]
    pub fn harmed_after(&self) -> Option<ConnectionId> {
        self.harmed_after
    }

    /// Everybody knows that it was harmed.
    pub fn forget_ghosts(&mut self) {
        self.harmed_after = None;
        self.ghosts.clear();
    }

    /// When it was last harmed.
    #[must_use]
    pub fn harmed_at(&self) -> Option<Micros> {
        self.harmed_at
    }

    /// Until when it was slow or full.
    #[must_use]
    pub fn troubled_until(&self) -> Micros {
        self.troubled_until
    }

    /// What was shown.
    #[must_use]
    pub fn shown(&self) -> &VersionVector {
        &self.shown
    }

    /// The highest epoch of a coordinator.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// No Lamport value above this was ever sent.
    #[must_use]
    pub fn ceiling(&self) -> Lamport {
        self.ceiling
    }

    /// What is kept of the clock: no time above its ceiling was ever given out.
    #[must_use]
    pub fn clock(&self) -> KeptClock {
        self.clock
    }

    /// Stores ceilings above this value and this time.
    pub fn raise_ceilings(&mut self, above: Lamport, clock: KeptClock) -> (Lamport, Moment) {
        let ceiling = Lamport::new(above.get().saturating_add(LAMPORT_LEASE)).unwrap_or(Lamport::MAX);
        let time = clock.ceiling + Offset::from(TIME_LEASE);
        if !self.is_full() {
            self.ceiling = ceiling;
            self.clock = KeptClock { ceiling: time, ..clock };
        }
        (ceiling, time)
    }

    /// Stores what the clock really gave out, and what is shown: nothing comes after that.
    pub fn settle(&mut self, clock: KeptClock, shown: &VersionVector) {
        if !self.is_full() {
            self.clock = clock;
            self.shown.clone_from(shown);
        }
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full > 0
    }

    /// Whether fsync takes long.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slow > 0
    }

    /// One fault more or less fills it.
    pub fn fill(&mut self, now: Micros, begins: bool) {
        self.troubled_until = now;
        self.full = if begins { self.full + 1 } else { self.full.saturating_sub(1) };
    }

    /// One fault more or less slows it.
    pub fn slow_down(&mut self, now: Micros, begins: bool) {
        self.troubled_until = now;
        self.slow = if begins { self.slow + 1 } else { self.slow.saturating_sub(1) };
    }

    /// How many commits are on it.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.commits.len()
    }

    /// It is what it was so many commits ago. Gives the identities that are no longer on it. No connection after this one knew it
    /// before.
    pub fn roll_back(&mut self, now: Micros, commits: usize, last: ConnectionId) -> Vec<Identity> {
        self.harmed_at = Some(now);
        self.harmed_after = Some(last);
        for (boot, count) in self.counts.drain() {
            let ghosts = self.ghosts.entry(boot).or_default();
            *ghosts = (*ghosts).max(count);
        }
        let kept = self.commits.len().saturating_sub(commits);
        let lost = self.commits.split_off(kept);
        if let Some(first) = lost.first() {
            self.ceiling = self.commits.last().map_or(first.ceiling, |last| last.ceiling);
            self.clock = self.commits.last().map_or(first.clock, |last| last.clock);
        }
        self.shown = self.commits.last().map(|last| last.shown.clone()).unwrap_or_default();
        self.epoch = self.commits.last().map(|last| last.epoch).unwrap_or_default();
        if kept == 0 {
            self.ceiling = Lamport::default();
            self.clock = KeptClock::default();
        }
        for op in self.commits.iter().flat_map(|commit| &commit.ops) {
            let count = self.counts.entry(op.dot.boot).or_default();
            *count = (*count).max(op.dot.seq);
        }
        let mut gone = Vec::new();
        for op in lost.iter().flat_map(|commit| &commit.ops) {
            if let Some(count) = self.identities.get_mut(&op.identity) {
                *count -= 1;
                if *count == 0 {
                    self.identities.remove(&op.identity);
                    gone.push(op.identity);
                }
            }
        }
        gone
    }
}
