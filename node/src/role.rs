//! What every role shares: the process's boot, the cluster token, stopping, and how endpoints are opened.

use anyhow::Context as _;
use bytes::Bytes;
use papo_protocol::identity::Boot;
use papo_protocol::time::{Now, UnixMillis};
use papo_protocol::worker_link::{ROLE_PROPERTY, TOKEN_PROPERTY};
use papo_zmtp::{EndpointHandle, EndpointSettings, Limits, OnFull, PeerInfo, SocketType};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events that may wait for a role before its links stop being read.
const EVENT_CAPACITY: usize = 1024;
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
        let text = std::fs::read(path)
            .with_context(|| format!("cannot read the cluster token {}: name it with --token-file", path.display()))?;
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
}

impl Context {
    /// Draws a boot and listens for signals.
    ///
    /// # Errors
    /// When there is no randomness, no signal, or no readable token file.
    pub fn new(token_file: Option<&Path>, exit_on_stdin_close: bool) -> anyhow::Result<Self> {
        let tracker = TaskTracker::new();
        let stop = crate::shutdown::on_signal(&tracker, exit_on_stdin_close)?;
        let token = token_file.map(ClusterToken::read).transpose()?;
        let boot = Boot(getrandom::u64().context("the system gives no random numbers")?);
        Ok(Self { boot, token, stop, http_stop: CancellationToken::new(), tracker })
    }

    /// Ends HTTP and the signal task, and waits for them.
    pub async fn finish(self) {
        self.stop.cancel();
        self.http_stop.cancel();
        self.tracker.close();
        // A task reading standard input cannot be cancelled; the process ends under it.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tracker.wait()).await;
    }

    /// Settings of an endpoint on which papo's own processes meet.
    #[must_use]
    pub fn papo_endpoint(&self, socket: SocketType, role: &'static str) -> EndpointSettings {
        let mut settings = plain_endpoint(socket);
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

/// Settings of an endpoint that anyone may talk to.
#[must_use]
pub fn plain_endpoint(socket: SocketType) -> EndpointSettings {
    EndpointSettings {
        socket,
        limits: Limits::default(),
        on_full: OnFull::Refuse,
        properties: Vec::new(),
        event_capacity: EVENT_CAPACITY,
    }
}

/// Listens on every address.
///
/// # Errors
/// Names the address, what it is for, and the remedy.
pub async fn listen(handle: &EndpointHandle, addresses: &[SocketAddr], what: &str) -> anyhow::Result<()> {
    for address in addresses {
        handle
            .bind(*address)
            .await
            .with_context(|| format!("cannot listen on {address} for {what}: free that port or choose another"))?;
    }
    Ok(())
}

/// How long to sleep until the mind's next tick.
#[must_use]
pub fn until(next: Option<Duration>) -> Duration {
    next.map_or(TICK_MAX, |at| at.saturating_sub(now().monotonic)).min(TICK_MAX)
}

/// The two clocks, read here and nowhere in the minds.
#[must_use]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now {
        monotonic: START.get_or_init(Instant::now).elapsed(),
        unix: UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
    }
}
