//! The coordinator's rounds, and what a member keeps of them.
//!
//! ```text
//! due --> each member is probed, a few times over --> all have answered, or time is up --> the mean --> each one's adjustment
//! ```
//!
//! A round ends by itself when somebody does not answer, and without effect when this server ceases to coordinate. A member remembers
//! what its clock said when it answered, so that an adjustment means the same whenever it comes; and it obeys one a round, for a
//! reading that it gave, in this boot.

use super::mean::{Mean, fault_tolerant_mean};
use super::{ErrorBound, Moment, Offset};
use crate::constants::{
    PROBE_TIME_MAX, PROBES_A_ROUND, QUICK_ENOUGH, READING_BOUND, READINGS_TO_TRUST, ROUND_INTERVAL_MIN,
    ROUND_TIME_MAX, ROUND_TRIPS_KEPT,
};
use crate::planted::{Plant, Planted};
use papo_protocol::ServerName;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoundOutcome {
    /// Every server that answered was told its adjustment.
    Adjusted,
    /// Too few answered to believe a correction as large as some would have needed: those were not told.
    Withheld,
    /// Most calendars do not agree with each other: nobody was adjusted.
    Disagreed,
    /// This server ceased to coordinate meanwhile.
    Abandoned,
}

impl RoundOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Adjusted, Self::Withheld, Self::Disagreed, Self::Abandoned];

    /// For metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adjusted => "adjusted",
            Self::Withheld => "withheld",
            Self::Disagreed => "disagreed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What the coordinator must send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoundStep {
    /// Ask this member what its clocks say.
    Probe { to: ServerName, token: u64 },
    /// Tell this member by how much its clock is behind what it should have said when it answered the probe of this token.
    Adjust { to: ServerName, token: u64, by: Offset, error: ErrorBound },
}

/// What a finished round came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Concluded {
    pub(crate) outcome: RoundOutcome,
    /// What to send.
    pub(crate) steps: Vec<RoundStep>,
    /// This server's own adjustment, of this very moment.
    pub(crate) own: Option<Offset>,
    /// What the calendars of the others say at the end of the round.
    pub(crate) readings: Vec<(ServerName, Moment)>,
    /// What they and this server's own agree on.
    pub(crate) mean: Option<Moment>,
    /// The largest error bound of those that were measured.
    pub(crate) error: ErrorBound,
}

/// What a server's own clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnClocks {
    pub(crate) monotonic: Duration,
    pub(crate) calendar: Moment,
    pub(crate) time: Moment,
}

/// When rounds are due, and the one under way.
#[derive(Debug)]
pub(crate) struct Rounds {
    every_operations: u64,
    every: Duration,
    /// Operations stored here since the last round began.
    operations: u64,
    /// Something happened that should not wait for long: a round is wanted from then on.
    wanted_at: Option<Duration>,
    last_began: Option<Duration>,
    last_token: u64,
    /// The quickest round trip to each server in its last rounds.
    round_trips: BTreeMap<ServerName, VecDeque<Duration>>,
    running: Option<Round>,
    pub(crate) plant: Plant,
}

#[derive(Debug)]
struct Round {
    began: Duration,
    members: BTreeMap<ServerName, Probing>,
    /// For a planted bug.
    counts_outliers: bool,
}

/// One member, as far as it has been probed.
#[derive(Debug)]
struct Probing {
    /// The probe that is not answered yet.
    asked: Option<(u64, Duration)>,
    /// How many more there will be.
    left: u8,
    best: Option<Measured>,
}

/// What a member's clocks said, as offsets from this server's monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Measured {
    token: u64,
    calendar: Offset,
    time: Offset,
    round_trip: Duration,
}

/// What became of a member's reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadingFate {
    /// It counts, unless a quicker one comes.
    Taken,
    /// Its round trip took too long to tell anything.
    TooSlow,
    /// Nobody asked for it, or no longer.
    Unasked,
}

impl Rounds {
    pub(crate) fn new(every_operations: u32, every: Duration) -> Self {
        Self {
            every_operations: every_operations.into(),
            every,
            operations: 0,
            wanted_at: None,
            last_began: None,
            last_token: 0,
            round_trips: BTreeMap::new(),
            running: None,
            plant: Plant::default(),
        }
    }

    /// So many operations were stored.
    pub(crate) fn note_operations(&mut self, count: usize) {
        self.operations = self.operations.saturating_add(count as u64);
    }

    /// Has a round begin soon: not at once, since whom it concerns may have to hear first who coordinates.
    pub(crate) fn want(&mut self, now: Duration) {
        self.wanted_at.get_or_insert(now + ROUND_INTERVAL_MIN);
    }

    /// When the next round begins if nothing happens, or the running one ends if nobody answers.
    pub(crate) fn next_tick(&self) -> Duration {
        if let Some(round) = &self.running {
            return round.began + ROUND_TIME_MAX;
        }
        let Some(last) = self.last_began else { return self.wanted_at.unwrap_or_default() };
        let soon = if self.operations >= self.every_operations { Some(last) } else { self.wanted_at };
        let regular = last + self.every;
        soon.map_or(regular, |soon| soon.max(last + ROUND_INTERVAL_MIN).min(regular))
    }

    /// Whether the next round is to begin.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.running.is_none() && self.next_tick() <= now
    }

    /// Begins a round with these members.
    pub(crate) fn begin(&mut self, now: Duration, members: Vec<ServerName>, steps: &mut Vec<RoundStep>) {
        (self.last_began, self.wanted_at, self.operations) = (Some(now), None, 0);
        let mut round = Round { began: now, members: BTreeMap::new(), counts_outliers: false };
        for to in members {
            let mut probing = Probing { asked: None, left: PROBES_A_ROUND, best: None };
            probing.ask_again(now, &to, &mut self.last_token, steps);
            round.members.insert(to, probing);
        }
        self.running = Some(round);
    }

    /// A member says what its clocks said at some moment between its probe and now: taken to be the middle.
    pub(crate) fn on_reading(
        &mut self,
        now: Duration,
        from: &ServerName,
        (token, calendar, time): (u64, Moment, Moment),
        steps: &mut Vec<RoundStep>,
    ) -> ReadingFate {
        let probing = self.running.as_mut().and_then(|round| round.members.get_mut(from));
        let Some(probing) = probing else { return ReadingFate::Unasked };
        let Some((_, sent)) = probing.asked.take_if(|(asked, _)| *asked == token) else {
            return ReadingFate::Unasked;
        };
        let round_trip = now.saturating_sub(sent);
        let least = self.round_trips.get(from).and_then(|kept| kept.iter().min());
        if least.is_none_or(|least| round_trip > *least + *least / QUICK_ENOUGH) {
            probing.ask_again(now, from, &mut self.last_token, steps);
        }
        if round_trip > PROBE_TIME_MAX {
            return ReadingFate::TooSlow;
        }
        let middle = sent + round_trip / 2;
        let from_monotonic = |moment: Moment| moment - Moment::default() - Offset::from(middle);
        let measured =
            Measured { token, calendar: from_monotonic(calendar), time: from_monotonic(time), round_trip };
        if probing.best.is_none_or(|best| round_trip < best.round_trip) {
            probing.best = Some(measured);
        }
        ReadingFate::Taken
    }

    /// Ends the round if everybody has answered, or time is up. A cluster of one server has nobody to contradict its calendar.
    pub(crate) fn conclude_when_due(&mut self, own: OwnClocks, is_cluster_of_one: bool) -> Option<Concluded> {
        let over = |round: &mut Round| {
            let is_late = own.monotonic >= round.began + ROUND_TIME_MAX;
            is_late || round.members.values().all(|member| member.asked.is_none())
        };
        let mut round = self.running.take_if(over)?;
        round.counts_outliers = self.plant.has(Planted::OutlierCounts);
        let noise = self.note_round_trips(&round);
        Some(round.conclude(own, &noise, is_cluster_of_one))
    }

    /// By how much what was measured may be wrong because something was busy: half of what the round trip took longer than it can. What
    /// it always takes is as long there as it is back, as far as anybody can tell.
    fn note_round_trips(&mut self, round: &Round) -> BTreeMap<ServerName, Duration> {
        self.round_trips.retain(|name, _| round.members.contains_key(name));
        let mut noise = BTreeMap::new();
        for (name, member) in &round.members {
            let Some(Measured { round_trip, .. }) = member.best else { continue };
            let kept = self.round_trips.entry(name.clone()).or_default();
            if kept.len() == ROUND_TRIPS_KEPT {
                kept.pop_front();
            }
            kept.push_back(round_trip);
            let least = kept.iter().copied().min().unwrap_or(round_trip);
            noise.insert(name.clone(), (round_trip - least) / 2);
        }
        noise
    }

    /// This server coordinates no longer, or only now: says whether that ended a round.
    pub(crate) fn begin_anew(&mut self, now: Duration) -> bool {
        self.wanted_at = Some(now + ROUND_INTERVAL_MIN);
        self.running.take().is_some()
    }
}

impl Probing {
    fn ask_again(&mut self, now: Duration, to: &ServerName, last: &mut u64, steps: &mut Vec<RoundStep>) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        *last += 1;
        self.asked = Some((*last, now));
        steps.push(RoundStep::Probe { to: to.clone(), token: *last });
    }
}

impl Round {
    fn conclude(
        self,
        own: OwnClocks,
        noise: &BTreeMap<ServerName, Duration>,
        is_cluster_of_one: bool,
    ) -> Concluded {
        let now = Offset::from(own.monotonic);
        let from_monotonic = |moment: Moment| moment - Moment::default() - now;
        let measured: Vec<_> =
            self.members.into_iter().filter_map(|(name, member)| Some((name, member.best?))).collect();
        let mut calendars: Vec<_> = measured.iter().map(|(_, measured)| measured.calendar).collect();
        calendars.push(from_monotonic(own.calendar));
        if self.counts_outliers {
            let sum: i64 = calendars.iter().map(|calendar| calendar.micros()).sum();
            let mean = Offset::from_micros(sum / i64::try_from(calendars.len()).unwrap_or(1));
            calendars.fill(mean);
        }

        let mut concluded = Concluded {
            outcome: RoundOutcome::Disagreed,
            steps: Vec::new(),
            own: None,
            readings: measured
                .iter()
                .map(|(name, measured)| (name.clone(), Moment::default() + (measured.calendar + now)))
                .collect(),
            mean: None,
            error: ErrorBound::of(
                measured.iter().map(|(_, measured)| measured.round_trip).max().unwrap_or_default(),
            ),
        };
        let Some(mean) = fault_tolerant_mean(&calendars).filter(Mean::is_majority) else {
            return concluded;
        };
        concluded.mean = Some(Moment::default() + (mean.value + now));
        concluded.outcome = RoundOutcome::Adjusted;
        let is_trusted = mean.of >= READINGS_TO_TRUST || is_cluster_of_one;
        let noise_of_mean = noise.values().sum::<Duration>() / u32::try_from(mean.of).unwrap_or(u32::MAX);
        let mut correction = |time: Offset, noise: Duration| {
            let by = mean.value - time;
            let is_believed = is_trusted || by.size() <= READING_BOUND;
            if !is_believed {
                concluded.outcome = RoundOutcome::Withheld;
            }
            // What may be no more than noise leaves a clock as it was measured in quieter times.
            let by = if by.size() <= noise + noise_of_mean { Offset::ZERO } else { by };
            is_believed.then_some(by)
        };
        for (to, Measured { token, time, round_trip, .. }) in measured {
            if let Some(by) = correction(time, noise.get(&to).copied().unwrap_or_default()) {
                concluded.steps.push(RoundStep::Adjust { to, token, by, error: ErrorBound::of(round_trip) });
            }
        }
        concluded.own = correction(from_monotonic(own.time), Duration::ZERO);
        concluded
    }
}

/// What this server's clock said when the coordinator last asked.
#[derive(Debug, Default)]
pub(crate) struct Readings(VecDeque<Given>);

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    token: u64,
    pub(crate) measured_at: Duration,
    pub(crate) said: Moment,
}

impl Readings {
    /// The clock said this at that moment, and the coordinator is told so.
    pub(crate) fn give(&mut self, token: u64, measured_at: Duration, said: Moment) {
        if self.0.len() == usize::from(PROBES_A_ROUND) {
            self.0.pop_front();
        }
        self.0.push_back(Given { token, measured_at, said });
    }

    /// The reading that an adjustment is about. It ends the round: no other adjustment is obeyed.
    pub(crate) fn take(&mut self, token: u64) -> Option<Given> {
        let given = self.0.iter().find(|given| given.token == token).copied()?;
        self.forget();
        Some(given)
    }

    /// Another coordinator's adjustments are for what it asks itself.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}
