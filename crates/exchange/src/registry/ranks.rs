//! Ranks, which are as lasting as there is room for them, and heartbeats, which expire (rows F01-F05).
//!
//! Members are known from the settings: `server-n` has rank n and always finds room. Any other name gets the next rank above all others.
//! Of those there are at most [`FOREIGN_NAMES_MAX`]; when that many are known, one that has not been heard for the expiry is
//! forgotten for a new one.

use crate::Now;
use crate::constants::FOREIGN_NAMES_MAX;
use papo_protocol::ServerName;
use papo_protocol::reference::{ListedServer, Registration};
use papo_protocol::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A new name finds no room.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FOREIGN_NAMES_MAX} other servers are registered already: reuse a name, or wait until one expires")]
pub(super) struct NoRoom;

/// What a heartbeat gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ranked {
    pub(super) rank: u32,
    /// Names that were forgotten for this one.
    pub(super) forgotten: u64,
}

/// The table.
#[derive(Debug)]
pub(super) struct Ranks {
    known: BTreeMap<ServerName, Known>,
    members: BTreeSet<ServerName>,
    expiry: Duration,
    /// Counts up whenever a name gets or loses a rank.
    changes: u64,
}

/// What is known of a name.
#[derive(Debug)]
struct Known {
    rank: u32,
    /// By the clock that deadlines are counted on. Who was stored counts as heard at the start: it needs the time to say so again.
    heard: Duration,
    /// Its last heartbeat since the start.
    beat: Option<(Registration, UnixMillis)>,
}

impl Ranks {
    pub(super) fn new(stored: BTreeMap<ServerName, u32>, expiry: Duration, now: Duration) -> Self {
        let known = |(name, rank)| (name, Known { rank, heard: now, beat: None });
        Self { known: stored.into_iter().map(known).collect(), members: BTreeSet::new(), expiry, changes: 0 }
    }

    /// A member named `x-n` has rank n from now on; another name that held this rank gets a new one when it registers again.
    pub(super) fn set_members<'a>(&mut self, members: impl Iterator<Item = &'a ServerName>, now: Duration) {
        self.members = members.cloned().collect();
        for member in &self.members {
            let Some(rank) = ordinal(member) else { continue };
            if self.known.get(member).is_some_and(|known| known.rank == rank) {
                continue;
            }
            self.known.retain(|_, known| known.rank != rank);
            let known = self.known.entry(member.clone()).or_insert(Known { rank, heard: now, beat: None });
            known.rank = rank;
            self.changes += 1;
        }
    }

    /// Registers a server or hears from it again.
    pub(super) fn beat(&mut self, registration: Registration, now: Now) -> Result<Ranked, NoRoom> {
        let mut forgotten = 0;
        if !self.known.contains_key(&registration.name) {
            forgotten = self.register(&registration.name, now.monotonic)?;
        }
        let known = self.known.get_mut(&registration.name).ok_or(NoRoom)?;
        known.heard = now.monotonic;
        known.beat = Some((registration, now.unix));
        Ok(Ranked { rank: known.rank, forgotten })
    }

    /// Gives a new name a rank, and says how many others were forgotten for it.
    fn register(&mut self, name: &ServerName, now: Duration) -> Result<u64, NoRoom> {
        let mut forgotten = 0;
        if !self.members.contains(name) {
            while self.foreign().count() >= FOREIGN_NAMES_MAX {
                self.forget_one(now)?;
                forgotten += 1;
            }
        }
        let highest = self.known.values().map(|known| known.rank).max().unwrap_or(0);
        let rank = highest.checked_add(1).ok_or(NoRoom)?;
        self.known.insert(name.clone(), Known { rank, heard: now, beat: None });
        self.changes += 1;
        Ok(forgotten)
    }

    /// Forgets who has been silent for longest, if for at least the expiry.
    fn forget_one(&mut self, now: Duration) -> Result<(), NoRoom> {
        let (name, known) = self.foreign().min_by_key(|(_, known)| known.heard).ok_or(NoRoom)?;
        if now.saturating_sub(known.heard) < self.expiry {
            return Err(NoRoom);
        }
        let name = name.clone();
        self.known.remove(&name);
        self.changes += 1;
        Ok(())
    }

    fn foreign(&self) -> impl Iterator<Item = (&ServerName, &Known)> {
        self.known.iter().filter(|(name, _)| !self.members.contains(*name))
    }

    /// Servers heard within the expiry, by rank.
    pub(super) fn list(&self, now: Duration) -> Vec<ListedServer> {
        let mut list: Vec<ListedServer> = self.alive(now).collect();
        list.sort_by_key(|server| server.rank);
        list
    }

    /// How many these are.
    pub(super) fn listed(&self, now: Duration) -> usize {
        self.alive(now).count()
    }

    fn alive(&self, now: Duration) -> impl Iterator<Item = ListedServer> {
        self.known.values().filter_map(move |known| {
            let (registration, last_beat) = known.beat.as_ref()?;
            let alive = now.saturating_sub(known.heard) < self.expiry;
            alive.then(|| ListedServer {
                registration: registration.clone(),
                rank: known.rank,
                last_beat: *last_beat,
            })
        })
    }

    /// Each name's rank.
    pub(super) fn stored(&self) -> BTreeMap<ServerName, u32> {
        self.known.iter().map(|(name, known)| (name.clone(), known.rank)).collect()
    }

    /// Tells whether [`Self::stored`] gives something new.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }
}

/// The number behind the last dash: the rank of a member.
fn ordinal(name: &ServerName) -> Option<u32> {
    name.as_str().rsplit_once('-')?.1.parse().ok().filter(|rank| *rank > 0)
}
