//! Replicas wired by hand: a world without sockets, disks or clocks, in which messages wait in a queue until they are delivered.

mod changing;
mod comparing;
mod coordinating;
mod cursors;
mod durable;
mod interleaving;
mod members;
mod replicating;
mod serving;

use super::{
    Counters, Durability, Effect, Input, LoginPolicy, Now, Origin, PeerLink, Replica, ReplicaSettings,
    RequestId, Stored,
};
use crate::archive::MemoryArchive;
use crate::coordination::{ElectionOrder, ElectionSettings};
use crate::export;
use crate::history::{History, HoldError};
use crate::membership::Membership;
use crate::op::Op;
use crate::timekeeping::ClockSync;
use crate::vector::VersionVector;
use bytes::Bytes;
use papo_protocol::client::{ReadReply, read_reply, write_request};
use papo_protocol::epoch::Epoch;
use papo_protocol::publication::PublicationMeta;
use papo_protocol::reference::ReferenceCall;
use papo_protocol::reply::Compat;
use papo_protocol::time::UnixMillis;
use papo_protocol::worker_link::Cookie;
use papo_protocol::{Boot, Encoding, Lamport, Limits, RequestKey, ServerName, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const LIMITS: Limits = Limits { bytes: 1 << 20, depth: 16, values: 10_000 };
/// Two operations or three: others are read from the disk again.
const RECENT_BYTES_MAX: usize = 800;
const START: i64 = 1_700_000_000_000;

/// Of a server of a cluster of so many.
fn member(number: usize, members: usize) -> ReplicaSettings {
    ReplicaSettings { membership: members_up_to(members), ..settings(number) }
}

fn members_up_to(members: usize) -> Membership {
    Membership::from((1..=members).map(name).collect::<Vec<_>>())
}

fn name(number: usize) -> ServerName {
    ServerName::new(&format!("server-{number}")).unwrap()
}

/// Of a server that is the only member of its cluster: its own disk is enough.
fn settings(number: usize) -> ReplicaSettings {
    ReplicaSettings {
        name: name(number),
        boot: Boot(number as u64 * 11),
        membership: vec![name(number)].into(),
        durability: Durability::Majority,
        write_deadline: Duration::from_secs(3),
        login_policy: LoginPolicy::Idempotent,
        compat: Compat::default(),
        limits: LIMITS,
        cluster_id: "default/papo".to_owned(),
        election: ElectionSettings { order: ElectionOrder::Highest, hand_over: Duration::from_secs(60) },
        clock_sync: ClockSync { every_operations: 10, every: Duration::from_secs(30) },
    }
}

/// What a disk does with the batches it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Works,
    /// Keeps them until it works again.
    Stalls,
    Full,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Reply { read: ReadReply, cookie: Cookie },
    Elsewhere,
    Unknown,
}

struct Host {
    replica: Replica,
    archive: MemoryArchive,
    disk: Disk,
    /// Batches that wait for the disk.
    batches: VecDeque<(u64, Vec<Arc<Op>>, Option<VersionVector>)>,
    /// Sizes of all batches that had operations.
    batch_sizes: Vec<usize>,
    stored: Vec<Arc<Op>>,
    stored_shown: VersionVector,
    outcomes: BTreeMap<u64, Outcome>,
    publications: Vec<(String, Bytes, PublicationMeta)>,
    /// Of the reference service.
    asked: Vec<ReferenceCall>,
    /// That were to be stored.
    epochs: Vec<Epoch>,
    /// `publish` and `reply` in the order they left.
    order: Vec<&'static str>,
}

impl Host {
    /// Starts from what is on a disk.
    fn start(
        settings: ReplicaSettings,
        stored: impl IntoIterator<Item = Op>,
        lamport_floor: Lamport,
        shown: &VersionVector,
        now: Now,
    ) -> Result<Self, HoldError> {
        let archive = MemoryArchive::default();
        archive.add(stored.into_iter().map(Arc::new));
        let history = History::of_archive(&archive, RECENT_BYTES_MAX, shown)?;
        let replica =
            Replica::open(settings, history, Stored { lamport_floor, ..Stored::default() }, now).unwrap();
        Ok(Self {
            replica,
            archive,
            disk: Disk::Works,
            batches: VecDeque::new(),
            batch_sizes: Vec::new(),
            stored: Vec::new(),
            stored_shown: VersionVector::default(),
            outcomes: BTreeMap::new(),
            publications: Vec::new(),
            asked: Vec::new(),
            epochs: Vec::new(),
            order: Vec::new(),
        })
    }

    /// Starts without a history.
    fn new(settings: ReplicaSettings, now: Now) -> Self {
        Self::start(settings, [], Lamport::default(), &VersionVector::default(), now).unwrap()
    }

    fn exports(&self) -> [String; 4] {
        let history = self.replica.history();
        let mut files = [const { Vec::new() }; 4];
        let [publications, messages, registry, server_data] = &mut files;
        export::publications(history, publications).unwrap();
        export::messages(history, messages).unwrap();
        export::registry(history, registry).unwrap();
        export::server_data(history, server_data).unwrap();
        files.map(|file| String::from_utf8(file).unwrap())
    }
}

struct World {
    now: Now,
    hosts: Vec<Host>,
    /// To which host, on which of its links, what.
    messages: VecDeque<(usize, PeerLink, Bytes)>,
    cut: Vec<(usize, usize)>,
    last_request: u64,
}

/// The link that `asker` opened to `answerer`, as the asker names it, and as the answerer does.
fn ends(asker: usize, answerer: usize) -> [PeerLink; 2] {
    [PeerLink(100 + answerer as u64), PeerLink(200 + asker as u64)]
}

impl World {
    /// So many servers, no links; each is content with its own disk.
    fn apart(servers: usize) -> Self {
        Self::of((1..=servers).map(settings))
    }

    /// So many servers of one cluster, all linked.
    fn cluster(servers: usize) -> Self {
        let mut world = Self::of((1..=servers).map(|number| member(number, servers)));
        world.link_all();
        world
    }

    fn of(settings: impl Iterator<Item = ReplicaSettings>) -> Self {
        let now = Now { monotonic: Duration::from_secs(5), unix: UnixMillis(START) };
        let hosts = settings.map(|settings| Host::new(settings, now)).collect();
        let mut world = Self { now, hosts, messages: VecDeque::new(), cut: Vec::new(), last_request: 0 };
        world.pass(0);
        world
    }

    /// So many servers, all linked; each is content with its own disk.
    fn linked(servers: usize) -> Self {
        let mut world = Self::apart(servers);
        world.link_all();
        world
    }

    fn link_all(&mut self) {
        for a in 0..self.hosts.len() {
            for b in (0..self.hosts.len()).filter(|b| *b != a) {
                self.link(a, b);
            }
        }
        self.run();
    }

    fn link(&mut self, asker: usize, answerer: usize) {
        self.input(asker, Input::PeerUp { link: ends(asker, answerer)[0] });
    }

    /// Both links between these two end.
    fn drop_links(&mut self, a: usize, b: usize) {
        for (asker, answerer) in [(a, b), (b, a)] {
            let [asks, answers] = ends(asker, answerer);
            self.input(asker, Input::PeerDown { link: asks });
            self.input(answerer, Input::PeerDown { link: answers });
        }
    }

    /// What one sends to the other from now on is lost.
    fn cut_from(&mut self, from: usize, to: usize) {
        self.cut.push((from, to));
    }

    /// What is sent between these two from now on is lost.
    fn cut(&mut self, a: usize, b: usize) {
        self.cut.extend([(a, b), (b, a)]);
    }

    fn input(&mut self, host: usize, input: Input) {
        let mut effects = Vec::new();
        self.hosts[host].replica.handle(self.now, input, &mut effects);
        self.execute(host, effects);
    }

    fn execute(&mut self, at: usize, effects: Vec<Effect>) {
        let host = &mut self.hosts[at];
        for effect in effects {
            match effect {
                Effect::Reply { id, cookie, body } => {
                    let read = read_reply(&body, &LIMITS).unwrap();
                    let before = host.outcomes.insert(id.0, Outcome::Reply { read, cookie });
                    assert_eq!(before, None, "a request is answered once");
                    host.order.push("reply");
                }
                Effect::Elsewhere { id } => {
                    assert_eq!(host.outcomes.insert(id.0, Outcome::Elsewhere), None);
                }
                Effect::Unknown { id } => {
                    assert_eq!(host.outcomes.insert(id.0, Outcome::Unknown), None);
                }
                Effect::Store { batch, ops, shown, epoch } => {
                    assert!(host.batches.is_empty(), "one batch is under way at a time");
                    assert!(
                        !ops.is_empty() || shown.is_some() || epoch.is_some(),
                        "a batch stores something"
                    );
                    host.batch_sizes.extend(Some(ops.len()).filter(|size| *size > 0));
                    host.epochs.extend(epoch);
                    host.batches.push_back((batch, ops, shown));
                }
                Effect::Publish { topic, body, meta } => {
                    host.publications.push((topic, body, meta));
                    host.order.push("publish");
                }
                // There is no reference service in this world, unless a test plays it.
                Effect::AskReference(call) => host.asked.push(call),
                Effect::Notice(_) => {}
                Effect::ToPeer { link, bytes } => {
                    let asks = link.0 < 200;
                    let other = usize::try_from(link.0 % 100).unwrap();
                    let to = if asks { ends(at, other)[1] } else { ends(other, at)[0] };
                    // A test may play a peer itself, on a link of another number.
                    if link.0 < 300 && !self.cut.contains(&(at, other)) {
                        self.messages.push_back((other, to, bytes));
                    }
                }
            }
        }
    }

    /// Lets the disks work and delivers messages until nothing is left to do at this moment.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let busy =
                self.hosts.iter().position(|host| host.disk != Disk::Stalls && !host.batches.is_empty());
            if let Some(at) = busy {
                self.disk(at);
            } else if let Some((to, link, bytes)) = self.messages.pop_front() {
                self.input(to, Input::PeerMessage { link, bytes });
            } else {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// The disk of this host does the batch that waits for it, if one does.
    fn disk(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let Some((batch, ops, shown)) = host.batches.pop_front() else { return };
        if host.disk == Disk::Full {
            return self.input(at, Input::StorageFull { batch });
        }
        host.archive.add(ops.iter().cloned());
        host.stored.extend(ops);
        if let Some(shown) = shown {
            host.stored_shown = shown;
        }
        self.input(at, Input::Stored { batch });
    }

    fn tick(&mut self, at: usize) {
        let mut effects = Vec::new();
        self.hosts[at].replica.tick(self.now, &mut effects);
        self.execute(at, effects);
    }

    /// Lets time pass, in steps as the replicas ask for them.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now.monotonic + Duration::from_millis(milliseconds);
        loop {
            let next = self.hosts.iter().filter_map(|host| host.replica.next_tick()).min();
            let step = next.unwrap_or(end).clamp(self.now.monotonic, end) - self.now.monotonic;
            self.now.monotonic += step;
            self.now.unix.0 += i64::try_from(step.as_millis()).unwrap();
            for at in 0..self.hosts.len() {
                self.tick(at);
            }
            self.run();
            if self.now.monotonic >= end {
                return;
            }
        }
    }

    /// A request by this origin; comes back with its id, without running the world.
    fn send_from(&mut self, host: usize, from: Origin, body: Bytes) -> u64 {
        self.last_request += 1;
        let id = self.last_request;
        self.input(host, Input::Request { id: RequestId(id), from, body });
        id
    }

    fn outcome(&self, host: usize, id: u64) -> Option<&Outcome> {
        self.hosts[host].outcomes.get(&id)
    }

    /// A direct request that is answered at this moment.
    fn ask(&mut self, host: usize, service: &str, fields: &[(&str, &str)]) -> ReadReply {
        let id = self.send_from(host, direct(self.last_request + 1), request(service, fields, 0));
        self.run();
        self.read(host, id)
    }

    fn read(&self, host: usize, id: u64) -> ReadReply {
        match self.outcome(host, id) {
            Some(Outcome::Reply { read, .. }) => read.clone(),
            other => panic!("request {id} at {host}: {other:?}"),
        }
    }

    fn cookie(&self, host: usize, id: u64) -> Cookie {
        match self.outcome(host, id) {
            Some(Outcome::Reply { cookie, .. }) => cookie.clone(),
            other => panic!("request {id} at {host}: {other:?}"),
        }
    }

    fn counters(&self, host: usize) -> &Counters {
        self.hosts[host].replica.counters()
    }
}

fn request(service: &str, fields: &[(&str, &str)], clock: u64) -> Bytes {
    let clock = Lamport::new(clock).unwrap();
    write_request(service, fields, None, clock, UnixMillis(START), Encoding::MessagePack)
}

fn request_with_id(service: &str, fields: &[(&str, &str)], id: u8) -> Bytes {
    write_request(
        service,
        fields,
        Some([id; 16]),
        Lamport::default(),
        UnixMillis(START),
        Encoding::MessagePack,
    )
}

/// A request over connection 1.
fn direct(counter: u64) -> Origin {
    Origin::Direct { session: Some(1), counter }
}

fn broker(counter: u64, cookie: &Cookie) -> Origin {
    Origin::Broker { key: RequestKey { boot: Boot(99), counter }, cookie: cookie.clone(), last_resort: false }
}

fn last_resort(counter: u64, cookie: &Cookie) -> Origin {
    Origin::Broker { key: RequestKey { boot: Boot(99), counter }, cookie: cookie.clone(), last_resort: true }
}

fn code(reply: &ReadReply) -> Option<&str> {
    reply.failure.as_ref().and_then(|failure| failure.code.as_deref())
}

fn field<'a>(reply: &'a ReadReply, name: &str) -> Option<&'a Value> {
    match &reply.data {
        Value::Map(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
        _ => None,
    }
}

const GERAL: &[(&str, &str)] = &[("channel", "geral")];
const OI: &[(&str, &str)] = &[("user", "ana"), ("channel", "geral"), ("message", "oi")];
