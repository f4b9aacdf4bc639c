//! The way from the links to the endpoint's owner: events in order, bounded in number and bytes, taken in whole batches.
//!
//! A batch counts against the bounds until the owner asks for the next one: by then it has dealt with it. The lock is held for a few
//! moves and never across an await. This module must not know sockets.

use crate::{event::Event, limits::FRAME_OVERHEAD};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The events of one endpoint.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    events_limit: usize,
    bytes_limit: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    waiting_bytes: usize,
    /// Of the batch that the owner took last.
    taken: usize,
    taken_bytes: usize,
    /// The owner asked for an end: it shall look whether all links are gone.
    closing: bool,
    owner: Option<Waker>,
    /// Links that hold an event for which there was no room.
    links: Vec<Waker>,
}

/// What the owner finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// At least one event.
    Batch,
    /// None, and the endpoint is closing.
    Closing,
}

impl Inbox {
    pub(crate) fn new(events_limit: usize, bytes_limit: usize) -> Self {
        Self { state: Mutex::default(), events_limit: events_limit.max(1), bytes_limit }
    }

    /// Hands an event to the owner, or gives it back while too many or too large ones wait; the task of `context` is then woken when
    /// there is room. The largest message always passes, if alone.
    pub(crate) fn offer(&self, event: Event, context: &Context<'_>) -> Result<(), Event> {
        let bytes = weight(&event);
        let mut state = self.lock();
        if !self.has_room(&state, bytes) {
            if !state.links.iter().any(|link| link.will_wake(context.waker())) {
                state.links.push(context.waker().clone());
            }
            return Err(event);
        }
        state.put(event, bytes);
        Ok(())
    }

    /// As [`Self::offer`], but what finds no room is lost.
    pub(crate) fn offer_or_lose(&self, event: Event) {
        let bytes = weight(&event);
        let mut state = self.lock();
        if self.has_room(&state, bytes) {
            state.put(event, bytes);
        } else {
            drop(state);
            tracing::debug!(?event, "no room for an event");
        }
    }

    /// Moves all events into `batch`, which is empty: the one before it was dealt with.
    pub(crate) fn poll_take(&self, context: &Context<'_>, batch: &mut VecDeque<Event>) -> Poll<Taken> {
        let mut state = self.lock();
        if state.taken > 0 {
            (state.taken, state.taken_bytes) = (0, 0);
            state.wake_links();
        }
        if state.waiting.is_empty() {
            if !state.owner.as_ref().is_some_and(|owner| owner.will_wake(context.waker())) {
                state.owner = Some(context.waker().clone());
            }
            return if state.closing { Poll::Ready(Taken::Closing) } else { Poll::Pending };
        }
        std::mem::swap(&mut state.waiting, batch);
        state.taken = batch.len();
        state.taken_bytes = std::mem::take(&mut state.waiting_bytes);
        Poll::Ready(Taken::Batch)
    }

    /// From now on an owner that finds nothing is told [`Taken::Closing`].
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        if let Some(owner) = &state.owner {
            owner.wake_by_ref();
        }
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        let held = state.waiting_bytes + state.taken_bytes;
        state.waiting.len() + state.taken < self.events_limit
            && (held == 0 || held.saturating_add(bytes) <= self.bytes_limit)
    }

    /// No caller's code runs under the lock, so a poisoned state is a whole one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, event: Event, bytes: usize) {
        self.waiting.push_back(event);
        self.waiting_bytes += bytes;
        // Left in place: it is the same task that comes back.
        if self.waiting.len() == 1
            && let Some(owner) = &self.owner
        {
            owner.wake_by_ref();
        }
    }

    fn wake_links(&mut self) {
        for link in self.links.drain(..) {
            link.wake();
        }
    }
}

fn weight(event: &Event) -> usize {
    match event {
        Event::Message { frames, .. } => frames.iter().map(|frame| frame.len() + FRAME_OVERHEAD).sum(),
        Event::Subscribe { topic, .. } | Event::Cancel { topic, .. } => topic.len() + FRAME_OVERHEAD,
        Event::Up { .. } | Event::Down { .. } | Event::Failed { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PeerId;
    use bytes::Bytes;

    fn message(bytes: usize) -> Event {
        Event::Message { peer: PeerId(1), frames: vec![Bytes::from(vec![0; bytes])] }
    }

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn a_batch_counts_until_the_next_one_is_asked_for() {
        let inbox = Inbox::new(2, 1 << 20);
        let mut batch = VecDeque::new();
        assert!(inbox.offer(message(1), &context()).is_ok() && inbox.offer(message(1), &context()).is_ok());
        assert!(inbox.offer(message(1), &context()).is_err());
        assert_eq!(inbox.poll_take(&context(), &mut batch), Poll::Ready(Taken::Batch));
        assert_eq!(batch.len(), 2);
        assert!(inbox.offer(message(1), &context()).is_err(), "the owner has two in hand");
        batch.clear();
        assert_eq!(inbox.poll_take(&context(), &mut batch), Poll::Pending);
        assert!(inbox.offer(message(1), &context()).is_ok());
    }

    #[test]
    fn the_largest_message_passes_alone() {
        let inbox = Inbox::new(10, 100);
        assert!(inbox.offer(message(1000), &context()).is_ok());
        assert!(inbox.offer(message(0), &context()).is_err());
    }

    #[test]
    fn a_closing_inbox_is_emptied_first() {
        let inbox = Inbox::new(10, 100);
        inbox.offer_or_lose(message(1));
        inbox.close();
        let mut batch = VecDeque::new();
        assert_eq!(inbox.poll_take(&context(), &mut batch), Poll::Ready(Taken::Batch));
        batch.clear();
        assert_eq!(inbox.poll_take(&context(), &mut batch), Poll::Ready(Taken::Closing));
    }
}
