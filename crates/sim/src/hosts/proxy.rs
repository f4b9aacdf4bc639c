//! The body of a proxy: what `node/src/proxy.rs` does.

use crate::bug::Bug;
use crate::checker::Invariant;
use crate::node::{ConnectionId, Happening, Node, Role, Side};
use crate::shared::Shared;
use bytes::Bytes;
use papo_exchange::{Routing, RoutingInput, RoutingSettings, SubscriberId};
use std::collections::{BTreeMap, BTreeSet};

/// Subscriptions that this world's subscribers make at most, each.
pub const TOPICS_MAX: usize = 8;

/// One run of the process.
#[derive(Debug)]
struct Running {
    routing: Routing,
    peers: BTreeMap<ConnectionId, Node>,
    /// For planted bugs: topics by connection.
    topics: BTreeMap<ConnectionId, BTreeSet<Bytes>>,
}

/// A proxy, over all its runs.
#[derive(Debug)]
pub struct Proxy {
    node: Node,
    running: Option<Running>,
}

impl Proxy {
    /// Not running yet.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self { node: Node::proxy(number), running: None }
    }

    /// The mind, while it runs.
    #[must_use]
    pub fn routing(&self) -> Option<&Routing> {
        self.running.as_ref().map(|running| &running.routing)
    }

    /// Starts without memory.
    pub fn start(&mut self) {
        self.running = Some(Running {
            routing: Routing::new(RoutingSettings::default()),
            peers: BTreeMap::new(),
            topics: BTreeMap::new(),
        });
    }

    /// Ends.
    pub fn end(&mut self) {
        self.running = None;
    }

    /// Takes in what happens.
    pub fn on_happening(&mut self, shared: &mut Shared, happening: Happening) {
        let Some(running) = &mut self.running else { return };
        match happening {
            Happening::Opened { connection, peer, side } => {
                running.peers.insert(connection, peer);
                if peer.role == Role::Server {
                    // Everything: who wants what is decided here.
                    shared.send(connection, side, vec![Bytes::new()]);
                } else {
                    running.routing.handle(RoutingInput::SubscriberUp(SubscriberId(connection.0)));
                }
            }
            Happening::Frames { connection, frames } => match running.peers.get(&connection) {
                Some(peer) if peer.role == Role::Server => running.publish(shared, self.node, frames),
                Some(peer) => {
                    let Some(topic) = frames.into_iter().next() else { return };
                    let name = String::from_utf8_lossy(&topic).into_owned();
                    shared.checker.on_subscribed(shared.now, peer.number, connection, &name);
                    running.topics.entry(connection).or_default().insert(topic.clone());
                    let subscriber = SubscriberId(connection.0);
                    running.routing.handle(RoutingInput::Subscribe { subscriber, topic });
                    let subscriptions = running.routing.subscriptions();
                    if subscriptions > running.peers.len() * TOPICS_MAX {
                        shared.violate(Invariant::Bounded, || {
                            format!("{subscriptions} subscriptions are left")
                        });
                    }
                }
                None => {}
            },
            Happening::Closed { connection, .. } => {
                running.topics.remove(&connection);
                if running.peers.remove(&connection).is_some_and(|peer| peer.role == Role::Subscriber) {
                    running.routing.handle(RoutingInput::SubscriberDown(SubscriberId(connection.0)));
                }
            }
            Happening::Alarm(_) | Happening::Unreachable { .. } => {}
        }
    }
}

impl Running {
    fn publish(&mut self, shared: &mut Shared, node: Node, frames: Vec<Bytes>) {
        let now = shared.clock(node);
        let before = self.routing.counters().duplicates;
        let copy: Vec<Bytes> = frames.iter().take(2).cloned().collect();
        let direct = frames.get(2).is_some_and(|meta| meta.get(1) == Some(&b'D'));
        let mut receivers = BTreeSet::new();
        if let Some(delivery) = self.routing.publish(now, true, frames) {
            let frames = delivery.frames.to_vec();
            for receiver in delivery.receivers {
                receivers.insert(ConnectionId(receiver.0));
                shared.send(ConnectionId(receiver.0), Side::Listener, frames.clone());
            }
        }
        if self.routing.counters().duplicates > before {
            shared.count("publications_deduped");
            return;
        }
        let wrongly = |topics: &BTreeSet<Bytes>| match (shared.bug, copy.first()) {
            (Some(Bug::TopicByPrefix), Some(topic)) => {
                topics.iter().any(|prefix| !prefix.is_empty() && topic.starts_with(prefix))
            }
            (Some(Bug::DirectMessagesToAll), Some(_)) => direct && topics.contains(&Bytes::new()),
            (Some(_) | None, _) => false,
        };
        let more: Vec<ConnectionId> = self
            .topics
            .iter()
            .filter(|(connection, topics)| !receivers.contains(*connection) && wrongly(topics))
            .map(|(connection, _)| *connection)
            .collect();
        for connection in more {
            shared.send(connection, Side::Listener, copy.clone());
        }
    }
}
