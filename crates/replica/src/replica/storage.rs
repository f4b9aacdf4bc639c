//! Operations on their way to the disk. One batch is being stored; what comes meanwhile collects in the next (group commit).
//! Nothing here is in the history yet: it is neither shown, nor reported to peers, nor acknowledged. What is shown is stored
//! along.

use super::replication::Pulled;
use super::requests::Client;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, ENTRY_OVERHEAD_BYTES, SHOWN_STORE_AT_STOP, SHOWN_STORE_INTERVAL,
    STORAGE_STUCK_AFTER,
};
use crate::op::{Op, OpKind};
use crate::planted::Planted;
use crate::vector::{VersionVector, Writer};
use papo_protocol::epoch::Epoch;
use papo_protocol::{ChannelName, Identity, UserName};
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// Operations that are stored together, and what is to be done then.
#[derive(Debug, Default)]
struct Batch {
    number: u64,
    ops: Vec<Arc<Op>>,
    bytes: usize,
    identities: HashSet<Identity>,
    users: HashSet<UserName>,
    channels: HashSet<ChannelName>,
    /// Clients to answer.
    requests: Vec<(Client, Arc<Op>)>,
    /// The epoch that is stored along.
    epoch: Option<Epoch>,
    /// Pulls whose answers are in here or in an earlier batch, and how they end once it is stored.
    pulls: Vec<(PeerLink, Pulled)>,
}

impl Batch {
    fn add(&mut self, op: Arc<Op>) {
        self.bytes += op.text_bytes() + ENTRY_OVERHEAD_BYTES;
        self.identities.insert(op.identity);
        match &op.kind {
            OpKind::Login { user } => drop(self.users.insert(user.clone())),
            OpKind::CreateChannel { channel } => drop(self.channels.insert(channel.clone())),
            OpKind::Publish { .. } | OpKind::Message { .. } => {}
        }
        self.ops.push(op);
    }
}

/// The batch being stored, and the one that collects.
#[derive(Debug, Default)]
pub(super) struct Storage {
    in_flight: Option<Batch>,
    /// Whether the disk took nothing of the last one.
    is_full: bool,
    /// When it went to the disk.
    since: Duration,
    collecting: Batch,
    /// The highest operation of each writer in either.
    highest: HashMap<Writer, u64>,
}

impl Storage {
    /// Whether another operation may be added.
    pub(super) fn has_room(&self) -> bool {
        self.collecting.ops.len() < BATCH_OPS_MAX && self.collecting.bytes < BATCH_BYTES_MAX
    }

    /// Adds an operation from a peer.
    pub(super) fn add(&mut self, op: Arc<Op>) {
        self.highest.insert(Writer::of(&op.dot), op.dot.seq);
        self.collecting.add(op);
    }

    /// Adds a client's write; the client is answered when it is stored.
    pub(super) fn add_for(&mut self, client: Client, op: Arc<Op>) {
        self.collecting.requests.push((client, Arc::clone(&op)));
        self.add(op);
    }

    /// The highest operation of `writer` on its way, 0 without one.
    pub(super) fn highest(&self, writer: &Writer) -> u64 {
        self.highest.get(writer).copied().unwrap_or(0)
    }

    fn any(&self, holds: impl Fn(&Batch) -> bool) -> bool {
        self.in_flight.as_ref().is_some_and(&holds) || holds(&self.collecting)
    }

    /// Whether an operation of this identity is on its way.
    pub(super) fn has_identity(&self, identity: &Identity) -> bool {
        self.any(|batch| batch.identities.contains(identity))
    }

    /// Whether a login of this user is on its way.
    pub(super) fn has_user(&self, user: &UserName) -> bool {
        self.any(|batch| batch.users.contains(user))
    }

    /// Whether a creation of this channel is on its way.
    pub(super) fn has_channel(&self, channel: &ChannelName) -> bool {
        self.any(|batch| batch.channels.contains(channel))
    }

    /// Has [`Replica::finish_pull`] called once all that is on its way is settled; `false` when nothing is.
    pub(super) fn finish_pull_when_settled(&mut self, link: PeerLink, pulled: Pulled) -> bool {
        let last = match &mut self.in_flight {
            Some(batch) if self.collecting.ops.is_empty() => batch,
            Some(_) | None if self.collecting.ops.is_empty() => return false,
            Some(_) | None => &mut self.collecting,
        };
        last.pulls.push((link, pulled));
        true
    }

    /// Whether the disk hangs: a healthy one never takes so long.
    pub(super) fn is_stuck(&self, now: Now) -> bool {
        self.in_flight.is_some() && now.monotonic > self.since + STORAGE_STUCK_AFTER
    }

    /// Whether nothing more can be put on the disk at the moment.
    pub(super) fn takes_nothing(&self, now: Now) -> bool {
        self.is_full || self.is_stuck(now)
    }

    /// Whether nothing is being stored.
    fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Hands what has collected to the disk, which must be idle.
    fn store(
        &mut self,
        now: Now,
        shown: Option<VersionVector>,
        epoch: Option<Epoch>,
        effects: &mut Vec<Effect>,
    ) {
        self.since = now.monotonic;
        let next = Batch { number: self.collecting.number + 1, ..Batch::default() };
        let mut batch = mem::replace(&mut self.collecting, next);
        batch.epoch = epoch;
        effects.push(Effect::Store { batch: batch.number, ops: batch.ops.clone(), shown, epoch });
        self.in_flight = Some(batch);
    }

    /// Takes the batch being stored, if this is its number.
    fn take(&mut self, number: u64) -> Option<Batch> {
        let batch = self.in_flight.take_if(|batch| batch.number == number)?;
        if self.collecting.ops.is_empty() {
            self.highest.clear();
        }
        Some(batch)
    }

    /// Takes what has collected.
    fn take_collected(&mut self) -> Batch {
        self.highest.clear();
        let next = Batch { number: self.collecting.number + 1, ..Batch::default() };
        mem::replace(&mut self.collecting, next)
    }
}

impl Replica {
    /// The number of the next operation of `writer`, after those held and those on their way.
    pub(super) fn next_seq(&self, writer: &Writer) -> u64 {
        self.history.count(writer).max(self.storage.highest(writer)) + 1
    }

    /// Hands to the disk what has collected, what is shown and the epoch, unless a batch is being stored. For what is shown alone only
    /// once in a while: after a crash the peers tell it again.
    pub(super) fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ops = !self.storage.collecting.ops.is_empty();
        let dues = [self.shown_is_due(), self.epoch_is_due()];
        let is_due = dues.into_iter().flatten().any(|due| due <= now.monotonic);
        if !self.storage.is_idle() || !(ops || is_due) {
            return;
        }
        let shown = (!self.shown_is_stored).then(|| self.history.shown().clone());
        if shown.is_some() {
            self.shown_is_stored = true;
            self.shown_stored_at = now.monotonic;
        }
        let epoch = self.coordination.to_store().map(|(epoch, _)| epoch);
        self.storage.store(now, shown, epoch, effects);
    }

    /// When what is shown is to be stored if no operation is; `None` when it is stored, or the disk will say when it is idle.
    pub(super) fn shown_is_due(&self) -> Option<Duration> {
        let due = !self.shown_is_stored && self.storage.is_idle();
        // A server that stops may have no other occasion.
        let interval = if self.draining.is_some() { SHOWN_STORE_AT_STOP } else { SHOWN_STORE_INTERVAL };
        due.then_some(self.shown_stored_at + interval)
    }

    /// When an epoch is to be stored if no operation is; `None` without one, or when the disk will say when it is idle.
    pub(super) fn epoch_is_due(&self) -> Option<Duration> {
        self.coordination.to_store().filter(|_| self.storage.is_idle()).map(|(_, due)| due)
    }

    /// A batch is on this disk: its own operations are pushed, and wait until they are durable.
    pub(super) fn on_stored(&mut self, now: Now, number: u64, effects: &mut Vec<Effect>) {
        let Some(batch) = self.storage.take(number) else {
            tracing::warn!(batch = number, "a batch that is not being stored was reported as stored");
            return;
        };
        self.counters.batches_stored += 1;
        self.storage.is_full = false;
        self.note_epoch_stored(now, batch.epoch);
        for op in &batch.ops {
            if let Err(error) = self.history.hold(op) {
                tracing::error!(%error, "a stored operation does not follow those held");
            }
            if op.dot.boot != self.settings.boot {
                self.news.held.insert(Writer::of(&op.dot));
            }
        }
        self.timekeeping.note_operations(batch.ops.len());
        self.counters.ops_appended += batch.requests.len() as u64;
        self.counters.ops_replicated += (batch.ops.len() - batch.requests.len()) as u64;
        let own: Vec<Arc<Op>> = batch.requests.iter().map(|(_, op)| Arc::clone(op)).collect();
        let deadline = now.monotonic + self.settings.write_deadline;
        for (client, op) in batch.requests {
            self.unconfirmed.add(op, client, deadline);
        }
        self.push(&own, effects);
        for (link, pulled) in batch.pulls {
            self.finish_pull(now, link, pulled, effects);
        }
    }

    /// The disk is full. What has collected meanwhile follows the lost operations of the same writers, so it goes with them.
    /// Clients are sent elsewhere; what came from peers is pulled again later, so this ends by itself.
    pub(super) fn on_storage_full(&mut self, now: Now, number: u64, effects: &mut Vec<Effect>) {
        let Some(batch) = self.storage.take(number) else {
            tracing::warn!(batch = number, "a batch that is not being stored was reported as refused");
            return;
        };
        self.counters.batches_refused += 1;
        self.storage.is_full = true;
        self.note_epoch_refused(now);
        self.shown_is_stored = false;
        let collected = if self.plant.has(Planted::RefusedBatchFollowed) {
            Batch::default()
        } else {
            self.storage.take_collected()
        };
        for batch in [batch, collected] {
            for (client, _) in batch.requests {
                self.turn_away(now, client, effects);
            }
            for (link, _) in batch.pulls {
                self.finish_pull(now, link, Pulled::Some, effects);
            }
        }
    }
}
