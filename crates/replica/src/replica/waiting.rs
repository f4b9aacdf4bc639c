//! Requests that cannot be decided yet. What may exist elsewhere is waited for before it is refused as absent; what is on its way
//! to the disk is waited for before it counts. Bounded: a request that finds no room goes elsewhere.

use super::requests::Asked;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::{WAITING_BYTES_MAX, WAITING_MAX};
use crate::session::Written;
use std::mem;
use std::time::Duration;

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Until {
    /// The last write that its session knows of.
    Holds(Written),
    /// The end of these rounds of pulls, so that everything the peers had is here.
    Pulled(Vec<(PeerLink, u64)>),
    /// The outcome of this batch.
    Settled(u64),
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asked: Asked,
    pub(super) until: Until,
    /// When it is decided without what it waits for. A batch always has an outcome.
    pub(super) deadline: Option<Duration>,
}

impl Replica {
    /// Has a request wait, or sends it elsewhere when too many do.
    pub(super) fn park(&mut self, now: Now, waiting: Waiting, effects: &mut Vec<Effect>) {
        let bytes: usize = self.waiting.iter().map(|waiting| waiting.asked.bytes).sum();
        if self.waiting.len() >= WAITING_MAX || bytes.saturating_add(waiting.asked.bytes) > WAITING_BYTES_MAX
        {
            self.turn_away(now, waiting.asked.client, effects);
        } else {
            self.waiting.push(waiting);
        }
    }

    /// Serves the requests that have waited enough.
    pub(super) fn wake(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.waiting.is_empty() {
            return;
        }
        let (ready, waiting): (Vec<_>, Vec<_>) =
            mem::take(&mut self.waiting).into_iter().partition(|waiting| {
                self.has_come(&waiting.until) || waiting.deadline.is_some_and(|end| end <= now.monotonic)
            });
        self.waiting = waiting;
        for Waiting { mut asked, until, .. } in ready {
            match until {
                Until::Holds(written) if !self.history.holds(written.boot, written.seq) => {
                    self.turn_away(now, asked.client, effects);
                }
                Until::Holds(_) | Until::Settled(_) => self.serve(now, asked, effects),
                Until::Pulled(_) => {
                    asked.peers_asked = true;
                    self.serve(now, asked, effects);
                }
            }
        }
    }

    fn has_come(&self, until: &Until) -> bool {
        match until {
            Until::Holds(written) => self.history.holds(written.boot, written.seq),
            Until::Pulled(rounds) => {
                rounds.iter().all(|(link, round)| self.peers.has_finished(*link, *round))
            }
            Until::Settled(batch) => self.storage.is_settled(*batch),
        }
    }
}
