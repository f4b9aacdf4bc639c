//! What one peer is subscribed to, as far as needed to bound it.
//!
//! Subscriptions are a set, as in libzmq: the second of a topic changes nothing and one cancel ends it. Counting them by number alone
//! would let a peer cancel what it never had and subscribe beyond the bound.

use crate::{codec::DecodeError, limits::Limits};
use bytes::Bytes;
use std::collections::HashSet;

/// The topics of one peer.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    topics: HashSet<Bytes>,
    bytes: usize,
    topic_limit: usize,
    count_limit: usize,
    bytes_limit: usize,
}

impl Subscriptions {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            topics: HashSet::new(),
            bytes: 0,
            topic_limit: limits.topic_bytes,
            count_limit: limits.subscriptions_per_peer,
            bytes_limit: limits.subscription_bytes_per_peer,
        }
    }

    /// True when the topic is new.
    pub(crate) fn subscribe(&mut self, topic: &Bytes) -> Result<bool, DecodeError> {
        let over = |what, limit| Err(DecodeError::TooLarge { what, limit });
        if topic.len() > self.topic_limit {
            return over("topic bytes", self.topic_limit);
        }
        if self.topics.contains(topic) {
            return Ok(false);
        }
        if self.topics.len() >= self.count_limit {
            return over("subscriptions", self.count_limit);
        }
        if self.bytes + topic.len() > self.bytes_limit {
            return over("bytes of subscriptions", self.bytes_limit);
        }
        self.bytes += topic.len();
        // A copy: the topic may be a slice of a larger frame.
        self.topics.insert(Bytes::copy_from_slice(topic));
        Ok(true)
    }

    /// True when the topic was subscribed.
    pub(crate) fn cancel(&mut self, topic: &Bytes) -> bool {
        let known = self.topics.remove(topic);
        if known {
            self.bytes -= topic.len();
        }
        known
    }
}
