//! Rounds among several machines.

use super::*;
use crate::constants::{PROBE_TIME_MAX, PROBES_A_ROUND, READING_BOUND, ROUND_INTERVAL_MIN, ROUND_TIME_MAX};
use crate::timekeeping::rounds::{Concluded, OwnClocks, ReadingFate, Readings, RoundStep, Rounds};
use papo_protocol::ServerName;
use proptest::prelude::*;
use std::collections::BTreeSet;

const MILLISECOND: Duration = Duration::from_millis(1);
const EVERY: Duration = Duration::from_secs(30);

fn name(number: usize) -> ServerName {
    ServerName::new(&format!("server-{number}")).unwrap()
}

/// A machine whose calendar is off.
struct Machine {
    off: i64,
    clock: Timekeeper,
    readings: Readings,
}

/// Machines with one real time, of which number 0 coordinates; messages take as long as each test says.
struct World {
    real: Duration,
    machines: Vec<Machine>,
    rounds: Rounds,
    /// How long a message takes there, and back.
    delay: (Duration, Duration),
    /// Who does not answer.
    silent: BTreeSet<usize>,
}

impl World {
    fn new(offsets_in_microseconds: &[i64]) -> Self {
        let machine = |off: &i64| Machine {
            off: *off,
            clock: Timekeeper::starting(now(SECOND, BEGINNING + *off), KeptClock::default()),
            readings: Readings::default(),
        };
        Self {
            real: SECOND,
            machines: offsets_in_microseconds.iter().map(machine).collect(),
            rounds: Rounds::new(10, EVERY),
            delay: (MILLISECOND, MILLISECOND),
            silent: BTreeSet::new(),
        }
    }

    fn calendar(&self, number: usize) -> i64 {
        BEGINNING + micros(self.real - SECOND) + self.machines[number].off
    }

    fn read(&mut self, number: usize) {
        let at = now(self.real, self.calendar(number));
        let _ = self.machines[number].clock.read(at);
    }

    fn time(&self, number: usize) -> i64 {
        self.machines[number].clock.at(self.real).micros() - BEGINNING - micros(self.real - SECOND)
    }

    fn begin(&mut self) -> Option<Vec<RoundStep>> {
        let mut steps = Vec::new();
        self.rounds.is_due(self.real).then(|| {
            let members = (1..self.machines.len()).map(name).collect();
            self.rounds.begin(self.real, members, &mut steps);
            steps
        })
    }

    /// Has every probe answered, one after the other, and what comes of the last.
    fn answer(&mut self, mut steps: Vec<RoundStep>) -> Vec<ReadingFate> {
        let mut fates = Vec::new();
        let begun = self.real;
        let mut longest = self.real;
        while let Some(step) = steps.pop() {
            let RoundStep::Probe { to, token } = step else { panic!("{step:?}") };
            let number: usize = to.as_str().trim_start_matches("server-").parse().unwrap();
            if self.silent.contains(&number) {
                continue;
            }
            self.real += self.delay.0;
            self.read(number);
            let machine = &mut self.machines[number];
            let said = machine.clock.at(self.real);
            machine.readings.give(token, self.real, said);
            let calendar = machine.clock.calendar();
            self.real += self.delay.1;
            fates.push(self.rounds.on_reading(self.real, &to, (token, calendar, said), &mut steps));
            if !steps.iter().any(|step| matches!(step, RoundStep::Probe { to: next, .. } if *next == to)) {
                longest = longest.max(self.real);
                self.real = begun;
            }
        }
        self.real = longest;
        fates
    }

    fn conclude(&mut self) -> Option<Concluded> {
        self.read(0);
        let clock = &self.machines[0].clock;
        let own = OwnClocks { monotonic: self.real, calendar: clock.calendar(), time: clock.at(self.real) };
        let is_cluster_of_one = self.machines.len() == 1;
        self.rounds.conclude_when_due(own, is_cluster_of_one)
    }

    /// Has everybody do as they are told.
    fn apply(&mut self, concluded: &Concluded) {
        for step in &concluded.steps {
            let RoundStep::Adjust { to, token, by, .. } = step else { panic!("{step:?}") };
            let number: usize = to.as_str().trim_start_matches("server-").parse().unwrap();
            self.read(number);
            let machine = &mut self.machines[number];
            let given = machine.readings.take(*token).unwrap();
            machine.clock.adjust(self.real, given.measured_at, given.said, *by);
            assert_eq!(machine.readings.take(*token), None, "one a round");
        }
        if let Some(by) = concluded.own {
            let said = self.machines[0].clock.at(self.real);
            self.machines[0].clock.adjust(self.real, self.real, said, by);
        }
    }

    fn round(&mut self) -> Concluded {
        let steps = self.begin().expect("a round is due");
        self.answer(steps);
        if !self.silent.is_empty() {
            self.real += ROUND_TIME_MAX;
        }
        let concluded = self.conclude().expect("the round is over");
        self.apply(&concluded);
        self.real += EVERY;
        concluded
    }

    /// Between the first and the last of these clocks.
    fn spread(&self, numbers: impl Iterator<Item = usize>) -> i64 {
        let times: Vec<_> = numbers.map(|number| self.time(number)).collect();
        times.iter().max().unwrap() - times.iter().min().unwrap()
    }
}

#[test]
fn e07_e08_three_servers_at_100_110_and_105_become_105() {
    let mut world = World::new(&[-5_000_000, 5_000_000, 0]);
    let concluded = world.round();
    assert_eq!(concluded.outcome, RoundOutcome::Adjusted);
    assert_eq!(concluded.own, Some(Offset::from_micros(5_000_000)));
    let by: Vec<_> = concluded
        .steps
        .iter()
        .map(|step| match step {
            RoundStep::Adjust { by, .. } => by.micros(),
            RoundStep::Probe { .. } => panic!("{step:?}"),
        })
        .collect();
    // The calendars come in whole milliseconds.
    assert!((by[0] + 5_000_000).abs() <= 1000 && by[1].abs() <= 1000, "{by:?}");
    assert!(world.spread(0..3) <= 1000);
    assert!(world.time(0).abs() <= 1000);
}

#[test]
fn e06_a_round_comes_after_so_many_operations_and_at_most_once_a_second() {
    let mut world = World::new(&[0]);
    world.round();
    world.real -= EVERY;
    world.rounds.note_operations(9);
    world.real += 2 * ROUND_INTERVAL_MIN;
    assert_eq!(world.begin(), None);
    world.rounds.note_operations(1);
    assert_eq!(world.begin(), Some(vec![]));
    assert!(world.conclude().is_some());
    world.rounds.note_operations(1000);
    assert_eq!(world.begin(), None, "too soon");
    world.real += ROUND_INTERVAL_MIN;
    assert_eq!(world.rounds.next_tick(), world.real);
    assert!(world.begin().is_some());
    assert!(world.conclude().is_some());
    assert_eq!(world.rounds.next_tick(), world.real + EVERY, "with nothing to do");
}

#[test]
fn a_round_is_wanted_once_those_it_concerns_have_heard_who_coordinates() {
    let mut world = World::new(&[0]);
    world.rounds.want(Duration::ZERO);
    world.rounds.begin_anew(world.real);
    assert_eq!(world.begin(), None);
    world.real += ROUND_INTERVAL_MIN;
    assert_eq!(world.begin(), Some(vec![]));
    assert!(world.conclude().is_some());
    world.rounds.want(world.real);
    world.real += ROUND_INTERVAL_MIN / 2;
    world.rounds.want(world.real);
    assert_eq!(world.rounds.next_tick(), world.real + ROUND_INTERVAL_MIN / 2, "from the first time on");
}

#[test]
fn a_liar_of_an_hour_moves_nobody_and_its_own_time_is_right() {
    for liar in 0..5 {
        let mut offsets = vec![100_000, -100_000, 2_000_000, -2_000_000];
        offsets.insert(liar, 3_600_000_000);
        let mut world = World::new(&offsets);
        world.round();
        world.round();
        assert!(world.spread((0..5).filter(|number| *number != liar)) < 1000);
        assert!(world.time(usize::from(liar == 0)).abs() <= 2_000_000);
        // An hour ahead, it runs at half rate.
        world.real += 2 * 3600 * SECOND;
        assert!(world.spread(0..5) < 1000, "{}", world.spread(0..5));
    }
}

#[test]
fn two_servers_an_hour_apart_are_left_as_they_are() {
    let mut world = World::new(&[0, 3_600_000_000]);
    let concluded = world.round();
    assert_eq!((concluded.outcome, concluded.own), (RoundOutcome::Disagreed, None));
    assert_eq!(concluded.steps, []);
}

#[test]
fn with_two_readings_a_correction_over_the_bound_is_not_believed_and_the_other_is_made() {
    let mut world = World::new(&[0, 0, 0]);
    world.silent.insert(2);
    // Its calendar was set right meanwhile; its time was an hour ahead.
    let ahead = Moment::from(BEGINNING + 3_600_000_000);
    world.machines[1].clock.rise_above(SECOND, ahead);
    let concluded = world.round();
    assert_eq!(concluded.outcome, RoundOutcome::Withheld);
    assert_eq!((concluded.own.is_some(), concluded.steps.len()), (true, 0));
    world.silent.clear();
    let concluded = world.round();
    assert_eq!((concluded.outcome, concluded.steps.len()), (RoundOutcome::Adjusted, 2));
}

#[test]
fn a_cluster_of_one_server_follows_its_calendar_however_far_it_is_set() {
    let mut world = World::new(&[0]);
    world.round();
    world.machines[0].off = 3_600_000_000;
    assert_eq!(world.time(0), 0);
    world.round();
    assert!((world.time(0) - 3_600_000_000).abs() <= 1000);
    world.machines[0].off = 0;
    let before = world.time(0);
    world.round();
    assert!(world.time(0) < before && world.time(0) > 3_500_000_000, "at half rate");
}

#[test]
fn who_does_not_answer_delays_a_round_and_no_more() {
    let mut world = World::new(&[0, 2_000_000, -2_000_000, 3_000_000]);
    world.silent.insert(3);
    let steps = world.begin().unwrap();
    let began = world.real;
    world.answer(steps);
    assert_eq!(world.conclude(), None);
    assert_eq!(world.rounds.next_tick(), began + ROUND_TIME_MAX);
    world.real = began + ROUND_TIME_MAX;
    let concluded = world.conclude().unwrap();
    world.apply(&concluded);
    assert_eq!(concluded.steps.len(), 2);
    // Who is ahead runs at half rate.
    world.real += 10 * SECOND;
    assert!(world.spread(0..3) < 1000);
    assert!(world.time(3) == 3_000_000);
}

#[test]
fn a_probe_that_takes_too_long_tells_nothing() {
    let mut world = World::new(&[0, 2_000_000]);
    world.delay = (PROBE_TIME_MAX, MILLISECOND);
    let steps = world.begin().unwrap();
    let fates = world.answer(steps);
    assert_eq!(fates, vec![ReadingFate::TooSlow; usize::from(PROBES_A_ROUND)]);
    let concluded = world.conclude().unwrap();
    assert_eq!((concluded.steps.len(), concluded.readings.len()), (0, 0));
}

#[test]
fn a_reading_that_nobody_asked_for_counts_for_nothing() {
    let mut world = World::new(&[0, 0]);
    let far = Moment::from(i64::MAX);
    let mut steps = Vec::new();
    let mut tell = |world: &mut World, from, token| {
        world.rounds.on_reading(world.real, &from, (token, far, far), &mut steps)
    };
    assert_eq!(tell(&mut world, name(1), 1), ReadingFate::Unasked);
    let probes = world.begin().unwrap();
    let [RoundStep::Probe { token, .. }] = probes[..] else { panic!("{probes:?}") };
    assert_eq!(tell(&mut world, name(1), token + 1), ReadingFate::Unasked);
    assert_eq!(tell(&mut world, name(2), token), ReadingFate::Unasked, "of another");
    assert!(world.rounds.begin_anew(world.real));
    assert_eq!(tell(&mut world, name(1), token), ReadingFate::Unasked, "of a round that was abandoned");
    assert!(!world.rounds.begin_anew(world.real));
}

#[test]
fn a_member_obeys_no_adjustment_for_what_it_did_not_say_itself_to_this_coordinator() {
    let mut readings = Readings::default();
    for token in 1..=6 {
        readings.give(token, SECOND, Moment::from(BEGINNING));
    }
    assert_eq!(readings.take(7), None);
    assert_eq!(readings.take(2), None, "of the round before");
    assert!(readings.take(4).is_some());
    assert_eq!(readings.take(6), None, "one a round");
    readings.give(8, SECOND, Moment::from(BEGINNING));
    readings.forget();
    assert_eq!(readings.take(8), None, "another coordinator's");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn whoever_lies_and_whoever_is_silent_the_honest_stay_among_the_honest(
        honest in proptest::collection::vec(-2_000_000..2_000_000_i64, 3..6),
        liars in proptest::collection::vec(any::<i64>().prop_map(|lie| lie / 4), 0..2),
        delay in (0..60_u64, 0..60_u64),
        turn in 0..5_usize,
    ) {
        let mut offsets: Vec<_> = honest.iter().map(|off| (*off, true)).collect();
        offsets.extend(liars.iter().map(|lie| (*lie, false)));
        let turn = turn % offsets.len();
        offsets.rotate_left(turn);
        let mut world = World::new(&offsets.iter().map(|(off, _)| *off).collect::<Vec<_>>());
        world.delay = (Duration::from_millis(delay.0), Duration::from_millis(delay.1));
        world.round();
        world.round();
        let of_the_honest = || (0..offsets.len()).filter(|number| offsets[*number].1);
        let slack = micros(world.delay.0.max(world.delay.1)) + 1000;
        prop_assert!(world.spread(of_the_honest()) <= 2 * slack);
        let (low, high) = (honest.iter().min().unwrap(), honest.iter().max().unwrap());
        let bound = micros(READING_BOUND) + slack;
        for number in of_the_honest() {
            prop_assert!((low - bound..=high + bound).contains(&world.time(number)));
        }
    }
}
