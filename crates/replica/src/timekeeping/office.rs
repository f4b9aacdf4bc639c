//! A server's part in keeping time, whichever it has at the moment: it begins rounds, or answers those of the coordinator.

use super::clock::CalendarJumped;
use super::rounds::{Concluded, OwnClocks, ReadingFate, Readings, RoundStep, Rounds};
use super::{ErrorBound, KeptClock, Message, Moment, Offset, RoundOutcome, Timekeeper};
use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use papo_protocol::time::Now;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a server is where the time is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The only server of its cluster: it needs nobody's leave to follow its own calendar.
    Alone,
    /// The coordinator.
    Leads(Epoch),
    /// It obeys this coordinator.
    Obeys { coordinator: ServerName, epoch: Epoch },
    /// It knows of none: its clock runs on as it is.
    Nobody,
}

/// When rounds are due (row E06).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSync {
    /// After so many operations, the coordinator's own and those replicated to it.
    pub every_operations: u32,
    /// And after so long.
    pub every: Duration,
}

/// A round, as it is told to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundReport {
    /// How it ended.
    pub outcome: RoundOutcome,
    /// What each calendar says, this server's among them.
    pub readings: Vec<(ServerName, Moment)>,
    /// What they agree on, if they do.
    pub mean: Option<Moment>,
    /// By how much each server's time was corrected.
    pub adjustments: Vec<(ServerName, Offset)>,
    /// By how much any of these may be wrong.
    pub error: ErrorBound,
}

/// A server's clock, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStatus {
    /// The time.
    pub time: Moment,
    /// By how much it is ahead of this machine's calendar.
    pub offset: Offset,
    /// By how much it is ahead of what it should be, and so runs at half rate.
    pub ahead: Offset,
    /// By how much the last adjustment may have been wrong, and how long ago that was; `None` until there was one.
    pub adjusted: Option<(ErrorBound, Duration)>,
}

/// All that a server knows of the time.
#[derive(Debug)]
pub struct Timekeeping {
    name: ServerName,
    clock: Timekeeper,
    rounds: Rounds,
    readings: Readings,
    place: Place,
    adjusted: Option<(ErrorBound, Duration)>,
    last_round: Option<RoundReport>,
    counts: BTreeMap<RoundOutcome, u64>,
    probes_discarded: u64,
    ignored: u64,
}

impl Timekeeping {
    /// Starts from what is stored.
    pub(crate) fn new(name: ServerName, now: Now, kept: KeptClock, sync: ClockSync) -> Self {
        Self {
            name,
            clock: Timekeeper::starting(now, kept),
            rounds: Rounds::new(sync.every_operations, sync.every),
            readings: Readings::default(),
            place: Place::Nobody,
            adjusted: None,
            last_round: None,
            counts: RoundOutcome::ALL.into_iter().map(|outcome| (outcome, 0)).collect(),
            probes_discarded: 0,
            ignored: 0,
        }
    }

    /// Plants a bug.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn plant(&mut self, bug: crate::planted::Planted) {
        self.clock.plant.bug = Some(bug);
        self.rounds.plant.bug = Some(bug);
    }

    /// Turns what the machine's clocks say into the time to stamp with.
    pub(crate) fn read(&mut self, machine: Now) -> Now {
        let (now, CalendarJumped(jumped)) = self.clock.read(machine);
        if jumped {
            tracing::warn!(
                offset_micros = self.clock.offset().micros(),
                "this machine's calendar was set, or the machine slept"
            );
            self.rounds.want(now.monotonic);
        }
        now
    }

    pub(crate) fn clock(&self) -> &Timekeeper {
        &self.clock
    }

    pub(crate) fn clock_mut(&mut self) -> &mut Timekeeper {
        &mut self.clock
    }

    /// The clock at this moment.
    pub(crate) fn status(&self, monotonic: Duration) -> ClockStatus {
        ClockStatus {
            time: self.clock.at(monotonic),
            offset: self.clock.offset(),
            ahead: self.clock.ahead(monotonic),
            adjusted: self.adjusted.map(|(error, at)| (error, monotonic.saturating_sub(at))),
        }
    }

    /// The last round that this server held.
    #[must_use]
    pub fn last_round(&self) -> Option<&RoundReport> {
        self.last_round.as_ref()
    }

    /// Rounds that this server held, by outcome.
    pub fn counts(&self) -> impl Iterator<Item = (RoundOutcome, u64)> {
        self.counts.iter().map(|(outcome, count)| (*outcome, *count))
    }

    /// Answers to probes that came too late to tell anything.
    #[must_use]
    pub fn probes_discarded(&self) -> u64 {
        self.probes_discarded
    }

    /// Messages about the time that were not obeyed: of somebody who does not coordinate, or about nothing that was asked or said.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// So many operations were stored.
    pub(crate) fn note_operations(&mut self, count: usize) {
        self.rounds.note_operations(count);
    }

    /// A server was linked: it has not been asked of late.
    pub(crate) fn on_linked(&mut self, now: Duration) {
        self.rounds.want(now);
    }

    /// This is this server's place now. To be told before anything else.
    pub(crate) fn on_place(&mut self, now: Duration, place: Place) {
        if self.place == place {
            return;
        }
        self.place = place;
        self.readings.forget();
        if self.rounds.begin_anew(now) {
            self.count(RoundOutcome::Abandoned);
        }
    }

    fn count(&mut self, outcome: RoundOutcome) {
        *self.counts.entry(outcome).or_default() += 1;
    }

    /// When a round is to begin or end, at the latest.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        self.holds_rounds().then(|| self.rounds.next_tick())
    }

    /// Takes a message of another server.
    pub(crate) fn on_message(
        &mut self,
        now: Duration,
        from: &ServerName,
        message: Message,
    ) -> Vec<(ServerName, Message)> {
        match message {
            Message::Probe { epoch, token } if self.obeys(from, epoch) => {
                let time = self.clock.at(now);
                self.readings.give(token, now, time);
                vec![(from.clone(), Message::Reading { token, calendar: self.clock.calendar(), time })]
            }
            Message::Adjust { epoch, token, by, error } if self.obeys(from, epoch) => {
                match self.readings.take(token) {
                    Some(given) => {
                        self.clock.adjust(now, given.measured_at, given.said, by);
                        self.adjusted = Some((ErrorBound::of(Duration::from_micros(error) * 2), now));
                    }
                    None => self.ignored += 1,
                }
                Vec::new()
            }
            Message::Reading { token, calendar, time } => {
                let mut steps = Vec::new();
                match self.rounds.on_reading(now, from, (token, calendar, time), &mut steps) {
                    ReadingFate::Taken => {}
                    ReadingFate::TooSlow => self.probes_discarded += 1,
                    ReadingFate::Unasked => self.ignored += 1,
                }
                self.messages(steps)
            }
            Message::Probe { .. } | Message::Adjust { .. } => {
                self.ignored += 1;
                Vec::new()
            }
        }
    }

    fn obeys(&self, from: &ServerName, of: Epoch) -> bool {
        matches!(&self.place, Place::Obeys { coordinator, epoch } if coordinator == from && *epoch == of)
    }

    fn holds_rounds(&self) -> bool {
        match self.place {
            Place::Alone | Place::Leads(_) => true,
            Place::Obeys { .. } | Place::Nobody => false,
        }
    }

    /// Whether this server is to begin a round.
    pub(crate) fn round_is_due(&self, now: Duration) -> bool {
        self.holds_rounds() && self.rounds.is_due(now)
    }

    /// Begins a round with these servers.
    pub(crate) fn begin_round(
        &mut self,
        now: Duration,
        others: Vec<ServerName>,
    ) -> Vec<(ServerName, Message)> {
        let mut steps = Vec::new();
        self.rounds.begin(now, others, &mut steps);
        self.messages(steps)
    }

    /// Ends the round under way if it is over, and says what came of it.
    pub(crate) fn end_round(&mut self, now: Duration) -> Option<(Vec<(ServerName, Message)>, RoundReport)> {
        let own = OwnClocks { monotonic: now, calendar: self.clock.calendar(), time: self.clock.at(now) };
        let concluded = self.rounds.conclude_when_due(own, self.place == Place::Alone)?;
        let report = self.report(&concluded);
        if let Some(by) = concluded.own {
            self.clock.adjust(now, now, own.time, by);
            // Others are measured against this server, which is exactly where it is.
            self.adjusted = Some((ErrorBound::default(), now));
        }
        self.count(concluded.outcome);
        self.last_round = Some(report.clone());
        Some((self.messages(concluded.steps), report))
    }

    fn report(&self, concluded: &Concluded) -> RoundReport {
        let own = concluded.own.map(|by| (self.name.clone(), by));
        let others = concluded.steps.iter().filter_map(|step| match step {
            RoundStep::Adjust { to, by, .. } => Some((to.clone(), *by)),
            RoundStep::Probe { .. } => None,
        });
        let mut readings = concluded.readings.clone();
        readings.push((self.name.clone(), self.clock.calendar()));
        RoundReport {
            outcome: concluded.outcome,
            readings,
            mean: concluded.mean,
            adjustments: others.chain(own).collect(),
            error: concluded.error,
        }
    }

    fn messages(&self, steps: Vec<RoundStep>) -> Vec<(ServerName, Message)> {
        // A server alone asks nobody.
        let Place::Leads(epoch) = self.place else { return Vec::new() };
        let message = |step| match step {
            RoundStep::Probe { to, token } => (to, Message::Probe { epoch, token }),
            RoundStep::Adjust { to, token, by, error } => {
                let error = u64::try_from(error.get().as_micros()).unwrap_or(u64::MAX);
                (to, Message::Adjust { epoch, token, by, error })
            }
        };
        steps.into_iter().map(message).collect()
    }
}
