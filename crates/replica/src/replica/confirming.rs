//! From the disk to the client: a write of this server that is stored waits here until it is durable, and is then shown, published
//! and answered, in this order. A client waits only so long: then it is told that the outcome is not known, and the operation stays.

use super::counters::Outcome;
use super::requests::{Caller, Client};
use super::{Effect, Now, Replica};
use crate::constants::{REPUBLISH_AT_START_WITHIN, REPUBLISH_WITHIN, UNCONFIRMED_MAX};
use crate::op::Op;
use crate::planted::Planted;
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
    pub(super) fn add(&mut self, op: Arc<Op>, client: Client, deadline: Duration) {
        self.askers.push_back(Asker { seq: op.dot.seq, client, deadline });
        self.ops.push_back(op);
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
            let standing = self.history.standing(&op.identity).map_or_else(|| Arc::clone(&op), Arc::clone);
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
        let twins = self.history.twins(&op.identity).iter();
        twins.filter(|twin| twin.dot != op.dot).any(|twin| !is_within(now, twin.at, REPUBLISH_WITHIN))
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
            let within = i64::try_from(REPUBLISH_AT_START_WITHIN.as_millis()).unwrap_or(i64::MAX);
            let since = UnixMillis(now.unix.0.saturating_sub(within));
            for op in self.history.shown_since(&origin, since) {
                self.publish(&op, effects);
            }
        }
    }

    /// An operation is shown from now on whose own server may not be there to publish it: of an earlier boot of this server, or of
    /// a member that is suspected.
    pub(super) fn publish_for_the_suspected(&mut self, now: Now, op: &Op, effects: &mut Vec<Effect>) {
        let origin: &ServerName = &op.dot.origin;
        let earlier_boot = *origin == self.settings.name && op.dot.boot != self.settings.boot;
        if (earlier_boot || self.peers.is_suspected(origin))
            && !self.plant.has(Planted::NotPublishedForTheDead)
            && is_within(now, op.at, REPUBLISH_AT_START_WITHIN)
        {
            self.publish(op, effects);
        }
    }
}

/// Whether what was taken `at` is no older than `age`. What another server's calendar puts into the future is not.
pub(super) fn is_within(now: Now, at: UnixMillis, age: Duration) -> bool {
    u128::try_from(now.unix.0.saturating_sub(at.0).max(0)).is_ok_and(|since| since <= age.as_millis())
}
