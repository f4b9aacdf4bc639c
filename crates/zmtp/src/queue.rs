//! What waits to be written to one peer: bounded in messages and bytes, by itself and together with all other peers' queues.
//!
//! Commands (PONG, subscriptions) have a lane of their own, which goes first and from which nothing is dropped for room. This module
//! must not know sockets, locks or tasks.

use crate::{
    codec::Encoded,
    event::PeerId,
    limits::{Limits, WRITE_BYTES, WRITE_MESSAGES},
};
use bytes::{Buf, Bytes};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What happens when a peer's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// `send` says [`SendError::Full`].
    Refuse,
    /// The oldest queued messages go, counted in [`SendOutcome`]; only what alone is over the bound is refused.
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

/// What queueing for several peers did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Posted {
    /// Older messages dropped to make room, of all peers.
    pub dropped: usize,
    /// Peers for which nothing was queued, and why.
    pub refused: Vec<(PeerId, SendError)>,
}

/// What all queues of one endpoint hold together.
///
/// While they hold more than half of [`Limits::queue_bytes_total`], a queue may only grow up to its equal share of the other half:
/// so peers that do not read cannot take the room of those that do, and the whole bound is never passed.
#[derive(Debug)]
pub(crate) struct Totals {
    bytes: AtomicUsize,
    queues: AtomicUsize,
    half: usize,
}

impl Totals {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            queues: AtomicUsize::new(0),
            half: limits.queue_bytes_total / 2,
        })
    }

    /// Whether a queue that holds `bytes` may take `more`.
    fn have_room(&self, bytes: usize, more: usize) -> bool {
        let all = self.bytes.load(Ordering::Relaxed).saturating_add(more);
        let share = self.half / self.queues.load(Ordering::Relaxed).max(1);
        all <= self.half || (all <= 2 * self.half && bytes.saturating_add(more) <= share)
    }
}

/// The queue of one peer.
#[derive(Debug)]
pub(crate) struct Queue {
    commands: Lane,
    messages: Lane,
    /// Taken for writing, in order; of the first a part may be with the kernel already, so that nothing may overtake it.
    writing: VecDeque<Bytes>,
    writing_bytes: usize,
    bytes_limit: usize,
    messages_limit: usize,
    on_full: OnFull,
    totals: Arc<Totals>,
}

/// The bounds hold for each lane by itself: a queue full of messages still takes the PONG that keeps the link.
#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<Encoded>,
    messages: usize,
    bytes: usize,
}

impl Lane {
    fn push(&mut self, item: Encoded) {
        self.bytes += item.wire_bytes();
        self.messages += item.messages();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Encoded> {
        let item = self.items.pop_front()?;
        self.bytes -= item.wire_bytes();
        self.messages -= item.messages();
        Some(item)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.totals.bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
        self.totals.queues.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(crate) fn new(limits: &Limits, on_full: OnFull, totals: Arc<Totals>) -> Self {
        totals.queues.fetch_add(1, Ordering::Relaxed);
        Self {
            commands: Lane::default(),
            messages: Lane::default(),
            writing: VecDeque::new(),
            writing_bytes: 0,
            bytes_limit: limits.queue_bytes_per_peer,
            messages_limit: limits.queue_messages_per_peer,
            on_full,
            totals,
        }
    }

    /// Queues messages that were encoded together; they stay or go together.
    pub(crate) fn push(&mut self, messages: Encoded) -> Result<SendOutcome, SendError> {
        let mut dropped = 0;
        while self.is_full(&self.messages, &messages) {
            let droppable = self.on_full == OnFull::DropOldest && messages.wire_bytes() <= self.bytes_limit;
            let oldest = if droppable { self.messages.pop() } else { None };
            let Some(oldest) = oldest else { return Err(SendError::Full) };
            self.totals.bytes.fetch_sub(oldest.wire_bytes(), Ordering::Relaxed);
            dropped += oldest.messages();
        }
        self.totals.bytes.fetch_add(messages.wire_bytes(), Ordering::Relaxed);
        self.messages.push(messages);
        Ok(SendOutcome { dropped })
    }

    /// Queues a command (or a subscription in message form), ahead of the messages.
    pub(crate) fn push_command(&mut self, command: Bytes) -> Result<(), SendError> {
        let command = Encoded::of_wire(command);
        if self.is_full(&self.commands, &command) {
            return Err(SendError::Full);
        }
        self.totals.bytes.fetch_add(command.wire_bytes(), Ordering::Relaxed);
        self.commands.push(command);
        Ok(())
    }

    /// What to write next, in order; empty when nothing waits.
    pub(crate) fn batch(&mut self) -> &VecDeque<Bytes> {
        while self.writing.len() < WRITE_MESSAGES && self.writing_bytes < WRITE_BYTES {
            let Some(next) = self.commands.pop().or_else(|| self.messages.pop()) else { break };
            self.writing_bytes += next.wire_bytes();
            self.writing.push_back(next.into_bytes());
        }
        &self.writing
    }

    /// The kernel took so many bytes of the batch.
    pub(crate) fn written(&mut self, mut bytes: usize) {
        let bytes_in_all = bytes.min(self.writing_bytes);
        self.writing_bytes -= bytes_in_all;
        self.totals.bytes.fetch_sub(bytes_in_all, Ordering::Relaxed);
        while let Some(first) = self.writing.front_mut() {
            if first.len() > bytes {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.writing.pop_front();
        }
        // A batch of 64 would be kept by every idle link.
        self.writing.shrink_to(1);
    }

    /// Bytes not yet with the kernel.
    pub(crate) fn bytes(&self) -> usize {
        self.commands.bytes + self.messages.bytes + self.writing_bytes
    }

    fn is_full(&self, lane: &Lane, more: &Encoded) -> bool {
        let bytes = lane.bytes.saturating_add(more.wire_bytes());
        lane.messages.saturating_add(more.messages()) > self.messages_limit
            || bytes > self.bytes_limit
            || !self.totals.have_room(self.bytes(), more.wire_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(messages: usize, bytes: usize) -> Limits {
        Limits { queue_messages_per_peer: messages, queue_bytes_per_peer: bytes, ..Limits::default() }
    }

    fn queue(messages: usize, bytes: usize, on_full: OnFull) -> Queue {
        let limits = limits(messages, bytes);
        Queue::new(&limits, on_full, Totals::new(&limits))
    }

    fn wire(text: &'static str) -> Encoded {
        Encoded::of_wire(Bytes::from_static(text.as_bytes()))
    }

    fn take(queue: &mut Queue) -> Vec<Bytes> {
        let batch: Vec<Bytes> = queue.batch().iter().cloned().collect();
        queue.written(batch.iter().map(Bytes::len).sum());
        batch
    }

    #[test]
    fn a_full_queue_that_refuses_keeps_the_oldest() {
        let mut queue = queue(2, 100, OnFull::Refuse);
        assert_eq!(queue.push(wire("a")), Ok(SendOutcome { dropped: 0 }));
        assert_eq!(queue.push(wire("b")), Ok(SendOutcome { dropped: 0 }));
        assert_eq!(queue.push(wire("c")), Err(SendError::Full));
        assert_eq!(take(&mut queue), ["a", "b"]);
    }

    #[test]
    fn a_full_queue_that_drops_keeps_the_newest_but_not_for_a_message_that_never_fits() {
        let mut queue = queue(10, 4, OnFull::DropOldest);
        for text in ["a", "b", "c"] {
            assert_eq!(queue.push(wire(text)), Ok(SendOutcome { dropped: 0 }));
        }
        assert_eq!(queue.push(wire("dddd+")), Err(SendError::Full));
        assert_eq!(queue.push(wire("dd")), Ok(SendOutcome { dropped: 1 }));
        assert_eq!(take(&mut queue), ["b", "c", "dd"]);
    }

    #[test]
    fn messages_encoded_together_count_each_and_go_together() {
        let mut queue = queue(3, 1000, OnFull::DropOldest);
        let frames = |text: &'static str| [Bytes::from_static(text.as_bytes())];
        let two = Encoded::several([frames("a").as_slice(), frames("b").as_slice()]);
        queue.push(two.clone()).unwrap();
        assert_eq!(queue.push(two), Ok(SendOutcome { dropped: 2 }));
        assert_eq!(take(&mut queue), ["\0\u{1}a\0\u{1}b"]);
    }

    #[test]
    fn commands_go_first_and_pass_a_queue_full_of_messages_but_no_message_under_way() {
        let mut queue = queue(1, 100, OnFull::Refuse);
        queue.push(wire("message")).unwrap();
        queue.push_command("command".into()).unwrap();
        assert_eq!(queue.push_command("one more".into()), Err(SendError::Full));
        assert_eq!(queue.batch(), &["command", "message"]);
        queue.written("command".len() + 1);
        queue.push_command("later".into()).unwrap();
        assert_eq!(take(&mut queue), ["essage", "later"]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn peers_that_do_not_read_leave_room_for_those_that_do() {
        let limits = Limits { queue_bytes_total: 400, ..limits(1000, 300) };
        let totals = Totals::new(&limits);
        let mut queues: Vec<Queue> =
            (0..4).map(|_| Queue::new(&limits, OnFull::Refuse, Arc::clone(&totals))).collect();
        let (frozen, healthy) = queues.split_at_mut(3);
        for queue in frozen {
            while queue.push(wire("0123456789")).is_ok() {}
        }
        assert!(totals.bytes.load(Ordering::Relaxed) > 200);
        for _ in 0..5 {
            assert!(healthy[0].push(wire("0123456789")).is_ok(), "a quarter of half of 400 bytes");
        }
        assert_eq!(healthy[0].push(wire("0")), Err(SendError::Full));
        assert!(totals.bytes.load(Ordering::Relaxed) <= 400);
        queues.clear();
        assert_eq!(totals.bytes.load(Ordering::Relaxed), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_waits_stays_within_the_bounds_and_in_order(
            sizes in proptest::collection::vec(1_usize..40, 1..100),
            takes in proptest::collection::vec(any::<bool>(), 100),
        ) {
            let mut queue = queue(20, 300, OnFull::DropOldest);
            let (mut pushed, mut taken, mut dropped) = (0_u64, Vec::new(), 0);
            for (size, take_now) in sizes.into_iter().zip(takes) {
                let mut body = pushed.to_be_bytes().to_vec();
                body.resize(8 + size, 0);
                dropped += queue.push(Encoded::of_wire(body.into())).unwrap().dropped;
                pushed += 1;
                prop_assert!(queue.bytes() <= 300);
                if take_now {
                    taken.extend(take(&mut queue));
                }
            }
            while queue.bytes() > 0 {
                taken.extend(take(&mut queue));
            }
            prop_assert_eq!(taken.len() + dropped, usize::try_from(pushed).unwrap());
            prop_assert!(taken.is_sorted());
        }

        #[test]
        fn all_queues_together_stay_within_their_bound(
            pushes in proptest::collection::vec((0_usize..5, 1_usize..120, any::<bool>()), 1..300),
        ) {
            let limits = Limits { queue_bytes_total: 1000, ..limits(1000, 400) };
            let totals = Totals::new(&limits);
            let mut queues: Vec<Queue> =
                (0..5).map(|_| Queue::new(&limits, OnFull::DropOldest, Arc::clone(&totals))).collect();
            for (index, size, take_now) in pushes {
                let _ = queues[index].push(Encoded::of_wire(vec![0; size].into()));
                if take_now {
                    queues[index].batch();
                    queues[index].written(size / 2);
                }
                let sum: usize = queues.iter().map(Queue::bytes).sum();
                prop_assert_eq!(totals.bytes.load(Ordering::Relaxed), sum);
                prop_assert!(sum <= 1000, "{} bytes", sum);
            }
        }
    }
}
