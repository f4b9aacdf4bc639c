//! A server's mind between clients and peers that say anything: no panic, no request answered twice, and what waits is bounded by
//! what was asked.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use papo_protocol::reply::Compat;
use papo_protocol::time::UnixMillis;
use papo_protocol::worker_link::{COOKIE_BYTES_MAX, Cookie};
use papo_protocol::{Boot, Limits, RequestKey, ServerName};
use papo_replica::{
    ClockSync, Durability, Effect, ElectionOrder, ElectionSettings, History, Input, LoginPolicy, Membership,
    MemoryArchive, Now, Origin, PeerLink, Replica, ReplicaSettings, RequestId, Stored,
};
use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Direct {
        session: u8,
        body: &'a [u8],
    },
    Broker {
        key: u8,
        cookie: &'a [u8],
        last_resort: bool,
        body: &'a [u8],
    },
    SessionClosed(u8),
    PeerUp(u8),
    PeerDown(u8),
    Peer {
        link: u8,
        bytes: &'a [u8],
    },
    /// With the version that is read.
    PeerInVersion {
        link: u8,
        bytes: &'a [u8],
    },
    /// What this server sent to a peer comes back on another link: well-formed, and out of place.
    Echo {
        link: u8,
    },
    DiskDone {
        full: bool,
    },
    Pass(u16),
    Drain,
    /// So many members, of whom this server may be one, and so many that join.
    Members {
        generation: u8,
        members: u8,
        joining: u8,
    },
}

fn servers(numbers: RangeInclusive<u32>) -> Vec<ServerName> {
    numbers.map(|number| ServerName::new(&format!("server-{number}")).expect("a name")).collect()
}

struct Server {
    replica: Replica,
    now: Duration,
    asked: u64,
    open: BTreeSet<u64>,
    batches: VecDeque<u64>,
    said: VecDeque<Bytes>,
}

impl Server {
    fn new() -> Self {
        let settings = ReplicaSettings {
            name: ServerName::new("server-1").expect("a name"),
            boot: Boot(7),
            membership: servers(1..=3).into(),
            durability: Durability::Majority,
            write_deadline: Duration::from_secs(3),
            login_policy: LoginPolicy::Idempotent,
            compat: Compat::default(),
            limits: Limits::REQUEST,
            cluster_id: "default/papo".to_owned(),
            election: ElectionSettings { order: ElectionOrder::Highest, hand_over: Duration::from_secs(60) },
            clock_sync: ClockSync { every_operations: 10, every: Duration::from_secs(30) },
        };
        let now = Duration::from_secs(5);
        let start = Now { monotonic: now, unix: UnixMillis(1_700_000_000_000) };
        // It keeps all that is stored, and never reads it again.
        let history = History::new(MemoryArchive::default(), usize::MAX);
        let replica = Replica::open(settings, history, Stored::default(), start).expect("sound settings");
        Self {
            replica,
            now,
            asked: 0,
            open: BTreeSet::new(),
            batches: VecDeque::new(),
            said: VecDeque::new(),
        }
    }

    fn now(&self) -> Now {
        let millis = i64::try_from(self.now.as_millis()).expect("a short run");
        Now { monotonic: self.now, unix: UnixMillis(1_700_000_000_000 + millis) }
    }

    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.replica.handle(self.now(), input, &mut effects);
        self.carry_out(effects);
    }

    fn ask(&mut self, from: Origin, body: &[u8]) {
        self.asked += 1;
        self.open.insert(self.asked);
        self.tell(Input::Request { id: RequestId(self.asked), from, body: Bytes::copy_from_slice(body) });
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { id, cookie, .. } => {
                    assert!(self.open.remove(&id.0), "answered once");
                    assert!(cookie.as_bytes().len() <= COOKIE_BYTES_MAX);
                }
                Effect::Elsewhere { id } | Effect::Unknown { id } => {
                    assert!(self.open.remove(&id.0), "answered once")
                }
                Effect::Store { batch, .. } => self.batches.push_back(batch),
                Effect::Publish { .. } | Effect::AskReference(_) | Effect::Notice(_) => {}
                Effect::ToPeer { bytes, .. } => {
                    self.said.push_back(bytes);
                    if self.said.len() > 8 {
                        self.said.pop_front();
                    }
                }
            }
        }
        assert!(self.replica.requests_waiting() <= self.open.len());
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let mut effects = Vec::new();
        self.replica.tick(self.now(), &mut effects);
        self.carry_out(effects);
    }

    fn run(&mut self, step: Step) {
        let link = |link: u8| PeerLink(u64::from(link % 4));
        match step {
            Step::Direct { session, body } => {
                let session = Some(u64::from(session % 4));
                self.ask(Origin::Direct { session, counter: self.asked }, body);
            }
            Step::Broker { key, cookie, last_resort, body } => {
                let key = RequestKey { boot: Boot(9), counter: u64::from(key % 16) };
                let Some(cookie) = Cookie::new(Bytes::copy_from_slice(cookie)) else { return };
                self.ask(Origin::Broker { key, cookie, last_resort }, body);
            }
            Step::SessionClosed(session) => {
                self.tell(Input::SessionClosed { session: u64::from(session % 4) })
            }
            Step::PeerUp(peer) => self.tell(Input::PeerUp { link: link(peer) }),
            Step::PeerDown(peer) => self.tell(Input::PeerDown { link: link(peer) }),
            Step::Peer { link: peer, bytes } => {
                self.tell(Input::PeerMessage { link: link(peer), bytes: Bytes::copy_from_slice(bytes) });
            }
            Step::PeerInVersion { link: peer, bytes } => {
                let bytes = [&[1], bytes].concat().into();
                self.tell(Input::PeerMessage { link: link(peer), bytes });
            }
            Step::Echo { link: peer } => {
                if let Some(bytes) = self.said.pop_front() {
                    self.tell(Input::PeerMessage { link: link(peer), bytes });
                }
            }
            Step::DiskDone { full } => {
                if let Some(batch) = self.batches.pop_front() {
                    let stored = if full { Input::StorageFull { batch } } else { Input::Stored { batch } };
                    self.tell(stored);
                }
            }
            Step::Pass(millis) => self.pass(u64::from(millis)),
            Step::Drain => self.tell(Input::Drain),
            Step::Members { generation, members, joining } => {
                let first = 1 + u32::from(members % 2);
                let last = first + u32::from(members % 5);
                let joining = servers(last + 1..=last + u32::from(joining % 3));
                let generation = u64::from(generation);
                let membership = Membership { generation, joining, ..servers(first..=last).into() };
                self.tell(Input::Members(membership));
            }
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut server = Server::new();
    for step in steps {
        server.run(step);
    }
    // The disk works, time passes: everything has an answer.
    for _ in 0..40 {
        while let Some(batch) = server.batches.pop_front() {
            server.tell(Input::Stored { batch });
        }
        server.pass(250);
    }
    assert_eq!(server.open, BTreeSet::new(), "all are answered");
});
