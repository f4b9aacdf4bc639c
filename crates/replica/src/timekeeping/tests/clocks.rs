//! One clock: what it says, whatever happens to it.

use super::*;
use crate::constants::CALENDAR_JUMP;
use crate::timekeeping::clock::CalendarJumped;
use crate::timekeeping::moment::LAST;
use proptest::prelude::*;

fn started(at: Duration) -> Timekeeper {
    Timekeeper::starting(now(at, BEGINNING), KeptClock::default())
}

/// Has it corrected by so much of what it says now.
fn correct(clock: &mut Timekeeper, at: Duration, seconds: i64) {
    let said = clock.at(at);
    clock.adjust(at, at, said, Offset::from_micros(seconds * 1_000_000));
}

fn seconds_since_the_beginning(clock: &Timekeeper, at: Duration) -> f64 {
    (clock.at(at).micros() - BEGINNING) as f64 / 1e6
}

#[test]
fn e07_what_is_behind_steps_forward_and_what_is_ahead_runs_at_half_rate() {
    let mut clock = started(Duration::ZERO);
    correct(&mut clock, SECOND, 5);
    assert_eq!(seconds_since_the_beginning(&clock, SECOND), 6.0);
    correct(&mut clock, SECOND, -5);
    for (at, says) in [(1, 6.0), (3, 7.0), (5, 8.0), (11, 11.0), (20, 20.0)] {
        assert_eq!(seconds_since_the_beginning(&clock, at * SECOND), says, "after {at} s");
    }
    assert_eq!(clock.ahead(3 * SECOND), Offset::from_micros(4_000_000));
    assert_eq!(clock.ahead(11 * SECOND), Offset::ZERO);
}

#[test]
fn an_adjustment_means_the_same_however_late_and_however_often_it_comes() {
    let (mut prompt, mut late) = (started(Duration::ZERO), started(Duration::ZERO));
    let by = Offset::from_micros(-3_000_000);
    let said = prompt.at(SECOND);
    prompt.adjust(SECOND, SECOND, said, by);
    late.adjust(2 * SECOND, SECOND, said, by);
    late.adjust(3 * SECOND, SECOND, said, by);
    assert!(late.at(3 * SECOND) > prompt.at(3 * SECOND));
    assert_eq!(late.at(9 * SECOND), prompt.at(9 * SECOND));
    assert_eq!(seconds_since_the_beginning(&late, 9 * SECOND), 6.0);
}

#[test]
fn a_calendar_that_is_set_moves_nothing_by_itself_and_is_noticed() {
    let mut clock = started(Duration::ZERO);
    let hour = 3_600_000_000;
    for (at, calendar, jumped) in [(1, SECOND, false), (2, 2 * SECOND, false), (3, 3600 * SECOND, true)] {
        let (read, noticed) = clock.read(now(at * SECOND, BEGINNING + micros(calendar)));
        assert_eq!(read.unix, UnixMillis(BEGINNING / 1000 + i64::from(at) * 1000));
        assert_eq!(noticed, CalendarJumped(jumped));
    }
    let (_, noticed) = clock.read(now(4 * SECOND, BEGINNING + hour + micros(SECOND)));
    assert_eq!(noticed, CalendarJumped(false), "once");
    assert_eq!(clock.offset(), Offset::from_micros(4_000_000 - hour - 1_000_000));
}

#[test]
fn a_start_after_a_calendar_was_set_back_begins_where_the_last_one_ended() {
    let kept = KeptClock { ceiling: Moment::from(BEGINNING + 60_000_000), offset: Offset::ZERO };
    let clock = Timekeeper::starting(now(SECOND, BEGINNING), kept);
    assert_eq!(clock.at(SECOND), kept.ceiling);
    assert_eq!(clock.ahead(SECOND), Offset::from_micros(60_000_000));
    assert_eq!(clock.ahead(61 * SECOND), Offset::from_micros(30_000_000));
    assert_eq!(clock.ahead(121 * SECOND), Offset::ZERO);
    assert_eq!(seconds_since_the_beginning(&clock, 121 * SECOND), 120.0);
}

#[test]
fn a_start_keeps_the_offset_that_the_cluster_agreed_on() {
    let kept = KeptClock { ceiling: Moment::from(BEGINNING), offset: Offset::from_micros(7_000_000) };
    let clock = Timekeeper::starting(now(SECOND, BEGINNING), kept);
    assert_eq!(seconds_since_the_beginning(&clock, SECOND), 7.0);
    assert_eq!(clock.offset(), kept.offset);
}

#[test]
fn absurd_calendars_are_held_for_the_first_or_the_last_moment() {
    for (millis, read) in [(i64::MIN, 0), (-1, 0), (i64::MAX, LAST)] {
        let absurd = Now { monotonic: SECOND, unix: UnixMillis(millis) };
        let mut clock = Timekeeper::starting(absurd, KeptClock::default());
        assert_eq!(clock.at(SECOND).micros(), read);
        clock.adjust(SECOND, SECOND, Moment::from(i64::MAX), Offset::from_micros(i64::MAX));
        clock.adjust(Duration::MAX, SECOND, Moment::from(i64::MIN), Offset::from_micros(i64::MIN));
        assert!(clock.at(Duration::MAX).micros() <= LAST);
    }
}

/// What happens to a server's clock.
#[derive(Debug, Clone)]
enum Event {
    Pass(u32),
    /// The calendar is set by so many microseconds.
    Set(i64),
    /// The machine sleeps.
    Suspend(u32),
    /// A reading is given, and adjusted so many microseconds later, once or twice.
    Adjust {
        by: i64,
        late: u32,
        again: bool,
    },
    Rise(i64),
    /// It stops without warning, and starts so much later.
    Crash(u32),
    Stop(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let offset = prop_oneof![-5_000..5_000_i64, -20_000_000..20_000_000_i64, any::<i64>()];
    let short = 0..5_000_000_u32;
    prop_oneof![
        4 => short.clone().prop_map(Event::Pass),
        1 => offset.clone().prop_map(Event::Set),
        1 => any::<u32>().prop_map(Event::Suspend),
        4 => (offset.clone(), short.clone(), any::<bool>()).prop_map(|(by, late, again)| Event::Adjust { by, late, again }),
        1 => offset.prop_map(Event::Rise),
        1 => short.clone().prop_map(Event::Crash),
        1 => short.prop_map(Event::Stop),
    ]
}

/// A machine, and what its disk has of the clock.
struct Machine {
    monotonic: Duration,
    calendar: i64,
    clock: Timekeeper,
    disk: KeptClock,
    last: Moment,
}

impl Machine {
    /// The lease of a host.
    const LEASE: Offset = Offset::from_micros(2_000_000);

    fn now(&self) -> Now {
        now(self.monotonic, self.calendar)
    }

    fn pass(&mut self, micros: u32) {
        self.monotonic += Duration::from_micros(micros.into());
        self.calendar = self.calendar.saturating_add(micros.into());
    }

    /// Somebody is told the time: first the disk knows.
    fn tell(&mut self) -> Moment {
        let (stamp, _) = self.clock.read(self.now());
        self.clock.give_out(stamp.monotonic);
        let kept = self.clock.kept();
        if kept.ceiling > self.disk.ceiling {
            self.disk = KeptClock { ceiling: kept.ceiling + Self::LEASE, offset: kept.offset };
        }
        self.clock.at(self.monotonic)
    }

    fn restart(&mut self, after: u32) {
        self.pass(after);
        // Another process, perhaps on another machine.
        self.monotonic = Duration::from_micros(u64::from(after) % 1000);
        self.clock = Timekeeper::starting(self.now(), self.disk);
    }

    fn undergo(&mut self, event: Event) {
        match event {
            Event::Pass(micros) => self.pass(micros),
            Event::Set(by) => self.calendar = self.calendar.saturating_add(by),
            Event::Suspend(micros) => self.calendar = self.calendar.saturating_add(micros.into()),
            Event::Adjust { by, late, again } => {
                let (measured_at, said) = (self.monotonic, self.clock.at(self.monotonic));
                for _ in 0..=u8::from(again) {
                    self.pass(late);
                    let _ = self.clock.read(self.now());
                    self.clock.adjust(self.monotonic, measured_at, said, Offset::from_micros(by));
                }
            }
            Event::Rise(by) => {
                let floor = self.clock.at(self.monotonic) + Offset::from_micros(by);
                self.clock.rise_above(self.monotonic, floor);
            }
            Event::Crash(after) => self.restart(after),
            Event::Stop(after) => {
                self.disk = self.clock.kept();
                self.restart(after);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn time_never_runs_backwards(events in proptest::collection::vec(event(), 1..60)) {
        let clock = Timekeeper::starting(now(Duration::ZERO, BEGINNING), KeptClock::default());
        let mut machine = Machine {
            monotonic: Duration::ZERO,
            calendar: BEGINNING,
            clock,
            disk: KeptClock::default(),
            last: Moment::default(),
        };
        for event in events {
            machine.undergo(event.clone());
            let told = machine.tell();
            prop_assert!(told >= machine.last, "{event:?} took {:?} back to {told:?}", machine.last);
            machine.last = told;
        }
    }

    #[test]
    fn at_half_rate_or_more_time_always_moves(by in -i64::MAX..0, passed in 2..100_000_000_u64) {
        let mut clock = started(Duration::ZERO);
        let said = clock.at(SECOND);
        clock.adjust(SECOND, SECOND, said, Offset::from_micros(by));
        let later = clock.at(SECOND + Duration::from_micros(passed));
        prop_assert!((later - said).size() >= Duration::from_micros(passed / 2));
        prop_assert!((later - said).size() <= Duration::from_micros(passed));
    }

    #[test]
    fn a_calendar_that_only_drifts_is_not_taken_for_one_that_was_set(parts in -10_000..10_000_i64) {
        let mut clock = started(Duration::ZERO);
        for tick in 1..100_i64 {
            // Read once a second, as every server is.
            let calendar = BEGINNING + tick * (1_000_000 + parts);
            let (_, jumped) = clock.read(now(Duration::from_secs(tick.unsigned_abs()), calendar));
            prop_assert_eq!(jumped, CalendarJumped(false));
        }
        prop_assert!(CALENDAR_JUMP >= SECOND);
    }
}
