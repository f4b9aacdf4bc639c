//! The way out of one link: its queue, the writing half of its socket, and what its owner wants done with it.
//!
//! Whoever has something to write writes it, the owner at [`crate::EndpointHandle::flush`] or the link's own task: both under one lock,
//! so that bytes stay in order, and without waiting. Only when the kernel takes no more does the link's task wait for room.

use crate::{
    codec::Encoded,
    limits::WRITE_MESSAGES,
    queue::{Queue, SendError, SendOutcome},
};
use bytes::Bytes;
use socket2::SockRef;
use std::{
    io::{self, IoSlice},
    net::Shutdown,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tokio::net::{TcpStream, tcp::OwnedWriteHalf};
use tokio::time::Instant;

/// What the owner wants of a link, each stronger than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// Goes on.
    Live,
    /// Ends when the queue is empty.
    Flush,
    /// Ends at once.
    Close,
}

/// How the socket takes what is written.
#[derive(Debug)]
enum Socket {
    /// Whatever has come.
    Open(OwnedWriteHalf),
    /// It reported an error: nothing can be written any more, though what the peer sent before may still be read.
    Broken,
    /// The link has ended.
    Gone,
}

/// The way out of one link.
#[derive(Debug)]
pub(crate) struct Outlet(Mutex<State>);

#[derive(Debug)]
struct State {
    queue: Queue,
    socket: Socket,
    wish: Wish,
    /// The link's task.
    task: Option<Waker>,
    /// On the owner's list of links to flush.
    posted: bool,
    /// The kernel took no more; since then nothing was written.
    blocked: bool,
    /// When something was last written.
    wrote_at: Instant,
    ending: Ending,
}

/// The end of a stream in order. The last bytes and the end go out in one segment: a peer that got its last reply before it saw the
/// end would ask again, on a connection that nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Not asked for.
    NotYet,
    /// The kernel holds back what is written, for the end to go with it.
    Corked,
    /// The peer was told that nothing more comes.
    Told,
}

/// What the link's task learns when it looks after the outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) wish: Wish,
    /// Nothing is left to write, or ever can be.
    pub(crate) empty: bool,
    /// The peer made room in a full connection: a sign of life of one so slow that its PONG is far behind.
    pub(crate) thawed: bool,
}

/// Who is to write what was just queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// Somebody is on the way already, or nothing can be written now.
    Known,
    /// Nobody yet.
    New,
}

impl Outlet {
    pub(crate) fn new(queue: Queue, half: OwnedWriteHalf) -> Self {
        let (wish, task) = (Wish::Live, None);
        Self(Mutex::new(State {
            queue,
            socket: Socket::Open(half),
            wish,
            task,
            posted: false,
            blocked: false,
            wrote_at: Instant::now(),
            ending: Ending::NotYet,
        }))
    }

    /// Queues messages and has the link's task write them.
    pub(crate) fn send(&self, messages: Encoded) -> Result<SendOutcome, SendError> {
        let mut state = self.lock();
        let outcome = state.push(messages)?;
        state.wake();
        Ok(outcome)
    }

    /// Queues messages; on [`Queued::New`] the caller sees to [`Self::flush`].
    pub(crate) fn post(&self, messages: Encoded) -> Result<(SendOutcome, Queued), SendError> {
        let mut state = self.lock();
        let outcome = state.push(messages)?;
        let known = state.blocked || std::mem::replace(&mut state.posted, true);
        Ok((outcome, if known { Queued::Known } else { Queued::New }))
    }

    /// Queues a command (or a subscription in message form), ahead of the messages.
    pub(crate) fn command(&self, command: Bytes) -> Result<(), SendError> {
        let mut state = self.lock();
        if !state.takes() {
            return Err(SendError::Gone);
        }
        state.queue.push_command(command)?;
        state.wake();
        Ok(())
    }

    /// Writes what was posted, as far as the kernel takes it; the link's task does the rest.
    pub(crate) fn flush(&self) {
        let mut state = self.lock();
        state.posted = false;
        if !state.write() {
            state.wake();
        }
    }

    /// Tells the link's task what the owner wants; no weaker than what was wanted before.
    pub(crate) fn want(&self, wish: Wish) {
        let mut state = self.lock();
        if wish > state.wish {
            state.wish = wish;
            state.wake();
        }
    }

    /// Writes what waits, and has the task of `context` called again when there is more to do.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Outlook {
        let mut state = self.lock();
        if !state.task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            state.task = Some(context.waker().clone());
        }
        let was_blocked = state.blocked;
        let waiting = state.queue.bytes();
        while !state.write() {
            let Socket::Open(half) = &state.socket else { break };
            let stream: &TcpStream = half.as_ref();
            match stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => state.broke(&error),
                Poll::Pending => break,
            }
        }
        Outlook {
            wish: state.wish,
            empty: state.queue.bytes() == 0 || !matches!(state.socket, Socket::Open(_)),
            thawed: was_blocked && state.queue.bytes() < waiting,
        }
    }

    /// No longer takes or writes anything; gives back the socket's half, so that the caller decides how it is closed.
    pub(crate) fn end(&self) -> Option<OwnedWriteHalf> {
        let mut state = self.lock();
        state.task = None;
        match std::mem::replace(&mut state.socket, Socket::Gone) {
            Socket::Open(half) => Some(half),
            Socket::Broken | Socket::Gone => None,
        }
    }

    /// When the kernel last took something.
    pub(crate) fn wrote_at(&self) -> Instant {
        self.lock().wrote_at
    }

    /// Bytes not yet with the kernel; 0 when they never will be.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.lock();
        if matches!(state.socket, Socket::Gone) { 0 } else { state.queue.bytes() }
    }

    /// No caller's code runs under the lock, so a poisoned state is a whole one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn takes(&self) -> bool {
        self.wish == Wish::Live && matches!(self.socket, Socket::Open(_))
    }

    fn push(&mut self, messages: Encoded) -> Result<SendOutcome, SendError> {
        if !self.takes() {
            return Err(SendError::Gone);
        }
        if messages.messages() == 0 {
            return Ok(SendOutcome::default());
        }
        self.queue.push(messages)
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Writes until nothing waits; `false` when something is left that the link's task must look after.
    fn write(&mut self) -> bool {
        let Socket::Open(half) = &self.socket else { return true };
        let stream: &TcpStream = half.as_ref();
        if self.wish == Wish::Flush && self.ending == Ending::NotYet {
            hold_back(stream);
            self.ending = Ending::Corked;
        }
        loop {
            let batch = self.queue.batch();
            let written = match batch.front() {
                None => {
                    self.blocked = false;
                    if self.ending == Ending::Corked {
                        // Of no avail where the connection is broken already.
                        let _ = SockRef::from(stream).shutdown(Shutdown::Write);
                        self.ending = Ending::Told;
                    }
                    return true;
                }
                Some(only) if batch.len() == 1 => half.try_write(only),
                Some(_) => {
                    let mut slices = [IoSlice::new(&[]); WRITE_MESSAGES];
                    for (slice, message) in slices.iter_mut().zip(batch) {
                        *slice = IoSlice::new(message);
                    }
                    half.try_write_vectored(slices.get(..batch.len()).unwrap_or_default())
                }
            };
            match written {
                Ok(0) => {
                    self.broke(&io::ErrorKind::WriteZero.into());
                    return false;
                }
                Ok(written) => {
                    self.blocked = false;
                    self.wrote_at = Instant::now();
                    self.queue.written(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return false;
                }
                Err(error) => {
                    self.broke(&error);
                    return false;
                }
            }
        }
    }

    fn broke(&mut self, error: &io::Error) {
        tracing::debug!(%error, "cannot write");
        self.socket = Socket::Broken;
    }
}

/// Where the system can.
#[cfg(target_os = "linux")]
fn hold_back(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_cork(true) {
        tracing::debug!(%error, "cannot hold back the last bytes");
    }
}

#[cfg(not(target_os = "linux"))]
fn hold_back(_: &TcpStream) {}
