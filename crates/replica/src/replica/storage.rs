//! Operations on their way to the disk. One batch is being stored; what comes meanwhile collects in the next (group commit).
//! Nothing here is in the history yet: it is neither shown, nor reported to peers as stored, nor acknowledged; but peers are
//! sent it, that they store it meanwhile. What is shown is stored along, once a second.

use super::replication::Pulled;
use super::requests::Client;
use super::telling::Told;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, ENTRY_OVERHEAD_BYTES, SHOWN_STORE_INTERVAL, STORAGE_RETRY,
    STORAGE_STUCK_AFTER,
};
use crate::op::{Op, OpKind};
use crate::planted::Planted;
use crate::vector::{VersionVector, Writer};
use papo_protocol::epoch::Epoch;
use papo_protocol::{ChannelName, Identity, Lamport, UserName};
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
    /// Whether peers were sent this server's operations in here, which therefore cannot be taken back.
    is_pushed: bool,
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
    /// The last operation of each writer in either.
    last: HashMap<Writer, (u64, Lamport)>,
    /// When to try again, while the disk is too full for operations that peers may have already.
    retry_at: Option<Duration>,
}

impl Storage {
    /// Whether another operation may be added.
    pub(super) fn has_room(&self) -> bool {
        self.retry_at.is_none()
            && self.collecting.ops.len() < BATCH_OPS_MAX
            && self.collecting.bytes < BATCH_BYTES_MAX
    }

    /// Adds an operation from a peer.
    pub(super) fn add(&mut self, op: Arc<Op>) {
        self.last.insert(Writer::of(&op.dot), (op.dot.seq, op.lamport));
        self.collecting.add(op);
    }

    /// Adds a client's write; the client is answered when it is stored.
    pub(super) fn add_for(&mut self, client: Client, op: Arc<Op>) {
        self.collecting.requests.push((client, Arc::clone(&op)));
        self.add(op);
    }

    /// Number and Lamport value of the last operation of `writer` on its way, 0 without one.
    fn last(&self, writer: &Writer) -> (u64, Lamport) {
        self.last.get(writer).copied().unwrap_or_default()
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
        self.retry_at = None;
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
            self.last.clear();
        }
        Some(batch)
    }

    /// Takes what has collected.
    fn take_collected(&mut self) -> Batch {
        self.last.clear();
        let next = Batch { number: self.collecting.number + 1, ..Batch::default() };
        mem::replace(&mut self.collecting, next)
    }
}

impl Replica {
    /// The number of the next operation of `writer`, after those held and those on their way.
    pub(super) fn next_seq(&self, writer: &Writer) -> u64 {
        let (last, _) = self.storage.last(writer);
        self.history.count(writer).max(last) + 1
    }

    /// The Lamport value of the last operation of `writer` that is held or on its way.
    pub(super) fn last_lamport(&self, writer: &Writer) -> Lamport {
        let (_, last) = self.storage.last(writer);
        self.history.last_lamport(writer).max(last)
    }

    /// Hands to the disk what has collected and the epoch, unless a batch is being stored, and what is shown once in a while: after a
    /// crash it is shown again from what the disks hold. Peers are sent this server's operations at the same moment, so that
    /// their disks work while this one does.
    pub(super) fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.storage_is_due().is_none_or(|due| due > now.monotonic) {
            return;
        }
        let shown_is_due = self.shown_is_due().is_some_and(|due| due <= now.monotonic);
        let shown = shown_is_due.then(|| self.history.shown().clone());
        if shown_is_due {
            self.shown_is_stored = true;
            self.shown_stored_at = now.monotonic;
        }
        let own = self.own(&self.storage.collecting.ops);
        if !own.is_empty() {
            self.storage.collecting.is_pushed |= self.push(&own, Told::WhenBegun, effects);
        }
        let epoch = self.coordination.to_store().map(|(epoch, _)| epoch);
        self.storage.store(now, shown, epoch, effects);
    }

    /// Since when or from when on there is something for the disk; `None` while there is nothing, or a batch is being stored: the
    /// disk says when it is idle.
    pub(super) fn storage_is_due(&self) -> Option<Duration> {
        if !self.storage.is_idle() {
            return None;
        }
        if let Some(retry) = self.storage.retry_at {
            return Some(retry);
        }
        if !self.storage.collecting.ops.is_empty() {
            return Some(Duration::ZERO);
        }
        let epoch = self.coordination.to_store().map(|(_, due)| due);
        [self.shown_is_due(), epoch].into_iter().flatten().min()
    }

    /// When what is shown is to be stored; `None` when it is.
    fn shown_is_due(&self) -> Option<Duration> {
        (!self.shown_is_stored).then_some(self.shown_stored_at + SHOWN_STORE_INTERVAL)
    }

    /// Those of this boot.
    fn own(&self, ops: &[Arc<Op>]) -> Vec<Arc<Op>> {
        ops.iter().filter(|op| op.dot.boot == self.settings.boot).cloned().collect()
    }

    /// A batch is on this disk: its own operations wait until they are durable.
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
        let own = self.own(&batch.ops);
        self.counters.ops_appended += own.len() as u64;
        self.counters.ops_replicated += (batch.ops.len() - own.len()) as u64;
        self.push(&own, Told::WhenStored, effects);
        let deadline = now.monotonic + self.settings.write_deadline;
        for op in own {
            self.unconfirmed.add(op);
        }
        for (client, op) in batch.requests {
            self.unconfirmed.add_asker(op.dot.seq, client, deadline);
        }
        for (link, pulled) in batch.pulls {
            self.finish_pull(now, link, pulled, effects);
        }
    }

    /// The disk is full. What has collected meanwhile follows the lost operations of the same writers, so it goes with them.
    /// Clients are sent elsewhere; what came from peers is pulled again later, so this ends by itself.
    ///
    /// But this server's operations that peers may have are what their numbers stand for, for ever: they are kept, and stored when
    /// there is room. Whether they are durable before that, only the peers know.
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
        if batch.is_pushed {
            for op in self.own(&batch.ops) {
                self.storage.add(op);
            }
            self.storage.collecting.is_pushed = true;
            self.storage.retry_at = Some(now.monotonic + STORAGE_RETRY);
        }
        for batch in [batch, collected] {
            for (client, _) in batch.requests {
                if batch.is_pushed {
                    self.answer_unknown(now, client, effects);
                } else {
                    self.turn_away(now, client, effects);
                }
            }
            for (link, _) in batch.pulls {
                self.finish_pull(now, link, Pulled::Some, effects);
            }
        }
    }
}
