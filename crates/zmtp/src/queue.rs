//! What waits to be written to one peer: bounded in messages and bytes, filled without waiting, drained in batches.
//!
//! Commands (PONG, subscriptions) have a lane of their own, which goes first and from which nothing is dropped for room. The lock
//! is held for a few moves and never across an await. This module must not know sockets.

use crate::limits::{Limits, WRITE_BYTES, WRITE_MESSAGES};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// What happens when a peer's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// `send` says [`SendError::Full`].
    Refuse,
    /// The oldest queued message goes, counted in [`SendOutcome`]; only a message that alone is over the bound is refused.
    DropOldest,
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Its link is down or closing.
    #[error("the peer is gone")]
    Gone,
    /// A bound is reached, or the message alone is over it.
    #[error("the peer's queue is full")]
    Full,
}

/// What queueing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendOutcome {
    /// Older messages dropped to make room ([`OnFull::DropOldest`]).
    pub dropped: usize,
}

/// The queue of one peer.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    bytes_limit: usize,
    messages_limit: usize,
    on_full: OnFull,
}

#[derive(Debug, Default)]
struct State {
    commands: Lane,
    messages: Lane,
    /// Taken by the writer, not yet with the kernel.
    writing_bytes: usize,
    closed: bool,
}

/// The bounds hold for each lane by itself: a queue full of messages still takes the PONG that keeps the link.
#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<Bytes>,
    bytes: usize,
}

impl Lane {
    fn push(&mut self, item: Bytes) {
        self.bytes += item.len();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        Some(item)
    }
}

/// What the writer shall do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Write the batch.
    Batch,
    /// Wait; nothing is queued.
    Empty,
    /// Nothing is queued, and nothing will be.
    Closed,
}

impl Queue {
    pub(crate) fn new(limits: &Limits, on_full: OnFull) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            bytes_limit: limits.queue_bytes_per_peer,
            messages_limit: limits.queue_messages_per_peer,
            on_full,
        }
    }

    /// Queues a message.
    pub(crate) fn push(&self, message: Bytes) -> Result<SendOutcome, SendError> {
        let mut dropped = 0;
        {
            let mut state = self.lock();
            if state.closed {
                return Err(SendError::Gone);
            }
            if message.is_empty() {
                return Ok(SendOutcome::default());
            }
            while self.is_full(&state.messages, message.len()) {
                let droppable = self.on_full == OnFull::DropOldest && message.len() <= self.bytes_limit;
                if !droppable || state.messages.pop().is_none() {
                    return Err(SendError::Full);
                }
                dropped += 1;
            }
            state.messages.push(message);
        }
        self.wake.notify_one();
        Ok(SendOutcome { dropped })
    }

    /// Queues a command (or a subscription in message form), ahead of the messages.
    pub(crate) fn push_command(&self, command: Bytes) -> Result<(), SendError> {
        {
            let mut state = self.lock();
            if state.closed {
                return Err(SendError::Gone);
            }
            if self.is_full(&state.commands, command.len()) {
                return Err(SendError::Full);
            }
            state.commands.push(command);
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Moves the next batch into `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut VecDeque<Bytes>) -> Take {
        let mut state = self.lock();
        let mut bytes = 0;
        while batch.len() < WRITE_MESSAGES && bytes < WRITE_BYTES {
            let Some(next) = state.commands.pop().or_else(|| state.messages.pop()) else { break };
            bytes += next.len();
            batch.push_back(next);
        }
        state.writing_bytes += bytes;
        match (batch.is_empty(), state.closed) {
            (false, _) => Take::Batch,
            (true, false) => Take::Empty,
            (true, true) => Take::Closed,
        }
    }

    /// The kernel took so many bytes of the batch.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.lock();
        state.writing_bytes = state.writing_bytes.saturating_sub(bytes);
    }

    /// Completes when something was queued, or the queue closed, since the last call.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Refuses from now on; what is queued may still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Bytes not yet with the kernel.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.lock();
        state.commands.bytes + state.messages.bytes + state.writing_bytes
    }

    fn is_full(&self, lane: &Lane, more: usize) -> bool {
        lane.items.len() >= self.messages_limit || lane.bytes.saturating_add(more) > self.bytes_limit
    }

    /// No caller's code runs under the lock, so a poisoned state is a whole one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(messages: usize, bytes: usize, on_full: OnFull) -> Queue {
        let limits =
            Limits { queue_messages_per_peer: messages, queue_bytes_per_peer: bytes, ..Limits::default() };
        Queue::new(&limits, on_full)
    }

    fn take(queue: &Queue) -> Vec<Bytes> {
        let mut batch = VecDeque::new();
        queue.take(&mut batch);
        queue.written(batch.iter().map(Bytes::len).sum());
        batch.into()
    }

    #[test]
    fn a_full_queue_that_refuses_keeps_the_oldest() {
        let queue = queue(2, 100, OnFull::Refuse);
        assert_eq!(queue.push("a".into()), Ok(SendOutcome { dropped: 0 }));
        assert_eq!(queue.push("b".into()), Ok(SendOutcome { dropped: 0 }));
        assert_eq!(queue.push("c".into()), Err(SendError::Full));
        assert_eq!(take(&queue), ["a", "b"]);
    }

    #[test]
    fn a_full_queue_that_drops_keeps_the_newest_but_not_for_a_message_that_never_fits() {
        let queue = queue(10, 4, OnFull::DropOldest);
        for text in ["a", "b", "c"] {
            assert_eq!(queue.push(text.into()), Ok(SendOutcome { dropped: 0 }));
        }
        assert_eq!(queue.push("dddd+".into()), Err(SendError::Full));
        assert_eq!(queue.push("dd".into()), Ok(SendOutcome { dropped: 1 }));
        assert_eq!(take(&queue), ["b", "c", "dd"]);
    }

    #[test]
    fn commands_go_first_and_pass_a_queue_full_of_messages() {
        let queue = queue(1, 100, OnFull::Refuse);
        queue.push("message".into()).unwrap();
        queue.push_command("command".into()).unwrap();
        assert_eq!(queue.push_command("one more".into()), Err(SendError::Full));
        assert_eq!(take(&queue), ["command", "message"]);
    }

    #[test]
    fn a_closed_queue_refuses_but_is_still_emptied() {
        let queue = queue(10, 100, OnFull::Refuse);
        queue.push("last".into()).unwrap();
        queue.close();
        assert_eq!(queue.push("late".into()), Err(SendError::Gone));
        assert_eq!(queue.push_command("late".into()), Err(SendError::Gone));
        let mut batch = VecDeque::new();
        assert_eq!(queue.take(&mut batch), Take::Batch);
        assert_eq!(queue.bytes(), 4);
        queue.written(4);
        batch.clear();
        assert_eq!((queue.take(&mut batch), queue.bytes()), (Take::Closed, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_waits_stays_within_the_bounds_and_in_order(
            sizes in proptest::collection::vec(1_usize..40, 1..100),
            takes in proptest::collection::vec(any::<bool>(), 100),
        ) {
            let queue = queue(20, 300, OnFull::DropOldest);
            let (mut pushed, mut taken, mut dropped) = (0_u64, Vec::new(), 0);
            for (size, take_now) in sizes.into_iter().zip(takes) {
                let mut body = pushed.to_be_bytes().to_vec();
                body.resize(8 + size, 0);
                dropped += queue.push(body.into()).unwrap().dropped;
                pushed += 1;
                prop_assert!(queue.bytes() <= 300);
                if take_now {
                    taken.extend(take(&queue));
                }
            }
            taken.extend(take(&queue));
            prop_assert_eq!(queue.bytes(), 0);
            prop_assert_eq!(taken.len() + dropped, usize::try_from(pushed).unwrap());
            prop_assert!(taken.is_sorted());
        }
    }
}
