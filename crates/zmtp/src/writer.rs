//! The writing half of a link: takes batches from the queue, writes them in one system call each, and beats the heart.
//!
//! This module must not know what the bytes mean.

use crate::{command::Command, limits::WRITE_MESSAGES, queue::Take, registry::Peer};
use bytes::{Buf, Bytes};
use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncWrite,
    net::tcp::WriteHalf,
    time::{Instant, sleep_until},
};

/// Heartbeats to one peer; only for those that greeted 3.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Heartbeat {
    /// The TTL lets a peer without heartbeats of its own notice that this end died, at the time at which we would.
    fn ping(self) -> Bytes {
        let ttl_deciseconds = u16::try_from(self.timeout.as_millis() / 100).unwrap_or(u16::MAX);
        Command::Ping { ttl_deciseconds, context: Bytes::new() }.encode()
    }
}

/// When the peer last made room in a full connection: a sign of life of a peer so slow that its PONG is far behind.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Instant>);

impl Progress {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(now))
    }

    pub(crate) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Writes what is queued until the queue is closed and empty, or the connection breaks.
pub(crate) async fn run(
    half: &mut WriteHalf<'_>,
    peer: &Peer,
    heartbeat: Option<Heartbeat>,
    progress: &Progress,
) -> io::Result<()> {
    let mut batch = VecDeque::new();
    let mut next_ping = heartbeat.map(|heartbeat| Instant::now() + heartbeat.interval);
    loop {
        if let (Some(heartbeat), Some(due)) = (heartbeat, next_ping)
            && due <= Instant::now()
        {
            // A full or closed lane of commands is sign enough; the peer's silence then decides.
            if let Err(refused) = peer.queue.push_command(heartbeat.ping()) {
                tracing::trace!(%refused, "PING not queued");
            }
            next_ping = Some(Instant::now() + heartbeat.interval);
        }
        match peer.queue.take(&mut batch) {
            Take::Batch => write_batch(half, &mut batch, peer, progress).await?,
            Take::Closed => return Ok(()),
            Take::Empty => {
                // A batch of 64 would be kept by every idle link.
                batch.shrink_to(0);
                let due = async {
                    match next_ping {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = peer.queue.changed() => {}
                    () = due => {}
                }
            }
        }
    }
}

async fn write_batch(
    half: &mut WriteHalf<'_>,
    batch: &mut VecDeque<Bytes>,
    peer: &Peer,
    progress: &Progress,
) -> io::Result<()> {
    while !batch.is_empty() {
        let mut waited = false;
        let mut written = {
            let mut slices = [IoSlice::new(&[]); WRITE_MESSAGES];
            let mut used = 0;
            for (slice, message) in slices.iter_mut().zip(batch.iter()) {
                *slice = IoSlice::new(message);
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            poll_fn(|context| {
                let poll = Pin::new(&mut *half).poll_write_vectored(context, slices);
                waited |= poll.is_pending();
                poll
            })
            .await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if waited {
            progress.mark(Instant::now());
        }
        peer.queue.written(written);
        while let Some(first) = batch.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            batch.pop_front();
        }
    }
    Ok(())
}
