//! The reading half of a link: bytes into messages, commands into answers, all into events, within the bounds.
//!
//! An idle link holds no read buffer. This module must not know how messages leave.

use crate::{
    codec::{Decoder, Item},
    command::{CANCEL_BYTE, Command, SUBSCRIBE_BYTE},
    event::{DownCause, Event, PeerId},
    handshake::SocketType,
    limits::{READ_BYTES_MAX, READ_BYTES_MIN, RECEIVING_FREE_BYTES},
    registry::{Peer, Shared},
    subscriptions::Subscriptions,
    writer::{Heartbeat, Progress},
};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use tokio::{
    io::AsyncReadExt,
    net::tcp::ReadHalf,
    time::{Instant, timeout_at},
};

/// What the reader of one link keeps.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    shared: &'a Shared,
    id: PeerId,
    peer: Arc<Peer>,
    buffer: BytesMut,
    decoder: Decoder,
    /// Bytes drawn from [`crate::Limits::receiving_bytes`].
    drawn: usize,
    /// Size of the next read.
    chunk: usize,
    subscriptions: Option<Subscriptions>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.shared.draw_receiving(self.drawn, 0);
    }
}

impl<'a> Reader<'a> {
    /// A reader that goes on with what came behind the handshake.
    pub(crate) fn new(shared: &'a Shared, id: PeerId, peer: Arc<Peer>, buffer: BytesMut) -> Self {
        let limits = &shared.settings.limits;
        Self {
            shared,
            id,
            peer,
            buffer,
            decoder: Decoder::new(limits.clone()),
            drawn: 0,
            chunk: READ_BYTES_MIN,
            subscriptions: shared.settings.socket.takes_subscriptions().then(|| Subscriptions::new(limits)),
        }
    }

    /// How to watch this peer, when it knows PING.
    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        let limits = &self.shared.settings.limits;
        (self.peer.knows_commands && !limits.heartbeat_interval.is_zero())
            .then_some(Heartbeat { interval: limits.heartbeat_interval, timeout: limits.heartbeat_timeout })
    }

    /// Reads until the link is at its end, and says why it is.
    pub(crate) async fn run(&mut self, half: &mut ReadHalf<'_>, progress: &Progress) -> DownCause {
        match self.read_all(half, progress).await {
            Ok(()) => DownCause::PeerClosed,
            Err(cause) => cause,
        }
    }

    async fn read_all(&mut self, half: &mut ReadHalf<'_>, progress: &Progress) -> Result<(), DownCause> {
        loop {
            while let Some(item) = self.decoder.next_item(&mut self.buffer)? {
                self.on_item(item).await?;
            }
            self.account_for(0)?;
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            self.wait_readable(half, progress).await?;
            // Not past a long frame's end: what follows would share, and when kept pin, the long frame's buffer. And no more
            // room at once than a read fills: a peer that only announces a long frame makes no room for it.
            let want = self.decoder.missing_bytes(&self.buffer).max(self.chunk);
            self.buffer.reserve(want.min(READ_BYTES_MAX));
            let room = want.min(self.buffer.capacity() - self.buffer.len());
            let read = half.read_buf(&mut (&mut self.buffer).limit(room)).await?;
            if read == 0 {
                return Ok(());
            }
            let next = if read == room { self.chunk.saturating_mul(2) } else { read };
            self.chunk = next.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        }
    }

    /// Silence counts only while the socket is empty: when the owner takes no events, the peer's PONG is waiting unread.
    async fn wait_readable(&self, half: &ReadHalf<'_>, progress: &Progress) -> Result<(), DownCause> {
        let Some(heartbeat) = self.heartbeat() else { return Ok(half.readable().await?) };
        let began = Instant::now();
        loop {
            let deadline = began.max(progress.last()) + heartbeat.timeout;
            match timeout_at(deadline, half.readable()).await {
                Ok(readable) => return Ok(readable?),
                Err(_) if began.max(progress.last()) + heartbeat.timeout <= Instant::now() => {
                    return Err(DownCause::HeartbeatTimeout);
                }
                Err(_) => {}
            }
        }
    }

    async fn on_item(&mut self, item: Item) -> Result<(), DownCause> {
        match item {
            Item::Message(frames) => self.on_message(frames).await,
            Item::Command(command) => self.on_command(command).await,
        }
    }

    async fn on_message(&mut self, frames: Vec<Bytes>) -> Result<(), DownCause> {
        if self.subscriptions.is_some()
            && let [frame] = frames.as_slice()
            && let Some(kind) = frame.first().copied()
        {
            match kind {
                SUBSCRIBE_BYTE => return self.on_subscribe(frame.slice(1..)).await,
                CANCEL_BYTE => return self.on_cancel(frame.slice(1..)).await,
                _ => {}
            }
        }
        if self.shared.settings.socket == SocketType::Pub {
            tracing::trace!(peer = self.id.0, "a PUB takes no messages");
            return Ok(());
        }
        self.account_for(frames.iter().map(Bytes::len).sum())?;
        self.shared.tell(Event::Message { peer: self.id, frames }).await;
        Ok(())
    }

    async fn on_command(&mut self, command: Command) -> Result<(), DownCause> {
        match command {
            Command::Subscribe { topic } => self.on_subscribe(topic).await,
            Command::Cancel { topic } => self.on_cancel(topic).await,
            Command::Ping { context, .. } => {
                // Refused only to a peer that sends thousands of PINGs and reads none of the answers.
                if let Err(refused) = self.peer.queue.push_command(Command::Pong { context }.encode()) {
                    tracing::trace!(peer = self.id.0, %refused, "PONG not queued");
                }
                Ok(())
            }
            Command::Pong { .. } => Ok(()),
            Command::Error { reason } => Err(DownCause::Protocol(format!("the peer says ERROR: {reason}"))),
            Command::Ready { .. } => Err(DownCause::Protocol("READY after the handshake".to_owned())),
            Command::Unknown { name } => {
                tracing::trace!(peer = self.id.0, name, "unknown command ignored");
                Ok(())
            }
        }
    }

    async fn on_subscribe(&mut self, topic: Bytes) -> Result<(), DownCause> {
        let Some(subscriptions) = &mut self.subscriptions else { return Ok(()) };
        if subscriptions.subscribe(&topic)? {
            self.shared.tell(Event::Subscribe { peer: self.id, topic }).await;
        }
        Ok(())
    }

    async fn on_cancel(&mut self, topic: Bytes) -> Result<(), DownCause> {
        let Some(subscriptions) = &mut self.subscriptions else { return Ok(()) };
        if subscriptions.cancel(&topic) {
            self.shared.tell(Event::Cancel { peer: self.id, topic }).await;
        }
        Ok(())
    }

    /// Draws what this link holds, with `finished` bytes about to be handed up, from the budget of all links.
    fn account_for(&mut self, finished: usize) -> Result<(), DownCause> {
        let held = finished + self.decoder.held_bytes() + self.buffer.len();
        let beyond = held.saturating_sub(RECEIVING_FREE_BYTES);
        if beyond != self.drawn {
            if !self.shared.draw_receiving(self.drawn, beyond) {
                return Err(DownCause::Limit("bytes being received on all links".to_owned()));
            }
            self.drawn = beyond;
        }
        Ok(())
    }
}
