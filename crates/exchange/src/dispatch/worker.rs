//! The workers: who they are, what they owe, and which of them gets the next request.

use super::ConnectionId;
use crate::constants::PAPO_CAPACITY_MAX;
use papo_protocol::names::ServerName;
use std::collections::{BTreeMap, VecDeque};
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
    /// What it is.
    pub(super) standing: Standing,
    /// What it was given and has not answered, in order; as long as its capacity at most. What others answered in its place
    /// stays here, so that a worker that hangs looks as loaded as it is.
    owed: VecDeque<Owed>,
    /// Turn at which it was last given a request.
    turn: u64,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    counter: u64,
    since: Duration,
}

impl Worker {
    fn is_papo(&self) -> bool {
        matches!(self.standing, Standing::Papo(_))
    }

    /// Whether it may get new requests at all, and if so, how many at once.
    fn room(&self, papo_only: bool, foreign_capacity: usize) -> Option<usize> {
        match &self.standing {
            Standing::Papo(papo) => (!papo.lost && !papo.leaving).then_some(papo.capacity),
            Standing::Foreign { late } => (!late && !papo_only).then_some(foreign_capacity),
            Standing::Expected => None,
        }
    }

    /// What it owes.
    pub(super) fn owed(&self) -> Vec<u64> {
        self.owed.iter().map(|owed| owed.counter).collect()
    }

    /// Takes note of an answer; `false` when this worker was never asked.
    ///
    /// A foreign worker serves in order, so what it was given earlier and is no longer waited for (`is_awaited`) was lost by it.
    pub(super) fn settle(&mut self, counter: u64, is_awaited: impl Fn(u64) -> bool) -> bool {
        let Some(index) = self.owed.iter().position(|owed| owed.counter == counter) else { return false };
        self.owed.remove(index);
        if let Standing::Foreign { late } = &mut self.standing {
            *late = false;
            let later = self.owed.split_off(index);
            self.owed.retain(|owed| is_awaited(owed.counter));
            self.owed.extend(later);
        }
        true
    }

    /// Forgets what it was given before `limit`: those requests were answered at the deadline, whatever became of them here.
    pub(super) fn forget_before(&mut self, limit: Duration) {
        while self.owed.front().is_some_and(|owed| owed.since < limit) {
            self.owed.pop_front();
        }
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

/// All workers. Few (as many as servers), so that a choice looks at each; ordered, so that the same inputs choose the same.
#[derive(Debug, Default)]
pub(super) struct Workers {
    all: BTreeMap<ConnectionId, Worker>,
    turns: u64,
}

impl Workers {
    /// A new link.
    pub(super) fn insert(&mut self, id: ConnectionId, standing: Standing) {
        self.all.insert(id, Worker { standing, owed: VecDeque::new(), turn: 0 });
    }

    /// A link that is gone.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Worker> {
        self.all.remove(&id)
    }

    /// A link.
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Worker> {
        self.all.get_mut(&id)
    }

    /// Takes note that a worker was given a request; gives its standing, for the frames. `None` when it is gone.
    pub(super) fn lend(&mut self, id: ConnectionId, counter: u64, now: Duration) -> Option<&Standing> {
        let worker = self.all.get_mut(&id)?;
        self.turns += 1;
        worker.turn = self.turns;
        worker.owed.push_back(Owed { counter, since: now });
        Some(&worker.standing)
    }

    /// The worker for a request that `tried` had before: the least loaded, among equals the one whose last turn is longest ago.
    pub(super) fn choose(&self, tried: &[ConnectionId], foreign_capacity: usize) -> Choice {
        let (mut fresh, mut again, mut fresh_is_busy) = (None, None, false);
        for (id, worker, capacity) in self.ready(foreign_capacity) {
            let candidate = (worker.owed.len(), worker.turn, *id);
            let best = if tried.contains(id) { &mut again } else { &mut fresh };
            if worker.owed.len() >= capacity {
                fresh_is_busy |= !tried.contains(id);
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
    pub(super) fn have_room(&self, foreign_capacity: usize) -> bool {
        self.ready(foreign_capacity).any(|(_, worker, capacity)| worker.owed.len() < capacity)
    }

    /// How many may get requests.
    pub(super) fn count_ready(&self, foreign_capacity: usize) -> usize {
        self.ready(foreign_capacity).count()
    }

    /// The papo workers that have been silent for so long and do not count as lost yet.
    pub(super) fn fallen_silent(&self, now: Duration, dead_after: Duration) -> Vec<ConnectionId> {
        self.papo()
            .filter(|(_, papo)| !papo.lost && papo.heard + dead_after <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The lost papo workers that have been silent for so long.
    pub(super) fn long_lost(&self, now: Duration, closed_after: Duration) -> Vec<ConnectionId> {
        self.papo()
            .filter(|(_, papo)| papo.lost && papo.heard + closed_after <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    /// When the next of these two is due.
    pub(super) fn next_silence(&self, dead_after: Duration, closed_after: Duration) -> Option<Duration> {
        self.papo().map(|(_, papo)| papo.heard + if papo.lost { closed_after } else { dead_after }).min()
    }

    fn papo(&self) -> impl Iterator<Item = (&ConnectionId, &Papo)> {
        self.all.iter().filter_map(|(id, worker)| match &worker.standing {
            Standing::Papo(papo) => Some((id, papo)),
            Standing::Expected | Standing::Foreign { .. } => None,
        })
    }

    /// Those that may get requests, with their capacity. Foreign ones only while no papo worker is registered, lost or leaving
    /// ones included: the foreign have other data.
    fn ready(&self, foreign_capacity: usize) -> impl Iterator<Item = (&ConnectionId, &Worker, usize)> {
        let papo_only = self.all.values().any(Worker::is_papo);
        self.all.iter().filter_map(move |(id, worker)| {
            worker.room(papo_only, foreign_capacity).map(|capacity| (id, worker, capacity))
        })
    }
}
