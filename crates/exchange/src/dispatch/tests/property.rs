//! Whatever clients and workers do, each request is answered exactly once on its connection, in time, and nothing is left over.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Connections of each side that a run uses at once.
const SLOTS: usize = 4;
const CAPACITY: usize = 2;

fn settings() -> DispatchSettings {
    DispatchSettings {
        waiting_max: 6,
        in_flight_per_client_max: 3,
        foreign_capacity: CAPACITY,
        ..DispatchSettings::default()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    ClientUp(usize),
    ClientDown(usize),
    Request(usize, bool),
    PapoUp(usize),
    ForeignUp(usize),
    WorkerDown(usize),
    Beat(usize),
    BeatAll,
    Leaving(usize),
    /// The n-th job ever given is answered, perhaps again, perhaps by a worker that is gone.
    Reply(usize),
    Elsewhere(usize),
    Unknown(usize),
    Pass(u64),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS;
    prop_oneof![
        2 => slot.clone().prop_map(Step::ClientUp),
        1 => slot.clone().prop_map(Step::ClientDown),
        12 => (slot.clone(), any::<bool>()).prop_map(|(slot, write)| Step::Request(slot, write)),
        3 => slot.clone().prop_map(Step::PapoUp),
        1 => slot.clone().prop_map(Step::ForeignUp),
        2 => slot.clone().prop_map(Step::WorkerDown),
        3 => slot.clone().prop_map(Step::Beat),
        6 => Just(Step::BeatAll),
        1 => slot.prop_map(Step::Leaving),
        8 => (0usize..8).prop_map(Step::Reply),
        5 => (0usize..8).prop_map(Step::Elsewhere),
        2 => (0usize..8).prop_map(Step::Unknown),
        8 => prop_oneof![3 => 0u64..400, 1 => 0u64..4000].prop_map(Step::Pass),
        1 => Just(Step::Drain),
    ]
}

/// The world around the dispatch, and what it knows of it.
struct World {
    bench: Bench,
    next_id: u64,
    clients: [Option<ConnectionId>; SLOTS],
    workers: [Option<(ConnectionId, bool)>; SLOTS],
    /// Each request's envelope is its number: to whom it belongs and until when it must be answered, until it is.
    unanswered: HashMap<u64, (ConnectionId, Duration)>,
    next_request: u64,
    /// All that workers were given, newest last, and by whom it can be answered.
    given: Vec<(Job, bool)>,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::with(settings()),
            next_id: 1,
            clients: [None; SLOTS],
            workers: [None; SLOTS],
            unanswered: HashMap::new(),
            next_request: 1,
            given: Vec::new(),
        }
    }

    fn id(&mut self) -> ConnectionId {
        self.next_id += 1;
        ConnectionId(self.next_id)
    }

    fn client_gone(&mut self, client: ConnectionId) {
        self.clients.iter_mut().filter(|slot| **slot == Some(client)).for_each(|slot| *slot = None);
        self.unanswered.retain(|_, (owner, _)| *owner != client);
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        let effects = match step {
            Step::ClientUp(slot) if self.clients[slot].is_none() => {
                let client = self.id();
                self.clients[slot] = Some(client);
                self.bench.input(DispatchInput::ClientUp(client))
            }
            Step::ClientDown(slot) => {
                let Some(client) = self.clients[slot] else { return Ok(()) };
                self.client_gone(client);
                self.bench.input(DispatchInput::ClientDown(client))
            }
            Step::Request(slot, write) => {
                let Some(client) = self.clients[slot] else { return Ok(()) };
                let number = self.next_request;
                self.next_request += 1;
                self.unanswered.insert(number, (client, self.bench.now + settings().broker_deadline));
                let body = if write { WRITE } else { READ };
                let frames = vec![Bytes::copy_from_slice(&number.to_be_bytes()), Bytes::new(), body.into()];
                self.bench.input(DispatchInput::ClientMessage { client, frames })
            }
            Step::PapoUp(slot) if self.workers[slot].is_none() => {
                let worker = self.id();
                self.workers[slot] = Some((worker, true));
                self.bench.papo(worker, u32::try_from(CAPACITY).unwrap())
            }
            Step::ForeignUp(slot) if self.workers[slot].is_none() => {
                let worker = self.id();
                self.workers[slot] = Some((worker, false));
                self.bench.foreign(worker)
            }
            Step::WorkerDown(slot) => {
                let Some((worker, _)) = self.workers[slot].take() else { return Ok(()) };
                self.bench.down(worker)
            }
            Step::Beat(slot) => {
                let Some((worker, true)) = self.workers[slot] else { return Ok(()) };
                self.bench.says(worker, &FromWorker::Beat)
            }
            Step::BeatAll => {
                let mut effects = Vec::new();
                for (worker, _) in self.workers.into_iter().flatten().filter(|(_, papo)| *papo) {
                    effects.extend(self.bench.says(worker, &FromWorker::Beat));
                }
                effects
            }
            Step::Leaving(slot) => {
                let Some((worker, true)) = self.workers[slot] else { return Ok(()) };
                self.bench.says(worker, &FromWorker::Leaving)
            }
            Step::Reply(back) => {
                let Some((job, papo)) = self.given.iter().rev().nth(back).cloned() else { return Ok(()) };
                if papo { self.bench.replies(&job, "reply") } else { self.bench.echoes(&job, "reply") }
            }
            Step::Elsewhere(back) => {
                let Some((job, true)) = self.given.iter().rev().nth(back).cloned() else { return Ok(()) };
                self.bench.elsewhere(&job)
            }
            Step::Unknown(back) => {
                let Some((job, true)) = self.given.iter().rev().nth(back).cloned() else { return Ok(()) };
                self.bench.unknown(&job)
            }
            Step::Pass(millis) => self.bench.pass(millis),
            Step::Drain => self.bench.input(DispatchInput::Drain),
            Step::ClientUp(_) | Step::PapoUp(_) | Step::ForeignUp(_) => return Ok(()),
        };
        self.carry_out(effects)?;
        self.check()
    }

    fn carry_out(&mut self, effects: Vec<DispatchEffect>) -> Result<(), TestCaseError> {
        for effect in effects {
            match &effect {
                DispatchEffect::ToClient { client, frames, .. } => {
                    prop_assert_eq!(frames.len(), 3);
                    let number = u64::from_be_bytes(frames[0].as_ref().try_into().unwrap());
                    let owner = self.unanswered.remove(&number).map(|(owner, _)| owner);
                    prop_assert_eq!(owner, Some(*client), "answered once, and to whom it belongs");
                }
                DispatchEffect::ToWorker { worker, .. } => {
                    let papo =
                        self.workers.iter().flatten().find(|(id, _)| id == worker).map(|(_, papo)| *papo);
                    prop_assert!(papo.is_some(), "given to a worker that is there");
                    let job = jobs(std::slice::from_ref(&effect)).remove(0);
                    prop_assert_eq!(job.key.boot, BOOT);
                    self.given.push((job, papo == Some(true)));
                }
                DispatchEffect::CloseClient { client } => {
                    let waits = self.unanswered.values().any(|(owner, _)| owner == client);
                    prop_assert!(!waits, "no connection is closed before its reply");
                    self.client_gone(*client);
                }
                DispatchEffect::CloseWorker { worker } => {
                    let slot = self.workers.iter_mut().find(|slot| slot.is_some_and(|(id, _)| id == *worker));
                    *slot.unwrap() = None;
                }
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for (worker, _) in self.workers.into_iter().flatten() {
            let load = self.bench.dispatch.workers.get_mut(worker).map(|worker| worker.load());
            prop_assert!(load.is_some_and(|load| load <= CAPACITY), "a worker has no more than it takes");
        }
        let dispatch = &self.bench.dispatch;
        let late = self.unanswered.values().filter(|(_, until)| *until < self.bench.now).count();
        prop_assert_eq!(late, 0, "answered by the deadline");
        prop_assert!(dispatch.waiting() <= settings().waiting_max);
        prop_assert!(dispatch.in_flight() + dispatch.waiting() >= self.unanswered.len());
        prop_assert!(dispatch.requests.next_due().is_some() || dispatch.idle());
        let counted = dispatch.counters();
        let held = u64::try_from(dispatch.in_flight() + dispatch.waiting()).unwrap();
        let ended = counted.answered + counted.refused + counted.abandoned + counted.replies_without_client;
        prop_assert_eq!(counted.requests, ended + held, "every request is accounted for");
        Ok(())
    }

    /// All time out, or are answered.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        let effects = self.bench.pass(10_000);
        self.carry_out(effects)?;
        self.check()?;
        prop_assert!(self.unanswered.is_empty(), "left without an answer: {:?}", self.unanswered);
        prop_assert!(self.bench.dispatch.idle());
        for worker in self.workers.into_iter().flatten() {
            self.bench.down(worker.0);
        }
        prop_assert_eq!(self.bench.dispatch.ready_workers(), 0);
        let requests = &self.bench.dispatch.requests;
        prop_assert_eq!(requests.next_due(), None, "nothing is left to be done");
        prop_assert_eq!((requests.aside_bytes(), requests.held_bytes()), (0, 0));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_request_is_answered_exactly_once_by_the_deadline(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.run(step)?;
        }
        world.finish()?;
    }
}
