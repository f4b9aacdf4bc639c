//! A subscriber: names its topics at one proxy, and goes to another when that one is gone.

use super::REPLY_LIMITS;
use super::asking::{CHANNELS, user_name};
use crate::checker::{Invariant, Target};
use crate::node::{ConnectionId, Happening, Node, Side};
use crate::random::Random;
use crate::shared::Shared;
use bytes::Bytes;
use papo_protocol::client::read_publication;
use std::collections::BTreeSet;

/// Who listens.
#[derive(Debug)]
pub struct Subscriber {
    node: Node,
    topics: BTreeSet<String>,
    proxies: usize,
    proxy: usize,
    connection: Option<ConnectionId>,
}

impl Subscriber {
    /// Of drawn topics.
    #[must_use]
    pub fn new(number: usize, proxies: usize, users: usize, random: &mut Random) -> Self {
        let mut topics = BTreeSet::new();
        if random.once_in(2) {
            topics.insert(String::new());
        }
        for _ in 0..=random.below(3) {
            topics.extend(random.pick(&CHANNELS).map(|channel| (*channel).to_owned()));
        }
        for _ in 0..=random.below(3) {
            topics.insert(user_name(random.below(users)));
        }
        Self {
            node: Node::subscriber(number),
            topics,
            proxies,
            proxy: random.below(proxies),
            connection: None,
        }
    }

    /// Calls its proxy.
    pub fn start(&mut self, shared: &mut Shared) {
        shared.dial(self.node, Node::proxy(self.proxy));
    }

    fn next_proxy(&mut self, shared: &mut Shared) {
        self.proxy = (self.proxy + 1) % self.proxies.max(1);
        shared.dial(self.node, Node::proxy(self.proxy));
    }

    /// Takes in what happens.
    pub fn on_happening(&mut self, shared: &mut Shared, happening: Happening) {
        match happening {
            Happening::Opened { connection, .. } => {
                self.connection = Some(connection);
                let topics = self.topics.clone();
                shared.checker.on_listening(self.node.number, connection, self.proxy, topics);
                for topic in &self.topics {
                    let topic = Bytes::copy_from_slice(topic.as_bytes());
                    shared.send(connection, Side::Dialer, vec![topic]);
                }
            }
            Happening::Frames { frames, .. } => self.on_message(shared, &frames),
            Happening::Closed { connection, .. } => {
                if self.connection == Some(connection) || self.connection.is_none() {
                    self.connection = None;
                    shared.checker.on_deaf(self.node.number);
                    self.next_proxy(shared);
                }
            }
            Happening::Unreachable { .. } => self.next_proxy(shared),
            Happening::Alarm(_) => {}
        }
    }

    fn on_message(&mut self, shared: &mut Shared, frames: &[Bytes]) {
        let [topic, body] = frames else {
            let frames = frames.len();
            shared.violate(Invariant::Named, || format!("a subscriber gets {frames} frames"));
            return;
        };
        let topic = String::from_utf8_lossy(topic).into_owned();
        match read_publication(body, &REPLY_LIMITS) {
            Ok(message) => {
                let target = match message.dst {
                    Some(user) => Target::User(user),
                    None => Target::Channel(message.channel.unwrap_or_default()),
                };
                if target.topic() != topic {
                    shared.violate(Invariant::Named, || format!("{target:?} is published on {topic}"));
                    return;
                }
                let now = shared.now;
                shared.checker.on_shown(now, &message.message, &message.user, &target, message.message_id);
                shared.checker.on_heard(now, self.node.number, &topic, &message.message);
                shared.count("heard");
            }
            Err(error) => shared.violate(Invariant::Named, || format!("an unreadable publication: {error}")),
        }
    }
}
