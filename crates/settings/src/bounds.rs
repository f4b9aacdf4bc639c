//! The smallest and largest value of every number in the spec, each with its reason.
//!
//! The CRD schema and [`crate::validate()`] both read these, so that the API server and `papo local` refuse the same manifests.

/// An inclusive range of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest allowed value.
    pub min: u32,
    /// The largest allowed value.
    pub max: u32,
}

impl Bounds {
    /// Whether `value` lies within.
    #[must_use]
    pub const fn contains(self, value: u32) -> bool {
        self.min <= value && value <= self.max
    }
}

const fn bounds(min: u32, max: u32) -> Bounds {
    Bounds { min, max }
}

/// Servers: every one holds all data and talks to every other, so more than nine cost more than they give.
pub const SERVER_REPLICAS: Bounds = bounds(1, 9);
/// Brokers or proxies: every server connects to every one. `papo local` has ports for so many ([`crate::ports`]).
pub const EXCHANGE_REPLICAS: Bounds = bounds(1, 9);
/// Bots: they write without end, so they are bounded as a guard against a slip of the finger.
pub const BOT_REPLICAS: Bounds = bounds(0, 100);
/// Seconds that one server may take over one request.
pub const SERVER_DEADLINE_SECONDS: Bounds = bounds(1, 15);
/// Seconds until a broker gives a request up: with the proxies' link death (3 s) and resend (10 s) it stays below their 60 s of memory.
pub const DEADLINE_SECONDS: Bounds = bounds(3, 45);
/// Attempts that must fit in a broker's deadline: the first server, and two failovers.
pub const ATTEMPTS_IN_DEADLINE: u32 = 3;
/// Requests in flight at one foreign worker, which serves them one by one.
pub const FOREIGN_WORKER_REQUESTS: Bounds = bounds(1, 1_000);
/// Requests that wait at a broker for a worker.
pub const WAITING_REQUESTS: Bounds = bounds(1, 1_000_000);
/// Seconds between heartbeats of a server to ref (row F03).
pub const HEARTBEAT_SECONDS: Bounds = bounds(1, 3_600);
/// Seconds without a heartbeat after which ref forgets a server (row F04).
pub const EXPIRY_SECONDS: Bounds = bounds(2, 86_400);
/// Heartbeats that must fit in the expiry, so that one lost heartbeat expires nobody.
pub const HEARTBEATS_IN_EXPIRY: u32 = 2;
/// Seconds of contact before a higher rank takes over from a living coordinator.
pub const HAND_OVER_SECONDS: Bounds = bounds(1, 86_400);
/// Messages between two rounds of the clock synchronisation (row E06).
pub const CLOCK_SYNC_MESSAGES: Bounds = bounds(1, 1_000_000);
/// Seconds between two rounds of the clock synchronisation when nobody writes.
pub const CLOCK_SYNC_SECONDS: Bounds = bounds(1, 86_400);
/// Messages in one burst of a bot (row J01).
pub const BOT_MESSAGES: Bounds = bounds(1, 10_000);
/// Milliseconds between two messages of a bot.
pub const BOT_MESSAGE_MILLISECONDS: Bounds = bounds(0, 3_600_000);
/// Seconds that a bot pauses between bursts.
pub const BOT_PAUSE_SECONDS: Bounds = bounds(0, 86_400);
/// Channels that a bot makes and writes to.
pub const BOT_CHANNELS: Bounds = bounds(1, 100);
/// Bytes of one request: room for a long message, and no more than memory times connections can bear.
pub const REQUEST_BYTES: Bounds = bounds(1_024, 16 * 1_024 * 1_024);
/// Frames of one message: an envelope of eight hops, the empty frame and the body always fit.
pub const PARTS: Bounds = bounds(16, 1_024);
/// Seconds for a handshake: three packets, also over a bad line; one who takes a minute only holds a place.
pub const HANDSHAKE_SECONDS: Bounds = bounds(1, 60);
/// Connections of one listening socket.
pub const CONNECTIONS: Bounds = bounds(16, 1_000_000);
/// Topics of one subscriber: a bot follows a handful, and a bridge to another network perhaps every channel.
pub const SUBSCRIPTIONS: Bounds = bounds(16, 100_000);
/// Messages queued for one slow peer.
pub const QUEUE_MESSAGES: Bounds = bounds(16, 10_000_000);
/// Bytes queued for one slow peer: at least 64 KiB, and always more than one request (see [`crate::validate()`]).
pub const QUEUE_BYTES: Bounds = bounds(65_536, 1_024 * 1_024 * 1_024);
/// Bytes queued for all slow peers of one listening socket: at least two of the smallest queues, at most what 32 bits count.
pub const QUEUE_BYTES_TOTAL: Bounds = bounds(2 * QUEUE_BYTES.min, u32::MAX);
/// Queues that must fit in the bytes for all peers, so that one slow peer does not use up the half that is free for all.
pub const QUEUES_IN_TOTAL: u32 = 2;
/// Seconds between two heartbeats to a client.
pub const PING_SECONDS: Bounds = bounds(1, 300);
/// Seconds without a sign of life after which a client is gone.
pub const PING_TIMEOUT_SECONDS: Bounds = bounds(2, 3_600);
/// Heartbeats that must fit in that time, so that one late answer ends no connection.
pub const PINGS_IN_TIMEOUT: u32 = 2;
/// Bytes of a server's volume: below 16 MiB SQLite's log and one copy of the database do not fit.
pub const STORAGE_BYTES_MIN: u64 = 16 * 1_024 * 1_024;
/// Longest name of a ChatCluster: with `-server` and a revision's hash it stays a Kubernetes label (63 bytes).
pub const CLUSTER_NAME_BYTES_MAX: usize = 40;
/// Longest DNS label (RFC 1035).
pub const DNS_LABEL_BYTES_MAX: usize = 63;
/// Longest clusterId: a namespace, a slash and a name fit.
pub const CLUSTER_ID_BYTES_MAX: usize = 128;
/// What [`crate::validate()`] takes as a clusterId, for the CRD schema.
pub const CLUSTER_ID_PATTERN: &str = "^[A-Za-z0-9._/-]+$";
/// What [`crate::validate()`] takes as the repository or the tag of an image, for the CRD schema.
pub const IMAGE_PART_PATTERN: &str = "^\\S+$";
/// What [`crate::validate::storage_bytes`] reads, for the CRD schema.
pub const STORAGE_SIZE_PATTERN: &str = "^[0-9]+(k|M|G|T|Ki|Mi|Gi|Ti)?$";
/// Longest size, in digits and unit: the API server compares sizes in rules whose cost it must know before.
pub const QUANTITY_BYTES_MAX: usize = 20;
/// Processors as [`crate::validate::cpu_millis`] reads them, for the CRD schema.
pub const CPU_PATTERN: &str = "^[1-9][0-9]{0,5}m?$";
/// Smallest memory that a pod may ask for: below a MiB it was most likely meant in another unit.
pub const MEMORY_BYTES_MIN: u64 = 1_024 * 1_024;
/// Labels, or annotations, that a spec may add: the API server's rules look at each.
pub const POD_METADATA_MAX: usize = 32;
/// Entries in one list about scheduling.
pub const SCHEDULING_ENTRIES_MAX: usize = 16;
/// Entries in one list of who may connect.
pub const NETWORK_PEERS_MAX: usize = 16;
/// Secrets for pulling images.
pub const PULL_SECRETS_MAX: usize = 8;
/// Longest name of an object in Kubernetes (RFC 1123 subdomain).
pub const OBJECT_NAME_BYTES_MAX: usize = 253;
/// Longest key of a label: a DNS name, a slash, and 63 bytes.
pub const LABEL_KEY_BYTES_MAX: usize = 317;
/// By how many pods two domains may differ: more than all servers is no bound.
pub const MAX_SKEW: Bounds = bounds(1, 100);
/// How much a node or neighbour is preferred, as Kubernetes counts it.
pub const AFFINITY_WEIGHT: Bounds = bounds(1, 100);
/// Seconds that a pod stays on a tainted node.
pub const TOLERATION_SECONDS: Bounds = bounds(0, 86_400);
/// Longest range of addresses: an IPv6 address with an IPv4 one in it, and its prefix.
pub const CIDR_BYTES_MAX: usize = 49;
/// A range of addresses, roughly; the API server looks closer.
pub const CIDR_PATTERN: &str = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$";
