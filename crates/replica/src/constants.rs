//! The bounds and periods of a replica, each with its source.

use std::time::Duration;

/// A pull goes to every peer this often (design, "History": anti-entropy every second).
pub(crate) const PULL_INTERVAL: Duration = Duration::from_secs(1);
/// A peer that had the same so lately is not asked, unless something changed here: so an idle cluster says half as much.
pub(crate) const CHECK_WHEN_EQUAL: Duration = Duration::from_millis(1900);
/// A server is in sync if it had all that a majority had so lately: a few of the exchanges that come every second.
pub(crate) const IN_SYNC_WITHIN: Duration = Duration::from_secs(5);
/// A pull without an answer is asked again after this: the answer was lost in a full queue, or the peer is stuck.
pub(crate) const PULL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refusal that rests on absence waits for the peers (design, "Server": at most 300 ms).
pub(crate) const ABSENCE_WAIT: Duration = Duration::from_millis(300);
/// How long a request waits for the write that its session has seen (design, "Broker": up to 1 s).
pub(crate) const SESSION_WAIT: Duration = Duration::from_secs(1);

/// How long a reader waits for a server to show what its cursor covers (design, "History": at most 3 s). Less than a broker's
/// deadline for one server (3 s), so that the answer comes before the request goes to the next.
pub(crate) const CURSOR_WAIT: Duration = Duration::from_millis(2500);
/// For how long a new boot asks the other members before it serves without having heard a majority (design, "History").
pub(crate) const START_WAIT: Duration = Duration::from_secs(5);
/// A member without a link for so long is suspected: what it may not have published is published by others. As long as a dead
/// peer takes to be noticed (design, "Broker": beats).
pub(crate) const SUSPECT_AFTER: Duration = Duration::from_secs(3);
/// What an origin wrote so lately is published again when it starts or is suspected (design, "Publishing").
pub(crate) const REPUBLISH_AT_START_WITHIN: Duration = Duration::from_secs(10);
/// What is shown is stored at most so often, with a batch of operations or by itself.
pub(crate) const SHOWN_STORE_INTERVAL: Duration = Duration::from_secs(1);

/// A retry publishes again what another process wrote so lately: longer than a broker's deadline for redispatches (10 s), well
/// under a proxy's memory of identities (60 s), clocks askew included.
pub(crate) const REPUBLISH_WITHIN: Duration = Duration::from_secs(30);

/// A disk that has not stored a batch in so long hangs, and new writes go elsewhere. Longer than any pause of a healthy disk, and
/// shorter than a broker waits for one server (3 s).
pub(crate) const STORAGE_STUCK_AFTER: Duration = Duration::from_secs(2);

/// How long after a full disk refused operations that peers may have they are tried again: a person who makes room does not notice,
/// and a full disk is not kept busy.
pub(crate) const STORAGE_RETRY: Duration = Duration::from_secs(1);

/// Calendars within so much of the median count (Gusella and Zatti's interval; design, "Timekeeping"). Wide enough for machines whose
/// calendars nobody looks after, and narrow beside what a wrong time zone or a dead battery makes of one.
pub(crate) const READING_BOUND: Duration = Duration::from_secs(10);
/// With fewer readings a correction over [`READING_BOUND`] is not believed (design, "Timekeeping").
pub(crate) const READINGS_TO_TRUST: usize = 3;
/// Rounds begin no closer together (design, "Timekeeping").
pub(crate) const ROUND_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A round ends after this, whoever has not answered: before the next may begin.
pub(crate) const ROUND_TIME_MAX: Duration = Duration::from_millis(900);
/// The quickest of so many probes counts: most of what delays one, a busy processor, does not delay all.
pub(crate) const PROBES_A_ROUND: u8 = 8;
/// A probe that took at most this part longer than the quickest ever is not repeated: no other will be much better.
pub(crate) const QUICK_ENOUGH: u32 = 2;
/// The quickest of so many rounds tells how long a round trip takes when nothing is busy. A quarter of an hour, when nobody writes: a
/// route may change.
pub(crate) const ROUND_TRIPS_KEPT: usize = 32;
/// A probe that took longer says too little: half of it is the error. More than any link takes whose ends share a cluster.
pub(crate) const PROBE_TIME_MAX: Duration = Duration::from_millis(200);
/// A calendar that went so far astray from the monotonic clock was set, or the machine slept. NTP slews without that.
pub(crate) const CALENDAR_JUMP: Duration = Duration::from_secs(1);
/// The coordinator says to every server that it leads this often: what a server's beat to a broker is (design, "Broker").
pub(crate) const LEAD_INTERVAL: Duration = Duration::from_millis(500);
/// Who has not heard the coordinator for so long suspects it: three beats.
pub(crate) const SUSPECT_COORDINATOR_AFTER: Duration = Duration::from_millis(1500);
/// The same where the link to it is closed: a process that died is noticed at once, and a link that only broke is soon open again.
pub(crate) const CLOSED_LINK_GRACE: Duration = Duration::from_millis(300);
/// By so much a server waits longer than the next better one before it suspects: the better one's election is under way then.
pub(crate) const JITTER_OF_PLACE: Duration = Duration::from_millis(50);
/// What is added to that, at most, and differs from boot to boot.
pub(crate) const JITTER_OF_BOOT: Duration = Duration::from_millis(50);
/// How long an election waits for the answer of a better server: a round trip, and one of its own to the reference service.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// How long one that was answered waits for a coordinator, or for the next answer (design, "Coordination").
pub(crate) const LEAD_WAIT: Duration = Duration::from_secs(2);
/// A claim that is not granted is made again after this: a dead holder counts for two seconds, and nobody leads any longer than that.
pub(crate) const CLAIM_AGAIN: Duration = Duration::from_millis(500);
/// Claims in one election: for three and a half seconds, and one for which the claimant knew too low an epoch.
pub(crate) const CLAIMS_MAX: u32 = 9;
/// An epoch that is granted is on the disk within this, or the claimant gives up: somebody else may have it then.
pub(crate) const ADOPT_WAIT: Duration = Duration::from_secs(3);
/// After an election that came to nothing the next one is held so much later: at most two a minute while nothing changes.
pub(crate) const ELECTION_AGAIN: Duration = Duration::from_secs(30);
/// The coordinator reports to the reference service this often (design, "Ref").
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Who was heard so lately is reached: what a server says at least every two seconds may be late by one.
pub(crate) const REACHED_WITHIN: Duration = Duration::from_secs(3);
/// A claim counts whom it heard so lately. No longer than the silence after which a coordinator is suspected: a server that was just cut
/// off must not count whom it heard before that, while the coordinator, who heard it last before that, does not count it any more.
pub(crate) const CLAIM_REACHED_WITHIN: Duration = SUSPECT_COORDINATOR_AFTER;
/// Whom the reference service answered so lately may claim (design, "Coordination").
pub(crate) const REFERENCE_WITHIN: Duration = Duration::from_secs(2);
/// How long the coordinator waits for a server to accept its office.
pub(crate) const ACCEPT_WAIT: Duration = Duration::from_secs(2);
/// How long it waits for the reference service to take note that it resigned.
pub(crate) const RESIGN_WAIT: Duration = Duration::from_millis(500);
/// How long it then waits for a higher epoch. Longer than one repeated claim takes.
pub(crate) const HAND_OVER_WAIT: Duration = Duration::from_secs(3);
/// Who is called so much later than it asked for was paused, and concludes nothing from a silence that it did not listen to.
pub(crate) const PAUSED_AFTER: Duration = Duration::from_millis(100);
/// It first listens for so long: to what waits in its sockets, and to the next beat.
pub(crate) const LISTEN_AFTER_PAUSE: Duration = Duration::from_millis(800);
/// An epoch that a full disk refused is stored again after this.
pub(crate) const STORE_EPOCH_AGAIN: Duration = Duration::from_secs(1);

/// Requests waiting for peers, for a session's write, or for a name being stored. Further ones go elsewhere.
pub(crate) const WAITING_MAX: usize = 1024;
/// Bytes of the requests that wait: eight of the largest, or a full list of those that people write.
pub(crate) const WAITING_BYTES_MAX: usize = 64 << 20;
/// Operations that collect while a batch is being stored; further writes go elsewhere.
pub(crate) const BATCH_OPS_MAX: usize = 16_384;
/// Their bytes.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;
/// Own operations stored and not yet shown; further writes go elsewhere.
pub(crate) const UNCONFIRMED_MAX: usize = 16_384;
/// Bytes of operations pushed to a peer and not yet on its disk. Beyond, it is left to pull.
pub(crate) const PUSHED_BYTES_MAX: usize = 8 << 20;
/// Direct connections whose session is remembered.
pub(crate) const SESSIONS_MAX: usize = 65_536;
/// Links that peers opened to this server.
pub(crate) const ANSWERED_LINKS_MAX: usize = 256;

/// Bytes of operations in one peer message, save a single larger operation: keeps a pull from delaying what comes behind it.
pub(crate) const OPS_BYTES_MAX: usize = 512 << 10;
/// Largest peer message that is read.
pub const PEER_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Largest client request, so that the operation it becomes always fits a peer message.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 << 20;

/// By how much clients may raise the Lamport clock in a second (design, "Lamport").
pub(crate) const LAMPORT_RAISE_PER_SECOND: u64 = 1_000_000;

/// Largest cursor in a reply: over five thousand server starts that wrote in one channel, at names of ordinary length.
pub(crate) const CURSOR_BYTES_MAX: usize = 64 << 10;
/// Of a page's reply, what is not messages: the envelope, and the cursor twice, as base64.
pub(crate) const PAGE_RESERVE_BYTES: usize = 256 << 10;

/// Bytes of text gathered for one list reply, so that a long history costs no more than what can be sent; the writer of the reply
/// cuts exactly.
pub(crate) const REPLY_ENTRIES_BYTES_MAX: usize = papo_protocol::reply::REPLY_BYTES_MAX;
/// About what an operation costs beside its text, in memory and in a reply.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 256;

const _: () = assert!(2 * (CURSOR_BYTES_MAX / 3 * 4) < PAGE_RESERVE_BYTES);
const _: () = assert!(ROUND_TIME_MAX.as_millis() < ROUND_INTERVAL_MIN.as_millis());
const _: () = assert!(2 * PROBE_TIME_MAX.as_millis() < ROUND_TIME_MAX.as_millis());
const _: () = assert!(OPS_BYTES_MAX + REQUEST_BYTES_MAX < PEER_MESSAGE_BYTES_MAX);
const _: () = assert!(
    PULL_INTERVAL.as_millis() < CHECK_WHEN_EQUAL.as_millis()
        && CHECK_WHEN_EQUAL.as_millis() < 2 * PULL_INTERVAL.as_millis()
);
// Equal peers speak at every second tick, and are reached.
const _: () = assert!(2 * PULL_INTERVAL.as_millis() < REACHED_WITHIN.as_millis());
const _: () = assert!(ABSENCE_WAIT.as_millis() < PULL_INTERVAL.as_millis());
const _: () = assert!(REQUEST_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_MAX <= WAITING_BYTES_MAX);
const _: () = assert!(LEAD_INTERVAL.as_millis() < LISTEN_AFTER_PAUSE.as_millis());
const _: () = assert!(2 * LEAD_INTERVAL.as_millis() < SUSPECT_COORDINATOR_AFTER.as_millis());
// An answer comes with every claim, so that nobody overtakes a better server that goes on claiming.
const _: () = assert!(CLAIM_AGAIN.as_millis() + ANSWER_WAIT.as_millis() < LEAD_WAIT.as_millis());
// A dead holder no longer counts when the last claim is made, nor one that is cut off from the others.
const _: () = assert!((CLAIMS_MAX as u128 - 2) * CLAIM_AGAIN.as_millis() > REACHED_WITHIN.as_millis());
const _: () = assert!(CLAIM_AGAIN.as_millis() + RESIGN_WAIT.as_millis() < HAND_OVER_WAIT.as_millis());
