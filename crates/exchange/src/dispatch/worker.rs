//! The workers: who they are, what they owe, and which of them gets the next request.

use super::ConnectionId;
use super::settings::DispatchSettings;
use crate::constants::PAPO_CAPACITY_MAX;
use papo_protocol::names::ServerName;
use std::collections::VecDeque;
use std::time::Duration;

/// What a worker's link is.
#[derive(Debug)]
pub(super) enum Standing {
    /// It presented the token and has not said hello yet: it gets nothing.
    Expected,
    /// One of our servers.
    Papo(Papo),
    /// Any REP socket. It says nothing but replies, so a missed deadline is the only sign of its end.
    Foreign {
        /// It missed a deadline and has answered nothing since: it gets nothing.
        late: bool,
    },
}

/// One of our servers.
#[derive(Debug)]
pub(super) struct Papo {
    /// For logs.
    pub(super) name: ServerName,
    /// Requests it takes at once.
    pub(super) capacity: usize,
    /// When it last said anything.
    pub(super) heard: Duration,
    /// Not heard for too long; its requests were given to others.
    pub(super) lost: bool,
    /// It wants no new requests.
    pub(super) leaving: bool,
}

impl Papo {
    /// As its hello says.
    pub(super) fn new(name: ServerName, capacity: u32, now: Duration) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX).min(PAPO_CAPACITY_MAX);
        Self { name, capacity, heard: now, lost: false, leaving: false }
    }
}

/// One worker link.
#[derive(Debug)]
pub(super) struct Worker {
    id: ConnectionId,
    /// What it is.
    pub(super) standing: Standing,
    /// What it was given and has not answered, in order. What others answered in its place stays here, so that a worker that
    /// hangs looks as loaded as it is.
    owed: VecDeque<Owed>,
    /// Bytes of these.
    owed_bytes: usize,
    /// How many of these, the first, were given so long ago that their clients have an answer by now, and are no load any more.
    /// They take room until an answer to a later one shows that they were read: until then they may be queued on the link.
    overdue: usize,
    /// Turn at which it was last given a request.
    turn: u64,
    /// Highest turn of what it has answered: it lived on with all that it was given before.
    answered_turn: u64,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    counter: u64,
    bytes: usize,
    since: Duration,
    turn: u64,
}

/// What a worker that is gone has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Which request.
    pub(super) counter: u64,
    /// When it was given.
    pub(super) since: Duration,
    /// Whether the worker has answered something that it was given later: then it was not this that killed it.
    pub(super) outlived: bool,
}

impl Worker {
    fn is_papo(&self) -> bool {
        matches!(self.standing, Standing::Papo(_))
    }

    /// Whether it may get requests at all, and if so, how many at once.
    fn capacity(&self, papo_only: bool, settings: &DispatchSettings) -> Option<usize> {
        match &self.standing {
            Standing::Papo(papo) => (!papo.lost && !papo.leaving).then_some(papo.capacity),
            Standing::Foreign { late } => (!late && !papo_only).then_some(settings.foreign_capacity),
            Standing::Expected => None,
        }
    }

    /// Whether it can take one more. One without load can, whatever is overdue: otherwise it could never show that it reads.
    fn has_room(&self, capacity: usize, settings: &DispatchSettings) -> bool {
        capacity > 0
            && (self.load() == 0
                || (self.owed.len() < capacity && self.owed_bytes < settings.worker_bytes_max))
    }

    /// How many requests it is waited for, or was until lately.
    pub(super) fn load(&self) -> usize {
        self.owed.len() - self.overdue
    }

    /// What it owes.
    pub(super) fn owed(&self) -> Vec<Left> {
        let left = |owed: &Owed| Left {
            counter: owed.counter,
            since: owed.since,
            outlived: owed.turn < self.answered_turn,
        };
        self.owed.iter().map(left).collect()
    }

    /// Takes note of an answer; `false` when this worker was never asked.
    ///
    /// A foreign worker serves in order, so what it was given earlier and is no longer waited for (`is_awaited`) was lost by it.
    pub(super) fn settle(&mut self, counter: u64, is_awaited: impl Fn(u64) -> bool) -> bool {
        let Some(index) = self.owed.iter().position(|owed| owed.counter == counter) else { return false };
        if let Some(answered) = self.owed.remove(index) {
            self.owed_bytes -= answered.bytes;
            self.answered_turn = self.answered_turn.max(answered.turn);
        }
        let read = index.min(self.overdue);
        self.overdue -= if index < self.overdue { read + 1 } else { read };
        for _ in 0..read {
            self.forget_first();
        }
        if let Standing::Foreign { late } = &mut self.standing {
            *late = false;
            let later = self.owed.split_off(index - read);
            self.owed.retain(|owed| is_awaited(owed.counter));
            self.owed.extend(later);
            self.owed_bytes = self.owed.iter().map(|owed| owed.bytes).sum();
        }
        true
    }

    /// What it was given before `limit` is overdue: those requests were answered at the deadline, whatever became of them here.
    pub(super) fn excuse_before(&mut self, limit: Duration) {
        while self.owed.get(self.overdue).is_some_and(|owed| owed.since < limit) {
            self.overdue += 1;
        }
        // One that reads and never answers would gather them without end.
        while self.owed.len() > PAPO_CAPACITY_MAX && self.overdue > 0 {
            self.overdue -= 1;
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        self.owed_bytes -= self.owed.pop_front().map_or(0, |owed| owed.bytes);
    }
}

/// Which worker is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one, which has not had the request.
    Fresh(ConnectionId),
    /// All ready workers had it; of those with room, this one.
    Again(ConnectionId),
    /// Some ready worker has not had it, but none of these has room; one that had it has.
    FreshAreBusy,
    /// No ready worker has room.
    NoRoom,
}

/// All workers. Few (as many as servers), so that a choice looks at each.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// Sorted, so that the same inputs choose the same.
    all: Vec<Worker>,
    turns: u64,
}

impl Workers {
    /// A new link.
    pub(super) fn insert(&mut self, id: ConnectionId, standing: Standing) {
        let worker = Worker {
            id,
            standing,
            owed: VecDeque::new(),
            owed_bytes: 0,
            overdue: 0,
            turn: 0,
            answered_turn: 0,
        };
        match self.place(id) {
            Ok(place) => self.all.splice(place..=place, [worker]).for_each(drop),
            Err(place) => self.all.insert(place, worker),
        }
    }

    /// A link that is gone.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Worker> {
        self.place(id).ok().map(|place| self.all.remove(place))
    }

    /// A link.
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Worker> {
        self.place(id).ok().and_then(|place| self.all.get_mut(place))
    }

    fn place(&self, id: ConnectionId) -> Result<usize, usize> {
        self.all.binary_search_by_key(&id, |worker| worker.id)
    }

    /// Takes note that a worker was given a request; gives its standing, for the frames. `None` when it is gone.
    pub(super) fn lend(
        &mut self,
        id: ConnectionId,
        counter: u64,
        bytes: usize,
        now: Duration,
    ) -> Option<&Standing> {
        let place = self.place(id).ok()?;
        let worker = self.all.get_mut(place)?;
        self.turns += 1;
        worker.turn = self.turns;
        worker.owed.push_back(Owed { counter, bytes, since: now, turn: self.turns });
        worker.owed_bytes += bytes;
        Some(&worker.standing)
    }

    /// The worker for a request that `tried` had before: the least loaded, among equals the one whose last turn is longest ago.
    pub(super) fn choose(&self, tried: &[ConnectionId], settings: &DispatchSettings) -> Choice {
        let (mut fresh, mut again, mut fresh_is_busy) = (None, None, false);
        for (worker, capacity) in self.ready(settings) {
            let candidate = (worker.load(), worker.turn, worker.id);
            let is_fresh = !tried.contains(&worker.id);
            let best = if is_fresh { &mut fresh } else { &mut again };
            if !worker.has_room(capacity, settings) {
                fresh_is_busy |= is_fresh;
            } else if best.is_none_or(|best| candidate < best) {
                *best = Some(candidate);
            }
        }
        match (fresh, again) {
            (Some((.., id)), _) => Choice::Fresh(id),
            (None, Some(_)) if fresh_is_busy => Choice::FreshAreBusy,
            (None, Some((.., id))) => Choice::Again(id),
            (None, None) => Choice::NoRoom,
        }
    }

    /// Whether any worker could take a request now.
    pub(super) fn have_room(&self, settings: &DispatchSettings) -> bool {
        self.ready(settings).any(|(worker, capacity)| worker.has_room(capacity, settings))
    }

    /// How many may get requests.
    pub(super) fn count_ready(&self, settings: &DispatchSettings) -> usize {
        self.ready(settings).count()
    }

    /// The papo workers that have been silent for so long and do not count as lost yet.
    pub(super) fn fallen_silent(&self, now: Duration, dead_after: Duration) -> Vec<ConnectionId> {
        self.papo()
            .filter(|(_, papo)| !papo.lost && papo.heard + dead_after <= now)
            .map(|(id, _)| id)
            .collect()
    }

    /// The lost papo workers that have been silent for so long.
    pub(super) fn long_lost(&self, now: Duration, closed_after: Duration) -> Vec<ConnectionId> {
        self.papo()
            .filter(|(_, papo)| papo.lost && papo.heard + closed_after <= now)
            .map(|(id, _)| id)
            .collect()
    }

    /// When the next of these two is due.
    pub(super) fn next_silence(&self, dead_after: Duration, closed_after: Duration) -> Option<Duration> {
        self.papo().map(|(_, papo)| papo.heard + if papo.lost { closed_after } else { dead_after }).min()
    }

    fn papo(&self) -> impl Iterator<Item = (ConnectionId, &Papo)> {
        self.all.iter().filter_map(|worker| match &worker.standing {
            Standing::Papo(papo) => Some((worker.id, papo)),
            Standing::Expected | Standing::Foreign { .. } => None,
        })
    }

    /// Those that may get requests, with their capacity. Foreign ones only while no papo worker is registered, lost or leaving
    /// ones included: the foreign have other data.
    fn ready(&self, settings: &DispatchSettings) -> impl Iterator<Item = (&Worker, usize)> {
        let papo_only = self.all.iter().any(Worker::is_papo);
        self.all
            .iter()
            .filter_map(move |worker| worker.capacity(papo_only, settings).map(|capacity| (worker, capacity)))
    }
}
