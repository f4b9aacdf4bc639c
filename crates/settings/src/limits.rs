//! The part of the spec that bounds what clients can make a node hold.

use crate::{bounds, spec::seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bounds on what clients can make a node hold, and for how long. Each is for one listening socket of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Bytes of one request. A frame or message of more than about twice as many ends its connection before it is read.
    #[schemars(range(min = bounds::REQUEST_BYTES.min, max = bounds::REQUEST_BYTES.max))]
    pub request_bytes: u32,
    /// Frames of one message, envelope included.
    #[schemars(range(min = bounds::PARTS.min, max = bounds::PARTS.max))]
    pub parts: u32,
    /// Seconds that a new connection may take to shake hands.
    #[schemars(range(min = bounds::HANDSHAKE_SECONDS.min, max = bounds::HANDSHAKE_SECONDS.max))]
    pub handshake_seconds: u32,
    /// Connections.
    #[schemars(range(min = bounds::CONNECTIONS.min, max = bounds::CONNECTIONS.max))]
    pub connections: u32,
    /// Connections from one IP address. Behind a Kubernetes Service many clients may share one.
    #[schemars(range(min = bounds::CONNECTIONS.min, max = bounds::CONNECTIONS.max))]
    pub connections_per_address: u32,
    /// Topics to which one subscriber may be subscribed; more are not heard.
    #[schemars(range(min = bounds::SUBSCRIPTIONS.min, max = bounds::SUBSCRIPTIONS.max))]
    pub subscriptions: u32,
    /// Messages queued for one peer that reads slowly; then the oldest is dropped (proxy) or the newest refused (elsewhere).
    #[schemars(range(min = bounds::QUEUE_MESSAGES.min, max = bounds::QUEUE_MESSAGES.max))]
    pub queue_messages: u32,
    /// Bytes queued for one peer that reads slowly. More than requestBytes.
    #[schemars(range(min = bounds::QUEUE_BYTES.min, max = bounds::QUEUE_BYTES.max))]
    pub queue_bytes: u32,
    /// Bytes queued for all peers together. At least 2 x queueBytes: while half of it is used, each peer has its share of the rest.
    #[schemars(range(min = bounds::QUEUE_BYTES_TOTAL.min, max = bounds::QUEUE_BYTES_TOTAL.max))]
    pub queue_bytes_total: u32,
    /// Seconds between two heartbeats to a client that knows them (ZMTP 3.1). Links that carry publications beat every second.
    #[schemars(range(min = bounds::PING_SECONDS.min, max = bounds::PING_SECONDS.max))]
    pub ping_seconds: u32,
    /// Seconds without a sign of life after which such a client is gone. At least 2 x pingSeconds.
    #[schemars(range(min = bounds::PING_TIMEOUT_SECONDS.min, max = bounds::PING_TIMEOUT_SECONDS.max))]
    pub ping_timeout_seconds: u32,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            request_bytes: 1_024 * 1_024,
            parts: 64,
            handshake_seconds: 5,
            connections: 10_000,
            connections_per_address: 10_000,
            subscriptions: 4_096,
            queue_messages: 10_000,
            queue_bytes: 16 * 1_024 * 1_024,
            queue_bytes_total: 256 * 1_024 * 1_024,
            ping_seconds: 5,
            ping_timeout_seconds: 20,
        }
    }
}

impl LimitsSpec {
    /// [`Self::handshake_seconds`] as a duration.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        seconds(self.handshake_seconds)
    }

    /// [`Self::ping_seconds`] as a duration.
    #[must_use]
    pub fn ping(&self) -> Duration {
        seconds(self.ping_seconds)
    }

    /// [`Self::ping_timeout_seconds`] as a duration.
    #[must_use]
    pub fn ping_timeout(&self) -> Duration {
        seconds(self.ping_timeout_seconds)
    }
}
