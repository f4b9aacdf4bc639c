//! The proxy's mind: who gets a publication (design section 4, "Proxy"; rows A10, D01-D04).
//!
//! A publication passes through like this: the third frame, which only our servers may send, is taken off and says what kind it
//! is and which identity it has; an identity seen of late is dropped; the rest goes once to each subscriber that named the topic
//! exactly, and, if it is for all, to the subscribers of `""`.
//!
//! The table of subscribers has one entry per connection, whose number the caller bounds; all else is bounded here. This module
//! must not know queues or links: each receiver's queue is its link's.

mod subscriptions;
#[cfg(test)]
mod tests;
mod window;

use crate::Now;
use crate::constants;
use crate::counters::counters;
use crate::lived_time::LivedTime;
use bytes::Bytes;
use papo_protocol::names::RESERVED_TOPICS;
use papo_protocol::publication::{PublicationKind, PublicationMeta, foreign_body_is_public};
use std::time::Duration;
use subscriptions::{Subscribed, Subscriptions};
use window::{Seen, Window};

/// The reserved topic whose announcements may reach clients (wire.md section 4).
const SERVERS_TOPIC: &[u8] = b"servers";
/// The subscription to everything that is public.
const ALL: &[u8] = b"";

/// One connection of a subscriber; never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

/// What became of a subscriber. (For publications there is [`Routing::publish`].)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingInput {
    /// A subscriber connected.
    SubscriberUp(SubscriberId),
    /// A subscriber wants a topic.
    Subscribe {
        /// Who.
        subscriber: SubscriberId,
        /// Which; empty = all that is public.
        topic: Bytes,
    },
    /// A subscriber takes one subscription back.
    Cancel {
        /// Who.
        subscriber: SubscriberId,
        /// To which topic.
        topic: Bytes,
    },
    /// A subscriber's connection is gone.
    SubscriberDown(SubscriberId),
}

/// Send the same two frames to each receiver.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Topic and body.
    pub frames: [Bytes; 2],
    /// At least one, each once.
    pub receivers: Receivers<'a>,
}

/// Those who get one publication, sorted.
#[derive(Debug)]
pub struct Receivers<'a> {
    /// Subscribers of its topic, sorted.
    named: &'a [SubscriberId],
    /// Subscribers of everything public, if it is, sorted.
    all: &'a [SubscriberId],
    /// Counts those given out.
    deliveries: &'a mut u64,
}

impl Iterator for Receivers<'_> {
    type Item = SubscriberId;

    fn next(&mut self) -> Option<SubscriberId> {
        let next = match (self.named.first(), self.all.first()) {
            (Some(named), Some(all)) => *named.min(all),
            (Some(only), None) | (None, Some(only)) => *only,
            (None, None) => return None,
        };
        for list in [&mut self.named, &mut self.all] {
            if let Some((first, rest)) = list.split_first()
                && *first == next
            {
                *list = rest;
            }
        }
        *self.deliveries += 1;
        Some(next)
    }
}

/// Bounds. The defaults are in [`crate::constants`], with their sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingSettings {
    /// An identity is remembered so long.
    pub identity_window: Duration,
    /// Identities remembered at most.
    pub identities_max: usize,
    /// Bytes of a topic that can be subscribed to.
    pub topic_bytes_max: usize,
    /// Topics of one subscriber.
    pub topics_per_subscriber_max: usize,
    /// Subscriptions of all subscribers.
    pub subscriptions_max: usize,
}

impl Default for RoutingSettings {
    fn default() -> Self {
        Self {
            identity_window: constants::IDENTITY_WINDOW,
            identities_max: constants::IDENTITIES_MAX,
            topic_bytes_max: constants::TOPIC_BYTES_MAX,
            topics_per_subscriber_max: constants::TOPICS_PER_SUBSCRIBER_MAX,
            subscriptions_max: constants::SUBSCRIPTIONS_MAX,
        }
    }
}

counters! {
    /// What the routing has counted since its start.
    RoutingCounters {
        /// Messages of publishers, readable or not.
        publications,
        /// Copies handed out.
        deliveries,
        /// Publications dropped because their identity was seen of late.
        duplicates,
        /// Publications of publishers without the token, or without a third frame.
        foreign,
        /// Publications on topics that clients do not get.
        hidden,
        /// Third frames of publishers that did not present the token.
        ignored_third_frames,
        /// Messages that are no publication.
        malformed,
        /// Third frames of our servers that could not be read.
        malformed_third_frames,
        /// Identities forgotten before their time because too many came.
        identities_evicted,
        /// Subscriptions over a bound.
        refused_subscriptions,
    }
}

/// The proxy's mind.
#[derive(Debug)]
pub struct Routing {
    settings: RoutingSettings,
    time: LivedTime,
    subscriptions: Subscriptions,
    window: Window,
    counters: RoutingCounters,
}

impl Routing {
    /// Without connections.
    #[must_use]
    pub fn new(settings: RoutingSettings) -> Self {
        Self {
            settings,
            time: LivedTime::new(constants::ROUTING_CALLED_EVERY),
            subscriptions: Subscriptions::default(),
            window: Window::new(settings.identity_window, settings.identities_max),
            counters: RoutingCounters::default(),
        }
    }

    /// Takes in what became of a subscriber.
    pub fn handle(&mut self, input: RoutingInput) {
        match input {
            RoutingInput::SubscriberUp(subscriber) => self.subscriptions.up(subscriber),
            RoutingInput::SubscriberDown(subscriber) => self.subscriptions.down(subscriber),
            RoutingInput::Cancel { subscriber, topic } => self.subscriptions.cancel(subscriber, &topic),
            RoutingInput::Subscribe { subscriber, topic } => {
                if self.subscriptions.subscribe(subscriber, &topic, &self.settings) == Subscribed::Refused {
                    self.counters.refused_subscriptions += 1;
                    tracing::debug!(subscriber = subscriber.0, bytes = topic.len(), "subscription refused");
                }
            }
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &RoutingCounters {
        &self.counters
    }

    /// Connections of subscribers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscriptions.subscribers()
    }

    /// Subscriptions, each topic of each subscriber once.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Identities remembered.
    #[must_use]
    pub fn identities(&self) -> usize {
        self.window.len()
    }

    /// Time passes; to be called every second. Time in which neither this nor [`Self::publish`] is called does not count.
    pub fn tick(&mut self, now: Now) {
        self.time.on_call(now.monotonic);
    }

    /// A publisher, which has presented the cluster token (`papo`) or not, sent this: topic, body, and from our servers a third
    /// frame. Gives what is to be sent, if anything.
    pub fn publish(&mut self, now: Now, papo: bool, frames: Vec<Bytes>) -> Option<Delivery<'_>> {
        let now = self.time.on_call(now.monotonic);
        self.counters.publications += 1;
        let mut frames = frames.into_iter();
        let (topic, body, third) = match (frames.next(), frames.next(), frames.next(), frames.next()) {
            // No channel and no user has an empty name, and nobody named it who subscribed to all.
            (Some(topic), Some(body), third, None) if !topic.is_empty() => (topic, body, third),
            _ => {
                self.counters.malformed += 1;
                return None;
            }
        };
        let meta = third.and_then(|third| self.read_third_frame(papo, &third));
        if !may_reach_clients(papo, &topic) {
            self.counters.hidden += 1;
            return None;
        }
        let public = match meta {
            Some(meta) => {
                let seen = self.window.see(now, meta.identity);
                self.counters.identities_evicted = self.window.evicted();
                if seen == Seen::Before {
                    self.counters.duplicates += 1;
                    return None;
                }
                // A reserved topic is for who names it, whatever the kind.
                meta.kind == PublicationKind::Channel && !is_reserved(&topic)
            }
            None => {
                self.counters.foreign += 1;
                // Reading the body costs something: only where the answer matters.
                !self.subscriptions.of(ALL).is_empty() && !is_reserved(&topic) && is_public(&body)
            }
        };
        let named = self.subscriptions.of(&topic);
        let all = if public { self.subscriptions.of(ALL) } else { &[] };
        if named.is_empty() && all.is_empty() {
            return None;
        }
        let receivers = Receivers { named, all, deliveries: &mut self.counters.deliveries };
        Some(Delivery { frames: [topic, body], receivers })
    }

    /// Only our servers' counts; without one, the publication is a foreign one.
    fn read_third_frame(&mut self, papo: bool, frame: &[u8]) -> Option<PublicationMeta> {
        if !papo {
            self.counters.ignored_third_frames += 1;
            return None;
        }
        let meta = PublicationMeta::from_bytes(frame);
        if meta.is_none() {
            self.counters.malformed_third_frames += 1;
        }
        meta
    }
}

fn is_reserved(topic: &[u8]) -> bool {
    RESERVED_TOPICS.iter().any(|reserved| reserved.as_bytes() == topic)
}

/// Reserved topics are between servers, save the announcements of ours (row D06).
fn may_reach_clients(papo: bool, topic: &[u8]) -> bool {
    !is_reserved(topic) || (papo && topic == SERVERS_TOPIC)
}

/// Whether a foreign body is no direct message; one too large to look into may be.
fn is_public(body: &[u8]) -> bool {
    let limits = constants::PUBLICATION_READ_LIMITS;
    body.len() <= limits.bytes && foreign_body_is_public(body, &limits)
}
