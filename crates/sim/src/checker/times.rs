//! Invariant 5: the cluster's time, as it is given out, never runs backwards on a server, across restarts too; it follows no liar; and
//! after two rounds the servers agree on it.

use super::{Checker, Invariant};
use crate::clock::{CALENDAR_OFF_MAX, MILLISECOND, Micros, SECOND, calendar_at};
use papo_protocol::Boot;
use papo_replica::Moment;
use papo_replica::timekeeping::ClockStatus;
use std::collections::BTreeMap;

/// What is told at the end of a round is done after so long, on any link.
const ADJUSTED_WITHIN: Micros = 2 * SECOND;
/// By how much two clocks may differ that were measured over links of at most 200 ms there and back: each by half of that.
const ERROR_MAX: Micros = 200 * MILLISECOND;
/// And by how much more, of the time since, as clocks run that gain or lose 1 %.
const DRIFT_PART: Micros = 40;
/// How far the time may be from the truth: as far as an honest calendar, and a calendar that is only just believed beside it.
const ASTRAY_MAX: i64 = (CALENDAR_OFF_MAX + 10_000 + 3_000) * 1000;

/// Everything that was seen of times.
#[derive(Debug, Default)]
pub struct Times {
    /// The last time that each server gave out, and the last that an operation bears which it took.
    given_out: BTreeMap<usize, (Moment, i64)>,
    /// Rounds one after the other in which one server measured all others, and when the last one ended.
    rounds: Option<(Boot, u32, Micros)>,
}

impl Times {
    /// A server does not know any more what it gave out.
    pub fn on_forgotten(&mut self, server: usize) {
        self.given_out.remove(&server);
    }

    /// Clocks may differ again.
    pub fn on_disturbed(&mut self) {
        self.rounds = None;
    }

    /// A round ended, in which all were measured or not.
    pub fn on_round(&mut self, at: Micros, boot: Boot, with_all: bool) {
        let before = self.rounds.filter(|(of, ..)| *of == boot).map_or(0, |(_, rounds, _)| rounds);
        self.rounds = with_all.then_some((boot, before + 1, at));
    }
}

impl Checker {
    /// A server gives this time out.
    pub fn on_time(&mut self, at: Micros, server: usize, time: Moment) {
        let (before, _) = self.times.given_out.entry(server).or_default();
        let earlier = (time < *before).then_some(*before);
        *before = time.max(*before);
        if let Some(before) = earlier {
            self.violate(at, Invariant::Time, || {
                let by = before.micros() - time.micros();
                format!("server-{} gives out a time {by} us before the last one", server + 1)
            });
        }
    }

    /// A server stamps an operation that it took, in milliseconds.
    pub fn on_stamp(&mut self, at: Micros, server: usize, stamp: i64) {
        let (_, before) = self.times.given_out.entry(server).or_default();
        let earlier = (stamp < *before).then_some(*before);
        *before = stamp.max(*before);
        if let Some(before) = earlier {
            self.violate(at, Invariant::Time, || {
                format!("server-{} stamps an operation with {stamp}, after {before}", server + 1)
            });
        }
    }

    /// Compares the clocks of all servers whose calendars are honest. Says whether they are known to agree.
    pub fn on_clocks(&mut self, at: Micros, clocks: &[(usize, ClockStatus)]) -> bool {
        let truth = calendar_at(at);
        let should = |clock: &ClockStatus| clock.time.micros() - clock.ahead.micros();
        let astray = clocks.iter().find(|(_, clock)| (should(clock) - truth).abs() > ASTRAY_MAX);
        if let Some((server, clock)) = astray {
            let by = should(clock) - truth;
            self.violate(at, Invariant::Time, || {
                format!("server-{} takes the time to be {by} us from what it is", server + 1)
            });
        }
        let Some((_, rounds, ended)) = self.times.rounds else { return false };
        if rounds < 2 || ended + ADJUSTED_WITHIN > at {
            return false;
        }
        let times = clocks.iter().map(|(_, clock)| should(clock));
        let spread = times.clone().max().unwrap_or(0).abs_diff(times.min().unwrap_or(0));
        if spread > ERROR_MAX + (at - ended) / DRIFT_PART + SECOND / DRIFT_PART {
            self.violate(at, Invariant::Time, || {
                format!("after two rounds the servers differ by {spread} us on what time it is")
            });
        }
        true
    }
}
