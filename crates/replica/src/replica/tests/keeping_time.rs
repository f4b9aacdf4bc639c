//! Servers that agree on the time, and stamps that come from it.

use super::*;
use crate::op::Op;
use crate::peer::PeerMessage;
use crate::timekeeping::{KeptClock, Message, Moment, Offset, RoundOutcome};
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::{ClaimAnswer, ReferenceAnswer};
use std::mem;

const SECOND: i64 = 1_000_000;

impl World {
    /// Lets time pass, and a reference service grant every claim.
    fn pass_with_reference(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 100 {
            self.pass(100);
            for (at, call) in mem::take(&mut self.asked) {
                let answer = match call {
                    ReferenceCall::Claim(claim) => {
                        let epoch = claim.seen.next(claim.boot).unwrap();
                        ReferenceAnswer::Claimed(ClaimAnswer::Granted(epoch))
                    }
                    ReferenceCall::Report(report) => ReferenceAnswer::Reported(report.epoch),
                    _ => ReferenceAnswer::Alive,
                };
                self.input(at, Input::Reference(answer));
            }
            self.run();
        }
    }

    /// By how many microseconds the time of each host is ahead of the real one.
    fn errors(&self) -> Vec<i64> {
        let real = Moment::from(self.now.unix).micros();
        let time = |host: &Host| host.replica.clock(self.now.monotonic).time.micros();
        self.hosts.iter().map(|host| time(host) - real).collect()
    }

    /// When the operations of this host were taken, by its clock.
    fn taken(&self, at: usize) -> Vec<i64> {
        self.hosts[at].stored.iter().map(|op: &Arc<Op>| op.at.0).collect()
    }

    fn rounds(&self, at: usize, outcome: RoundOutcome) -> u64 {
        self.hosts[at].replica.timekeeping().counts().find(|(of, _)| *of == outcome).unwrap().1
    }
}

#[test]
fn e07_the_coordinator_has_all_servers_agree_and_a_liar_moves_nobody() {
    let mut world = World::of((1..=5).map(|number| member(number, 5)));
    world.ahead = vec![100, -100, 2_000, -2_000, 3_600_000];
    let now = world.now;
    for at in 0..5 {
        // They start with their calendars as they are.
        let machine = world.machine(at);
        world.hosts[at] = Host::new(member(at + 1, 5), machine);
    }
    world.link_all();
    world.pass_with_reference(40_000);
    assert!(world.now.monotonic > now.monotonic);
    let honest = &world.errors()[..4];
    assert!(honest.iter().max().unwrap() - honest.iter().min().unwrap() <= 1000, "{honest:?}");
    assert!(honest.iter().all(|error| error.abs() <= 2 * SECOND), "{honest:?}");
    assert!(world.rounds(4, RoundOutcome::Adjusted) >= 2, "the liar itself has the highest rank");
}

#[test]
fn e06_ten_operations_make_the_next_round_due() {
    let mut world = World::cluster(3);
    world.pass_with_reference(5000);
    let before = world.rounds(2, RoundOutcome::Adjusted);
    for number in 0..9 {
        world.ask(0, "login", &[("user", &format!("user-{number}"))]);
    }
    world.pass_with_reference(2000);
    assert_eq!(world.rounds(2, RoundOutcome::Adjusted), before);
    world.ask(1, "login", &[("user", "user-9")]);
    world.pass_with_reference(500);
    assert_eq!(world.rounds(2, RoundOutcome::Adjusted), before + 1);
}

#[test]
fn a_server_alone_follows_its_calendar_and_stamps_nothing_earlier_when_that_is_set_back() {
    let mut world = World::of([member(1, 1)].into_iter());
    world.ask(0, "login", &[("user", "ana")]);
    for ahead in [3_600_000, 0] {
        world.ahead = vec![ahead];
        world.pass(60_000);
        world.ask(0, "login", &[("user", "bia")]);
    }
    let taken = world.taken(0);
    assert!(taken[1] - taken[0] >= 3_600_000, "{taken:?}");
    assert!(taken.is_sorted(), "{taken:?}");
}

#[test]
fn who_does_not_coordinate_adjusts_nobody() {
    let mut world = World::cluster(3);
    world.pass_with_reference(5000);
    let before = world.errors();
    let epoch = world.hosts[0].replica.leadership().epoch;
    let forged = Epoch { number: epoch.number + 1_000, ..epoch };
    let ignored = world.hosts[0].replica.timekeeping().ignored();
    let link = ends(1, 0)[1];
    let by = Offset::from_micros(3600 * SECOND);
    for message in [
        Message::Probe { epoch, token: 1 },
        Message::Adjust { epoch, token: 1, by, error: 0 },
        Message::Probe { epoch: forged, token: 2 },
        Message::Adjust { epoch: forged, token: 2, by, error: 0 },
        Message::Reading { token: 1, calendar: Moment::from(0), time: Moment::from(i64::MAX) },
    ] {
        world.input(0, Input::PeerMessage { link, bytes: PeerMessage::Time(message).encode() });
    }
    // Of the coordinator itself, and about no reading that was given.
    let link = ends(2, 0)[1];
    let adjust = Message::Adjust { epoch, token: 99, by, error: 0 };
    world.input(0, Input::PeerMessage { link, bytes: PeerMessage::Time(adjust).encode() });
    assert_eq!(world.errors(), before);
    assert_eq!(world.hosts[0].replica.timekeeping().ignored(), ignored + 6);
}

#[test]
fn a_restart_begins_no_earlier_than_any_time_that_was_given_out() {
    let mut world = World::of([member(1, 1)].into_iter());
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(10_000);
    let idle = world.hosts[0].replica.kept_clock();
    assert!(idle.ceiling < world.hosts[0].replica.clock(world.now.monotonic).time, "nobody was told");
    world.ask(0, "ping", &[]);
    let kept = world.hosts[0].replica.kept_clock();
    assert_eq!(kept.ceiling, world.hosts[0].replica.clock(world.now.monotonic).time);

    // Set back by an hour, and of what was stored first the clock and then nothing but the operations is left.
    let back = Now { unix: UnixMillis(world.now.unix.0 - 3_600_000), ..world.now };
    let open = |stored: Stored, operations: &[Arc<Op>]| {
        let archive = MemoryArchive::default();
        archive.add(operations.iter().cloned());
        let history = History::of_archive(&archive, RECENT_BYTES_MAX, &VersionVector::default()).unwrap();
        let replica = Replica::open(member(1, 1), history, stored, back).unwrap();
        replica.clock(back.monotonic).time
    };
    assert_eq!(open(Stored { clock: kept, ..Stored::default() }, &[]), kept.ceiling);
    let operations = world.hosts[0].stored.clone();
    let last = operations.last().unwrap().at;
    assert_eq!(open(Stored::default(), &operations), Moment::from(last));
    assert_eq!(
        open(Stored { clock: KeptClock::default(), ..Stored::default() }, &[]),
        Moment::from(back.unix)
    );
}
