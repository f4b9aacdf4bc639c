//! The body of a broker: what `node/src/broker.rs` does.

use crate::bug::Bug;
use crate::checker::Invariant;
use crate::clock::{Micros, SECOND};
use crate::node::{Alarm, ConnectionId, Happening, Node, Role, Side};
use crate::random::Random;
use crate::shared::Shared;
use bytes::Bytes;
use papo_exchange::{Dispatch, DispatchEffect, DispatchInput, DispatchSettings};
use papo_protocol::Boot;
use papo_protocol::worker_link::{Cookie, ToWorker};
use std::collections::{BTreeMap, VecDeque};

/// The broker's deadline, and time for a tick that comes late on a drifting clock.
const ANSWERED_WITHIN: Micros = 11 * SECOND;

/// One run of the process.
#[derive(Debug)]
struct Running {
    dispatch: Dispatch,
    peers: BTreeMap<ConnectionId, Node>,
    /// When each unanswered request of a client came, in time lived, oldest first.
    unanswered: BTreeMap<ConnectionId, VecDeque<Micros>>,
    tick_at: Option<Micros>,
    /// For planted bugs.
    loses_next_reply: bool,
    last_cookie: Option<Cookie>,
}

/// A broker, over all its runs.
#[derive(Debug)]
pub struct Broker {
    node: Node,
    settings: DispatchSettings,
    running: Option<Running>,
    effects: Vec<DispatchEffect>,
}

impl Broker {
    /// Not running yet. Its bounds are drawn: mostly those of a real one, sometimes so low that they are met.
    #[must_use]
    pub fn new(number: usize, random: &mut Random) -> Self {
        let mut settings = DispatchSettings::default();
        if random.once_in(4) {
            settings.waiting_max = 1 + random.below(4);
        }
        Self { node: Node::broker(number), settings, running: None, effects: Vec::new() }
    }

    /// The mind, while it runs.
    #[must_use]
    pub fn dispatch(&self) -> Option<&Dispatch> {
        self.running.as_ref().map(|running| &running.dispatch)
    }

    /// Starts without memory.
    pub fn start(&mut self, shared: &mut Shared) {
        let boot = Boot(shared.boot_random.draw());
        self.running = Some(Running {
            dispatch: Dispatch::new(self.settings, boot),
            peers: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            tick_at: None,
            loses_next_reply: false,
            last_cookie: None,
        });
        self.execute(shared);
    }

    /// Ends.
    pub fn end(&mut self) {
        self.running = None;
    }

    /// Takes in what happens.
    pub fn on_happening(&mut self, shared: &mut Shared, happening: Happening) {
        let Some(running) = &mut self.running else { return };
        let input = match happening {
            Happening::Opened { connection, peer, .. } => {
                running.peers.insert(connection, peer);
                if peer.role == Role::Server {
                    DispatchInput::WorkerUp { worker: id(connection), papo: true }
                } else {
                    DispatchInput::ClientUp(id(connection))
                }
            }
            Happening::Frames { connection, frames } => match running.peers.get(&connection) {
                Some(peer) if peer.role == Role::Server => {
                    DispatchInput::WorkerMessage { worker: id(connection), frames }
                }
                Some(_) => {
                    let lived = shared.now - shared.stood_still(self.node);
                    running.unanswered.entry(connection).or_default().push_back(lived);
                    DispatchInput::ClientMessage { client: id(connection), frames }
                }
                None => return,
            },
            Happening::Closed { connection, .. } => {
                let Some(peer) = running.peers.remove(&connection) else { return };
                running.unanswered.remove(&connection);
                if peer.role == Role::Server {
                    running.loses_next_reply = shared.bug == Some(Bug::ReplyLostAfterDeath);
                    DispatchInput::WorkerDown(id(connection))
                } else {
                    DispatchInput::ClientDown(id(connection))
                }
            }
            Happening::Alarm(Alarm::Tick) => {
                self.tick(shared);
                return;
            }
            Happening::Alarm(_) | Happening::Unreachable { .. } => return,
        };
        running.dispatch.handle(shared.clock(self.node), input, &mut self.effects);
        self.execute(shared);
    }

    fn tick(&mut self, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        if running.tick_at.is_none_or(|at| at > shared.now) {
            return;
        }
        running.tick_at = None;
        running.dispatch.tick(shared.clock(self.node), &mut self.effects);
        self.execute(shared);
        self.check_answered(shared);
    }

    /// No client waits longer than the deadline, of the time that this process has lived.
    fn check_answered(&self, shared: &mut Shared) {
        let Some(running) = &self.running else { return };
        let lived = shared.now - shared.stood_still(self.node);
        let late = running
            .unanswered
            .iter()
            .find(|(_, since)| since.front().is_some_and(|since| since + ANSWERED_WITHIN < lived));
        if let Some((connection, _)) = late {
            let client = running.peers.get(connection).copied().unwrap_or(self.node);
            let node = self.node;
            shared.violate(Invariant::Answered, || format!("{node} leaves {client} without an answer"));
        }
    }

    fn execute(&mut self, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        for effect in self.effects.drain(..) {
            match effect {
                DispatchEffect::ToClient { client, frames, .. } => {
                    running.answer(shared, self.node, ConnectionId(client.0), frames);
                }
                DispatchEffect::ToWorker { worker, frames } => {
                    let frames = running.spoil_cookie(shared, frames);
                    shared.send(ConnectionId(worker.0), Side::Listener, frames);
                }
                DispatchEffect::CloseClient { client: connection } => {
                    running.unanswered.remove(&ConnectionId(connection.0));
                    shared.close(ConnectionId(connection.0), Side::Listener);
                }
                DispatchEffect::CloseWorker { worker: connection } => {
                    shared.count("worker_closed");
                    running.peers.remove(&ConnectionId(connection.0));
                    shared.close(ConnectionId(connection.0), Side::Listener);
                }
            }
        }
        if running.dispatch.waiting() > self.settings.waiting_max {
            let (node, waiting) = (self.node, running.dispatch.waiting());
            shared.violate(Invariant::Bounded, || format!("{waiting} requests wait in {node}"));
        }
        let due = running.dispatch.next_tick();
        let at = shared.processes.get(&self.node).map_or(shared.now, |process| process.clock.when(due));
        let at = at.max(shared.now + 1);
        if running.tick_at.is_none_or(|set| at < set) {
            running.tick_at = Some(at);
            shared.alarm(self.node, at, Alarm::Tick);
        }
    }
}

impl Running {
    fn answer(&mut self, shared: &mut Shared, node: Node, connection: ConnectionId, frames: Vec<Bytes>) {
        if std::mem::take(&mut self.loses_next_reply) {
            return;
        }
        let awaited = self.unanswered.get_mut(&connection).and_then(VecDeque::pop_front).is_some();
        if !awaited {
            shared.violate(Invariant::Answered, || format!("{node} answers what nobody asked"));
        }
        if shared.bug == Some(Bug::ReplyDoubled) && shared.disk_random.once_in(100) {
            shared.send(connection, Side::Listener, frames.clone());
        }
        if shared.bug == Some(Bug::ReplyMisdirected) && shared.disk_random.once_in(100) {
            let other = self.unanswered.iter().find(|(_, unanswered)| !unanswered.is_empty());
            if let Some((other, _)) = other {
                shared.send(*other, Side::Listener, frames.clone());
            }
        }
        shared.send(connection, Side::Listener, frames);
    }

    /// What planted bugs do to cookies.
    fn spoil_cookie(&mut self, shared: &Shared, frames: Vec<Bytes>) -> Vec<Bytes> {
        if !matches!(shared.bug, Some(Bug::CookieDropped | Bug::CookieSwapped)) {
            return frames;
        }
        let Some(ToWorker::Request { key, cookie, last_resort, body }) = ToWorker::from_frames(&frames)
        else {
            return frames;
        };
        let before = self.last_cookie.replace(cookie.clone()).unwrap_or_default();
        let cookie = match shared.bug {
            Some(Bug::CookieSwapped) => before,
            Some(_) | None => Cookie::default(),
        };
        ToWorker::Request { key, cookie, last_resort, body }.to_frames()
    }
}

fn id(connection: ConnectionId) -> papo_exchange::ConnectionId {
    papo_exchange::ConnectionId(connection.0)
}
