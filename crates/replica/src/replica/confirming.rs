//! From the disk to the client: a write of this server that is stored waits here until it is durable, and is then shown, published
//! and answered, in this order. A client waits only so long: then it is told that the outcome is not known, and the operation stays.

use super::counters::Outcome;
use super::requests::{Caller, Client};
use super::{Effect, Now, Replica};
use crate::constants::{REPUBLISH_AT_START_WITHIN, REPUBLISH_WITHIN, UNCONFIRMED_MAX};
use crate::op::Op;
use crate::planted::Planted;
use crate::vector::Writer;
use papo_protocol::ServerName;
use papo_protocol::reply::{Code, Refusal, Reply};
use papo_protocol::time::UnixMillis;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A client that waits for its write.
#[derive(Debug)]
struct Asker {
    seq: u64,
    client: Client,
    deadline: Duration,
}

/// Own operations that are stored and not published yet, and who waits for them. Both by number, and so by deadline.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    ops: VecDeque<Arc<Op>>,
    askers: VecDeque<Asker>,
}

impl Unconfirmed {
    pub(super) fn add(&mut self, op: Arc<Op>) {
        self.ops.push_back(op);
    }

    pub(super) fn add_asker(&mut self, seq: u64, client: Client, deadline: Duration) {
        self.askers.push_back(Asker { seq, client, deadline });
    }

    /// Whether the operation of this number is not published yet.
    pub(super) fn has(&self, seq: u64) -> bool {
        self.ops.front().is_some_and(|first| first.dot.seq <= seq)
    }

    pub(super) fn has_room(&self) -> bool {
        self.ops.len() < UNCONFIRMED_MAX
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.askers.front().map(|asker| asker.deadline)
    }

    /// Clients that wait.
    pub(super) fn waiting(&self) -> usize {
        self.askers.len()
    }
}

impl Replica {
    /// Publishes and answers what is shown by now, and tells clients that have waited enough.
    pub(super) fn confirm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while self.is_current(now)
            && let Some(op) =
                self.unconfirmed.ops.pop_front_if(|op| self.history.shows(op.dot.boot, op.dot.seq))
        {
            // A twin of the same identity may have come from a peer in the meantime and stand before this one.
            let other =
                self.history.standing(&op.identity).filter(|place| self.history.dot(*place) != op.dot);
            let standing = other.map_or_else(|| Arc::clone(&op), |place| self.history.op(place));
            if !self.has_old_twin(now, &op) {
                self.publish(&standing, effects);
            }
            let asker = self.unconfirmed.askers.pop_front_if(|asker| asker.seq <= op.dot.seq);
            if let Some(asker) = asker {
                self.answer_write(now, asker.client, &standing, effects);
            }
        }
        while let Some(asker) = self.unconfirmed.askers.pop_front_if(|asker| asker.deadline <= now.monotonic)
        {
            if self.plant.has(Planted::UnknownTakenForDone)
                && let Some(op) = self.unconfirmed.ops.iter().find(|op| op.dot.seq == asker.seq).cloned()
            {
                self.answer_write(now, asker.client, &op, effects);
                continue;
            }
            self.answer_unknown(now, asker.client, effects);
        }
    }

    /// Whether another operation of this identity is shown that was taken so long ago that the proxies may have forgotten it. A
    /// younger one does no harm: what is published again they drop.
    fn has_old_twin(&self, now: Now, op: &Op) -> bool {
        let twins = self.history.twins(&op.identity).iter().copied();
        let others = twins.filter(|twin| self.history.dot(*twin) != op.dot);
        others.map(|twin| self.history.taken_at(twin)).any(|at| !is_within(now, at, REPUBLISH_WITHIN))
    }

    /// The write is stored here, and not known to be on enough disks: the broker asks another server, which knows it by its key; a
    /// direct client is told to repeat it.
    pub(super) fn answer_unknown(&mut self, now: Now, client: Client, effects: &mut Vec<Effect>) {
        match client.caller {
            Caller::Broker { .. } => {
                self.counters.count_request(client.service, Outcome::Unknown);
                effects.push(Effect::Unknown { id: client.id });
            }
            Caller::Direct { .. } => {
                let text = "too few servers have confirmed it in time, so the outcome is not known: repeat it with the same id";
                let refusal = Refusal { code: Code::Unknown, text: text.to_owned(), retry: true };
                self.answer(now, client, &Reply::Refused(refusal), effects);
            }
        }
    }

    /// This server may have died before it published what it wrote of late, and other members may have: proxies drop what they
    /// have sent already.
    pub(super) fn publish_again(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let own = self.first_tick.then(|| self.settings.name.clone());
        self.first_tick = false;
        let mut suspected = self.peers.newly_suspected(now.monotonic);
        if self.plant.has(Planted::NotPublishedForTheDead) {
            suspected.clear();
        }
        for origin in own.into_iter().chain(suspected) {
            self.publish_of(now, &origin, REPUBLISH_AT_START_WITHIN, effects);
        }
    }

    /// A server has left the cluster, and nobody suspects it. What a proxy that was away has not got of it, it gets from the others.
    pub(super) fn publish_for_the_gone(&mut self, now: Now, origin: &ServerName, effects: &mut Vec<Effect>) {
        self.publish_of(now, origin, REPUBLISH_WITHIN, effects);
    }

    /// Publishes again what this origin wrote so lately.
    fn publish_of(&mut self, now: Now, origin: &ServerName, within: Duration, effects: &mut Vec<Effect>) {
        let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let since = UnixMillis(now.unix.0.saturating_sub(within));
        for place in self.history.shown_since(origin, since) {
            let op = self.history.op(place);
            self.publish(&op, effects);
        }
    }

    /// What `writer` wrote after its first `count` operations is shown from now on, and its server may not be there to publish it:
    /// an earlier boot of this server, or a member that is suspected.
    pub(super) fn publish_for_the_suspected(
        &mut self,
        now: Now,
        writer: &Writer,
        count: u64,
        effects: &mut Vec<Effect>,
    ) {
        let earlier_boot = writer.origin == self.settings.name && writer.boot != self.settings.boot;
        let is_left = self.plant.has(Planted::NotPublishedForTheDead);
        if is_left || (!earlier_boot && !self.peers.is_suspected(&writer.origin)) {
            return;
        }
        let newly = self.history.shown_after(writer, count).iter().copied();
        let recent =
            newly.filter(|place| is_within(now, self.history.taken_at(*place), REPUBLISH_AT_START_WITHIN));
        for place in recent.collect::<Vec<_>>() {
            let op = self.history.op(place);
            self.publish(&op, effects);
        }
    }
}

/// Whether what was taken `at` is no older than `age`. What another server's calendar puts into the future is not.
pub(super) fn is_within(now: Now, at: UnixMillis, age: Duration) -> bool {
    u128::try_from(now.unix.0.saturating_sub(at.0).max(0)).is_ok_and(|since| since <= age.as_millis())
}
