//! The body of a server: what `node/src/server` and `node/src/storage` do.

mod notices;
mod reference;
mod running;
mod starting;

use super::publisher::Publisher;
use crate::bug::Bug;
use crate::checker::{Invariant, View};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::node::{Alarm, ConnectionId, Happening, Node, Role, Side};
use crate::shared::{Shared, number_of};
use crate::volume::{Beside, Volume};
use bytes::Bytes;
use papo_protocol::lamport::Lamport;
use papo_protocol::time::UnixMillis;
use papo_protocol::worker_link::{FromWorker, ToWorker};
use papo_protocol::{Boot, RequestKey, ServerName};
use papo_replica::{
    ClockSync, Durability, Effect, ElectionSettings, Input, LoginPolicy, Membership, MemoryArchive, Moment,
    Op, Origin, PeerLink, Replica, RequestId,
};
use reference::ReferenceLink;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Between two beats to the brokers.
const BEAT: Micros = 500 * MILLISECOND;
/// Requests that a broker may have in flight here.
const CAPACITY: u32 = 256;
/// How long a client waits for disks (`node` has the same).
const WRITE_DEADLINE: Duration = Duration::from_secs(3);
/// How long a leaving server waits for its peers.
const DRAIN_MAX: Micros = 10 * SECOND;
/// How long the planted bug leaves a batch in memory after it was reported as stored.
const UNSYNCED: Micros = 800 * MILLISECOND;
/// How long the planted bug keeps publications back.
const KEPT_BACK: Micros = 300 * MILLISECOND;
/// Operations that a mind keeps whole: a handful, so that it reads the others again as after a long life.
const RECENT_BYTES_MAX: usize = 4000;
/// Requests that may wait in a replica, for peers or for disks (its own bounds).
const WAITING_MAX: usize = 1024 + 16_384;

/// Where an answer goes.
#[derive(Debug)]
struct Route {
    connection: ConnectionId,
    /// Of a broker's request.
    key: Option<RequestKey>,
    /// The request, and when it came.
    body: Bytes,
    came_at: Micros,
}

/// A link of this server.
#[derive(Debug)]
struct Link {
    side: Side,
    peer: Node,
    /// The planted bug does not hear it.
    deaf: bool,
}

/// One transaction.
#[derive(Debug, Default)]
struct Write {
    ops: Vec<Arc<Op>>,
    beside: Beside,
}

/// One run of the process.
#[derive(Debug)]
struct Running {
    replica: Replica,
    /// What the mind was told is stored.
    archive: MemoryArchive,
    links: BTreeMap<ConnectionId, Link>,
    pending: BTreeMap<RequestId, Route>,
    last_request: u64,
    /// The batch that is being written.
    writing: Option<(u64, Write)>,
    /// Batches that the planted bug has reported and not written.
    unsynced: VecDeque<(Micros, Write)>,
    /// Publications that the planted bug keeps back.
    kept_back: VecDeque<(Micros, Effect)>,
    ceiling: Lamport,
    time_ceiling: Moment,
    /// The stamps of its operations, by number.
    stamped: BTreeMap<u64, UnixMillis>,
    publisher: Publisher,
    /// Until when it waits for its peers before it goes.
    leaves_at: Option<Micros>,
    tick_at: Option<Micros>,
    peers_met: BTreeSet<Node>,
    reference: Option<ReferenceLink>,
    /// What the mind last said of who leads.
    view: Option<View>,
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its process does.
    Killed,
    /// Its machine does.
    PowerLost,
    /// It has left in good order.
    Left,
}

/// The names of so many servers.
#[must_use]
pub fn server_names(servers: usize) -> Vec<ServerName> {
    (1..=servers).filter_map(|number| ServerName::new(&format!("server-{number}")).ok()).collect()
}

/// Whether a process is no server, or one that the settings name.
fn is_named(membership: &Membership, node: Node) -> bool {
    node.role != Role::Server || membership.all().any(|name| number_of(name) == Some(node.number))
}

/// A server, over all its runs.
#[derive(Debug)]
pub struct Server {
    node: Node,
    name: Option<ServerName>,
    durability: Durability,
    login_policy: LoginPolicy,
    election: ElectionSettings,
    clock_sync: ClockSync,
    last_boot: Option<Boot>,
    running: Option<Running>,
    effects: Vec<Effect>,
}

impl Server {
    /// Not running yet.
    #[must_use]
    pub fn new(
        number: usize,
        durability: Durability,
        login_policy: LoginPolicy,
        election: ElectionSettings,
        clock_sync: ClockSync,
    ) -> Self {
        Self {
            node: Node::server(number),
            name: ServerName::new(&format!("server-{}", number + 1)).ok(),
            durability,
            login_policy,
            election,
            clock_sync,
            last_boot: None,
            running: None,
            effects: Vec::new(),
        }
    }

    /// The mind, while it runs.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.running.as_ref().map(|running| &running.replica)
    }

    /// Whom it obeys, for people.
    #[must_use]
    pub fn view(&self) -> String {
        let view = self.replica().map(Replica::leadership);
        view.map_or_else(|| format!("{} is down", self.node), |view| format!("{}: {view:?}", self.node))
    }

    /// Of its last run.
    #[must_use]
    pub fn last_boot(&self) -> Option<Boot> {
        self.last_boot
    }

    /// Whether it has told its brokers that it leaves.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.leaves_at.is_some())
    }

    /// Ends. What was being written may have reached the disk, or not.
    pub fn end(&mut self, shared: &mut Shared, how: End, back_after: Micros) {
        let Some(mut running) = self.running.take() else { return };
        let now = shared.clock(self.node).monotonic;
        running.publisher.end(shared, now, how == End::PowerLost, back_after);
        if let Some(volume) = shared.volumes.get_mut(self.node.number).filter(|_| how == End::Left) {
            volume.settle(running.replica.kept_clock(), running.replica.history().shown());
        }
        if let Some((_, Write { ops, beside })) = running.writing.take() {
            let reached = shared.disk_random.once_in(2);
            let tear = shared.bug == Some(Bug::TornBatchKept) && ops.len() > 1;
            shared.count(if reached { "batch_committed_at_crash" } else { "batch_lost_at_crash" });
            if tear {
                let half = ops.len().div_ceil(2);
                shared.commit(self.node, ops.get(half..).unwrap_or_default(), Beside::default());
            } else if reached {
                shared.commit(self.node, &ops, beside);
            }
        }
    }

    /// Told to leave: it does when its peers hold what it holds.
    pub fn leave(&mut self, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        running.leaves_at.get_or_insert(shared.now + DRAIN_MAX);
        shared.leaving.insert(self.node.number);
        let leaving: Vec<ConnectionId> = running.links_to(Role::Broker);
        for connection in leaving {
            shared.send(connection, Side::Dialer, FromWorker::Leaving.to_frames());
        }
        self.handle(shared, Input::Drain);
    }

    /// Asks the mind itself, past all connections, and takes no other effect: for looking at a world that has ended.
    pub fn ask(&mut self, shared: &Shared, body: Bytes) -> Option<Bytes> {
        let running = self.running.as_mut()?;
        let id = RequestId(u64::MAX);
        let from = Origin::Direct { session: None, counter: u64::MAX };
        let mut effects = Vec::new();
        running.replica.handle(shared.clock(self.node), Input::Request { id, from, body }, &mut effects);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { id: answered, body, .. } if answered == id => Some(body),
            _ => None,
        })
    }

    /// Takes in what happens. Gives `true` when the process ends by it.
    pub fn on_happening(&mut self, shared: &mut Shared, happening: Happening) -> Option<End> {
        match happening {
            Happening::Opened { connection, peer, side } => self.on_opened(shared, connection, peer, side),
            Happening::Frames { connection, frames } => self.on_frames(shared, connection, frames),
            Happening::Closed { connection, peer } => self.on_closed(shared, connection, peer),
            Happening::Unreachable { target } => self.call_again(shared, target),
            Happening::Alarm(Alarm::Settings) => self.on_settings(shared),
            Happening::Alarm(Alarm::Tick) => self.tick(shared),
            Happening::Alarm(Alarm::Beat) => return self.beat(shared),
            Happening::Alarm(Alarm::Disk(batch)) => return self.on_disk(shared, batch),
            Happening::Alarm(Alarm::Think | Alarm::Patience(_)) => {}
        }
        None
    }

    fn on_opened(&mut self, shared: &mut Shared, connection: ConnectionId, peer: Node, side: Side) {
        let Some(running) = &mut self.running else { return };
        let again = peer.role == Role::Server && !running.peers_met.insert(peer);
        let deaf = again && shared.bug == Some(Bug::DeafAfterReconnect);
        running.links.insert(connection, Link { side, peer, deaf });
        match (peer.role, side) {
            (Role::Server, Side::Dialer) => {
                self.handle(shared, Input::PeerUp { link: peer_link(connection, side) });
            }
            (Role::Broker, _) => {
                let leaving = running.leaves_at.is_some();
                if let Some(name) = self.name.clone() {
                    let hello = FromWorker::Hello { name, capacity: CAPACITY };
                    shared.send(connection, side, hello.to_frames());
                }
                if leaving {
                    shared.send(connection, side, FromWorker::Leaving.to_frames());
                }
            }
            (Role::Reference, _) => self.on_reference_up(shared, connection),
            (Role::Server | Role::Proxy | Role::Client | Role::Subscriber, _) => {}
        }
    }

    /// New settings: who is new is called.
    fn on_settings(&mut self, shared: &mut Shared) {
        let Some(running) = &self.running else { return };
        let before = running.replica.membership().clone();
        let membership = shared.membership.clone();
        for node in membership.all().filter_map(number_of).map(Node::server) {
            if node != self.node && !is_named(&before, node) {
                shared.dial(self.node, node);
            }
        }
        self.handle(shared, Input::Members(membership));
    }

    /// Calls again who did not answer or is gone, unless it is a server that the settings do not name any more.
    fn call_again(&self, shared: &mut Shared, node: Node) {
        let membership = self.replica().map(Replica::membership);
        if membership.is_some_and(|membership| is_named(membership, node)) {
            shared.dial(self.node, node);
        }
    }

    fn on_closed(&mut self, shared: &mut Shared, connection: ConnectionId, peer: Node) {
        let Some(running) = &mut self.running else { return };
        let link = running.links.remove(&connection);
        running.publisher.on_closed(connection);
        let side = link.map_or(Side::Dialer, |link| link.side);
        if side == Side::Dialer && peer.role != Role::Client {
            self.call_again(shared, peer);
        }
        match peer.role {
            Role::Server => self.handle(shared, Input::PeerDown { link: peer_link(connection, side) }),
            Role::Client => self.handle(shared, Input::SessionClosed { session: connection.0 }),
            Role::Reference => self.on_reference_down(connection),
            Role::Broker | Role::Proxy | Role::Subscriber => {}
        }
    }

    fn on_frames(&mut self, shared: &mut Shared, connection: ConnectionId, frames: Vec<Bytes>) {
        let Some(running) = &mut self.running else { return };
        let Some(link) = running.links.get(&connection).filter(|link| !link.deaf) else { return };
        let (peer, side) = (link.peer, link.side);
        match peer.role {
            Role::Server => {
                if let Some(bytes) = frames.into_iter().next() {
                    self.handle(shared, Input::PeerMessage { link: peer_link(connection, side), bytes });
                }
            }
            Role::Proxy => {
                let now = shared.clock(self.node).monotonic;
                running.publisher.on_subscribed(shared, now, connection, peer);
            }
            Role::Broker => {
                let Some(ToWorker::Request { key, cookie, last_resort, body }) =
                    ToWorker::from_frames(&frames)
                else {
                    shared.violate(Invariant::Answered, || "a broker's message is not readable".to_owned());
                    return;
                };
                if last_resort {
                    shared.checker.last_resort_at = Some(shared.now);
                    shared.count("last_resort");
                }
                let new_key = shared.bug == Some(Bug::NewKeyOnRedispatch);
                let own = RequestKey { boot: running.boot(), counter: u64::MAX - running.last_request };
                let id = running.accept(Route {
                    connection,
                    key: Some(key),
                    body: body.clone(),
                    came_at: shared.now,
                });
                let key = if new_key { own } else { key };
                let from = Origin::Broker { key, cookie, last_resort };
                self.handle(shared, Input::Request { id, from, body });
            }
            Role::Client => {
                let Some(body) = frames.into_iter().next_back() else { return };
                let id =
                    running.accept(Route { connection, key: None, body: body.clone(), came_at: shared.now });
                let from = Origin::Direct { session: Some(connection.0), counter: id.0 };
                self.handle(shared, Input::Request { id, from, body });
            }
            Role::Reference => self.on_reference_reply(shared, connection, &frames),
            Role::Subscriber => {}
        }
    }

    fn beat(&mut self, shared: &mut Shared) -> Option<End> {
        self.look_after_reference(shared);
        let running = self.running.as_ref()?;
        for connection in running.links_to(Role::Broker) {
            shared.send(connection, Side::Dialer, FromWorker::Beat.to_frames());
        }
        if let Some(until) = running.leaves_at
            && (shared.now > until
                || (running.pending.is_empty()
                    && running.replica.has_parted()
                    && running.replica.has_left_office()))
        {
            shared.count("server_left");
            return Some(End::Left);
        }
        shared.alarm(self.node, shared.now + BEAT, Alarm::Beat);
        None
    }

    fn tick(&mut self, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        if running.tick_at.is_none_or(|at| at > shared.now) {
            return;
        }
        running.tick_at = None;
        let now = shared.clock(self.node);
        running.replica.tick(now, &mut self.effects);
        self.execute(shared);
    }

    fn handle(&mut self, shared: &mut Shared, input: Input) {
        let Some(running) = &mut self.running else { return };
        let now = shared.clock(self.node);
        running.replica.handle(now, input, &mut self.effects);
        self.execute(shared);
    }

    /// A write has come to its end.
    fn on_disk(&mut self, shared: &mut Shared, batch: u64) -> Option<End> {
        let running = self.running.as_mut()?;
        while running.unsynced.front().is_some_and(|(at, _)| *at <= shared.now) {
            if let Some((_, write)) = running.unsynced.pop_front() {
                shared.commit(self.node, &write.ops, write.beside);
            }
        }
        running.release(shared, self.node);
        let (batch, write) = running.writing.take_if(|(number, _)| *number == batch)?;
        let stored = write.ops.clone();
        let volume = shared.volumes.get_mut(self.node.number)?;
        let fails = std::mem::take(&mut volume.fails_next);
        let full = volume.is_full();
        if fails && shared.bug != Some(Bug::FsyncErrorIgnored) {
            if shared.disk_random.once_in(2) {
                shared.commit(self.node, &write.ops, write.beside);
            }
            shared.count("fsync_failed");
            return Some(End::Killed);
        }
        if shared.bug == Some(Bug::AckBeforeFsync) {
            running.unsynced.push_back((shared.now + UNSYNCED, write));
            shared.alarm(self.node, shared.now + UNSYNCED, Alarm::Disk(0));
        } else if !fails && !full {
            shared.commit(self.node, &write.ops, write.beside);
        }
        let input = if full && shared.bug != Some(Bug::FullTakenForStored) {
            shared.count("disk_refused_batch");
            Input::StorageFull { batch }
        } else {
            running.archive.add(stored);
            Input::Stored { batch }
        };
        self.handle(shared, input);
        None
    }

    /// Does what the mind wants, in its order.
    fn execute(&mut self, shared: &mut Shared) {
        let (Some(running), Some(boot)) = (&mut self.running, self.last_boot) else { return };
        running.cover(shared, self.node);
        running.look_at_times(shared, self.node, boot, &self.effects);
        let mut calls = Vec::new();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Store { batch, ops, shown, epoch } => {
                    if ops.len() > 1 {
                        shared.count("group_commit");
                    }
                    let volume = shared.volumes.get(self.node.number);
                    let slow = volume.is_some_and(Volume::is_slow);
                    let full = volume.is_some_and(Volume::is_full);
                    let (least, most) = if slow {
                        (200, 1500)
                    } else if full {
                        // It tries for a while, and more comes meanwhile.
                        (1, 60)
                    } else {
                        (0, 4)
                    };
                    let takes = 100 + shared.disk_random.within(least * MILLISECOND, most * MILLISECOND);
                    running.writing = Some((batch, Write { ops, beside: Beside { shown, epoch } }));
                    shared.alarm(self.node, shared.now + takes, Alarm::Disk(batch));
                }
                Effect::Publish { .. } if shared.bug == Some(Bug::PublishedAfterReply) => {
                    running.kept_back.push_back((shared.now + KEPT_BACK, effect));
                    shared.alarm(self.node, shared.now + KEPT_BACK, Alarm::Disk(0));
                }
                Effect::Publish { topic, body, meta } => {
                    let now = shared.clock(self.node).monotonic;
                    running.publisher.publish(shared, now, &topic, body, &meta);
                }
                Effect::Reply { id, cookie, body } => running.reply(shared, self.node, id, cookie, body),
                Effect::Elsewhere { id } => {
                    shared.count("elsewhere");
                    running.give_back(shared, id, |key| FromWorker::Elsewhere { key });
                }
                Effect::Unknown { id } => {
                    shared.count("unknown");
                    running.give_back(shared, id, |key| FromWorker::Unknown { key });
                }
                Effect::ToPeer { link, bytes } => {
                    let (connection, side) = connection_of(link);
                    shared.send(connection, side, vec![bytes]);
                }
                Effect::AskReference(call) => calls.push(call),
                Effect::Notice(notice) => notices::on_notice(shared, self.node, boot, &notice),
            }
        }
        running.look_at_view(shared, self.node, boot);
        let waiting = running.replica.requests_waiting();
        if waiting > 0 {
            shared.count("requests_waited");
        }
        if waiting > WAITING_MAX {
            let node = self.node;
            shared.violate(Invariant::Bounded, || format!("{waiting} requests wait in {node}"));
        }
        if let Some(due) = running.replica.next_tick() {
            let at = shared.processes.get(&self.node).map_or(shared.now, |process| process.clock.when(due));
            let at = at.max(shared.now + 1);
            if running.tick_at.is_none_or(|set| at < set) {
                running.tick_at = Some(at);
                shared.alarm(self.node, at, Alarm::Tick);
            }
        }
        for call in calls {
            self.ask_reference(shared, call);
        }
    }
}

/// The mind sees one space of links: dialled ones are even, others odd.
fn peer_link(connection: ConnectionId, side: Side) -> PeerLink {
    PeerLink((connection.0 << 1) | u64::from(side == Side::Listener))
}

fn connection_of(link: PeerLink) -> (ConnectionId, Side) {
    let side = if link.0 & 1 == 0 { Side::Dialer } else { Side::Listener };
    (ConnectionId(link.0 >> 1), side)
}
