//! Every limit and deadline of the three minds, in one place, each with its source.

use papo_protocol::codec::Limits;
use std::time::Duration;

/// A worker that has not answered a request for so long is no longer waited for alone (design section 4, "Broker").
pub const SERVER_DEADLINE: Duration = Duration::from_secs(3);
/// A client waits at most so long for its reply, whatever happens to the workers (design section 4, "Broker").
pub const BROKER_DEADLINE: Duration = Duration::from_secs(10);
/// The longest that a broker's deadline can be set to (`papo_settings::bounds::DEADLINE_SECONDS`; the node asserts that they agree).
pub const BROKER_DEADLINE_MAX: Duration = Duration::from_secs(45);
/// How often our servers beat (design section 4, "Broker").
pub const WORKER_BEAT_INTERVAL: Duration = Duration::from_millis(500);
/// A papo worker not heard for so long counts as dead (design section 4, "Broker").
pub const WORKER_DEAD_AFTER: Duration = Duration::from_millis(1500);
/// The link of a papo worker not heard for so long, and for the broker's deadline at least, is closed. Until then a late reply can
/// still be of use, and a server that was only paused comes back without a new handshake.
pub const WORKER_CLOSED_AFTER: Duration = Duration::from_secs(10);
/// A request that no worker would take rests so long before the workers are asked again: workers recover (disk, catching up) in
/// seconds, and asking at the speed of the link would be a storm.
pub const REST: Duration = Duration::from_millis(250);
/// A request that was on so many workers when they died is not given to another (design section 4, "Broker": poison).
pub const POISON_AFTER: u32 = 3;

/// Requests that may wait for a worker. At 10,000 requests a second, what arrives while a dead worker is being noticed.
pub const WAITING_MAX: usize = 10_000;
/// Bytes of the requests that may wait for a worker.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// Bytes of all requests held, waiting or with workers: the broker's memory under any load.
pub const HELD_BYTES_MAX: usize = 256 << 20;
/// Unanswered requests of one client connection. REQ has one; a pipelining DEALER has no use for more than this.
pub const IN_FLIGHT_PER_CLIENT_MAX: usize = 64;
/// Requests a foreign worker gets at once (design section 4, "Broker"): it serves them one by one.
pub const FOREIGN_CAPACITY: usize = 16;
/// Most requests a papo worker gets at once, whatever its hello claims.
pub const PAPO_CAPACITY_MAX: usize = 4096;
/// Bytes of the requests that a worker has and has not answered, at which it gets nothing more: eight of the largest, which is more
/// than it serves at a time, and with what goes around them less than the queue of a link takes by default (16 MiB).
pub const WORKER_BYTES_MAX: usize = 8 << 20;
/// What goes to a worker around a request, in wire form: key, cookie, flags and the heads of frames.
pub const WORKER_ENVELOPE_BYTES_MAX: usize = 128 + papo_protocol::worker_link::COOKIE_BYTES_MAX;
/// Largest client message, envelope included, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Frames of an envelope: one for each ROUTER on the way, and the empty one.
pub const ENVELOPE_FRAMES_MAX: usize = 8;
/// Bounds for looking at the service of a request that a foreign worker lost. Beyond them it counts as a write.
pub const REQUEST_READ_LIMITS: Limits = Limits { bytes: REQUEST_BYTES_MAX, depth: 16, values: 10_000 };

/// How often a mind asks to be called at the least, and so how much of a longer gap between two calls counts as time. With a beat
/// that was due before it, less than what makes a worker dead; four idle wake-ups a second cost nothing.
pub const CALLED_EVERY: Duration = Duration::from_millis(250);

/// The same for the proxy's mind, which waits for nothing and only remembers: it need not be exact.
pub const ROUTING_CALLED_EVERY: Duration = Duration::from_secs(2);

/// A publication's identity is remembered so long (design section 4, "Proxy"), in time that the proxy has lived: one that stood
/// still finds repetitions among what waits for it.
pub const IDENTITY_WINDOW: Duration = Duration::from_secs(60);
/// How long a PUB link is silent before one of its ends beats: twice in the time after which it is dead (design section 4,
/// "Publishing", has a second; three beats tell no more than two, where nothing is lost but with the whole link).
pub const PUB_LINK_BEAT_INTERVAL: Duration = Duration::from_millis(1400);
/// A PUB link not heard for so long is dead (design section 4, "Publishing").
pub const PUB_LINK_DEAD_AFTER: Duration = Duration::from_secs(3);
/// What a server published in so long it publishes again on a link that comes back (design section 4, "Publishing").
pub const PUBLICATION_KEEP: Duration = Duration::from_secs(10);
/// And what it published while that link was broken, if it was for no longer: then the proxy still knows what it sent before.
pub const PUBLICATION_KEEP_AWAY: Duration = Duration::from_secs(45);
/// Identities remembered at most (design section 4, "Proxy"); beyond, the oldest are forgotten and counted.
pub const IDENTITIES_MAX: usize = 1_000_000;
/// Longest topic that can be subscribed to, in bytes: twice the longest name, for foreign channels.
pub const TOPIC_BYTES_MAX: usize = 2 * papo_protocol::names::NAME_BYTES_MAX;
/// Topics that one subscriber may have subscribed to.
pub const TOPICS_PER_SUBSCRIBER_MAX: usize = 4096;
/// Subscriptions of all subscribers: bounds the proxy's tables at a few hundred MiB under attack.
pub const SUBSCRIPTIONS_MAX: usize = 1_000_000;
/// Bounds for looking for `dst`, `to`, `src` or `from` in a foreign publication.
pub const PUBLICATION_READ_LIMITS: Limits = Limits { bytes: REQUEST_BYTES_MAX, depth: 16, values: 10_000 };

/// Names beside the members' that the reference service knows at once: far above any cluster of the exercise, and with the longest
/// names and addresses their list fits a reply.
pub const FOREIGN_NAMES_MAX: usize = 1000;
/// A holder of an epoch that said so within this time keeps it against who reaches no more members (design section 4, "Ref").
pub const HOLDER_HEARD_WITHIN: Duration = Duration::from_secs(2);
/// After a start no epoch is granted for so long: a living holder, which reports every second, must be heard first (design section 4,
/// "Ref").
pub const CLAIM_QUIET: Duration = Duration::from_secs(2);
/// An epoch so far above the highest that was granted is no epoch of this cluster: it would use the numbers up (design section 4,
/// "Ref").
pub const EPOCH_JUMP_MAX: u64 = 1_000_000;

const _: () = assert!(
    SERVER_DEADLINE.as_millis() * 3 <= BROKER_DEADLINE.as_millis(),
    "two failovers must fit: three workers, one after the other, each with its whole deadline"
);
const _: () = assert!(
    WORKER_BEAT_INTERVAL.as_millis() * 3 <= WORKER_DEAD_AFTER.as_millis(),
    "a worker is not dead for one or two late beats"
);
const _: () = assert!(
    WORKER_DEAD_AFTER.as_millis() * 2 <= SERVER_DEADLINE.as_millis(),
    "death is noticed before the deadline"
);
const _: () = assert!(
    WORKER_BEAT_INTERVAL.as_millis() + 3 * CALLED_EVERY.as_millis() <= WORKER_DEAD_AFTER.as_millis(),
    "after a broker's stall there is time to read the beats that wait, and after another at once"
);
const _: () = assert!(
    BROKER_DEADLINE.as_millis() <= BROKER_DEADLINE_MAX.as_millis()
        && BROKER_DEADLINE_MAX.as_millis() + PUB_LINK_DEAD_AFTER.as_millis() + PUBLICATION_KEEP.as_millis()
            < IDENTITY_WINDOW.as_millis(),
    "a publication is recognised when the last server that may do the request publishes it, and again after a reconnect"
);
const _: () = assert!(
    PUBLICATION_KEEP_AWAY.as_millis() + PUBLICATION_KEEP.as_millis() + PUB_LINK_DEAD_AFTER.as_millis()
        < IDENTITY_WINDOW.as_millis(),
    "what went into a link before it broke is recognised when it is sent again"
);
const _: () = assert!(
    PUB_LINK_BEAT_INTERVAL.as_millis() * 2 < PUB_LINK_DEAD_AFTER.as_millis()
        && PUB_LINK_DEAD_AFTER.as_millis() < PUBLICATION_KEEP.as_millis(),
    "what went into a link that was dead already is still kept when that is noticed"
);
const _: () = assert!(
    REQUEST_BYTES_MAX <= WORKER_BYTES_MAX
        && WORKER_BYTES_MAX + REQUEST_BYTES_MAX + (PAPO_CAPACITY_MAX + 1) * WORKER_ENVELOPE_BYTES_MAX
            <= 16 << 20,
    "what one worker is given fits the queue of its link"
);
const _: () = assert!(
    WAITING_BYTES_MAX <= HELD_BYTES_MAX && REQUEST_BYTES_MAX <= WAITING_BYTES_MAX,
    "one request always fits"
);
const _: () = assert!(
    CLAIM_QUIET.as_millis() >= HOLDER_HEARD_WITHIN.as_millis(),
    "a holder that would have counted before the restart counts after it"
);
