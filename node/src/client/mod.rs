//! The client's side of the chat, shared by `papo chat` and `papo bot`: an ordinary ZeroMQ client on the `zeromq` crate.
//!
//! [`Client`] asks (REQ to a broker or a server), [`LiveStream`] listens (SUB to a proxy); both go on to the next when one dies. Each
//! is a handle to a task that owns its socket, because with that crate a cancelled `send` loses the message and only SUB reconnects by
//! itself: whatever fails, the task throws the socket away and makes a new one. Nothing here needs a field of papo's own, so both work
//! against any server of the exercise. It must not know the terminal, nor the roles and crates of papo's own servers.

mod link;
mod live;
mod requests;
mod rotation;
mod seen;
#[cfg(test)]
pub(crate) mod test_server;

pub use link::{Link, SharedClock};
pub use live::{LiveStream, Publication};
pub use requests::{Client, RequestError};
pub use seen::Seen;

use papo_protocol::codec::Limits;
use papo_protocol::time::UnixMillis;
use papo_settings::Address;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

/// How long one attempt waits for its reply: the broker answers within 10 s (design section 4), and the network takes its time.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(12);

/// How long a request is repeated in all: two whole attempts, and a reconnection between them.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// How long one attempt to connect and to shake hands may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// First pause between attempts; doubled after each failure, up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest pause between attempts: a person waits for it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Largest reply or publication that is read, in bytes: papo's replies have at most 4 MiB, and foreign servers set no limit.
const MESSAGE_LIMITS: Limits = Limits { bytes: 16 << 20, depth: 32, values: 1_000_000 };

const _: () = assert!(
    REQUEST_DEADLINE.as_secs() >= 2 * REPLY_TIMEOUT.as_secs(),
    "a lost reply must leave time to ask again"
);

/// The pause after `pause`.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(BACKOFF_MAX)
}

/// This computer's time.
#[must_use]
pub fn now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// A port of this computer: the default of every address.
#[must_use]
pub fn loopback(port: u16) -> Address {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

/// An address as the `zeromq` crate wants it.
fn endpoint(address: &Address) -> String {
    format!("tcp://{address}")
}
