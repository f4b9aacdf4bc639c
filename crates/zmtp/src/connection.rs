//! One link from its TCP connection to its end: handshake, then reading, writing and heartbeats in one task.
//!
//! The reader hands up whole messages and waits when the owner does not take them, which TCP passes on to the peer; the writing
//! goes on meanwhile. This module must not know how the connection came about.

use crate::{
    codec,
    event::{DownCause, Event, LinkId, PeerInfo},
    handshake::{Handshake, Ready, Step},
    heartbeat::{Beat, End, Heartbeat},
    limits::{self, CLOSE_FLUSH, READ_BYTES_MIN},
    outlet::{Outlook, Wish},
    reader::{Pause, Reader},
    registry::{Peer, Shared},
};
use bytes::BytesMut;
use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::{Instant, sleep_until, timeout, timeout_at},
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
    let local = stream.local_addr().ok();
    let (mut read_half, write_half) = stream.into_split();
    let Some((id, peer)) = shared.enter(ready.minor, write_half, link, end) else { return };
    tracing::debug!(%address, peer = id.0, socket = ready.socket.name(), "link up");
    let info = PeerInfo {
        socket: ready.socket,
        minor_version: ready.minor,
        address,
        local,
        link,
        properties: ready.properties,
    };
    shared.tell(Event::Up { peer: id, info }).await;
    let reader = Reader::new(shared, id, Arc::clone(&peer), buffer);
    let end = if link.is_some() { End::Dialled } else { End::Accepted };
    let cause = match talk(shared, end, reader, &mut read_half, &peer).await {
        Talked::Over(cause) => {
            drop(peer.outlet.end());
            cause
        }
        Talked::Closing => {
            close_in_order(&mut read_half, &peer).await;
            DownCause::ClosedHere
        }
    };
    drop(read_half);
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
    /// The owner asked for an end in order.
    Closing,
}

/// Reads, writes and beats until the link ends.
async fn talk(
    shared: &Shared,
    end: End,
    mut reader: Reader<'_>,
    half: &mut OwnedReadHalf,
    peer: &Peer,
) -> Talked {
    let limits = &shared.settings.limits;
    let mut heart = None;
    // Only looked at, and first set, when there is a heart.
    let mut alarm = std::pin::pin!(sleep_until(Instant::now()));
    poll_fn(|context| {
        let pause = match reader.poll(context, half) {
            Ok(pause) => pause,
            Err(cause) => return Poll::Ready(Talked::Over(cause)),
        };
        if heart.is_none() && reader.knows_ping() {
            heart = Heartbeat::new(limits, end, Instant::now());
        }
        if let Some(heart) = &mut heart {
            if pause != (Pause::Quiet { heard: false }) {
                heart.heard(Instant::now());
            }
            while alarm.as_mut().poll(context).is_ready() {
                match heart.beat(Instant::now(), peer.outlet.wrote_at()) {
                    Beat::Wait => {}
                    Beat::Silent => return Poll::Ready(Talked::Over(DownCause::HeartbeatTimeout)),
                    // Refused by a full or closed lane of commands, which is sign enough; the peer's silence then decides.
                    Beat::Ping(ping) => drop(peer.outlet.command(ping)),
                }
                alarm.as_mut().reset(heart.due());
            }
        }
        let outlook = peer.outlet.poll(context);
        if outlook.thawed
            && let Some(heart) = &mut heart
        {
            heart.heard(Instant::now());
        }
        match outlook.wish {
            Wish::Live => Poll::Pending,
            Wish::Flush => Poll::Ready(Talked::Closing),
            Wish::Close => Poll::Ready(Talked::Over(DownCause::ClosedHere)),
        }
    })
    .await
}

/// Writes what is queued and the end of the stream, and reads on to its own close, all within a second: closing a
/// socket with unread bytes resets the connection, and a reset takes from the peer what it has not yet read.
async fn close_in_order(half: &mut OwnedReadHalf, peer: &Peer) {
    let deadline = Instant::now() + CLOSE_FLUSH;
    let is_over = |outlook: Outlook| outlook.empty || outlook.wish == Wish::Close;
    let flushed = poll_fn(|context| match peer.outlet.poll(context) {
        outlook if is_over(outlook) => Poll::Ready(()),
        _ => Poll::Pending,
    });
    if timeout_at(deadline, flushed).await.is_err() {
        drop(peer.outlet.end());
        return;
    }
    let closed_here = poll_fn(|context| match peer.outlet.poll(context).wish {
        Wish::Close => Poll::Ready(()),
        Wish::Live | Wish::Flush => Poll::Pending,
    });
    let mut rest = vec![0; READ_BYTES_MIN];
    let peer_closed = async { while matches!(half.read(&mut rest).await, Ok(1..)) {} };
    tokio::select! {
        () = closed_here => {}
        _ = timeout_at(deadline, peer_closed) => {}
    }
    drop(peer.outlet.end());
}
