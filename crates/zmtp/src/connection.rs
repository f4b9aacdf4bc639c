//! One link from its TCP connection to its end: handshake, then a reader and a writer side by side in one task.
//!
//! The reader hands up whole messages and waits when the owner does not take them, which TCP passes on to the peer; the writer
//! goes on meanwhile. This module must not know how the connection came about.

use crate::{
    codec,
    event::{DownCause, Event, LinkId, PeerInfo},
    handshake::{Handshake, Ready, Step},
    limits::{self, CLOSE_FLUSH, READ_BYTES_MIN},
    reader::Reader,
    registry::{Peer, Shared},
    writer::{self, Progress},
};
use bytes::BytesMut;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Lives one connection and tells the owner; returns once the socket is closed and everything told.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    address: SocketAddr,
    link: Option<LinkId>,
    end: &CancellationToken,
) {
    let mut buffer = BytesMut::new();
    let handshake = tokio::select! {
        done = timeout(shared.settings.limits.handshake, shake_hands(shared, &mut stream, &mut buffer)) => {
            done.unwrap_or(Err(DownCause::HandshakeTimeout))
        }
        () = shared.stop.cancelled() => return,
        () = end.cancelled() => return,
    };
    let ready = match handshake {
        Ok(ready) => ready,
        Err(cause) => {
            drop(stream);
            tracing::debug!(%address, %cause, "handshake failed");
            shared.tell_failed(link, cause);
            return;
        }
    };
    let Some((id, peer)) = shared.enter(ready.minor, end) else { return };
    tracing::debug!(%address, peer = id.0, socket = ready.socket.name(), "link up");
    let info = PeerInfo {
        socket: ready.socket,
        minor_version: ready.minor,
        address,
        link,
        properties: ready.properties,
    };
    let reader = Reader::new(shared, id, Arc::clone(&peer), buffer);
    shared.tell(Event::Up { peer: id, info }).await;
    let cause = converse(stream, reader, &peer).await;
    shared.leave(id);
    tracing::debug!(%address, peer = id.0, %cause, "link down");
    shared.tell(Event::Down { peer: id, cause }).await;
}

/// TCP_NODELAY, since a batch is written whole; keepalive, since peers of ZMTP 3.0 know no PING.
pub(crate) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(limits::KEEPALIVE_IDLE)
        .with_interval(limits::KEEPALIVE_INTERVAL)
        .with_retries(limits::KEEPALIVE_PROBES);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn shake_hands(
    shared: &Shared,
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> Result<Ready, DownCause> {
    let settings = &shared.settings;
    let mut handshake = Handshake::new(settings.socket, &settings.properties, &settings.limits);
    stream.write_all(&codec::encode_greeting()).await?;
    loop {
        match handshake.on_bytes(buffer)? {
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Done(ready) => return Ok(ready),
            Step::Wait => {
                buffer.reserve(READ_BYTES_MIN);
                if stream.read_buf(buffer).await? == 0 {
                    return Err(DownCause::PeerClosed);
                }
            }
        }
    }
}

/// How a conversation ended.
enum Talked {
    /// The link is of no further use.
    Over(DownCause),
    /// The owner asked for an end in order; what was queued is written, or the deadline passed.
    Flushed { deadline: Instant },
}

/// Reads and writes until the link ends; the socket is closed on return.
async fn converse(mut stream: TcpStream, reader: Reader<'_>, peer: &Peer) -> DownCause {
    match talk(&mut stream, reader, peer).await {
        Talked::Over(cause) => cause,
        Talked::Flushed { deadline } => {
            tokio::select! {
                () = peer.close.cancelled() => {}
                _ = timeout_at(deadline, linger(&mut stream)) => {}
            }
            DownCause::ClosedHere
        }
    }
}

async fn talk(stream: &mut TcpStream, mut reader: Reader<'_>, peer: &Peer) -> Talked {
    let (mut read_half, mut write_half) = stream.split();
    let progress = Progress::new(Instant::now());
    let heartbeat = reader.heartbeat();
    let mut reading = std::pin::pin!(reader.run(&mut read_half, &progress));
    let mut writing = std::pin::pin!(writer::run(&mut write_half, peer, heartbeat, &progress));
    let closed_here = Talked::Over(DownCause::ClosedHere);
    // In random order, not by rank: a peer that always has more to read would keep the writer from its turn.
    tokio::select! {
        () = peer.close.cancelled() => closed_here,
        () = peer.flush.cancelled() => {
            let deadline = Instant::now() + CLOSE_FLUSH;
            tokio::select! {
                () = peer.close.cancelled() => closed_here,
                _ = timeout_at(deadline, writing) => Talked::Flushed { deadline },
            }
        }
        cause = &mut reading => Talked::Over(cause),
        written = &mut writing => match written {
            Ok(()) => Talked::Flushed { deadline: Instant::now() + CLOSE_FLUSH },
            // What the peer said before it closed is still to be read, up to the end of its stream.
            Err(error) => {
                tracing::debug!(%error, "cannot write");
                peer.queue.close();
                tokio::select! {
                    () = peer.close.cancelled() => closed_here,
                    () = peer.flush.cancelled() => closed_here,
                    cause = reading => Talked::Over(cause),
                }
            }
        },
    }
}

/// Reads on to the peer's own close: closing a socket with unread bytes resets the connection, and a reset takes from the
/// peer what it has not yet read.
async fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut rest = vec![0; READ_BYTES_MIN];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
