//! One server's mind. An [`Input`] enters [`Replica::handle`], [`Effect`]s come out, which the host executes in order; time is an
//! argument, and [`Replica::next_tick`] says when to call [`Replica::tick`] at the latest.
//!
//! `requests` judges what clients ask, `reading` and `answers` make what they get, `waiting` holds the requests that cannot be
//! decided yet, `storage` groups operations into batches for the disk, `comparing` asks the `peers` whether there is anything to
//! fetch, `replication` fetches it, `telling` spares the others the same, `durability` decides what is shown, `confirming` has it
//! published and answered, `members` follows who counts, `coordinating` has it decided who leads, and `keeping_time` what time it is.
//! None of them knows a socket or a disk.

mod allowance;
mod answers;
mod comparing;
mod confirming;
mod coordinating;
mod counters;
mod durability;
mod keeping_time;
mod members;
mod peers;
mod reading;
mod replication;
mod requests;
mod storage;
mod telling;
#[cfg(test)]
mod tests;
mod waiting;

pub use counters::Counters;
pub use durability::Durability;
pub use replication::PeerStatus;

use crate::constants::REQUEST_BYTES_MAX;
use crate::coordination::{Coordination, ElectionSettings};
use crate::history::History;
use crate::membership::Membership;
use crate::notice::Notice;
use crate::op::Op;
use crate::planted::Plant;
use crate::session::Sessions;
use crate::timekeeping::{ClockSync, KeptClock, Moment, Timekeeping};
use crate::vector::{VersionVector, Writer};
use allowance::RaiseAllowance;
use bytes::Bytes;
use confirming::Unconfirmed;
use papo_protocol::epoch::Epoch;
use papo_protocol::lamport::{Lamport, LamportClock};
use papo_protocol::publication::PublicationMeta;
use papo_protocol::reference::{ReferenceAnswer, ReferenceCall};
use papo_protocol::reply::Compat;
pub use papo_protocol::time::Now;
use papo_protocol::time::UnixMillis;
use papo_protocol::worker_link::Cookie;
use papo_protocol::{Boot, Limits, RequestKey, ServerName};
use peers::Peers;
use replication::Draining;
use std::sync::Arc;
use std::time::Duration;
use storage::Storage;
use telling::News;
use waiting::Waiting;

/// What a login by an existing user is (row C02).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginPolicy {
    /// A success, stored like the first.
    #[default]
    Idempotent,
    /// Refused: the name is taken.
    Unique,
}

/// What a replica must be told before it starts.
#[derive(Debug, Clone)]
pub struct ReplicaSettings {
    /// Its name.
    pub name: ServerName,
    /// 64 random bits, new at each start.
    pub boot: Boot,
    /// The servers of the cluster, this one among them.
    pub membership: Membership,
    /// On how many of their disks a write must be before it is acknowledged.
    pub durability: Durability,
    /// How long a client waits for that before it is told that the outcome is not known.
    pub write_deadline: Duration,
    /// What a repeated login is.
    pub login_policy: LoginPolicy,
    /// Variants of the replies.
    pub compat: Compat,
    /// Bounds of what is read from clients.
    pub limits: Limits,
    /// Which cluster this is: peers of another are ignored.
    pub cluster_id: String,
    /// How its coordinator is chosen.
    pub election: ElectionSettings,
    /// When the coordinator has the servers agree on the time.
    pub clock_sync: ClockSync,
}

/// What a start finds on the disk beside the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// The persisted ceiling of the Lamport clock: no higher value was ever sent.
    pub lamport_floor: Lamport,
    /// The epoch of the last [`Effect::Store`] that had one.
    pub epoch: Epoch,
    /// What was kept of the clock.
    pub clock: KeptClock,
}

/// Names a request between host and replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a link to or from a peer. A link that was closed does not give its number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerLink(pub u64);

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Through papo's broker.
    Broker {
        /// Same in every redispatch.
        key: RequestKey,
        /// What a server remembered of this client's connection.
        cookie: Cookie,
        /// Every ready server has said `elsewhere`: serve it as things stand.
        last_resort: bool,
    },
    /// Over a connection to this server.
    Direct {
        /// The connection; `None` where many clients share one, behind a broker of another make: none of them may speak as
        /// another's user.
        session: Option<u64>,
        /// Counts up over all direct requests of this boot; the request's key is made of it.
        counter: u64,
    },
}

/// What happens to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A client asks. It is answered by exactly one [`Effect::Reply`], [`Effect::Elsewhere`] or [`Effect::Unknown`].
    Request {
        /// Comes back with the answer.
        id: RequestId,
        /// Where from.
        from: Origin,
        /// The client's bytes.
        body: Bytes,
    },
    /// A direct connection is closed.
    SessionClosed {
        /// Which.
        session: u64,
    },
    /// A link that this server opened is up: it asks on it.
    PeerUp {
        /// Which.
        link: PeerLink,
    },
    /// A message on a link, one of ours or one that a peer opened.
    PeerMessage {
        /// Which.
        link: PeerLink,
        /// The message.
        bytes: Bytes,
    },
    /// A link is down, one of ours or one that a peer opened.
    PeerDown {
        /// Which.
        link: PeerLink,
    },
    /// A batch is on disk (fsynced).
    Stored {
        /// Which.
        batch: u64,
    },
    /// The disk is full: nothing of a batch was written.
    StorageFull {
        /// Which.
        batch: u64,
    },
    /// The reference service answered.
    Reference(ReferenceAnswer),
    /// The cluster has these servers from now on.
    Members(Membership),
    /// The server is about to stop: writes through the broker go elsewhere from now on.
    Drain,
}

/// What the host must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// For the broker; empty for a direct request.
        cookie: Cookie,
        /// For the client.
        body: Bytes,
    },
    /// Tell the broker to try another server: nothing was appended.
    Elsewhere {
        /// Which request.
        id: RequestId,
    },
    /// Tell the broker that the outcome of a write is not known: it is stored here, and may not be on enough disks.
    Unknown {
        /// Which request.
        id: RequestId,
    },
    /// Write a batch to disk, all or nothing, and answer [`Input::Stored`] or [`Input::StorageFull`]. One is under way at a time.
    Store {
        /// Its number.
        batch: u64,
        /// Its operations; none when only what is shown has changed.
        ops: Vec<Arc<Op>>,
        /// What is shown, in place of what was stored before; `None` while that is the same.
        shown: Option<VersionVector>,
        /// The highest epoch of a coordinator that was heard of, in place of the one before; `None` while that is the same.
        epoch: Option<Epoch>,
    },
    /// Publish to the proxies.
    Publish {
        /// First frame.
        topic: String,
        /// Second frame.
        body: Bytes,
        /// Third frame, for papo's proxies.
        meta: PublicationMeta,
    },
    /// Send to a peer.
    ToPeer {
        /// On which link.
        link: PeerLink,
        /// The message.
        bytes: Bytes,
    },
    /// Ask the reference service. Its answer, if there comes one, is an [`Input::Reference`].
    AskReference(ReferenceCall),
    /// Say what happened: nothing depends on it.
    Notice(Notice),
}

/// Why a replica cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Larger operations than peers read could be written.
    #[error("requests of {limit} bytes are too large to replicate: allow at most {REQUEST_BYTES_MAX}")]
    LimitTooLarge {
        /// The limit that was set.
        limit: usize,
    },
}

/// One server's mind.
#[derive(Debug)]
pub struct Replica {
    settings: ReplicaSettings,
    /// Under which this boot's operations are kept.
    writer: Writer,
    clock: LamportClock,
    /// The Lamport value of the last operation appended here.
    last_appended: Lamport,
    allowance: RaiseAllowance,
    history: History,
    storage: Storage,
    sessions: Sessions,
    peers: Peers,
    waiting: Vec<Waiting>,
    unconfirmed: Unconfirmed,
    /// What the peers have not been told yet.
    news: News,
    /// Whether the disk has what is shown now, or gets it with the batch under way; and when it last got it.
    shown_is_stored: bool,
    shown_stored_at: Duration,
    started: Duration,
    /// Nothing was done yet since the start.
    first_tick: bool,
    /// Once since the start everything that a majority of the members had was here.
    has_caught_up: bool,
    /// When this server took its newest operation, in this boot or an earlier one.
    last_taken_at: Option<UnixMillis>,
    /// What was held when the generation came in which this server leaves the cluster; `None` while it does not.
    held_at_leaving: Option<(u64, VersionVector)>,
    /// What is waited for since the server was told to stop; `None` until then.
    draining: Option<Draining>,
    coordination: Coordination,
    timekeeping: Timekeeping,
    counters: Counters,
    plant: Plant,
}

impl Replica {
    /// Starts from what is stored. The Lamport clock starts at the stored ceiling or at the highest value of an operation, whichever
    /// is higher.
    ///
    /// # Errors
    /// When a limit is too high.
    pub fn open(
        settings: ReplicaSettings,
        history: History,
        stored: Stored,
        now: Now,
    ) -> Result<Self, OpenError> {
        if settings.limits.bytes > REQUEST_BYTES_MAX {
            return Err(OpenError::LimitTooLarge { limit: settings.limits.bytes });
        }
        let lamport = stored.lamport_floor.max(history.highest());
        let last_taken_at = history.last_taken_at(&settings.name);
        // What this server took later than it remembers having given out, an earlier program gave out.
        let taken_at = last_taken_at.map(Moment::from).unwrap_or_default();
        let kept = KeptClock { ceiling: stored.clock.ceiling.max(taken_at), ..stored.clock };
        let timekeeping = Timekeeping::new(settings.name.clone(), now, kept, settings.clock_sync);
        let coordination = Coordination::new(
            now.monotonic,
            settings.name.clone(),
            settings.boot,
            settings.election,
            &settings.membership.members,
            stored.epoch,
        );
        let mut replica = Self {
            writer: Writer { origin: settings.name.clone(), boot: settings.boot },
            clock: LamportClock::starting_at(lamport),
            last_appended: lamport,
            allowance: RaiseAllowance::new(now.monotonic),
            history,
            storage: Storage::default(),
            sessions: Sessions::default(),
            peers: Peers::new(now.monotonic),
            waiting: Vec::new(),
            unconfirmed: Unconfirmed::default(),
            news: News::default(),
            shown_is_stored: true,
            shown_stored_at: now.monotonic,
            started: now.monotonic,
            first_tick: true,
            has_caught_up: false,
            last_taken_at,
            held_at_leaving: None,
            draining: None,
            coordination,
            timekeeping,
            counters: Counters::default(),
            plant: Plant::default(),
            settings,
        };
        replica.note_absences(now);
        replica.note_leaving();
        replica.note_caught_up();
        replica.judge_fitness(now);
        Ok(replica)
    }

    /// Plants a bug.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::planted::Planted) {
        self.plant.bug = Some(bug);
        self.coordination.plant.bug = Some(bug);
        self.timekeeping.plant(bug);
        self.history.shows_twins = bug == crate::planted::Planted::TwinsShown;
    }

    /// Whether this server has had, once since its start, everything that a majority of the members had: clients may come.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// What is held and shown here, and what it amounts to.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was done since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The Lamport clock's value.
    #[must_use]
    pub fn lamport(&self) -> Lamport {
        self.clock.now()
    }

    /// Requests that wait for peers, for disks, or for what their session has seen.
    #[must_use]
    pub fn requests_waiting(&self) -> usize {
        self.waiting.len() + self.unconfirmed.waiting()
    }

    /// Takes an input and appends what must be done. `machine` is what the machine's clocks say.
    pub fn handle(&mut self, machine: Now, input: Input, effects: &mut Vec<Effect>) {
        let now = self.read_clocks(machine);
        let before = effects.len();
        self.take(now, input, effects);
        self.note_given_out(now, effects.get(before..).unwrap_or_default());
    }

    fn take(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.judge_fitness(now);
        match input {
            Input::Request { id, from, body } => {
                // It changes nothing that anything else waits for.
                self.on_request(now, id, from, &body, effects);
                return self.flush(now, effects);
            }
            Input::SessionClosed { session } => return self.sessions.close(session),
            Input::PeerUp { link } => self.on_peer_up(link, effects),
            Input::PeerMessage { link, bytes } => self.on_peer_message(now, link, &bytes, effects),
            Input::PeerDown { link } => self.on_peer_down(now, link),
            Input::Stored { batch } => self.on_stored(now, batch, effects),
            Input::StorageFull { batch } => self.on_storage_full(now, batch, effects),
            Input::Reference(answer) => self.on_reference(now, answer),
            Input::Members(membership) => self.on_members(now, membership, effects),
            Input::Drain => {
                let rounds = self.request_rounds(now, effects);
                self.draining = Some(Draining::Taking { rounds });
            }
        }
        self.settle(now, effects);
    }

    /// Does what time asks for: elections, pulls, what a dead server left to publish, and the end of waits.
    pub fn tick(&mut self, machine: Now, effects: &mut Vec<Effect>) {
        let now = self.read_clocks(machine);
        let before = effects.len();
        self.judge_fitness(now);
        self.coordination.tick(now.monotonic);
        self.publish_again(now, effects);
        self.pull_when_due(now, effects);
        self.settle(now, effects);
        self.note_given_out(now, effects.get(before..).unwrap_or_default());
    }

    /// Something may be durable now, or a wait be over.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.show_durable(now, effects);
        self.confirm(now, effects);
        self.wake(now, effects);
        self.tell_peers(effects);
        self.go_on_draining();
        self.judge_fitness(now);
        self.coordinate(now, effects);
        self.keep_time(now, effects);
        self.flush(now, effects);
    }

    /// When to call [`Self::tick`] at the latest, on the monotonic clock; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        let waits = self.waiting.iter().map(|waiting| waiting.deadline);
        let others = [
            self.unconfirmed.next_deadline(),
            self.storage_is_due(),
            self.peers.next_tick(),
            self.coordination.next_tick(),
            self.timekeeping.next_tick(),
        ];
        let first = self.first_tick.then_some(self.started);
        waits.chain(others.into_iter().flatten()).chain(first).min()
    }
}
