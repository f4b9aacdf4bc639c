//! Any sequence of faults. The invariants are checked after every step by the world itself; here, that nobody stirs without need, and
//! that all agree soon after the faults are over.

use super::super::{ElectionOrder, Fitness};
use super::world::{World, milliseconds, seconds};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Kill(usize),
    Start(usize),
    LoseDisk(usize),
    Pause(usize),
    Resume(usize),
    GiveUp(usize),
    Cut(usize, usize),
    Heal(usize, usize),
    CutOff(usize),
    LetReach(usize),
    Hang(usize, bool),
    Leave(usize),
    StopReference,
    StartReference,
    RollBack(usize),
    Lose(u32),
    Pass(u64),
}

fn step(servers: usize) -> impl Strategy<Value = Step> {
    let server = move || 1..=servers;
    prop_oneof![
        2 => server().prop_map(Step::Kill),
        3 => server().prop_map(Step::Start),
        1 => server().prop_map(Step::LoseDisk),
        2 => server().prop_map(Step::Pause),
        2 => server().prop_map(Step::Resume),
        1 => server().prop_map(Step::GiveUp),
        2 => (server(), server()).prop_filter("two", |(one, other)| one != other).prop_map(|(a, b)| Step::Cut(a, b)),
        2 => (server(), server()).prop_filter("two", |(one, other)| one != other).prop_map(|(a, b)| Step::Heal(a, b)),
        2 => server().prop_map(Step::CutOff),
        2 => server().prop_map(Step::LetReach),
        1 => (server(), any::<bool>()).prop_map(|(server, hangs)| Step::Hang(server, hangs)),
        1 => server().prop_map(Step::Leave),
        1 => Just(Step::StopReference),
        1 => Just(Step::StartReference),
        1 => (0..4_usize).prop_map(Step::RollBack),
        2 => (1..10_u32).prop_map(Step::Lose),
        10 => (1..2500_u64).prop_map(Step::Pass),
        2 => (2500..70_000_u64).prop_map(Step::Pass),
    ]
}

fn run(world: &mut World, step: &Step) {
    match *step {
        Step::Kill(server) => world.kill(server),
        Step::Start(server) => world.start(server),
        Step::LoseDisk(server) => world.lose_disk(server),
        Step::Pause(server) => world.pause(server),
        Step::Resume(server) => world.resume(server),
        Step::GiveUp(server) => world.give_up(server),
        Step::Cut(one, other) => world.cut(one, other),
        Step::Heal(one, other) => world.heal(one, other),
        Step::CutOff(server) => drop(world.cut_off.insert(server)),
        Step::LetReach(server) => drop(world.cut_off.remove(&server)),
        Step::Hang(server, hangs) => world.set_disk_hangs(server, hangs),
        Step::Leave(server) => world.set_fitness(server, Fitness::Unfit),
        Step::StopReference => world.reference.is_up = false,
        Step::StartReference => world.restart_reference(),
        Step::RollBack(grants) => world.roll_reference_back(grants),
        Step::Lose(messages) => world.losing = messages,
        Step::Pass(milliseconds_passed) => world.pass(milliseconds(milliseconds_passed)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn invariant_4_epochs_have_one_coordinator_and_all_agree_in_the_end(
        servers in 1..=5_usize,
        lowest in any::<bool>(),
        seed in any::<u64>(),
        steps in prop::collection::vec((0..64_usize).prop_flat_map(|_| step(5)), 1..60),
    ) {
        let order = if lowest { ElectionOrder::Lowest } else { ElectionOrder::Highest };
        let mut world = World::new(servers, order, seed);
        let known = |step: &Step| match *step {
            Step::Cut(one, other) | Step::Heal(one, other) => one.max(other) <= servers,
            Step::Kill(server) | Step::Start(server) | Step::LoseDisk(server) | Step::Pause(server)
            | Step::Resume(server) | Step::GiveUp(server) | Step::CutOff(server) | Step::LetReach(server)
            | Step::Hang(server, _) | Step::Leave(server) => server <= servers,
            Step::StopReference | Step::StartReference | Step::RollBack(_) | Step::Lose(_) | Step::Pass(_) => true,
        };
        for step in steps.iter().filter(|step| known(step)) {
            run(&mut world, step);
        }
        // Faults that stay are no reason to hold elections for ever.
        world.losing = 0;
        world.pass(seconds(70));
        let since = world.now;
        world.pass(seconds(180));
        for number in world.numbers() {
            let elections = world.elections(number, since);
            prop_assert!(elections <= 6, "server-{number} held {elections} elections in three minutes: {}", world.story());
        }
        world.heal_all();
        // An election that has just failed is repeated after 30 s, and one of a worse server may come first.
        world.pass(seconds(45));
        prop_assert!(
            world.numbers().iter().any(|number| world.all_follow(*number)),
            "nobody leads all: {:?} {}",
            world.numbers().iter().map(|number| world.coordinator(*number)).collect::<Vec<_>>(),
            world.story(),
        );
        // The best one takes over, and then nothing moves any more.
        // (By way of another, if that one was there for longer.)
        world.pass(seconds(140));
        let best = if lowest { 1 } else { servers };
        prop_assert!(world.all_follow(best), "{}", world.story());
        let grants = world.granted.len();
        world.pass(seconds(200));
        prop_assert_eq!(world.granted.len(), grants);
    }
}
