//! Connections as TCP makes them: within one, nothing is lost, doubled or reordered until it breaks; between them, anything may
//! be. So nothing here doubles a message: doubles come from those who send again, as in earnest (clients, brokers that hand on,
//! servers that publish to a proxy that came back), and what overtakes does so on another connection. It must not know what travels.

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::node::{ConnectionId, Node, Role, Side};
use crate::queue::{Event, Queue};
use crate::random::Random;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A connection through which nothing passes is given up after this, at least and at most. Publications' links beat every second,
/// and are dead after three.
const GIVEN_UP_AFTER: [Micros; 2] = [2 * SECOND, 6 * SECOND];
const PUBLICATIONS_GIVEN_UP_AFTER: [Micros; 2] = [SECOND, 3 * SECOND];

/// By how much a slow direction slows a message at most.
pub const SLOWNESS_MAX: Micros = 620 * MILLISECOND;

/// What travels towards one end.
#[derive(Debug, Clone)]
pub enum Item {
    /// The connection is up.
    Opened,
    /// A message.
    Frames(Vec<Bytes>),
    /// The connection is gone.
    Closed,
}

/// What is on its way to one end.
#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<(Micros, Item)>,
    last: Micros,
    /// The process at this end has the connection.
    open: bool,
    /// Something has arrived at a partition's edge.
    stalled: bool,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    ends: [Node; 2],
    opened_at: Micros,
    lanes: [Lane; 2],
}

fn index(side: Side) -> usize {
    match side {
        Side::Dialer => 0,
        Side::Listener => 1,
    }
}

impl Connection {
    fn end(&self, side: Side) -> Node {
        let [dialer, listener] = self.ends;
        match side {
            Side::Dialer => dialer,
            Side::Listener => listener,
        }
    }

    fn lane(&mut self, side: Side) -> &mut Lane {
        let [dialer, listener] = &mut self.lanes;
        match side {
            Side::Dialer => dialer,
            Side::Listener => listener,
        }
    }

    fn has_lane_open(&self, side: Side) -> bool {
        self.lanes.get(index(side)).is_some_and(|lane| lane.open)
    }
}

/// All connections, and what is wrong between machines.
#[derive(Debug)]
pub struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    last: u64,
    random: Random,
    /// How long a message takes at least, in this world.
    base: Micros,
    /// Directions in which nothing passes, and by how many faults.
    blocked: BTreeMap<(Node, Node), u32>,
    /// Directions that are slow, and by how much.
    slow: BTreeMap<(Node, Node), Micros>,
    /// Until when directions were blocked or slow.
    troubled: BTreeMap<(Node, Node), Micros>,
}

impl Network {
    /// Without connections.
    #[must_use]
    pub fn new(mut random: Random) -> Self {
        let base = random.within(50, 2 * MILLISECOND);
        Self {
            connections: BTreeMap::new(),
            last: 0,
            random,
            base,
            blocked: BTreeMap::new(),
            slow: BTreeMap::new(),
            troubled: BTreeMap::new(),
        }
    }

    /// Whether messages of one machine do not reach another.
    #[must_use]
    pub fn is_blocked(&self, from: Node, to: Node) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Whether what is on its way on this connection arrives, unless something else goes wrong.
    #[must_use]
    pub fn is_sound(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let [dialer, listener] = connection.ends;
            let breaks =
                |lane: &Lane| !lane.open || lane.items.iter().any(|(_, item)| matches!(item, Item::Closed));
            !connection.lanes.iter().any(breaks)
                && !self.is_blocked(dialer, listener)
                && !self.is_blocked(listener, dialer)
        })
    }

    /// Since when all connections between two processes have been sound, and nothing has been slow between them; `None` if they are
    /// not, or there is none.
    #[must_use]
    pub fn quick_since(&self, a: Node, b: Node) -> Option<Micros> {
        let ways = [(a, b), (b, a)];
        if ways.iter().any(|way| self.blocked.contains_key(way) || self.slow.contains_key(way)) {
            return None;
        }
        let mut since = ways.iter().filter_map(|way| self.troubled.get(way)).copied().max().unwrap_or(0);
        let mut any = false;
        for (id, connection) in &self.connections {
            if connection.ends == [a, b] || connection.ends == [b, a] {
                any = true;
                since = since.max(connection.opened_at);
                if !self.is_sound(*id) {
                    return None;
                }
            }
        }
        any.then_some(since)
    }

    /// The last connection that was opened.
    #[must_use]
    pub fn last(&self) -> ConnectionId {
        ConnectionId(self.last)
    }

    /// Whether another process still has a connection with this one that is no younger than `last`.
    #[must_use]
    pub fn is_remembered(&self, node: Node, last: ConnectionId) -> bool {
        self.connections.range(..=last).any(|(_, connection)| {
            let [dialer, listener] = connection.ends;
            (dialer == node && connection.has_lane_open(Side::Listener))
                || (listener == node && connection.has_lane_open(Side::Dialer))
        })
    }

    /// Connections that an end still has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How long a call takes until it is answered or given up.
    pub fn dial_delay(&mut self) -> Micros {
        self.random.within(20 * MILLISECOND, 400 * MILLISECOND)
    }

    fn delay(&mut self, from: Node, to: Node) -> Micros {
        let slow = self.slow.get(&(from, to)).copied().unwrap_or(0);
        let tail = if self.random.once_in(50) { self.random.within(0, 20 * MILLISECOND) } else { 0 };
        self.base
            + self.random.within(0, self.base)
            + tail
            + if slow > 0 { self.random.within(slow / 2, slow) } else { 0 }
    }

    fn push(&mut self, now: Micros, id: ConnectionId, side: Side, item: Item, queue: &mut Queue) {
        let Some(connection) = self.connections.get(&id) else { return };
        let delay = self.delay(connection.end(side.other()), connection.end(side));
        let Some(lane) = self.connections.get_mut(&id).map(|connection| connection.lane(side)) else {
            return;
        };
        lane.last = lane.last.max(now + delay);
        lane.items.push_back((lane.last, item));
        queue.at(lane.last, Event::Arrival { connection: id, side });
    }

    /// A call is answered.
    pub fn open(&mut self, now: Micros, dialer: Node, listener: Node, queue: &mut Queue) {
        self.last += 1;
        let id = ConnectionId(self.last);
        let lane = || Lane { open: true, ..Lane::default() };
        self.connections
            .insert(id, Connection { ends: [dialer, listener], opened_at: now, lanes: [lane(), lane()] });
        self.push(now, id, Side::Listener, Item::Opened, queue);
        self.push(now, id, Side::Dialer, Item::Opened, queue);
        if self.is_blocked(dialer, listener) || self.is_blocked(listener, dialer) {
            self.give_up_later(now, id, queue);
        }
    }

    /// A message leaves the end `from`.
    pub fn send(&mut self, now: Micros, id: ConnectionId, from: Side, frames: Vec<Bytes>, queue: &mut Queue) {
        let both = self.connections.get(&id).is_some_and(|connection| {
            connection.has_lane_open(from) && connection.has_lane_open(from.other())
        });
        if both {
            self.push(now, id, from.other(), Item::Frames(frames), queue);
        }
    }

    /// The next thing for an end has arrived, if it can. Gives who gets it, and what.
    pub fn on_arrival(&mut self, now: Micros, id: ConnectionId, side: Side) -> Option<(Node, Node, Item)> {
        let connection = self.connections.get_mut(&id)?;
        let (from, to) = (connection.end(side.other()), connection.end(side));
        let lane = connection.lane(side);
        let (at, item) = lane.items.front()?;
        if *at > now {
            return None;
        }
        if self.blocked.contains_key(&(from, to)) && !matches!(item, Item::Closed) {
            lane.stalled = true;
            return None;
        }
        let (_, item) = lane.items.pop_front()?;
        if !lane.open {
            return None;
        }
        if matches!(item, Item::Closed) {
            lane.open = false;
            lane.items.clear();
            if !connection.has_lane_open(side.other()) {
                self.connections.remove(&id);
            }
        }
        Some((to, from, item))
    }

    /// An end closes the connection: what it sent before still arrives.
    pub fn close(&mut self, now: Micros, id: ConnectionId, from: Side, queue: &mut Queue) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let lane = connection.lane(from);
        lane.open = false;
        lane.items.clear();
        if connection.has_lane_open(from.other()) {
            self.push(now, id, from.other(), Item::Closed, queue);
        } else {
            self.connections.remove(&id);
        }
    }

    /// A process is no more. The kernel sends on what it had sent, unless the whole machine is gone; then the others notice when
    /// nothing answers.
    pub fn vanish(&mut self, now: Micros, node: Node, whole_machine: bool, queue: &mut Queue) {
        for (id, side) in self.ends_of(node) {
            if whole_machine {
                self.lose_in_flight(id, side.other());
            }
            self.close(now, id, side, queue);
        }
    }

    fn ends_of(&self, node: Node) -> Vec<(ConnectionId, Side)> {
        let side = |connection: &Connection| {
            let [dialer, listener] = connection.ends;
            if dialer == node { Some(Side::Dialer) } else { (listener == node).then_some(Side::Listener) }
        };
        self.connections.iter().filter_map(|(id, connection)| Some((*id, side(connection)?))).collect()
    }

    /// The later part of what is on its way to an end is lost.
    fn lose_in_flight(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let lane = connection.lane(side);
        // Not the news that it is up: an end that never heard of it has nothing to lose.
        let opened = lane.items.iter().take_while(|(_, item)| matches!(item, Item::Opened)).count();
        let count = lane.items.len().saturating_sub(opened);
        let kept = opened + self.random.below(count + 1);
        lane.items.truncate(kept);
    }

    /// Connections of a process break, with what is on its way.
    pub fn cut_all(&mut self, now: Micros, node: Node, queue: &mut Queue) {
        for (id, _) in self.ends_of(node) {
            self.cut(now, id, queue);
        }
    }

    /// A connection breaks, with what is on its way in both directions.
    fn cut(&mut self, now: Micros, id: ConnectionId, queue: &mut Queue) {
        for side in [Side::Dialer, Side::Listener] {
            self.lose_in_flight(id, side);
            if self.connections.get(&id).is_some_and(|connection| connection.has_lane_open(side)) {
                self.push(now, id, side, Item::Closed, queue);
            }
        }
    }

    fn give_up_later(&mut self, now: Micros, id: ConnectionId, queue: &mut Queue) {
        let Some(connection) = self.connections.get(&id) else { return };
        let publications = connection.ends.iter().any(|node| node.role == Role::Proxy)
            && connection.ends.iter().any(|node| node.role == Role::Server);
        let [least, most] = if publications { PUBLICATIONS_GIVEN_UP_AFTER } else { GIVEN_UP_AFTER };
        let after = self.random.within(least, most);
        queue.at(now + after, Event::GiveUp { connection: id });
    }

    /// Both ends lose patience with a connection, if it is still blocked.
    pub fn give_up(&mut self, now: Micros, id: ConnectionId, queue: &mut Queue) {
        let Some(connection) = self.connections.get(&id) else { return };
        let [dialer, listener] = connection.ends;
        if !(self.is_blocked(dialer, listener) || self.is_blocked(listener, dialer)) {
            return;
        }
        for (from, side) in [(listener, Side::Dialer), (dialer, Side::Listener)] {
            let to = if side == Side::Dialer { dialer } else { listener };
            if self.is_blocked(from, to)
                && let Some(connection) = self.connections.get_mut(&id)
            {
                // What waits at the partition's edge never arrives.
                let lane = connection.lane(side);
                lane.items.retain(|(_, item)| matches!(item, Item::Closed));
            }
        }
        self.cut(now, id, queue);
    }

    /// From now on nothing passes in this direction, by one more fault.
    pub fn block(&mut self, now: Micros, from: Node, to: Node, queue: &mut Queue) {
        *self.blocked.entry((from, to)).or_default() += 1;
        let hit: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.ends == [from, to] || connection.ends == [to, from])
            .map(|(id, _)| *id)
            .collect();
        for id in hit {
            self.give_up_later(now, id, queue);
        }
    }

    /// One fault less blocks this direction; what has waited arrives when none is left.
    pub fn unblock(&mut self, now: Micros, from: Node, to: Node, queue: &mut Queue) {
        let Some(faults) = self.blocked.get_mut(&(from, to)) else { return };
        *faults -= 1;
        if *faults > 0 {
            return;
        }
        self.blocked.remove(&(from, to));
        self.troubled.insert((from, to), now);
        for (id, connection) in &mut self.connections {
            for side in [Side::Dialer, Side::Listener] {
                if connection.end(side.other()) != from || connection.end(side) != to {
                    continue;
                }
                let lane = connection.lane(side);
                if std::mem::take(&mut lane.stalled) {
                    for (at, _) in &mut lane.items {
                        *at = (*at).max(now + MILLISECOND);
                        queue.at(*at, Event::Arrival { connection: *id, side });
                    }
                    lane.last = lane.last.max(now + MILLISECOND);
                }
            }
        }
    }

    /// Messages in this direction take so much longer; 0 ends it.
    pub fn slow_down(&mut self, now: Micros, from: Node, to: Node, by: Micros) {
        if by == 0 {
            self.slow.remove(&(from, to));
            self.troubled.insert((from, to), now + SLOWNESS_MAX);
        } else {
            self.slow.insert((from, to), by);
        }
    }
}
