//! The dispatch driven by scripted clients and workers, in virtual time.

mod clients;
mod failover;
mod foreign;
mod load;
mod property;
mod scenario;
mod stall;

use super::*;
use papo_protocol::Value;
use papo_protocol::codec::decode;
use papo_protocol::names::ServerName;
use papo_protocol::time::UnixMillis;
use papo_protocol::worker_link::ToWorker;

const BOOT: Boot = Boot(77);
const ANA: ConnectionId = ConnectionId(1);
const BIA: ConnectionId = ConnectionId(2);
const FIRST: ConnectionId = ConnectionId(101);
const SECOND: ConnectionId = ConnectionId(102);
const THIRD: ConnectionId = ConnectionId(103);

/// A request that changes nothing.
const READ: &str = r#"{"service":"users","data":{"timestamp":1}}"#;
/// A request that may change something.
const WRITE: &str = r#"{"service":"publish","data":{"user":"ana","channel":"geral","message":"oi"}}"#;

struct Bench {
    dispatch: Dispatch,
    now: Duration,
}

/// What a worker was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    worker: ConnectionId,
    key: RequestKey,
    cookie: Bytes,
    last_resort: bool,
    body: Bytes,
}

impl Bench {
    fn new() -> Self {
        Self::with(DispatchSettings::default())
    }

    fn with(settings: DispatchSettings) -> Self {
        Self { dispatch: Dispatch::new(settings, BOOT), now: Duration::from_secs(1000) }
    }

    /// With two clients and these papo workers.
    fn with_workers(workers: &[ConnectionId]) -> Self {
        let mut bench = Self::new();
        bench.up(&[ANA, BIA]);
        for worker in workers {
            bench.papo(*worker, 100);
        }
        bench
    }

    fn input(&mut self, input: DispatchInput) -> Vec<DispatchEffect> {
        let mut effects = Vec::new();
        self.dispatch.handle(Now { monotonic: self.now, unix: UnixMillis(0) }, input, &mut effects);
        timeless(effects)
    }

    /// Lets time pass, with a tick whenever one is due.
    fn pass(&mut self, millis: u64) -> Vec<DispatchEffect> {
        let (end, mut effects) = (self.now + Duration::from_millis(millis), Vec::new());
        while self.dispatch.next_tick() <= end {
            self.now = self.dispatch.next_tick().max(self.now);
            self.dispatch.tick(Now { monotonic: self.now, unix: UnixMillis(0) }, &mut effects);
        }
        self.now = end;
        timeless(effects)
    }

    /// Lets time pass while these workers beat.
    fn pass_beating(&mut self, millis: u64, workers: &[ConnectionId]) -> Vec<DispatchEffect> {
        let mut effects = Vec::new();
        for _ in 0..millis / 500 {
            effects.extend(self.pass(500));
            for worker in workers {
                effects.extend(self.says(*worker, &FromWorker::Beat));
            }
        }
        effects.extend(self.pass(millis % 500));
        effects
    }

    fn up(&mut self, clients: &[ConnectionId]) {
        for client in clients {
            assert_eq!(self.input(DispatchInput::ClientUp(*client)), []);
        }
    }

    fn papo(&mut self, worker: ConnectionId, capacity: u32) -> Vec<DispatchEffect> {
        let mut effects = self.input(DispatchInput::WorkerUp { worker, papo: true });
        effects.extend(self.says(worker, &hello(capacity)));
        effects
    }

    fn foreign(&mut self, worker: ConnectionId) -> Vec<DispatchEffect> {
        self.input(DispatchInput::WorkerUp { worker, papo: false })
    }

    fn says(&mut self, worker: ConnectionId, message: &FromWorker) -> Vec<DispatchEffect> {
        self.input(DispatchInput::WorkerMessage { worker, frames: message.to_frames() })
    }

    fn replies(&mut self, job: &Job, body: &'static str) -> Vec<DispatchEffect> {
        let reply = FromWorker::Reply { key: job.key, cookie: Cookie::default(), body: body.into() };
        self.says(job.worker, &reply)
    }

    fn elsewhere(&mut self, job: &Job) -> Vec<DispatchEffect> {
        self.says(job.worker, &FromWorker::Elsewhere { key: job.key })
    }

    fn unknown(&mut self, job: &Job) -> Vec<DispatchEffect> {
        self.says(job.worker, &FromWorker::Unknown { key: job.key })
    }

    fn echoes(&mut self, job: &Job, body: &'static str) -> Vec<DispatchEffect> {
        let frames = vec![Bytes::copy_from_slice(&job.key.to_bytes()), Bytes::new(), body.into()];
        self.input(DispatchInput::WorkerMessage { worker: job.worker, frames })
    }

    fn down(&mut self, worker: ConnectionId) -> Vec<DispatchEffect> {
        self.input(DispatchInput::WorkerDown(worker))
    }

    /// As a REQ client sends it.
    fn request(&mut self, client: ConnectionId, body: &'static str) -> Vec<DispatchEffect> {
        self.input(DispatchInput::ClientMessage { client, frames: vec![Bytes::new(), body.into()] })
    }

    /// A request that goes straight to a worker.
    fn lent(&mut self, client: ConnectionId, body: &'static str) -> Job {
        one_job(&self.request(client, body))
    }

    fn counters(&self) -> DispatchCounters {
        *self.dispatch.counters()
    }
}

fn hello(capacity: u32) -> FromWorker {
    FromWorker::Hello { name: ServerName::new("server-1").unwrap(), capacity }
}

/// What papo workers and foreign ones were given.
fn jobs(effects: &[DispatchEffect]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for effect in effects {
        let DispatchEffect::ToWorker { worker, frames } = effect else { continue };
        jobs.push(match ToWorker::from_frames(frames) {
            Some(ToWorker::Request { key, cookie, last_resort, body }) => {
                Job { worker: *worker, key, cookie: cookie.as_bytes().clone(), last_resort, body }
            }
            None => {
                assert_eq!(frames.len(), 3);
                assert!(frames[1].is_empty());
                let key = RequestKey::from_bytes(&frames[0]).unwrap();
                Job {
                    worker: *worker,
                    key,
                    cookie: Bytes::new(),
                    last_resort: false,
                    body: frames[2].clone(),
                }
            }
        });
    }
    jobs
}

fn one_job(effects: &[DispatchEffect]) -> Job {
    let jobs = jobs(effects);
    assert_eq!((jobs.len(), effects.len()), (1, 1), "{effects:?}");
    jobs[0].clone()
}

/// What a REQ client gets for `body`.
fn to_client(client: ConnectionId, body: &'static str) -> DispatchEffect {
    DispatchEffect::ToClient { client, frames: vec![Bytes::new(), body.into()], after: Duration::ZERO }
}

/// Without the times that replies took: most tests compare whole effects, and are not about these.
fn timeless(mut effects: Vec<DispatchEffect>) -> Vec<DispatchEffect> {
    for effect in &mut effects {
        if let DispatchEffect::ToClient { after, .. } = effect {
            *after = Duration::ZERO;
        }
    }
    effects
}

/// The client, code and `retry` of each `erro`.
fn refusals(effects: &[DispatchEffect]) -> Vec<(ConnectionId, String, bool)> {
    let mut refusals = Vec::new();
    for effect in effects {
        let DispatchEffect::ToClient { client, frames, .. } = effect else { continue };
        let limits = crate::constants::REQUEST_READ_LIMITS;
        let Ok((_, Value::Map(reply))) = decode(frames.last().unwrap(), &limits) else { continue };
        let Some((_, Value::Map(data))) = reply.into_iter().find(|(key, _)| key == "data") else { continue };
        let field = |name: &str| data.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let (Some(Value::Text(code)), Some(Value::Bool(retry))) = (field("code"), field("retry")) else {
            continue;
        };
        assert_eq!(field("status"), Some(Value::Text("erro".to_owned())));
        refusals.push((*client, code, retry));
    }
    refusals
}

fn refusal(client: ConnectionId, code: &str, retry: bool) -> Vec<(ConnectionId, String, bool)> {
    vec![(client, code.to_owned(), retry)]
}
