//! The reading half of a link: bytes into messages, commands into answers, all into events, within the bounds.
//!
//! An idle link holds no read buffer: what a read brings is taken apart in one that all links of a thread share, and only what is not
//! yet a whole message moves to the link's own. This module must not know how messages leave.

use crate::{
    codec::{Decoder, Item},
    command::{CANCEL_BYTE, Command, SUBSCRIBE_BYTE},
    event::{DownCause, Event, PeerId},
    handshake::SocketType,
    limits::{READ_BYTES_MAX, READ_BYTES_MIN, READS_PER_TURN, RECEIVING_FREE_BYTES},
    registry::{Peer, Shared},
    subscriptions::Subscriptions,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

thread_local! {
    /// Empty between two uses.
    static SHARED_BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// What the reader of one link keeps.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    shared: &'a Shared,
    id: PeerId,
    peer: Arc<Peer>,
    /// The beginning of a message, or nothing.
    buffer: BytesMut,
    decoder: Decoder,
    /// An event for which the owner had no room; what comes behind it is not looked at before.
    held: Option<Event>,
    /// Bytes drawn from [`crate::Limits::receiving_bytes`].
    drawn: usize,
    /// Size of the next read into the link's own buffer.
    chunk: usize,
    subscriptions: Option<Subscriptions>,
    /// Whether the peer has sent a PING: then it knows them, whatever version it greeted (`JeroMQ` greets 3.0).
    pinged: bool,
}

/// Why a reader stopped for now; the task is called again when it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The peer has said no more; whether it said something since the last pause.
    Quiet {
        /// At least a byte.
        heard: bool,
    },
    /// The owner has no room for events.
    Held,
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
            held: None,
            drawn: 0,
            chunk: READ_BYTES_MIN,
            subscriptions: shared.settings.socket.takes_subscriptions().then(|| Subscriptions::new(limits)),
            pinged: false,
        }
    }

    /// Whether the peer answers PINGs.
    pub(crate) fn knows_ping(&self) -> bool {
        self.peer.knows_commands || self.pinged
    }

    /// Reads what there is and hands it up; the error says how the link ended.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        half: &mut OwnedReadHalf,
    ) -> Result<Pause, DownCause> {
        let mut heard = false;
        for _ in 0..READS_PER_TURN {
            let mut buffer = std::mem::take(&mut self.buffer);
            let handed_up = self.hand_up(context, &mut buffer);
            self.buffer = buffer;
            if !handed_up? {
                return Ok(Pause::Held);
            }
            let read = if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
                SHARED_BUFFER.with_borrow_mut(|shared| self.poll_shared(context, half, shared))
            } else {
                self.poll_own(context, half)
            };
            match read {
                Poll::Pending => return Ok(Pause::Quiet { heard }),
                Poll::Ready(Err(cause)) => return Err(cause),
                Poll::Ready(Ok(())) => heard = true,
            }
        }
        // Others first; whatever is left, this task comes back for it.
        context.waker().wake_by_ref();
        Ok(Pause::Quiet { heard })
    }

    /// Reads into the buffer that all share, takes that apart, and keeps what is not yet a message.
    fn poll_shared(
        &mut self,
        context: &mut Context<'_>,
        half: &mut OwnedReadHalf,
        shared: &mut BytesMut,
    ) -> Poll<Result<(), DownCause>> {
        shared.reserve(READ_BYTES_MAX);
        let room = shared.capacity().min(READ_BYTES_MAX);
        let read = ready!(poll_read_buf(Pin::new(half), context, &mut (&mut *shared).limit(room)))?;
        if read == 0 {
            return Poll::Ready(Err(DownCause::PeerClosed));
        }
        let handed_up = self.hand_up(context, shared);
        if !shared.is_empty() {
            self.buffer = BytesMut::from(shared.as_ref());
            shared.clear();
        }
        Poll::Ready(handed_up.map(|_| ()))
    }

    /// Reads on to what was begun.
    fn poll_own(
        &mut self,
        context: &mut Context<'_>,
        half: &mut OwnedReadHalf,
    ) -> Poll<Result<(), DownCause>> {
        // Not past a long frame's end: what follows would share, and when kept pin, the long frame's buffer. And no more
        // room at once than a read fills: a peer that only announces a long frame makes no room for it.
        let want = self.decoder.missing_bytes(&self.buffer).max(self.chunk);
        self.buffer.reserve(want.min(READ_BYTES_MAX));
        let room = want.min(self.buffer.capacity() - self.buffer.len());
        let read = ready!(poll_read_buf(Pin::new(half), context, &mut (&mut self.buffer).limit(room)))?;
        let next = if read == room { self.chunk.saturating_mul(2) } else { read };
        self.chunk = next.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        Poll::Ready(if read == 0 { Err(DownCause::PeerClosed) } else { Ok(()) })
    }

    /// Takes the whole messages off `buffer` and hands them up; false when the owner has no room.
    fn hand_up(&mut self, context: &Context<'_>, buffer: &mut BytesMut) -> Result<bool, DownCause> {
        loop {
            if let Some(event) = self.held.take()
                && let Err(event) = self.shared.inbox.offer(event, context)
            {
                self.held = Some(event);
                self.account_for(buffer.len())?;
                return Ok(false);
            }
            match self.decoder.next_item(buffer)? {
                Some(Item::Message(frames)) => self.held = self.on_message(frames, buffer.len())?,
                Some(Item::Command(command)) => self.held = self.on_command(command)?,
                None => {
                    self.account_for(buffer.len())?;
                    return Ok(true);
                }
            }
        }
    }

    fn on_message(&mut self, frames: Vec<Bytes>, behind: usize) -> Result<Option<Event>, DownCause> {
        if self.subscriptions.is_some()
            && let [frame] = frames.as_slice()
            && let Some(kind) = frame.first().copied()
        {
            match kind {
                SUBSCRIBE_BYTE => return self.on_subscribe(frame.slice(1..)),
                CANCEL_BYTE => return Ok(self.on_cancel(frame.slice(1..))),
                _ => {}
            }
        }
        if self.shared.settings.socket == SocketType::Pub {
            tracing::trace!(peer = self.id.0, "a PUB takes no messages");
            return Ok(None);
        }
        self.account_for(behind + frames.iter().map(Bytes::len).sum::<usize>())?;
        Ok(Some(Event::Message { peer: self.id, frames }))
    }

    fn on_command(&mut self, command: Command) -> Result<Option<Event>, DownCause> {
        match command {
            Command::Subscribe { topic } => self.on_subscribe(topic),
            Command::Cancel { topic } => Ok(self.on_cancel(topic)),
            Command::Ping { context, .. } => {
                self.pinged = true;
                // Refused only to a peer that sends thousands of PINGs and reads none of the answers.
                if let Err(refused) = self.peer.outlet.command(Command::Pong { context }.encode()) {
                    tracing::trace!(peer = self.id.0, %refused, "PONG not queued");
                }
                Ok(None)
            }
            Command::Pong { .. } => Ok(None),
            Command::Error { reason } => Err(DownCause::Protocol(format!("the peer says ERROR: {reason}"))),
            Command::Ready { .. } => Err(DownCause::Protocol("READY after the handshake".to_owned())),
            Command::Unknown { name } => {
                tracing::trace!(peer = self.id.0, name, "unknown command ignored");
                Ok(None)
            }
        }
    }

    fn on_subscribe(&mut self, topic: Bytes) -> Result<Option<Event>, DownCause> {
        let Some(subscriptions) = &mut self.subscriptions else { return Ok(None) };
        Ok(subscriptions.subscribe(&topic)?.then_some(Event::Subscribe { peer: self.id, topic }))
    }

    fn on_cancel(&mut self, topic: Bytes) -> Option<Event> {
        let known = self.subscriptions.as_mut()?.cancel(&topic);
        known.then_some(Event::Cancel { peer: self.id, topic })
    }

    /// Draws what this link holds from the budget of all links.
    fn account_for(&mut self, buffered: usize) -> Result<(), DownCause> {
        let held = buffered + self.decoder.held_bytes();
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
