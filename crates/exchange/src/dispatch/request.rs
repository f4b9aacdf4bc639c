//! The in-flight table: every request between its arrival and its one answer, where it is, and when something is due for it.
//!
//! Requests are named by the counter of their key, which grows: the order of counters is the order of arrival. What is due is in
//! queues, so that neither a tick nor anything else scans the table.

use super::ConnectionId;
use super::alarms::Alarms;
use super::refusal::Outcome;
use super::settings::DispatchSettings;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere yet: it is being placed at this moment.
    InHand,
    /// In the queue for the next worker with room.
    Waiting,
    /// Set aside for a moment, since no worker that has room would take it.
    Resting,
    /// With this worker.
    At(ConnectionId),
}

/// The worst that a worker has said in a round over the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// None has said anything: those that had it died, or were too slow.
    Nothing,
    /// It may be done there, and cannot be told to be.
    Unknown,
    /// It was not done there.
    Elsewhere,
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
    /// Workers that had it in this round, besides the one that has it.
    pub(super) tried: Vec<ConnectionId>,
    /// What they said.
    pub(super) said: Said,
    /// Whether every ready worker has refused it, so that it is to be served as things stand.
    pub(super) last_resort: bool,
    /// Workers that died with it.
    pub(super) deaths: u32,
    /// Times that it was given to a worker.
    pub(super) sends: u32,
    /// How many of those workers said `elsewhere`, and so have not done it.
    pub(super) refusals: u32,
    place: Place,
    /// When something is due for it where it is.
    wake: Option<Duration>,
    /// When the client is answered at the latest.
    deadline: Duration,
    /// Of envelope and body.
    bytes: usize,
}

impl Request {
    /// Of a client, before it has a place.
    pub(super) fn new(client: ConnectionId, envelope: Vec<Bytes>, body: Bytes, received: Duration) -> Self {
        let bytes = envelope.iter().map(Bytes::len).sum::<usize>() + body.len();
        Self {
            client,
            envelope,
            body,
            received,
            tried: Vec::new(),
            said: Said::Nothing,
            last_resort: false,
            deaths: 0,
            sends: 0,
            refusals: 0,
            place: Place::InHand,
            wake: None,
            deadline: received,
            bytes,
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

    /// Takes note that a worker had it.
    pub(super) fn tried_at(&mut self, worker: ConnectionId) {
        if !self.tried.contains(&worker) {
            self.tried.push(worker);
        }
    }

    /// Begins a further round over the workers.
    pub(super) fn new_round(&mut self, last_resort: bool) {
        self.tried.clear();
        self.said = Said::Nothing;
        self.last_resort = last_resort;
    }

    fn is_aside(&self) -> bool {
        matches!(self.place, Place::Waiting | Place::Resting)
    }
}

/// All requests.
#[derive(Debug)]
pub(super) struct Requests {
    broker_deadline: Duration,
    server_deadline: Duration,
    rest: Duration,
    table: FxHashMap<u64, Request>,
    /// Those in [`Place::Waiting`], oldest first.
    waiting: BTreeSet<u64>,
    /// How many are in [`Place::Waiting`] or [`Place::Resting`].
    aside: usize,
    /// Bytes of these.
    aside_bytes: usize,
    /// Bytes of all.
    held_bytes: usize,
    /// For the broker's deadline of each.
    deadlines: Alarms,
    /// For the server's deadline of those with workers.
    server_deadlines: Alarms,
    /// For the end of rest.
    rests: Alarms,
}

impl Requests {
    /// None.
    pub(super) fn new(settings: &DispatchSettings) -> Self {
        Self {
            broker_deadline: settings.broker_deadline,
            server_deadline: settings.server_deadline,
            rest: settings.rest,
            table: FxHashMap::default(),
            waiting: BTreeSet::new(),
            aside: 0,
            aside_bytes: 0,
            held_bytes: 0,
            deadlines: Alarms::default(),
            server_deadlines: Alarms::default(),
            rests: Alarms::default(),
        }
    }

    /// Takes a request in that was just received.
    pub(super) fn insert(&mut self, counter: u64, mut request: Request) {
        request.deadline = request.received + self.broker_deadline;
        self.deadlines.set(request.deadline, counter);
        self.held_bytes += request.bytes;
        self.table.insert(counter, request);
    }

    /// Takes a request out.
    pub(super) fn remove(&mut self, counter: u64) -> Option<Request> {
        let request = self.table.remove(&counter)?;
        self.held_bytes -= request.bytes;
        if request.is_aside() {
            self.take_from_aside(counter, request.bytes);
        }
        self.prune();
        Some(request)
    }

    /// Puts a request into another place, or anew into the same.
    pub(super) fn relocate(&mut self, counter: u64, place: Place, now: Duration) {
        let Some(request) = self.table.get_mut(&counter) else { return };
        let (was_aside, had_wake, bytes) = (request.is_aside(), request.wake.is_some(), request.bytes);
        request.place = place;
        request.wake = match place {
            Place::InHand | Place::Waiting => None,
            Place::Resting => Some(now + self.rest),
            Place::At(_) => Some(now + self.server_deadline),
        };
        match (place, request.wake) {
            (Place::At(_), Some(wake)) => self.server_deadlines.set(wake, counter),
            (_, Some(wake)) => self.rests.set(wake, counter),
            (_, None) => {}
        }
        if was_aside {
            self.take_from_aside(counter, bytes);
        }
        if matches!(place, Place::Waiting | Place::Resting) {
            self.aside += 1;
            self.aside_bytes += bytes;
        }
        if place == Place::Waiting {
            self.waiting.insert(counter);
        }
        if had_wake {
            self.prune();
        }
    }

    fn take_from_aside(&mut self, counter: u64, bytes: usize) {
        self.waiting.remove(&counter);
        self.aside -= 1;
        self.aside_bytes -= bytes;
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

    /// When something is next due for a request, and for which.
    pub(super) fn next_due(&self) -> Option<(Duration, u64)> {
        let firsts = [self.deadlines.first(), self.server_deadlines.first(), self.rests.first()];
        firsts.into_iter().flatten().min()
    }

    /// Whether it is the broker's deadline that is due.
    pub(super) fn is_over(&self, counter: u64, now: Duration) -> bool {
        self.table.get(&counter).is_some_and(|request| request.deadline <= now)
    }

    /// All held.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Those with no worker.
    pub(super) fn aside(&self) -> usize {
        self.aside
    }

    /// Bytes of those with no worker.
    pub(super) fn aside_bytes(&self) -> usize {
        self.aside_bytes
    }

    /// Bytes of all.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Drops the alarms of requests that are gone, or elsewhere by now.
    fn prune(&mut self) {
        let is_wanted = |at, counter| {
            self.table.get(&counter).is_some_and(|request| request.wake == Some(at) || request.deadline == at)
        };
        for alarms in [&mut self.deadlines, &mut self.server_deadlines, &mut self.rests] {
            alarms.prune(self.table.len(), is_wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_balance_wherever_a_request_goes() {
        let seconds = Duration::from_secs;
        let settings = DispatchSettings { rest: seconds(20), ..DispatchSettings::default() };
        let mut requests = Requests::new(&settings);
        for counter in 1..=3 {
            let body = Bytes::from_static(b"four");
            requests.insert(counter, Request::new(ConnectionId(1), vec![Bytes::new()], body, Duration::ZERO));
            requests.relocate(counter, Place::Waiting, Duration::ZERO);
        }
        assert_eq!((requests.aside(), requests.aside_bytes(), requests.held_bytes()), (3, 12, 12));
        requests.relocate(1, Place::At(ConnectionId(7)), Duration::ZERO);
        requests.relocate(2, Place::Resting, Duration::ZERO);
        assert_eq!((requests.aside(), requests.aside_bytes(), requests.held_bytes()), (2, 8, 12));
        assert!(requests.is_at(1, ConnectionId(7)));
        assert_eq!(requests.first_waiting(), Some(3));
        assert_eq!(requests.next_due(), Some((seconds(3), 1)));
        requests.relocate(1, Place::At(ConnectionId(8)), seconds(3));
        assert_eq!(requests.next_due(), Some((seconds(6), 1)));
        requests.remove(1);
        assert_eq!(requests.next_due(), Some((seconds(10), 2)), "the deadline, wherever it is");
        assert_eq!((requests.is_over(2, seconds(9)), requests.is_over(2, seconds(10))), (false, true));
        requests.remove(2);
        requests.remove(3);
        assert_eq!((requests.aside(), requests.aside_bytes(), requests.held_bytes()), (0, 0, 0));
        assert_eq!(requests.next_due(), None);
    }
}
