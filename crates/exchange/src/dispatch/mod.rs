//! The broker's mind: every request of a client goes to one worker after another until one answers, and the client is answered
//! exactly once, by the broker's deadline at the latest (design section 4, "Broker"; rows A02, A03).
//!
//! A request passes through like this: `client` takes its frames apart, `request` keeps it, `placing` gives it to the worker
//! that `worker` chooses, and takes it back when that worker dies, is late or says `elsewhere`; the first reply, from whichever
//! worker, is the client's. What cannot be placed waits in a bounded queue; what cannot be answered in time gets an `erro`
//! (`refusal`). Redispatching is safe since the key stays the same and our servers recognise it; foreign workers do not, so
//! writes that they took are never given to another.
//!
//! The tables of clients and workers have one entry per connection, whose number the caller bounds; all else is bounded here.
//! This module must not know what a request asks, but for one question: whether a request that a foreign worker lost is a read.

mod alarms;
mod client;
mod placing;
mod refusal;
mod request;
mod settings;
#[cfg(test)]
mod tests;
mod worker;

pub use settings::{DispatchCounters, DispatchSettings};

use crate::Now;
use crate::constants::CALLED_EVERY;
use crate::lived_time::LivedTime;
use bytes::Bytes;
use client::{Client, Received};
use papo_protocol::identity::{Boot, RequestKey};
use papo_protocol::worker_link::{Cookie, FromWorker};
use refusal::{Outcome, Reason};
use request::{Place, Request, Requests, Said};
use rustc_hash::FxHashMap;
use std::time::Duration;
use worker::{Papo, Standing, Workers};

/// One connection, of a client or of a worker; never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchInput {
    /// A client connected.
    ClientUp(ConnectionId),
    /// A client sent a message.
    ClientMessage {
        /// Who.
        client: ConnectionId,
        /// Envelope, empty frame, body.
        frames: Vec<Bytes>,
    },
    /// A client's connection is gone.
    ClientDown(ConnectionId),
    /// A worker connected.
    WorkerUp {
        /// Who.
        worker: ConnectionId,
        /// Whether it presented the cluster token.
        papo: bool,
    },
    /// A worker sent a message.
    WorkerMessage {
        /// Who.
        worker: ConnectionId,
        /// In papo's worker protocol, or an echoed envelope and a reply.
        frames: Vec<Bytes>,
    },
    /// A worker's connection is gone.
    WorkerDown(ConnectionId),
    /// The broker is to end. Said once: serve on, and close each client connection right after a reply. Said again: close the
    /// idle ones too.
    Drain,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchEffect {
    /// Send to a client.
    ToClient {
        /// To whom.
        client: ConnectionId,
        /// The envelope as it came, and the reply.
        frames: Vec<Bytes>,
        /// Time since the request was received.
        after: Duration,
    },
    /// Send to a worker.
    ToWorker {
        /// To whom.
        worker: ConnectionId,
        /// One request.
        frames: Vec<Bytes>,
    },
    /// Close a client's connection once all that was sent to it is flushed. The dispatch has forgotten it.
    CloseClient {
        /// Whose.
        client: ConnectionId,
    },
    /// Close a worker's connection. The dispatch has forgotten it.
    CloseWorker {
        /// Whose.
        worker: ConnectionId,
    },
}

/// Whether the broker is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draining {
    No,
    /// A connection is closed once its last reply is sent.
    AfterReply,
}

/// The broker's mind.
#[derive(Debug)]
pub struct Dispatch {
    settings: DispatchSettings,
    boot: Boot,
    time: LivedTime,
    next_counter: u64,
    clients: FxHashMap<ConnectionId, Client>,
    workers: Workers,
    requests: Requests,
    draining: Draining,
    counters: DispatchCounters,
}

impl Dispatch {
    /// Without connections. `boot` is drawn at random at every start of the process, so that no request key is ever used twice.
    #[must_use]
    pub fn new(settings: DispatchSettings, boot: Boot) -> Self {
        Self {
            settings,
            boot,
            time: LivedTime::new(CALLED_EVERY),
            next_counter: 1,
            clients: FxHashMap::default(),
            workers: Workers::default(),
            requests: Requests::new(&settings),
            draining: Draining::No,
            counters: DispatchCounters::default(),
        }
    }

    /// Takes in what happened; pushes what is to be done, to be carried out in this order.
    pub fn handle(&mut self, now: Now, input: DispatchInput, effects: &mut Vec<DispatchEffect>) {
        let now = self.lived(now);
        match input {
            DispatchInput::ClientUp(client) => {
                self.clients.insert(client, Client::default());
            }
            DispatchInput::ClientMessage { client, frames } => {
                self.on_client_message(now, client, frames, effects);
            }
            DispatchInput::ClientDown(client) => self.on_client_down(client),
            DispatchInput::WorkerUp { worker, papo } => {
                let standing = if papo { Standing::Expected } else { Standing::Foreign { late: false } };
                self.workers.insert(worker, standing);
            }
            DispatchInput::WorkerMessage { worker, frames } => {
                self.on_worker_message(now, worker, frames, effects);
            }
            DispatchInput::WorkerDown(worker) => self.on_worker_down(now, worker, effects),
            DispatchInput::Drain => self.on_drain(effects),
        }
        self.place_waiting(now, effects);
    }

    /// Does what is due; to be called at [`Self::next_tick`], or at any other time.
    pub fn tick(&mut self, now: Now, effects: &mut Vec<DispatchEffect>) {
        let now = self.lived(now);
        self.look_after_silent_workers(now, effects);
        while let Some((_, counter)) = self.requests.next_due().filter(|(at, _)| *at <= now.monotonic) {
            self.on_wake(now, counter, effects);
        }
        self.place_waiting(now, effects);
    }

    /// When [`Self::tick`] is next to be called, if nothing is handled before: on the clock by which the dispatch is told the
    /// time, perhaps in its past. Time in which it is not called although it should be does not count for any deadline.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        let silence =
            self.workers.next_silence(self.settings.worker_dead_after, self.settings.worker_closed_after());
        let request = self.requests.next_due().map(|(at, _)| at);
        self.time.next_call(silence.into_iter().chain(request).min())
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &DispatchCounters {
        &self.counters
    }

    /// Workers that may be given requests.
    #[must_use]
    pub fn ready_workers(&self) -> usize {
        self.workers.count_ready(&self.settings)
    }

    /// Requests with workers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.len() - self.requests.aside()
    }

    /// Requests that wait for a worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.aside()
    }

    /// Whether no request is in flight or waiting.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.requests.len() == 0
    }

    fn lived(&mut self, now: Now) -> Now {
        Now { monotonic: self.time.on_call(now.monotonic), ..now }
    }

    fn on_client_message(
        &mut self,
        now: Now,
        id: ConnectionId,
        frames: Vec<Bytes>,
        effects: &mut Vec<DispatchEffect>,
    ) {
        let Some(client) = self.clients.get_mut(&id).filter(|_| !frames.is_empty()) else {
            self.counters.ignored_client_messages += 1;
            return;
        };
        self.counters.requests += 1;
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        let (envelope, body, reason) = match client::take_apart(frames) {
            Received::Unreadable { envelope, body } => {
                self.counters.bad_requests += 1;
                (envelope, body, Some(Reason::BadRequest))
            }
            Received::Request { envelope, body } if bytes > self.settings.request_bytes_max => {
                self.counters.oversized_requests += 1;
                (envelope, body, Some(Reason::TooLarge(self.settings.request_bytes_max)))
            }
            Received::Request { envelope, body }
                if client.unanswered.len() >= self.settings.in_flight_per_client_max =>
            {
                self.counters.client_overflows += 1;
                (envelope, body, Some(Reason::ClientOverflow(self.settings.in_flight_per_client_max)))
            }
            Received::Request { envelope, body }
                if self.requests.held_bytes() + bytes > self.settings.held_bytes_max =>
            {
                self.counters.waiting_overflows += 1;
                (envelope, body, Some(Reason::WaitingOverflow(Outcome::NotDone)))
            }
            Received::Request { envelope, body } => (envelope, body, None),
        };
        let request = Request::new(id, envelope, body, now.monotonic);
        let Some(reason) = reason else {
            let counter = self.next_counter;
            self.next_counter += 1;
            client.unanswered.push(counter);
            self.requests.insert(counter, request);
            self.place(now, counter, effects);
            return;
        };
        self.refuse(now, request, reason, effects);
    }

    fn on_client_down(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.remove(&id) else { return };
        for counter in client.unanswered {
            // What a worker has runs on there: its reply has nobody to go to, and is counted.
            if !matches!(self.requests.get(counter).map(Request::place), Some(Place::At(_))) {
                self.abandon(counter);
            }
        }
    }

    fn on_worker_message(
        &mut self,
        now: Now,
        id: ConnectionId,
        frames: Vec<Bytes>,
        effects: &mut Vec<DispatchEffect>,
    ) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        if let Standing::Foreign { .. } = worker.standing {
            self.on_foreign_message(now, id, frames, effects);
            return;
        }
        if let Standing::Papo(papo) = &mut worker.standing {
            papo.heard = now.monotonic;
            if papo.lost {
                papo.lost = false;
                tracing::info!(worker = id.0, name = %papo.name, "a silent worker is back");
            }
            worker.excuse_before(now.monotonic.saturating_sub(self.settings.broker_deadline));
        }
        match (FromWorker::from_frames(&frames), &mut worker.standing) {
            (Some(FromWorker::Hello { name, capacity }), standing) => {
                tracing::info!(worker = id.0, %name, capacity, "worker registered");
                *standing = Standing::Papo(Papo::new(name, capacity, now.monotonic));
            }
            (Some(FromWorker::Beat), Standing::Papo(_)) => {}
            (Some(FromWorker::Leaving), Standing::Papo(papo)) => {
                tracing::info!(worker = id.0, name = %papo.name, "worker is leaving");
                papo.leaving = true;
            }
            (Some(FromWorker::Reply { key, cookie, body }), Standing::Papo(_)) => {
                self.on_reply(now, id, key, Some(cookie), std::iter::once(body), effects);
            }
            (Some(FromWorker::Elsewhere { key }), Standing::Papo(_)) => {
                self.on_no_answer(now, id, key, Said::Elsewhere, effects);
            }
            (Some(FromWorker::Unknown { key }), Standing::Papo(_)) => {
                self.on_no_answer(now, id, key, Said::Unknown, effects);
            }
            (None, _) | (Some(_), Standing::Expected | Standing::Foreign { .. }) => {
                self.counters.malformed_worker_messages += 1;
                tracing::debug!(worker = id.0, frames = frames.len(), "malformed worker message ignored");
            }
        }
    }

    /// An echoed envelope `[key, ""]` and the reply, or a hello that does not count without the token.
    fn on_foreign_message(
        &mut self,
        now: Now,
        id: ConnectionId,
        mut frames: Vec<Bytes>,
        effects: &mut Vec<DispatchEffect>,
    ) {
        if let [key, delimiter, _, ..] = frames.as_slice()
            && delimiter.is_empty()
            && let Some(key) = RequestKey::from_bytes(key)
        {
            self.on_reply(now, id, key, None, frames.drain(2..), effects);
        } else if let Some(FromWorker::Hello { name, .. }) = FromWorker::from_frames(&frames) {
            self.counters.ignored_hellos += 1;
            tracing::warn!(worker = id.0, %name, "hello ignored: the link did not present the cluster token");
        } else {
            self.counters.malformed_worker_messages += 1;
            tracing::debug!(worker = id.0, frames = frames.len(), "malformed worker message ignored");
        }
    }

    fn on_reply(
        &mut self,
        now: Now,
        worker: ConnectionId,
        key: RequestKey,
        cookie: Option<Cookie>,
        reply: impl Iterator<Item = Bytes>,
        effects: &mut Vec<DispatchEffect>,
    ) {
        if !self.settle(worker, key) {
            return;
        }
        let Some(request) = self.requests.remove(key.counter) else {
            self.counters.late_replies += 1;
            return;
        };
        let Some(client) = self.clients.get_mut(&request.client) else {
            self.counters.replies_without_client += 1;
            return;
        };
        client.settle(key.counter);
        if let Some(cookie) = cookie.filter(|cookie| *cookie != client.cookie) {
            // A copy: as a slice, it would keep the whole receive buffer for as long as the client stays idle.
            client.cookie = Cookie::new(Bytes::copy_from_slice(cookie.as_bytes())).unwrap_or_default();
        }
        self.counters.answered += 1;
        tracing::trace!(worker = worker.0, client = request.client.0, counter = key.counter, "answered");
        self.answer(now, request, reply, effects);
    }

    /// A worker gives a request back, and says whether it may have done it.
    fn on_no_answer(
        &mut self,
        now: Now,
        worker: ConnectionId,
        key: RequestKey,
        said: Said,
        effects: &mut Vec<DispatchEffect>,
    ) {
        if !self.settle(worker, key) {
            return;
        }
        let Some(request) = self.requests.get_mut(key.counter) else { return };
        request.said = request.said.max(said);
        if said == Said::Elsewhere {
            request.refusals += 1;
        }
        if request.place() == Place::At(worker) {
            self.place_again(now, key.counter, effects);
        }
    }

    /// Takes note of an answer; `false`, counted, when the worker owes none.
    fn settle(&mut self, worker: ConnectionId, key: RequestKey) -> bool {
        let requests = &self.requests;
        let asked = key.boot == self.boot
            && self
                .workers
                .get_mut(worker)
                .is_some_and(|asked| asked.settle(key.counter, |counter| requests.is_at(counter, worker)));
        if !asked {
            // Long forgotten, or never sent.
            let known = key.boot == self.boot && key.counter < self.next_counter;
            let counted = if known {
                &mut self.counters.late_replies
            } else {
                &mut self.counters.malformed_worker_messages
            };
            *counted += 1;
        }
        asked
    }

    fn on_drain(&mut self, effects: &mut Vec<DispatchEffect>) {
        match self.draining {
            Draining::No => self.draining = Draining::AfterReply,
            Draining::AfterReply => {
                let idle = self.clients.iter().filter(|(_, client)| client.unanswered.is_empty());
                let mut idle: Vec<_> = idle.map(|(id, _)| *id).collect();
                // The table has no order of its own; the same inputs are to give the same effects.
                idle.sort_unstable();
                for client in idle {
                    self.clients.remove(&client);
                    effects.push(DispatchEffect::CloseClient { client });
                }
            }
        }
    }
}
