//! The clock of one server. It is anchored on the machine's monotonic clock, and so what happens to the machine's calendar while the
//! process lives (somebody sets it, NTP steps it) moves nothing by itself; a round of the coordinator does.
//!
//! | it is | then it |
//! | --- | --- |
//! | behind | steps forward |
//! | ahead | runs at half rate until level; so it never runs backwards |
//!
//! **Across restarts** too: no time is given out that lies above a ceiling on disk, and a start begins no earlier than there. A start
//! after a crash therefore begins up to a lease of the ceiling ahead, and is level after twice as long; a graceful stop stores what was
//! really given out. A ceiling far ahead, because a calendar once was wrong, costs the same way: the clock runs at half rate, and
//! [`Timekeeper::ahead`] says for how much longer.
//!
//! **A machine that was suspended**: its monotonic clock stood still, its calendar did not. Time is behind until the next round, which
//! the coordinator begins as soon as its own calendar jumped, or a server's link is new.

use super::{Moment, Offset};
use crate::constants::CALENDAR_JUMP;
use crate::planted::{Plant, Planted};
use papo_protocol::time::Now;
use std::time::Duration;

/// What a restart must know of the clock. The host has it on disk before it lets a time out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptClock {
    /// No time above this was ever given out.
    pub ceiling: Moment,
    /// By how much the cluster's time is ahead of this machine's calendar.
    pub offset: Offset,
}

/// One server's clock.
#[derive(Debug)]
pub struct Timekeeper {
    /// When it was set last, on the monotonic clock.
    set_at: Duration,
    /// What it said then.
    time: Moment,
    /// By how much that was ahead of what it should have said; never negative.
    ahead: Offset,
    /// What the machine's calendar said when it was last read, and when that was.
    calendar: Moment,
    calendar_read_at: Duration,
    /// The newest time that anybody outside was told.
    given_out: Moment,
    pub(crate) plant: Plant,
}

impl Timekeeper {
    /// A clock that starts now, no earlier than any time that was given out before.
    #[must_use]
    pub fn starting(now: Now, kept: KeptClock) -> Self {
        let calendar = Moment::from(now.unix);
        let mut clock = Self {
            set_at: now.monotonic,
            time: calendar + kept.offset,
            ahead: Offset::ZERO,
            calendar,
            calendar_read_at: now.monotonic,
            given_out: kept.ceiling,
            plant: Plant::default(),
        };
        clock.rise_above(now.monotonic, kept.ceiling);
        clock
    }

    /// Turns what the machine's clocks say into the time to stamp with. Says whether the calendar jumped since the last reading.
    pub(crate) fn read(&mut self, machine: Now) -> (Now, CalendarJumped) {
        let calendar = Moment::from(machine.unix);
        let since = machine.monotonic.saturating_sub(self.calendar_read_at);
        let expected = self.calendar + Offset::from(since);
        (self.calendar, self.calendar_read_at) = (calendar, machine.monotonic);
        let jumped = (calendar - expected).size() > CALENDAR_JUMP;
        let now = Now { monotonic: machine.monotonic, unix: self.at(machine.monotonic).millis() };
        (now, CalendarJumped(jumped))
    }

    /// The time at this moment of the monotonic clock, which must not lie before the last adjustment.
    #[must_use]
    pub fn at(&self, monotonic: Duration) -> Moment {
        let passed = self.passed(monotonic);
        // Half rate holds back half of what has passed, until all that it was ahead is held back.
        self.time + (passed - self.held_back(passed))
    }

    /// By how much it is ahead of what it should say, on its way to being level.
    #[must_use]
    pub fn ahead(&self, monotonic: Duration) -> Offset {
        self.ahead - self.held_back(self.passed(monotonic))
    }

    fn passed(&self, monotonic: Duration) -> Offset {
        Offset::from(monotonic.saturating_sub(self.set_at))
    }

    fn held_back(&self, passed: Offset) -> Offset {
        Offset::from_micros(passed.micros() / 2).min(self.ahead)
    }

    /// What the machine's calendar said when it was last read.
    #[must_use]
    pub fn calendar(&self) -> Moment {
        self.calendar
    }

    /// By how much the time that it should say is ahead of the machine's calendar.
    #[must_use]
    pub fn offset(&self) -> Offset {
        let at = self.calendar_read_at;
        self.at(at) - self.calendar - self.ahead(at)
    }

    /// At a moment of the monotonic clock it said `said`, and should have said `by` more. However late one hears of it, and however
    /// often, the clock becomes the same.
    pub(crate) fn adjust(&mut self, now: Duration, measured_at: Duration, said: Moment, by: Offset) {
        self.aim_at(now, said + (by + Offset::from(now.saturating_sub(measured_at))));
    }

    /// A time was given out, by this boot or an earlier one, and none may be earlier. What that puts it ahead, it loses again.
    pub(crate) fn rise_above(&mut self, now: Duration, floor: Moment) {
        let time = self.at(now);
        if floor > time {
            self.ahead = self.ahead(now) + (floor - time);
            (self.set_at, self.time) = (now, floor);
        }
    }

    /// The time that should be said now is `target`.
    fn aim_at(&mut self, now: Duration, target: Moment) {
        let time = self.at(now);
        (self.set_at, self.time) = (now, time.max(target));
        if self.plant.has(Planted::ClockStepsBack) {
            self.time = target;
        }
        self.ahead = self.time - target;
    }

    /// Somebody outside is told a time of this moment.
    pub(crate) fn give_out(&mut self, monotonic: Duration) {
        self.given_out = self.given_out.max(self.at(monotonic));
    }

    /// What the disk must have before what was given out leaves this process: a ceiling no lower, and this offset.
    #[must_use]
    pub fn kept(&self) -> KeptClock {
        KeptClock { ceiling: self.given_out, offset: self.offset() }
    }
}

/// Whether the machine's calendar went another way than its monotonic clock: it was set, or the machine was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalendarJumped(pub(crate) bool);
