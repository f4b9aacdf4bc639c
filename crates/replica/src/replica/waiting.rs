//! Requests that cannot be decided yet. What may exist elsewhere is waited for before it is refused as absent; what is on its way
//! to the disk, or held and not yet shown, is waited for before it counts. Bounded: a request that finds no room goes elsewhere.

use super::requests::Asked;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::{WAITING_BYTES_MAX, WAITING_MAX};
use crate::session::Seen;
use crate::vector::VersionVector;
use papo_protocol::Identity;
use papo_protocol::reply::{Code, Refusal, Reply};
use std::mem;
use std::time::Duration;

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Until {
    /// All that its session has seen.
    Seen(Vec<Seen>),
    /// The end of these rounds of pulls, so that everything the peers had is here.
    Pulled(Vec<(PeerLink, u64)>),
    /// The same write, which is on its way: until it is shown, or given up.
    Decided(Identity),
    /// A login or a creation under this name, which is on its way: until it is shown, or given up.
    Named(String),
    /// All that its cursor covers.
    Covered(VersionVector),
    /// That this server has caught up since its start.
    Started,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asked: Asked,
    pub(super) until: Until,
    /// When it is decided without what it waits for.
    pub(super) deadline: Duration,
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
        let (ready, waiting): (Vec<_>, Vec<_>) = mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.deadline <= now.monotonic || self.has_come(now, &waiting.until));
        self.waiting = waiting;
        for Waiting { mut asked, until, .. } in ready {
            let has_come = self.has_come(now, &until);
            match until {
                Until::Seen(_) | Until::Named(_) | Until::Started if !has_come => {
                    self.turn_away(now, asked.client, effects);
                }
                Until::Decided(_) if !has_come => self.answer_unknown(now, asked.client, effects),
                Until::Covered(_) if !has_come => {
                    let text = "this server does not show yet all that the cursor covers: repeat the request";
                    let refusal = Refusal { code: Code::CursorAhead, text: text.to_owned(), retry: true };
                    self.answer(now, asked.client, &Reply::Refused(refusal), effects);
                }
                Until::Pulled(_) => {
                    asked.peers_asked = true;
                    self.serve(now, asked, effects);
                }
                Until::Started => self.admit(now, asked, effects),
                Until::Seen(_) | Until::Named(_) | Until::Decided(_) | Until::Covered(_) => {
                    self.serve(now, asked, effects);
                }
            }
        }
    }

    fn has_come(&self, now: Now, until: &Until) -> bool {
        match until {
            Until::Seen(seen) => seen.iter().all(|seen| self.history.shows(seen.boot, seen.seq)),
            Until::Pulled(rounds) => {
                rounds.iter().all(|(link, round)| self.peers.has_finished(*link, *round))
            }
            Until::Decided(identity) => !self.is_undecided(identity),
            Until::Named(name) => !self.is_unsettled(name),
            Until::Covered(have) => self.history.shown().covers_all(have),
            Until::Started => self.may_read(now),
        }
    }
}
