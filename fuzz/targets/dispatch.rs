//! The broker's mind among clients and workers that do anything: no panic, each request answered at most once, to whom it belongs,
//! and exactly once when time has passed; tables stay within their bounds, and the books balance.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use papo_exchange::{ConnectionId, Dispatch, DispatchEffect, DispatchInput, DispatchSettings, Now};
use papo_protocol::ServerName;
use papo_protocol::identity::{Boot, RequestKey};
use papo_protocol::time::UnixMillis;
use papo_protocol::worker_link::{Cookie, FromWorker, ToWorker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const BOOT: Boot = Boot(77);
const BODIES: [&[u8]; 4] = [
    br#"{"service":"users","data":{}}"#,
    br#"{"service":"publish","data":{"user":"ana","channel":"geral","message":"oi"}}"#,
    b"\x82\xa7service\xa4ping\xa4data\x80",
    b"",
];

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    ClientUp(u8),
    ClientDown(u8),
    /// Well-formed; the hops make the envelope longer.
    Request {
        client: u8,
        body: u8,
        hops: u8,
        filler: u16,
    },
    /// Any frames at all.
    ClientRaw {
        client: u8,
        frames: Vec<&'a [u8]>,
    },
    WorkerUp {
        slot: u8,
        papo: bool,
    },
    WorkerDown(u8),
    Hello {
        slot: u8,
        capacity: u8,
    },
    Beat(u8),
    BeatAll,
    Leaving(u8),
    /// The n-th last job is answered, by the worker that got it, or by another.
    Reply {
        back: u8,
        by: Option<u8>,
        cookie: u8,
    },
    Echo {
        back: u8,
        frames: u8,
    },
    Elsewhere {
        back: u8,
    },
    Unknown {
        back: u8,
    },
    WorkerRaw {
        slot: u8,
        frames: Vec<&'a [u8]>,
    },
    /// A key that was never given.
    Forged {
        slot: u8,
        counter: u64,
    },
    Pass(u16),
    /// So many half seconds, with a beat of every worker after each.
    PassBeating(u8),
    Stall(u16),
    Drain,
}

fn settings() -> DispatchSettings {
    DispatchSettings {
        waiting_max: 6,
        waiting_bytes_max: 4_000,
        held_bytes_max: 8_000,
        in_flight_per_client_max: 3,
        foreign_capacity: 2,
        worker_bytes_max: 2_000,
        request_bytes_max: 1_500,
        ..DispatchSettings::default()
    }
}

struct World {
    dispatch: Dispatch,
    now: Duration,
    next_id: u64,
    clients: BTreeMap<u8, ConnectionId>,
    workers: BTreeMap<u8, ConnectionId>,
    /// Requests without an answer: whose they are. The number is the first frame of the envelope.
    open: BTreeMap<u64, ConnectionId>,
    /// Messages of each client in any form, and answers to it, beside those above.
    raw: BTreeMap<ConnectionId, u64>,
    next_request: u64,
    /// The latest jobs: to whom, key frame, whether in papo's protocol.
    jobs: VecDeque<(ConnectionId, Bytes, bool)>,
}

impl World {
    fn new() -> Self {
        Self {
            dispatch: Dispatch::new(settings(), BOOT),
            now: Duration::from_secs(1000),
            next_id: 0,
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            open: BTreeMap::new(),
            raw: BTreeMap::new(),
            next_request: 0,
            jobs: VecDeque::new(),
        }
    }

    fn tell(&mut self, input: DispatchInput) {
        let mut effects = Vec::new();
        self.dispatch.handle(Now { monotonic: self.now, unix: UnixMillis(0) }, input, &mut effects);
        self.carry_out(effects);
    }

    fn tick(&mut self) {
        let mut effects = Vec::new();
        self.dispatch.tick(Now { monotonic: self.now, unix: UnixMillis(0) }, &mut effects);
        self.carry_out(effects);
        assert!(self.dispatch.next_tick() > self.now, "a tick does all that is due");
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.dispatch.next_tick() <= end {
            self.now = self.dispatch.next_tick().max(self.now);
            self.tick();
        }
        self.now = end;
    }

    fn client_gone(&mut self, client: ConnectionId) {
        self.clients.retain(|_, id| *id != client);
        self.open.retain(|_, owner| *owner != client);
        self.raw.remove(&client);
    }

    fn carry_out(&mut self, effects: Vec<DispatchEffect>) {
        for effect in effects {
            match effect {
                DispatchEffect::ToClient { client, frames, after } => {
                    assert!(self.clients.values().any(|id| *id == client), "to a client that is there");
                    assert!(after <= settings().broker_deadline + Duration::from_millis(250));
                    let number = frames.first().and_then(|frame| frame.as_ref().try_into().ok());
                    let owner = number.map(u64::from_be_bytes).and_then(|number| self.open.remove(&number));
                    if let Some(owner) = owner {
                        assert_eq!(owner, client, "to whom it belongs");
                    } else {
                        let open = self.raw.get_mut(&client).expect("an answer to nothing");
                        *open = open.checked_sub(1).expect("answered once");
                    }
                }
                DispatchEffect::ToWorker { worker, frames } => {
                    assert!(self.workers.values().any(|id| *id == worker), "to a worker that is there");
                    let papo = ToWorker::from_frames(&frames).is_some();
                    let key = frames[usize::from(papo)].clone();
                    assert_eq!(RequestKey::from_bytes(&key).map(|key| key.boot), Some(BOOT));
                    self.jobs.push_front((worker, key, papo));
                    self.jobs.truncate(16);
                }
                DispatchEffect::CloseClient { client } => {
                    assert!(!self.open.values().any(|owner| *owner == client), "closed after its last reply");
                    self.client_gone(client);
                }
                DispatchEffect::CloseWorker { worker } => self.workers.retain(|_, id| *id != worker),
            }
        }
    }

    fn worker_says(&mut self, slot: u8, frames: Vec<Bytes>) {
        if let Some(worker) = self.workers.get(&(slot % 4)).copied() {
            self.tell(DispatchInput::WorkerMessage { worker, frames });
        }
    }

    fn job(&self, back: u8) -> Option<(ConnectionId, RequestKey, Bytes, bool)> {
        let (worker, key, papo) = self.jobs.get(usize::from(back % 16))?;
        Some((*worker, RequestKey::from_bytes(key)?, key.clone(), *papo))
    }

    fn answer(&mut self, back: u8, message: impl FnOnce(RequestKey) -> FromWorker) {
        if let Some((worker, key, ..)) = self.job(back) {
            self.tell(DispatchInput::WorkerMessage { worker, frames: message(key).to_frames() });
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::ClientUp(slot) => {
                self.next_id += 1;
                let client = ConnectionId(self.next_id);
                if let Some(old) = self.clients.get(&(slot % 4)).copied() {
                    self.client_gone(old);
                    self.tell(DispatchInput::ClientDown(old));
                }
                self.clients.insert(slot % 4, client);
                self.tell(DispatchInput::ClientUp(client));
            }
            Step::ClientDown(slot) => {
                let Some(client) = self.clients.get(&(slot % 4)).copied() else { return };
                self.client_gone(client);
                self.tell(DispatchInput::ClientDown(client));
            }
            Step::Request { client, body, hops, filler } => {
                let Some(client) = self.clients.get(&(client % 4)).copied() else { return };
                self.next_request += 1;
                self.open.insert(self.next_request, client);
                let open = self.open.values().filter(|owner| **owner == client).count() as u64
                    + self.raw.get(&client).copied().unwrap_or_default();
                let overflows = self.dispatch.counters().client_overflows;
                let mut frames = vec![Bytes::copy_from_slice(&self.next_request.to_be_bytes())];
                frames.extend((0..hops % 10).map(|hop| Bytes::copy_from_slice(&[hop])));
                frames.push(Bytes::new());
                let mut body = BODIES[usize::from(body % 4)].to_vec();
                body.resize(body.len() + usize::from(filler % 2_000), b' ');
                frames.push(body.into());
                self.tell(DispatchInput::ClientMessage { client, frames });
                if open <= settings().in_flight_per_client_max as u64 {
                    assert_eq!(
                        self.dispatch.counters().client_overflows,
                        overflows,
                        "only what is open counts"
                    );
                }
            }
            Step::ClientRaw { client, frames } => {
                let Some(client) = self.clients.get(&(client % 4)).copied() else { return };
                // An envelope that begins like one of ours would be taken for it.
                if frames.first().is_some_and(|frame| frame.len() == 8) {
                    return;
                }
                if !frames.is_empty() {
                    *self.raw.entry(client).or_default() += 1;
                }
                let frames = frames.into_iter().map(Bytes::copy_from_slice).collect();
                self.tell(DispatchInput::ClientMessage { client, frames });
            }
            Step::WorkerUp { slot, papo } => {
                self.next_id += 1;
                let worker = ConnectionId(self.next_id);
                if let Some(old) = self.workers.insert(slot % 4, worker) {
                    self.tell(DispatchInput::WorkerDown(old));
                }
                self.tell(DispatchInput::WorkerUp { worker, papo });
            }
            Step::WorkerDown(slot) => {
                let Some(worker) = self.workers.remove(&(slot % 4)) else { return };
                self.tell(DispatchInput::WorkerDown(worker));
            }
            Step::Hello { slot, capacity } => {
                let name = ServerName::new("server-1").expect("a name");
                self.worker_says(slot, FromWorker::Hello { name, capacity: capacity.into() }.to_frames());
            }
            Step::Beat(slot) => self.worker_says(slot, FromWorker::Beat.to_frames()),
            Step::BeatAll => (0..4).for_each(|slot| self.worker_says(slot, FromWorker::Beat.to_frames())),
            Step::Leaving(slot) => self.worker_says(slot, FromWorker::Leaving.to_frames()),
            Step::Reply { back, by, cookie } => {
                let Some((_, key, ..)) = self.job(back) else { return };
                let cookie = Cookie::new(vec![0; cookie.into()].into()).expect("short");
                let reply = FromWorker::Reply { key, cookie, body: Bytes::from_static(b"reply") };
                match by {
                    Some(slot) => self.worker_says(slot, reply.to_frames()),
                    None => self.answer(back, |_| reply),
                }
            }
            Step::Echo { back, frames } => {
                let Some((worker, _, key, _)) = self.job(back) else { return };
                let mut echoed = vec![key, Bytes::new()];
                echoed.extend((0..frames % 4).map(|_| Bytes::from_static(b"reply")));
                self.tell(DispatchInput::WorkerMessage { worker, frames: echoed });
            }
            Step::Elsewhere { back } => self.answer(back, |key| FromWorker::Elsewhere { key }),
            Step::Unknown { back } => self.answer(back, |key| FromWorker::Unknown { key }),
            Step::WorkerRaw { slot, frames } => {
                self.worker_says(slot, frames.into_iter().map(Bytes::copy_from_slice).collect());
            }
            Step::Forged { slot, counter } => {
                let key = RequestKey { boot: BOOT, counter };
                self.worker_says(slot, FromWorker::Elsewhere { key }.to_frames());
            }
            Step::PassBeating(halves) => {
                for _ in 0..halves % 32 {
                    self.pass(500);
                    self.run(Step::BeatAll);
                }
            }
            Step::Pass(millis) => self.pass(u64::from(millis % 4_000)),
            Step::Stall(millis) => {
                self.now += Duration::from_millis(u64::from(millis));
                self.tick();
            }
            Step::Drain => self.tell(DispatchInput::Drain),
        }
        self.check();
    }

    fn check(&self) {
        let (dispatch, settings) = (&self.dispatch, settings());
        assert!(dispatch.waiting() <= settings.waiting_max);
        assert!(dispatch.ready_workers() <= self.workers.len());
        assert!(dispatch.next_tick() <= self.now + Duration::from_millis(250));
        let held = dispatch.in_flight() + dispatch.waiting();
        assert_eq!(dispatch.idle(), held == 0);
        let raw: u64 = self.raw.values().sum();
        assert!(held as u64 >= self.open.len() as u64 + raw, "what is open is held");
        let counted = dispatch.counters();
        let ended = counted.answered + counted.refused + counted.abandoned + counted.replies_without_client;
        assert_eq!(counted.requests, ended + held as u64);
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut world = World::new();
    for step in steps {
        world.run(step);
    }
    world.pass(10_250);
    world.check();
    assert_eq!(world.open, BTreeMap::new(), "all are answered");
    assert_eq!(world.raw.values().sum::<u64>(), 0, "all are answered");
    assert!(world.dispatch.idle());
    let gone: BTreeSet<_> = world.workers.values().copied().collect();
    for worker in gone {
        world.tell(DispatchInput::WorkerDown(worker));
    }
    assert_eq!(world.dispatch.ready_workers(), 0);
});
