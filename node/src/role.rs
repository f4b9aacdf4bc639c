//! What every role shares: the process's boot, the cluster token, stopping, and how endpoints are opened.

use anyhow::Context as _;
use bytes::Bytes;
use papo_exchange::constants::{PUB_LINK_BEAT_INTERVAL, PUB_LINK_DEAD_AFTER};
use papo_protocol::identity::Boot;
use papo_protocol::reply::REPLY_BYTES_MAX;
use papo_protocol::time::{Now, UnixMillis};
use papo_protocol::worker_link::{ROLE_PROPERTY, TOKEN_PROPERTY};
use papo_settings::LimitsSpec;
use papo_zmtp::{
    Encoded, EndpointHandle, EndpointSettings, Limits, OnFull, PeerId, PeerInfo, SendError, SocketType,
};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events that may wait for a role before its links stop being read.
const EVENT_CAPACITY: usize = 1024;
/// Envelope, key and cookie beside the largest body.
const ENVELOPE_BYTES: usize = 64 << 10;
/// Largest reply and what goes with it, for whoever reads replies.
pub const REPLY_RECEIVES: usize = REPLY_BYTES_MAX + ENVELOPE_BYTES;
/// Bytes of replies that may wait for one broker; a link's queue takes at least as much.
pub const REPLIES_QUEUED_MAX: usize = 2 * REPLY_BYTES_MAX;
/// A link may ask for so many times the topics that a subscriber may have: those over the bound are counted and not heard.
const SUBSCRIPTIONS_SLACK: usize = 2;
/// Longest sleep of a role's loop: bounds the harm of a wrong `next_tick`.
const TICK_MAX: Duration = Duration::from_secs(1);

/// The secret by which papo's own processes know each other. Compared in constant time.
#[derive(Clone)]
pub struct ClusterToken(Bytes);

impl ClusterToken {
    /// Reads a token file; surrounding white space does not count.
    ///
    /// # Errors
    /// When the file cannot be read or holds less than 16 bytes.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| {
            format!("cannot read the cluster token {}: name it with --token-file", path.display())
        })?;
        let token = text.trim_ascii();
        anyhow::ensure!(
            token.len() >= 16,
            "the cluster token {} has {} bytes: write at least 16 random ones",
            path.display(),
            token.len()
        );
        Ok(Self(Bytes::copy_from_slice(token)))
    }

    fn equals(&self, other: &[u8]) -> bool {
        self.0.len() == other.len() && self.0.iter().zip(other).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }
}

/// One role's surroundings.
#[derive(Clone)]
pub struct Context {
    /// Drawn at this start.
    pub boot: Boot,
    /// Absent: every peer is foreign.
    pub token: Option<ClusterToken>,
    /// Cancelled when the role shall stop.
    pub stop: CancellationToken,
    /// Cancelled when the role has stopped: HTTP answers until then.
    pub http_stop: CancellationToken,
    /// Awaited before the process ends.
    pub tracker: TaskTracker,
    /// Bounds of connections and queues.
    limits: Limits,
}

impl Context {
    /// Draws a boot and listens for signals.
    ///
    /// # Errors
    /// When there is no randomness, no signal, or no readable token file.
    pub fn new(
        token_file: Option<&Path>,
        exit_on_stdin_close: bool,
        limits: &LimitsSpec,
    ) -> anyhow::Result<Self> {
        let tracker = TaskTracker::new();
        let stop = crate::shutdown::on_signal(&tracker, exit_on_stdin_close)?;
        let token = token_file.map(ClusterToken::read).transpose()?;
        let boot = Boot(getrandom::u64().context("the system gives no random numbers")?);
        Ok(Self {
            boot,
            token,
            stop,
            http_stop: CancellationToken::new(),
            tracker,
            limits: endpoint_limits(limits),
        })
    }

    /// Ends HTTP and the signal task, and waits for them.
    pub async fn finish(self) {
        self.stop.cancel();
        self.http_stop.cancel();
        self.tracker.close();
        // A task reading standard input cannot be cancelled; the process ends under it.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tracker.wait()).await;
    }

    /// Settings of an endpoint that anyone may talk to, and that reads messages of at most `receives` bytes. More ends the link.
    #[must_use]
    pub fn plain_endpoint(&self, socket: SocketType, receives: usize) -> EndpointSettings {
        let mut limits = self.limits.clone();
        limits.frame_bytes = receives;
        limits.message_bytes = receives.saturating_add(ENVELOPE_BYTES);
        limits.queue_bytes_per_peer = limits.queue_bytes_per_peer.max(2 * receives.max(REPLIES_QUEUED_MAX));
        // The line above may raise the queue of one peer over the setting.
        limits.queue_bytes_total = limits.queue_bytes_total.max(2 * limits.queue_bytes_per_peer);
        EndpointSettings {
            socket,
            limits,
            on_full: OnFull::Refuse,
            properties: Vec::new(),
            event_capacity: EVENT_CAPACITY,
        }
    }

    /// Settings of an endpoint on which papo's own processes meet.
    #[must_use]
    pub fn papo_endpoint(&self, socket: SocketType, receives: usize, role: &'static str) -> EndpointSettings {
        let mut settings = self.plain_endpoint(socket, receives);
        if let Some(token) = &self.token {
            settings.properties = vec![
                (TOKEN_PROPERTY.to_owned(), token.0.clone()),
                (ROLE_PROPERTY.to_owned(), Bytes::from_static(role.as_bytes())),
            ];
        }
        settings
    }

    /// Whether the peer presented the cluster token.
    #[must_use]
    pub fn is_papo(&self, info: &PeerInfo) -> bool {
        match (&self.token, info.property(TOKEN_PROPERTY)) {
            (Some(token), Some(presented)) => token.equals(presented),
            _ => false,
        }
    }
}

fn endpoint_limits(spec: &LimitsSpec) -> Limits {
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    Limits {
        parts: size(spec.parts),
        handshake: spec.handshake(),
        connections: size(spec.connections),
        connections_per_address: size(spec.connections_per_address),
        // Somewhat too many are not heard; a flood of them ends the link.
        subscriptions_per_peer: size(spec.subscriptions).saturating_mul(SUBSCRIPTIONS_SLACK),
        queue_messages_per_peer: size(spec.queue_messages),
        queue_bytes_per_peer: size(spec.queue_bytes),
        queue_bytes_total: size(spec.queue_bytes_total),
        heartbeat_interval: spec.ping(),
        heartbeat_timeout: spec.ping_timeout(),
        ..Limits::default()
    }
}

/// Listens on every address.
///
/// # Errors
/// Names the address, what it is for, and the remedy.
pub async fn listen(handle: &EndpointHandle, addresses: &[SocketAddr], what: &str) -> anyhow::Result<()> {
    for address in addresses {
        handle.bind(*address).await.with_context(|| {
            format!("cannot listen on {address} for {what}: free that port or choose another")
        })?;
    }
    Ok(())
}

/// Bytes that a client-facing endpoint reads for requests of `request_bytes`: a request somewhat too large is told so, and its
/// connection lives; one far too large ends it.
#[must_use]
pub fn request_receives(request_bytes: usize) -> usize {
    request_bytes.saturating_mul(2).saturating_add(ENVELOPE_BYTES)
}

/// Bytes of the publication that a request of `request_bytes` becomes: its text twice (flat and under `data`), and names.
#[must_use]
pub fn publication_receives(request_bytes: usize) -> usize {
    request_bytes.saturating_mul(3).saturating_add(ENVELOPE_BYTES)
}

/// For links that carry publications: dead after a silence well within what is kept for them.
pub fn notice_death_soon(limits: &mut Limits) {
    limits.heartbeat_interval = PUB_LINK_BEAT_INTERVAL;
    limits.heartbeat_timeout = PUB_LINK_DEAD_AFTER;
}

/// Posts a message, which goes at the next flush, or closes the link of a peer that does not read what it is sent: others must not pay
/// with their memory, and the link's Down event tells the mind. A peer that is gone already has that event on its way.
pub fn post_or_close(handle: &EndpointHandle, peer: PeerId, frames: &[Bytes]) {
    for (peer, error) in handle.post([peer], &Encoded::new(frames)).refused {
        if error == SendError::Full {
            tracing::warn!(peer = peer.0, "a peer does not read what it is sent: its link is closed");
            handle.close(peer);
        }
    }
}

/// The timer of a role's loop. It is moved only to an earlier time: under load the next tick changes at every message, and a timer
/// that rings too early costs less than one that is set anew each time.
pub struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Rings within [`TICK_MAX`].
    pub fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(TICK_MAX)))
    }

    /// To ring at `next` on the clock of [`now`], if that is earlier than it would.
    pub fn set(&mut self, next: Duration) {
        let at = tokio::time::Instant::now() + until(Some(next));
        if at < self.0.deadline() || self.0.is_elapsed() {
            self.0.as_mut().reset(at);
        }
    }

    /// Completes when it is time. Cancel-safe.
    pub async fn rings(&mut self) {
        self.0.as_mut().await;
    }
}

/// How long to sleep until the mind's next tick.
#[must_use]
pub fn until(next: Option<Duration>) -> Duration {
    next.map_or(TICK_MAX, |at| at.saturating_sub(now().monotonic)).min(TICK_MAX)
}

/// The two clocks, read here and nowhere in the minds.
#[must_use]
pub fn now() -> Now {
    let (monotonic, calendar) = clocks();
    Now { monotonic, unix: UnixMillis(calendar.div_euclid(1000)) }
}

/// The same, the calendar in microseconds since 1970.
#[must_use]
pub fn clocks() -> (Duration, i64) {
    static START: OnceLock<Instant> = OnceLock::new();
    let monotonic = START.get_or_init(Instant::now).elapsed();
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let calendar = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
    let error = TEST_CALENDAR.get().map_or(0, |calendar| calendar.error(monotonic));
    (monotonic, calendar.saturating_add(error))
}

/// For tests alone: this machine's calendar, as this process reads it, is wrong. Nothing else of the process is.
static TEST_CALENDAR: OnceLock<TestCalendar> = OnceLock::new();

/// How wrong: `2.5` is two and a half seconds ahead, `-2.5:100` so much behind, and gaining 100 microseconds a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestCalendar {
    ahead_seconds: f64,
    /// Microseconds a second.
    drift: f64,
}

impl TestCalendar {
    /// Has [`now`] read it from now on.
    pub fn inject(self) {
        tracing::warn!(calendar = ?self, "the calendar is made wrong, for a test");
        // A process has one.
        let _ = TEST_CALENDAR.set(self);
    }

    #[expect(clippy::cast_possible_truncation, reason = "a float too large becomes the largest integer")]
    fn error(self, monotonic: Duration) -> i64 {
        (self.ahead_seconds * 1e6 + self.drift * monotonic.as_secs_f64()) as i64
    }
}

impl std::str::FromStr for TestCalendar {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ahead, drift) = text.split_once(':').unwrap_or((text, "0"));
        Ok(Self { ahead_seconds: ahead.parse()?, drift: drift.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_calendar_is_off_and_drifts() {
        let calendar: TestCalendar = "-2.5:100".parse().unwrap();
        assert_eq!(calendar.error(Duration::ZERO), -2_500_000);
        assert_eq!(calendar.error(Duration::from_secs(10)), -2_499_000);
        assert_eq!("3600".parse::<TestCalendar>().unwrap().error(Duration::from_secs(10)), 3_600_000_000);
        assert!("an hour".parse::<TestCalendar>().is_err());
    }
}
