//! Every bound on what a peer can make an endpoint hold or wait for, with its default and where that comes from.
//!
//! [`Limits`] are settings; the constants below them are fixed by a specification, or shape speed and not safety.
//! This module must not know sockets or frames.

use std::time::Duration;

/// Bounds; every one a setting with a sane default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of one frame, in bytes. Default 1 MiB: chat texts are far smaller, replicated batches fit.
    pub frame_bytes: usize,
    /// Largest sum of the bodies of one message, in bytes. Default 4 MiB, four of the largest frames.
    pub message_bytes: usize,
    /// Most frames of one message, envelope included. Default 64; deep ROUTER chains use one frame a hop.
    pub parts: usize,
    /// From the TCP connection to the peer's READY. Default 5 s; libzmq waits 30 s, but a slow greeter holds a place here.
    pub handshake: Duration,
    /// Accepted connections at a time. Default 10,000.
    pub connections: usize,
    /// Accepted connections at a time from one IP address. Default 10,000: behind one NAT or on loopback all share one.
    pub connections_per_address: usize,
    /// Bytes that may wait for one peer, in wire form, beside the batch being written. Default 8 MiB, two of the largest messages.
    pub queue_bytes_per_peer: usize,
    /// Bytes that may wait for all peers of an endpoint together. Default 256 MiB, room for thirty peers that read nothing at all;
    /// a message that waits for several peers counts for each, though it is held once.
    pub queue_bytes_total: usize,
    /// Messages that may wait for one peer. Default 10,000, ten times libzmq's high-water mark.
    pub queue_messages_per_peer: usize,
    /// Longest topic of a subscription, in bytes. Default 1 KiB.
    pub topic_bytes: usize,
    /// Different topics that one peer may be subscribed to. Default 10,000.
    pub subscriptions_per_peer: usize,
    /// Sum of the topics that one peer may be subscribed to, in bytes. Default 1 MiB, about 100 bytes a topic.
    pub subscription_bytes_per_peer: usize,
    /// Bytes of messages that may wait in all for the owner of the endpoint to call `next`; beyond it links are not read.
    /// Default 64 MiB, sixteen of the largest messages.
    pub event_bytes: usize,
    /// Bytes of received but not yet handed up messages, in all, beyond the first 64 KiB of each link; a link that
    /// needs more is closed. Default 256 MiB: otherwise every accepted connection could park one of the largest messages.
    pub receiving_bytes: usize,
    /// Between PINGs to a peer that greeted 3.1. Default 5 s. Zero: no heartbeats.
    pub heartbeat_interval: Duration,
    /// A peer that greeted 3.1 and gives no sign of life for so long is gone. Default 20 s, four PINGs.
    pub heartbeat_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: MIB,
            message_bytes: 4 * MIB,
            parts: 64,
            handshake: Duration::from_secs(5),
            connections: 10_000,
            connections_per_address: 10_000,
            queue_bytes_per_peer: 8 * MIB,
            queue_bytes_total: 256 * MIB,
            queue_messages_per_peer: 10_000,
            topic_bytes: KIB,
            subscriptions_per_peer: 10_000,
            subscription_bytes_per_peer: MIB,
            event_bytes: 64 * MIB,
            receiving_bytes: 256 * MIB,
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// Largest body of a command frame, in bytes: READY with its properties, or SUBSCRIBE with the longest topic.
    #[must_use]
    pub fn command_bytes(&self) -> usize {
        COMMAND_BYTES.max(self.topic_bytes.saturating_add(COMMAND_OVERHEAD))
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Least bound of a command's body; READY with a few properties of our own needs a tenth.
const COMMAND_BYTES: usize = 16 * KIB;
/// Name and its length in the longest command that carries a topic, SUBSCRIBE (RFC 37).
const COMMAND_OVERHEAD: usize = 10;

/// Most properties of a READY; libzmq sends two.
pub(crate) const READY_PROPERTIES: usize = 64;
/// Longest context of a PING (RFC 37, heartbeating); libzmq echoes no more either.
pub(crate) const PING_CONTEXT_BYTES: usize = 16;

/// First read into a link's own buffer, in bytes: a request and its envelope, with room to spare.
pub(crate) const READ_BYTES_MIN: usize = 4 * KIB;
/// Largest read, reached by doubling while reads come back full; also the size of the buffer that links without one share.
pub(crate) const READ_BYTES_MAX: usize = 64 * KIB;
/// Reads of one link before the others get their turn.
pub(crate) const READS_PER_TURN: usize = 8;
/// What each link may hold without drawing on [`Limits::receiving_bytes`].
pub(crate) const RECEIVING_FREE_BYTES: usize = 64 * KIB;
/// Bodies shorter than this are copied out of the read buffer, longer ones share it. A kept frame pins the whole buffer
/// it shares: so only a few times its size is pinned, while a copy of less than this costs less than a system call.
pub(crate) const COPY_BYTES: usize = READ_BYTES_MAX / 4;
/// Weight of a frame in [`Limits::event_bytes`] beside its body: empty frames use memory too.
pub(crate) const FRAME_OVERHEAD: usize = 64;

/// Most messages of one vectored write; the kernel takes up to 1,024 slices.
pub(crate) const WRITE_MESSAGES: usize = 64;
/// A batch takes no further message once it has so many bytes: the usual send buffer of a socket.
pub(crate) const WRITE_BYTES: usize = 256 * KIB;

/// How long a closing link may take to flush what is queued and to see the peer close.
pub(crate) const CLOSE_FLUSH: Duration = Duration::from_secs(1);

/// First wait before connecting again; doubled at each failure up to [`BACKOFF_MAX`].
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest wait before connecting again: names are resolved anew at least so often.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// For each address of a name: the kernel would try for two minutes while the next address may answer.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait after a failed accept (no file descriptors left, say): the failure would repeat at once.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that the kernel may hold for a listener; it lowers it to its own maximum.
pub(crate) const LISTEN_BACKLOG: u32 = 4096;

/// TCP keepalive, for peers that know no PING: first probe after, then between, then probes unanswered (30 s in all).
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// See [`KEEPALIVE_IDLE`].
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// See [`KEEPALIVE_IDLE`].
pub(crate) const KEEPALIVE_PROBES: u32 = 3;

const _: () = assert!(READ_BYTES_MIN <= READ_BYTES_MAX && READ_BYTES_MAX <= RECEIVING_FREE_BYTES);
