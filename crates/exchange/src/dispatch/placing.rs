//! Giving requests to workers, taking them back, and ending them.

use super::refusal::Reason;
use super::request::{Place, Request, Said};
use super::worker::{Choice, Left, Standing};
use super::{ConnectionId, Dispatch, DispatchEffect, Draining};
use crate::Now;
use crate::constants::REQUEST_READ_LIMITS;
use bytes::Bytes;
use papo_protocol::identity::RequestKey;
use papo_protocol::reply::write_refusal_for;
use papo_protocol::request::{Call, read_request};
use papo_protocol::worker_link::ToWorker;

impl Dispatch {
    /// Gives a request to a worker, or lets it wait or rest.
    pub(super) fn place(&mut self, now: Now, counter: u64, effects: &mut Vec<DispatchEffect>) {
        let Some(request) = self.requests.get_mut(counter) else { return };
        match self.workers.choose(&request.tried, &self.settings) {
            Choice::Fresh(worker) => self.lend(now, counter, worker, effects),
            Choice::NoRoom => self.set_aside(now, counter, Place::Waiting, effects),
            Choice::FreshAreBusy => self.set_aside(now, counter, Place::Resting, effects),
            // All ready workers had it.
            Choice::Again(worker) => match request.said {
                // They lost it: they may have it again.
                Said::Nothing => {
                    request.new_round(request.last_resort);
                    self.lend(now, counter, worker, effects);
                }
                Said::Elsewhere if !request.last_resort => {
                    request.new_round(true);
                    self.lend(now, counter, worker, effects);
                }
                // Refused even as things stand, or without a certain outcome: all are asked again, from the start, in a moment.
                Said::Elsewhere | Said::Unknown => {
                    request.new_round(false);
                    self.set_aside(now, counter, Place::Resting, effects);
                }
            },
        }
    }

    /// Places a request that its worker will not answer; nobody waits for it when its client is gone.
    pub(super) fn place_again(&mut self, now: Now, counter: u64, effects: &mut Vec<DispatchEffect>) {
        let Some(request) = self.requests.get_mut(counter) else { return };
        if !self.clients.contains_key(&request.client) {
            self.abandon(counter);
            return;
        }
        if let Place::At(worker) = request.place() {
            request.tried_at(worker);
        }
        self.place(now, counter, effects);
    }

    /// Places the waiting requests, oldest first, while a worker has room.
    ///
    /// A request leaves the queue whenever any worker has room: it is sent, or rests until the worker it needs has room. So the
    /// queue never blocks on its head, and this ends.
    pub(super) fn place_waiting(&mut self, now: Now, effects: &mut Vec<DispatchEffect>) {
        while let Some(counter) = self.requests.first_waiting() {
            if !self.workers.have_room(&self.settings) {
                return;
            }
            self.place(now, counter, effects);
        }
    }

    /// Something is due for a request: its deadline, its worker's deadline, or the end of its rest.
    pub(super) fn on_wake(&mut self, now: Now, counter: u64, effects: &mut Vec<DispatchEffect>) {
        let Some(request) = self.requests.get(counter) else { return };
        if self.requests.is_over(counter, now.monotonic) {
            self.counters.broker_deadlines += 1;
            let reason = Reason::Deadline(request.outcome());
            self.give_up(now, counter, reason, effects);
            return;
        }
        match request.place() {
            Place::At(worker) => self.on_server_deadline(now, counter, worker, effects),
            Place::InHand | Place::Waiting | Place::Resting => self.place(now, counter, effects),
        }
    }

    fn on_server_deadline(
        &mut self,
        now: Now,
        counter: u64,
        worker: ConnectionId,
        effects: &mut Vec<DispatchEffect>,
    ) {
        self.counters.server_deadlines += 1;
        if let Some(worker) = self.workers.get_mut(worker)
            && let Standing::Foreign { late } = &mut worker.standing
        {
            *late = true;
            if self.lost_foreign_write(now, counter, effects) {
                return;
            }
        }
        let Some(request) = self.requests.get_mut(counter) else { return };
        if !self.clients.contains_key(&request.client) {
            self.abandon(counter);
            return;
        }
        request.tried_at(worker);
        match self.workers.choose(&request.tried, &self.settings) {
            Choice::Fresh(other) => self.lend(now, counter, other, effects),
            // The worker may be slow only: while no other can help, there is no better place.
            Choice::Again(_) | Choice::FreshAreBusy | Choice::NoRoom => {
                self.requests.relocate(counter, Place::At(worker), now.monotonic);
            }
        }
    }

    /// A worker's connection is gone: what it had goes to others at once.
    pub(super) fn on_worker_down(&mut self, now: Now, id: ConnectionId, effects: &mut Vec<DispatchEffect>) {
        let Some(worker) = self.workers.remove(id) else { return };
        let loss = match &worker.standing {
            Standing::Foreign { .. } => Loss::ForeignDeath,
            Standing::Papo(papo) if papo.leaving => Loss::Absence,
            Standing::Papo(_) | Standing::Expected => Loss::Death,
        };
        self.on_worker_lost(now, id, &worker.owed(), loss, effects);
    }

    /// Papo workers without a beat: their requests go to others; after long silence their links are closed.
    pub(super) fn look_after_silent_workers(&mut self, now: Now, effects: &mut Vec<DispatchEffect>) {
        for id in self.workers.fallen_silent(now.monotonic, self.settings.worker_dead_after) {
            let Some(worker) = self.workers.get_mut(id) else { continue };
            let Standing::Papo(papo) = &mut worker.standing else { continue };
            papo.lost = true;
            self.counters.workers_lost += 1;
            tracing::warn!(worker = id.0, name = %papo.name, "worker is silent: its requests go to others");
            let owed = worker.owed();
            self.on_worker_lost(now, id, &owed, Loss::Absence, effects);
        }
        for id in self.workers.long_lost(now.monotonic, self.settings.worker_closed_after()) {
            self.workers.remove(id);
            self.counters.workers_closed += 1;
            tracing::warn!(worker = id.0, "worker was silent for too long: closing its link");
            effects.push(DispatchEffect::CloseWorker { worker: id });
        }
    }

    fn on_worker_lost(
        &mut self,
        now: Now,
        id: ConnectionId,
        owed: &[Left],
        loss: Loss,
        effects: &mut Vec<DispatchEffect>,
    ) {
        for &Left { counter, since, outlived } in owed {
            let Some(request) =
                self.requests.get_mut(counter).filter(|request| request.place() == Place::At(id))
            else {
                continue;
            };
            // After a stall of the broker several dead links may be found one after the other, while the requests of the first are
            // given to the next: those had died before.
            let suspect = loss != Loss::Absence && !outlived && !self.time.may_predate(since);
            request.deaths += u32::from(suspect);
            let poison = request.deaths >= self.settings.poison_after;
            if loss == Loss::ForeignDeath && self.lost_foreign_write(now, counter, effects) {
                continue;
            }
            if poison {
                self.counters.poisoned += 1;
                tracing::warn!(counter, "too many workers died with this request: it is given up");
                self.give_up(now, counter, Reason::Poison, effects);
            } else {
                self.place_again(now, counter, effects);
            }
        }
    }

    /// Gives up a request that a foreign worker lost if it may be a write: foreign workers do not recognise a repeated key, and
    /// would do it twice. `false` when it is a read.
    fn lost_foreign_write(&mut self, now: Now, counter: u64, effects: &mut Vec<DispatchEffect>) -> bool {
        if self.requests.get(counter).is_some_and(|request| is_read(&request.body)) {
            return false;
        }
        self.counters.foreign_writes_lost += 1;
        self.give_up(now, counter, Reason::ForeignWriteLost, effects);
        true
    }

    fn lend(&mut self, now: Now, counter: u64, worker: ConnectionId, effects: &mut Vec<DispatchEffect>) {
        let Some(request) = self.requests.get_mut(counter) else { return };
        let body = request.body.clone();
        let lent = self.workers.lend(worker, counter, body.len(), now.monotonic);
        let Some(standing) = lent else { return };
        let key = RequestKey { boot: self.boot, counter };
        let frames = if let Standing::Foreign { .. } = standing {
            vec![Bytes::copy_from_slice(&key.to_bytes()), Bytes::new(), body]
        } else {
            let cookie =
                self.clients.get(&request.client).map(|client| client.cookie.clone()).unwrap_or_default();
            ToWorker::Request { key, cookie, last_resort: request.last_resort, body }.to_frames()
        };
        if request.sends > 0 {
            self.counters.redispatched += 1;
        }
        request.sends += 1;
        self.requests.relocate(counter, Place::At(worker), now.monotonic);
        effects.push(DispatchEffect::ToWorker { worker, frames });
    }

    /// Lets a request wait or rest, within the bounds.
    fn set_aside(&mut self, now: Now, counter: u64, place: Place, effects: &mut Vec<DispatchEffect>) {
        // Relocated first, so that the bounds see it counted once wherever it was before.
        self.requests.relocate(counter, place, now.monotonic);
        let Some(request) = self.requests.get(counter) else { return };
        let over = self.requests.aside() > self.settings.waiting_max
            || self.requests.aside_bytes() > self.settings.waiting_bytes_max;
        if over {
            self.counters.waiting_overflows += 1;
            let reason = Reason::WaitingOverflow(request.outcome());
            self.give_up(now, counter, reason, effects);
        }
    }

    /// Ends a request with an `erro`.
    fn give_up(&mut self, now: Now, counter: u64, reason: Reason, effects: &mut Vec<DispatchEffect>) {
        let Some(request) = self.requests.get(counter) else { return };
        let Some(client) = self.clients.get_mut(&request.client) else {
            self.abandon(counter);
            return;
        };
        client.settle(counter);
        if let Some(request) = self.requests.remove(counter) {
            self.refuse(now, request, reason, effects);
        }
    }

    /// Ends a request whose client is gone.
    pub(super) fn abandon(&mut self, counter: u64) {
        if self.requests.remove(counter).is_some() {
            self.counters.abandoned += 1;
        }
    }

    /// Answers a request that is in no table (any more) with an `erro`.
    pub(super) fn refuse(
        &mut self,
        now: Now,
        request: Request,
        reason: Reason,
        effects: &mut Vec<DispatchEffect>,
    ) {
        tracing::debug!(client = request.client.0, ?reason, "request refused");
        self.counters.refused += 1;
        let reply = write_refusal_for(&request.body, &reason.refusal(), now.unix);
        self.answer(now, request, std::iter::once(reply), effects);
    }

    /// Sends the one answer of a request that is in no table any more.
    pub(super) fn answer(
        &mut self,
        now: Now,
        request: Request,
        reply: impl Iterator<Item = Bytes>,
        effects: &mut Vec<DispatchEffect>,
    ) {
        let client = request.client;
        let mut frames = request.envelope;
        frames.extend(reply);
        let after = now.monotonic.saturating_sub(request.received);
        effects.push(DispatchEffect::ToClient { client, frames, after });
        if self.draining == Draining::AfterReply
            && self.clients.get(&client).is_some_and(|client| client.unanswered.is_empty())
        {
            self.clients.remove(&client);
            effects.push(DispatchEffect::CloseClient { client });
        }
    }
}

/// How a worker came to have its requests no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It died with them.
    Death,
    /// A foreign one did.
    ForeignDeath,
    /// It fell silent, or left: no sign that the requests did it any harm.
    Absence,
}

/// Whether a request is known to change nothing, whoever serves it. What cannot be read, or is no service of ours, may.
fn is_read(body: &[u8]) -> bool {
    read_request(body, &REQUEST_READ_LIMITS).is_ok_and(|request| {
        matches!(
            request.call,
            Call::Users
                | Call::Channels
                | Call::History { .. }
                | Call::Sync { .. }
                | Call::Ping
                | Call::Clock
        )
    })
}
