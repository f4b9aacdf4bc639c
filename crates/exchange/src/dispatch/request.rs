//! The in-flight table: every request between its arrival and its one answer, where it is, and when something is due for it.
//!
//! Requests are named by the counter of their key, which grows: the order of counters is the order of arrival. Each request has
//! exactly one wake-up, so neither a tick nor anything else scans the table.

use super::ConnectionId;
use super::refusal::Outcome;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue for the next worker with room.
    Waiting,
    /// Set aside for a moment, since no worker that has room would take it.
    Resting,
    /// With this worker.
    At(ConnectionId),
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    /// Who gets the answer.
    pub(super) client: ConnectionId,
    /// Goes back before the answer.
    pub(super) envelope: Vec<Bytes>,
    /// The client's bytes.
    pub(super) body: Bytes,
    /// When it came.
    pub(super) received: Duration,
    /// When the client is answered at the latest.
    pub(super) deadline: Duration,
    /// Workers that had it in this round.
    pub(super) tried: Vec<ConnectionId>,
    /// Whether a worker has said `elsewhere` in this round.
    pub(super) refused: bool,
    /// Whether every ready worker has refused it, so that it is to be served as things stand.
    pub(super) last_resort: bool,
    /// Workers that died with it.
    pub(super) deaths: u32,
    /// Times that it was given to a worker.
    pub(super) sends: u32,
    /// How many of those workers said `elsewhere`, and so have not done it.
    pub(super) refusals: u32,
    place: Place,
    wake: Duration,
}

impl Request {
    /// Of a client, before it has a place.
    pub(super) fn new(
        client: ConnectionId,
        envelope: Vec<Bytes>,
        body: Bytes,
        received: Duration,
        deadline: Duration,
    ) -> Self {
        Self {
            client,
            envelope,
            body,
            received,
            deadline,
            tried: Vec::new(),
            refused: false,
            last_resort: false,
            deaths: 0,
            sends: 0,
            refusals: 0,
            place: Place::Waiting,
            wake: deadline,
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// What can be said about it now.
    pub(super) fn outcome(&self) -> Outcome {
        if self.sends == self.refusals { Outcome::NotDone } else { Outcome::Unknown }
    }

    /// Begins a further round over the workers.
    pub(super) fn new_round(&mut self, last_resort: bool) {
        self.tried.clear();
        self.refused = false;
        self.last_resort = last_resort;
    }

    fn bytes(&self) -> usize {
        self.envelope.iter().map(Bytes::len).sum::<usize>() + self.body.len()
    }
}

/// All requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    table: HashMap<u64, Request>,
    /// One entry for each request of the table.
    wakes: BTreeSet<(Duration, u64)>,
    /// Those in [`Place::Waiting`], oldest first.
    waiting: BTreeSet<u64>,
    /// How many are in [`Place::Resting`].
    resting: usize,
    /// Of those in [`Place::Waiting`] and [`Place::Resting`].
    waiting_bytes: usize,
    /// Of all.
    held_bytes: usize,
}

impl Requests {
    /// Takes a request in, as waiting.
    pub(super) fn insert(&mut self, counter: u64, request: Request) {
        self.held_bytes += request.bytes();
        self.table.insert(counter, request);
        self.enter(counter);
    }

    /// Takes a request out.
    pub(super) fn remove(&mut self, counter: u64) -> Option<Request> {
        self.leave(counter);
        let request = self.table.remove(&counter)?;
        self.held_bytes -= request.bytes();
        Some(request)
    }

    /// Puts a request elsewhere, to be woken at `wake` or at its deadline.
    pub(super) fn relocate(&mut self, counter: u64, place: Place, wake: Duration) {
        self.leave(counter);
        if let Some(request) = self.table.get_mut(&counter) {
            request.place = place;
            request.wake = wake.min(request.deadline);
        }
        self.enter(counter);
    }

    /// A request still unanswered.
    pub(super) fn get(&self, counter: u64) -> Option<&Request> {
        self.table.get(&counter)
    }

    /// A request still unanswered. Its envelope and body stay as they are: their bytes are accounted for.
    pub(super) fn get_mut(&mut self, counter: u64) -> Option<&mut Request> {
        self.table.get_mut(&counter)
    }

    /// Whether a request is with this worker.
    pub(super) fn is_at(&self, counter: u64, worker: ConnectionId) -> bool {
        self.table.get(&counter).is_some_and(|request| request.place == Place::At(worker))
    }

    /// The request that has waited longest for a worker.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().copied()
    }

    /// When the next request wakes.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// The request that is to be woken next, if it is time.
    pub(super) fn due(&self, now: Duration) -> Option<u64> {
        self.wakes.first().filter(|(wake, _)| *wake <= now).map(|(_, counter)| *counter)
    }

    /// All held.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Those with no worker.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.resting
    }

    /// Bytes of those with no worker.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of all.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Accounts for the place that a request has got.
    fn enter(&mut self, counter: u64) {
        let Some(request) = self.table.get(&counter) else { return };
        self.wakes.insert((request.wake, counter));
        match request.place {
            Place::Waiting => {
                self.waiting.insert(counter);
                self.waiting_bytes += request.bytes();
            }
            Place::Resting => {
                self.resting += 1;
                self.waiting_bytes += request.bytes();
            }
            Place::At(_) => {}
        }
    }

    /// Undoes [`Self::enter`].
    fn leave(&mut self, counter: u64) {
        let Some(request) = self.table.get(&counter) else { return };
        self.wakes.remove(&(request.wake, counter));
        match request.place {
            Place::Waiting => {
                self.waiting.remove(&counter);
                self.waiting_bytes -= request.bytes();
            }
            Place::Resting => {
                self.resting -= 1;
                self.waiting_bytes -= request.bytes();
            }
            Place::At(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_balance_wherever_a_request_goes() {
        let mut requests = Requests::default();
        let seconds = Duration::from_secs;
        for counter in 1..=3 {
            let body = Bytes::from_static(b"four");
            let request =
                Request::new(ConnectionId(1), vec![Bytes::new()], body, Duration::ZERO, seconds(10));
            requests.insert(counter, request);
        }
        assert_eq!((requests.waiting(), requests.waiting_bytes(), requests.held_bytes()), (3, 12, 12));
        requests.relocate(1, Place::At(ConnectionId(7)), seconds(3));
        requests.relocate(2, Place::Resting, seconds(20));
        assert_eq!((requests.waiting(), requests.waiting_bytes(), requests.held_bytes()), (2, 8, 12));
        assert!(requests.is_at(1, ConnectionId(7)));
        assert_eq!(requests.first_waiting(), Some(3));
        assert_eq!((requests.due(seconds(2)), requests.due(seconds(3))), (None, Some(1)));
        requests.remove(1);
        assert_eq!(requests.next_wake(), Some(seconds(10)), "no wake-up is later than the deadline");
        requests.remove(2);
        requests.remove(3);
        assert_eq!((requests.waiting(), requests.waiting_bytes(), requests.held_bytes()), (0, 0, 0));
        assert_eq!(requests.next_wake(), None);
    }
}
