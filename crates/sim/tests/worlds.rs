//! A few seeds, replay byte for byte, and planted bugs that are cheap to find. The rest is for `papo-sim` itself, which is optimised:
//! see `hack/test`.

use papo_sim::plan::{EVENTS_MIN, FAULT_KINDS_MIN};
use papo_sim::{Bug, Plan, World, campaign, shrink};
use std::ops::ControlFlow;

const SEEDS: u64 = 30;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn every_invariant_holds_in_a_few_worlds() {
    let totals = campaign::run(0, SEEDS, threads(), None, |_| ControlFlow::Continue(()));
    assert!(totals.failures.is_empty(), "{totals}");
    assert_eq!(totals.seeds, SEEDS);
    assert!(totals.events_min >= Some(EVENTS_MIN), "{totals}");
}

#[test]
fn a_seed_replays_event_by_event() {
    for seed in [3, 4, 5] {
        let [first, second] = [false, true].map(|verbose| World::run(&Plan::of(seed), None, verbose));
        assert_eq!((first.events, first.hash), (second.events, second.hash), "seed {seed}");
        assert!(!second.lines.is_empty());
        assert!(first.faults.len() >= FAULT_KINDS_MIN, "seed {seed}: {:?}", first.faults);
    }
    assert_ne!(World::run(&Plan::of(3), None, false).hash, World::run(&Plan::of(4), None, false).hash);
}

/// Each breaks a rule that it may break, in one of a few seeds.
#[test]
fn planted_bugs_are_caught() {
    for bug in [Bug::AckBeforeFsync, Bug::DirectMessagesToAll, Bug::CookieSwapped, Bug::NothingSentAgain] {
        let totals = campaign::run(0, 30, threads(), Some(bug), |_| ControlFlow::Continue(()));
        let shown = totals.failures.values().any(|violation| bug.explains(violation.invariant));
        assert!(shown, "{bug:?}: {totals}");
    }
}

#[test]
fn a_failing_plan_is_made_smaller_and_fails_still() {
    let bug = Some(Bug::AckBeforeFsync);
    let plan = Plan::of(0);
    let violation = World::run(&plan, bug, false).violation.expect("seed 0 shows this bug");
    let (smaller, violation) = shrink::shrink(&plan, &violation, bug);
    assert!(smaller.active().count() < plan.active().count());
    assert!(smaller.clients < plan.clients);
    assert_eq!(World::run(&smaller, bug, false).violation, Some(violation));
}
