//! Who has subscribed to what, within bounds.
//!
//! A topic is matched whole, never as a prefix: `ana` is not told what is for `anabela` (row D02). The empty topic is one among
//! the others here; what it stands for is the router's business.

use super::{RoutingSettings, SubscriberId};
use bytes::Bytes;
use std::collections::HashMap;

/// What became of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscribed {
    /// It holds.
    Yes,
    /// It would break a bound, or the subscriber is unknown.
    Refused,
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// How often each subscriber has subscribed to each of its topics: it must cancel as often (ZeroMQ counts likewise).
    subscribers: HashMap<SubscriberId, HashMap<Bytes, u32>>,
    /// The same the other way round, each list sorted: the same inputs give the same deliveries, and two lists are merged in one
    /// pass. A newcomer has the highest number, and mostly goes to the end.
    topics: HashMap<Bytes, Vec<SubscriberId>>,
    /// Pairs of subscriber and topic.
    pairs: usize,
}

impl Subscriptions {
    /// A new connection.
    pub(super) fn up(&mut self, subscriber: SubscriberId) {
        self.subscribers.entry(subscriber).or_default();
    }

    /// A connection is gone, and all its subscriptions.
    pub(super) fn down(&mut self, subscriber: SubscriberId) {
        for topic in self.subscribers.remove(&subscriber).unwrap_or_default().into_keys() {
            self.forget(subscriber, &topic);
        }
    }

    /// Subscribes, once more if it has already.
    pub(super) fn subscribe(
        &mut self,
        subscriber: SubscriberId,
        topic: &Bytes,
        settings: &RoutingSettings,
    ) -> Subscribed {
        let Some(own) = self.subscribers.get_mut(&subscriber) else { return Subscribed::Refused };
        if let Some(times) = own.get_mut(topic) {
            *times = times.saturating_add(1);
            return Subscribed::Yes;
        }
        if topic.len() > settings.topic_bytes_max
            || own.len() >= settings.topics_per_subscriber_max
            || self.pairs >= settings.subscriptions_max
        {
            return Subscribed::Refused;
        }
        // A copy: as a slice, it would keep a whole receive buffer. One for both tables.
        let topic = self
            .topics
            .get_key_value(topic)
            .map_or_else(|| Bytes::copy_from_slice(topic), |(key, _)| key.clone());
        own.insert(topic.clone(), 1);
        let subscribers = self.topics.entry(topic).or_default();
        if let Err(place) = subscribers.binary_search(&subscriber) {
            subscribers.insert(place, subscriber);
        }
        self.pairs += 1;
        Subscribed::Yes
    }

    /// Takes one subscription back; without one, nothing happens.
    pub(super) fn cancel(&mut self, subscriber: SubscriberId, topic: &Bytes) {
        let Some(own) = self.subscribers.get_mut(&subscriber) else { return };
        let Some(times) = own.get_mut(topic) else { return };
        *times -= 1;
        if *times == 0 {
            own.remove(topic);
            self.forget(subscriber, topic);
        }
    }

    /// Who has subscribed to exactly this, sorted.
    pub(super) fn of(&self, topic: &[u8]) -> &[SubscriberId] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }

    /// Connections.
    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// Pairs of subscriber and topic.
    pub(super) fn len(&self) -> usize {
        self.pairs
    }

    fn forget(&mut self, subscriber: SubscriberId, topic: &Bytes) {
        let Some(subscribers) = self.topics.get_mut(topic) else { return };
        if let Ok(place) = subscribers.binary_search(&subscriber) {
            subscribers.remove(place);
            self.pairs -= 1;
        }
        if subscribers.is_empty() {
            self.topics.remove(topic);
        }
    }
}
