//! Connecting: one task a target, which connects, lives the link, waits and connects again until told to end.
//!
//! The name is resolved at each try, since pods behind a name come and go. This module must not know what is said on a connection.

use crate::{
    connection,
    event::{DownCause, LinkId},
    limits::{BACKOFF_MAX, BACKOFF_MIN, CONNECT_TIMEOUT},
    registry::Shared,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Keeps a link to `target` until `end`, or until the endpoint stops.
pub(crate) async fn run(shared: Arc<Shared>, target: String, link: LinkId, end: CancellationToken) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let opened = tokio::select! {
            () = end.cancelled() => return,
            () = shared.stop.cancelled() => return,
            opened = open(&target) => opened,
        };
        match opened {
            Ok((stream, address)) => {
                let began = Instant::now();
                connection::run(&shared, stream, address, Some(link), &end).await;
                // A link that is closed again as soon as it is up earns no quick return.
                if began.elapsed() > BACKOFF_MAX {
                    backoff = BACKOFF_MIN;
                }
            }
            Err(error) => {
                tracing::debug!(target, %error, "cannot connect");
                shared.tell_failed(Some(link), DownCause::from(error));
            }
        }
        tokio::select! {
            () = end.cancelled() => return,
            () = shared.stop.cancelled() => return,
            () = sleep(jittered(backoff)) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Half to all of it, so that many who lost the same peer do not return in step.
fn jittered(backoff: Duration) -> Duration {
    backoff.mul_f64(rand::random_range(0.5..=1.0))
}

/// Connects to the first of the name's addresses that answers.
async fn open(target: &str) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(target).await? {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            // On loopback, connecting to a free port of the ephemeral range can reach the very socket that connects.
            Ok(stream) if stream.local_addr().is_ok_and(|own| own == address) => {
                last = io::ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => {
                connection::tune(&stream)?;
                return Ok((stream, address));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
