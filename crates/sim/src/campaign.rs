//! Many seeds, on several threads, and what came of them all.

use crate::bug::Bug;
use crate::checker::Violation;
use crate::plan::{FaultKind, Plan};
use crate::world::{Outcome, World};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many seeds together must take every rare path.
pub const SEEDS_FOR_ALL_PATHS: u64 = 1000;

/// Paths that are rare, and worth nothing to a check that never comes by.
const RARE_PATHS: [&str; 46] = [
    "worlds_of_3_servers",
    "worlds_of_5_servers",
    "worlds_of_durability_local",
    "worlds_of_durability_majority",
    "worlds_of_durability_all",
    "asked_once",
    "asked_once_in_json",
    "asked_with_retries",
    "asked_with_retries_in_json",
    "absence_checked",
    "batch_committed_at_crash",
    "batch_lost_at_crash",
    "batches_refused",
    "claims_held",
    "claims_superseded",
    "claims_too_soon",
    "client_repeated",
    "clocks_compared",
    "clocks_ignored",
    "cursor_pages",
    "deposed",
    "elections_failed",
    "elections_lost",
    "elections_taken_over",
    "elections_won",
    "elsewhere",
    "epochs_granted",
    "fsync_failed",
    "garbage_refused",
    "group_commit",
    "hand_over_failed",
    "handed_over",
    "last_resort",
    "late_replies",
    "member_joined",
    "member_left",
    "publications_deduped",
    "publications_sent_again",
    "redispatched",
    "reference_silent",
    "rounds_adjusted",
    "rounds_disagreed",
    "server_left",
    "twins_hidden",
    "unknown",
    "volume_harmed",
];

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// Their events.
    pub events: u64,
    /// Those of the seed that had the fewest, save those that failed.
    pub events_min: Option<u64>,
    /// Faults by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Rare paths.
    pub coverage: BTreeMap<&'static str, u64>,
    /// Seeds that failed.
    pub failures: BTreeMap<u64, Violation>,
}

impl Totals {
    /// Kinds of fault and rare paths that never came.
    #[must_use]
    pub fn never_came(&self) -> Vec<&'static str> {
        let faults = FaultKind::ALL.into_iter().filter(|kind| !self.faults.contains_key(kind));
        let paths = RARE_PATHS.into_iter().filter(|path| !self.coverage.contains_key(path));
        faults.map(FaultKind::name).chain(paths).collect()
    }

    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        for (kind, count) in outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (path, count) in outcome.coverage {
            *self.coverage.entry(path).or_default() += count;
        }
        if let Some(violation) = outcome.violation {
            self.failures.insert(seed, violation);
        } else {
            self.events_min =
                Some(self.events_min.map_or(outcome.events, |fewest| fewest.min(outcome.events)));
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fewest = self.events_min.unwrap_or(0);
        writeln!(f, "{} seeds, {} events, at least {fewest} a seed", self.seeds, self.events)?;
        let list = |f: &mut fmt::Formatter<'_>, title: &str, counts: Vec<(&str, u64)>| {
            write!(f, "{title}:")?;
            for (name, count) in counts {
                write!(f, " {name}={count}")?;
            }
            writeln!(f)
        };
        list(f, "faults", self.faults.iter().map(|(kind, count)| (kind.name(), *count)).collect())?;
        list(f, "covered", self.coverage.iter().map(|(path, count)| (*path, *count)).collect())?;
        for (seed, violation) in &self.failures {
            writeln!(f, "seed {seed} fails: {violation}")?;
        }
        Ok(())
    }
}

/// Runs `seeds` from `start` on, on so many threads. `on_seed` sees the totals after each; when it says that this is enough, those
/// that run are finished, so that no seed is left out below the last.
#[must_use]
pub fn run(
    start: u64,
    seeds: u64,
    threads: usize,
    bug: Option<Bug>,
    on_seed: impl Fn(&Totals) -> ControlFlow<()> + Sync,
) -> Totals {
    let next = AtomicU64::new(start);
    let enough = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= start.saturating_add(seeds) {
                        return;
                    }
                    let outcome = World::run(&Plan::of(seed), bug, false);
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    totals.add(seed, outcome);
                    if on_seed(&totals).is_break() {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    totals.into_inner().unwrap_or_else(PoisonError::into_inner)
}
