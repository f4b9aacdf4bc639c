//! One story each.

use super::super::{Act, Coordination, ElectionOrder, ElectionSettings, Fitness, Message, Role};
use super::world::{World, milliseconds, name, seconds};
use crate::notice::{ElectionOutcome, Notice};
use papo_protocol::Boot;
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::ReferenceAnswer;
use std::time::Duration;

/// What the design promises at default settings.
const FAILOVER: Duration = Duration::from_secs(5);

/// Three servers of which the best leads.
fn settled(order: ElectionOrder) -> World {
    let mut world = World::new(3, order, 7);
    let best = match order {
        ElectionOrder::Highest => 3,
        ElectionOrder::Lowest => 1,
    };
    world.until_all_follow(best, FAILOVER);
    world.pass(seconds(3));
    world
}

#[test]
fn g01_g02_at_the_start_the_highest_rank_leads() {
    let world = settled(ElectionOrder::Highest);
    assert_eq!(world.granted.len(), 1, "one election was enough");
    assert_eq!(world.announced.iter().map(|(_, by, _)| *by).collect::<Vec<_>>(), [3]);
}

#[test]
fn g01_l08_in_the_other_order_the_lowest_rank_leads_and_says_so() {
    let world = settled(ElectionOrder::Lowest);
    assert_eq!(
        world.announced.iter().map(|(_, by, epoch)| (*by, *epoch)).collect::<Vec<_>>(),
        [(1, world.granted[0])]
    );
}

#[test]
fn g03_g06_l04_server_3_fails_server_2_leads_and_server_1_agrees() {
    let mut world = settled(ElectionOrder::Highest);
    world.kill(3);
    let took = world.until_all_follow(2, FAILOVER);
    assert!(took > milliseconds(300), "a link that breaks may come back");
    assert_eq!(world.coordinator(1), Some(name(2)));
    assert_eq!(world.announced.last().map(|(_, by, _)| *by), Some(2));
}

#[test]
fn g06_whatever_the_moment_of_the_failure_the_next_in_rank_leads() {
    for (servers, order, best, next) in [
        (3, ElectionOrder::Highest, 3, 2),
        (5, ElectionOrder::Highest, 5, 4),
        (5, ElectionOrder::Lowest, 1, 2),
    ] {
        for seed in 0..40 {
            let mut world = World::new(servers, order, seed);
            world.until_all_follow(best, FAILOVER);
            world.pass(milliseconds(5000 + seed * 53));
            world.kill(best);
            world.until_all_follow(next, FAILOVER);
        }
    }
}

#[test]
fn g04_the_higher_ranks_are_asked_and_without_an_answer_the_asker_leads() {
    let mut world = settled(ElectionOrder::Highest);
    // Nobody knows yet that it is gone: its process hangs.
    world.pause(3);
    let paused_at = world.now;
    world.until_all_follow_but(3, 2, FAILOVER);
    let asked: Vec<_> = world
        .sent
        .iter()
        .filter(|(at, from, _, message)| {
            *at > paused_at && *from == 2 && matches!(message, Message::Elect { .. })
        })
        .map(|(_, _, to, _)| *to)
        .collect();
    assert_eq!(asked, [3], "all of a higher rank are asked, and no other");
}

#[test]
fn g05_a_higher_rank_answers_and_holds_its_own_election() {
    let mut world = World::new(3, ElectionOrder::Highest, 7);
    world.kill(3);
    world.pass(milliseconds(500));
    // So the lower one is the first to miss a coordinator.
    world.pause(2);
    while world.role(1) != Role::Electing {
        world.pass(milliseconds(10));
    }
    world.resume(2);
    world.until_all_follow(2, FAILOVER);
    let answered = |(_, from, to, message): &(_, usize, usize, Message)| {
        (*from, *to) == (2, 1) && matches!(message, Message::Answer { .. })
    };
    assert!(world.sent.iter().any(answered));
    assert!(world.elections(2, Duration::ZERO) > 0);
}

#[test]
fn the_last_of_three_leads() {
    let mut world = settled(ElectionOrder::Highest);
    world.kill(3);
    world.kill(2);
    world.until_all_follow(1, seconds(8));
}

#[test]
fn a_coordinator_that_was_paused_finds_itself_deposed_and_follows() {
    let mut world = settled(ElectionOrder::Highest);
    let own = world.epoch(3);
    world.pause(3);
    world.until_all_follow_but(3, 2, FAILOVER);
    world.give_up(3);
    world.pass(seconds(5));
    let resumed_at = world.now;
    world.resume(3);
    world.pass(milliseconds(2000));
    assert!(world.all_follow(2));
    let deposed = |(_, by, notice): &(_, usize, Notice)| {
        *by == 3 && matches!(notice, Notice::Deposed { own: epoch, .. } if *epoch == own)
    };
    assert!(world.notices.iter().any(deposed));
    assert_eq!(world.elections(3, resumed_at), 0, "it listens before it concludes anything");
}

#[test]
fn a_follower_that_was_paused_listens_before_it_concludes_anything() {
    let mut world = settled(ElectionOrder::Highest);
    world.pause(2);
    world.pass(seconds(2));
    world.resume(2);
    world.pass(seconds(5));
    assert_eq!(world.elections(2, seconds(15)), 0);
    assert!(world.all_follow(3));
    assert_eq!(world.granted.len(), 1);
}

#[test]
fn a_server_that_reaches_ref_and_no_other_deposes_nobody() {
    for (lonely, phase) in [1, 2].into_iter().flat_map(|lonely| (0..20).map(move |phase| (lonely, phase))) {
        let mut world = settled(ElectionOrder::Highest);
        // Whom it heard just before counts for nothing, however long ago it was heard itself.
        world.pass(milliseconds(phase * 100));
        world.isolate(lonely);
        let since = world.now;
        world.pass(seconds(120));
        assert_eq!(world.granted.len(), 1);
        let elections = world.elections(lonely, since);
        assert!((1..=4).contains(&elections), "{elections} elections in two minutes");
        world.heal_all();
        world.until_all_follow(3, FAILOVER);
    }
}

#[test]
fn a_coordinator_that_no_other_reaches_is_replaced() {
    let mut world = settled(ElectionOrder::Highest);
    world.isolate(3);
    world.until_all_follow_but(3, 2, seconds(8));
    // It hears of that from the reference service.
    world.pass(seconds(2));
    assert_ne!(world.role(3), Role::Leading);
    world.pass(seconds(20));
    world.heal_all();
    world.until_all_follow(2, FAILOVER);
    assert_eq!(world.granted.len(), 2);
}

#[test]
fn whenever_a_deposed_coordinator_is_back_it_hears_who_leads_before_it_stands_for_anything() {
    for moment in 0..40 {
        let mut world = settled(ElectionOrder::Highest);
        world.isolate(3);
        world.until_all_follow_but(3, 2, seconds(8));
        world.pass(milliseconds(100 * moment));
        world.heal_all();
        world.pass(seconds(20));
        assert!(world.all_follow(2), "after {moment} tenths of a second:\n{}", world.story());
        assert_eq!(world.granted.len(), 2);
    }
}

#[test]
fn a_server_that_reaches_the_others_and_not_ref_stands_for_nothing() {
    let mut world = settled(ElectionOrder::Highest);
    world.cut_off.insert(2);
    world.kill(3);
    let since = world.now;
    world.until_all_follow(1, FAILOVER);
    world.pass(seconds(150));
    assert!(world.all_follow(1), "the office is not offered for nothing");
    assert!(world.elections(2, since) <= 1);
    assert_eq!(world.granted.len(), 2);
    world.cut_off.clear();
    world.pass(seconds(130));
    assert!(world.all_follow(2), "and handed over when the better one may lead");
}

#[test]
fn while_ref_is_away_nothing_changes_and_then_somebody_leads_soon() {
    let mut world = settled(ElectionOrder::Highest);
    world.reference.is_up = false;
    let since = world.now;
    world.pass(seconds(100));
    assert!(world.all_follow(3));
    assert_eq!((1..=3).map(|number| world.elections(number, since)).sum::<usize>(), 0);
    world.kill(3);
    let since = world.now;
    world.pass(seconds(120));
    for number in [1, 2] {
        assert_eq!(world.coordinator(number), None);
        let elections = world.elections(number, since);
        assert!((1..=4).contains(&elections), "{elections} elections in two minutes");
    }
    world.restart_reference();
    world.until_all_follow(2, seconds(40));
}

#[test]
fn a_ref_of_an_older_volume_neither_blocks_nor_doubles_an_epoch() {
    let mut world = settled(ElectionOrder::Highest);
    for round in 0..4 {
        let (old, next) = if round % 2 == 0 { (3, 2) } else { (2, 3) };
        world.kill(old);
        world.until_all_follow(next, FAILOVER);
        world.start(old);
        world.pass(seconds(3));
    }
    world.roll_reference_back(3);
    world.pass(seconds(10));
    assert!(world.all_follow(3), "who leads goes on");
    let before = world.epoch(3);
    world.kill(3);
    world.until_all_follow(2, seconds(8));
    assert!(world.epoch(2) > before);
}

#[test]
fn a_coordinator_that_restarts_at_once_leads_again_in_a_new_epoch() {
    let mut world = settled(ElectionOrder::Highest);
    let before = world.epoch(3);
    world.kill(3);
    world.pass(milliseconds(100));
    world.start(3);
    world.until_all_follow(3, FAILOVER);
    assert!(world.epoch(3) > before);
}

#[test]
fn a_better_server_that_returns_takes_over_after_an_unbroken_contact() {
    let mut world = settled(ElectionOrder::Highest);
    world.kill(3);
    world.until_all_follow(2, FAILOVER);
    world.start(3);
    world.pass(seconds(50));
    assert!(world.all_follow(2), "not before");
    // A break begins the time anew.
    world.kill(3);
    world.pass(seconds(1));
    world.start(3);
    world.pass(seconds(55));
    assert!(world.all_follow(2));
    let took = world.until_all_follow(3, seconds(10));
    assert!(took > seconds(2));
    world.pass(seconds(200));
    assert_eq!(world.granted.len(), 3, "and stays");
    let failed = |(_, _, notice): &(_, _, Notice)| {
        matches!(notice, Notice::ElectionEnded { outcome: ElectionOutcome::Failed, .. })
    };
    assert!(!world.notices.iter().any(failed));
}

#[test]
fn a_better_server_that_would_lead_fewer_is_not_given_the_office() {
    let mut world = settled(ElectionOrder::Highest);
    world.kill(3);
    world.until_all_follow(2, FAILOVER);
    world.cut(1, 3);
    world.start(3);
    world.pass(seconds(200));
    assert!(world.all_follow(2));
    assert_eq!(world.granted.len(), 2);
}

#[test]
fn a_server_that_stops_hands_over_and_nobody_misses_a_beat() {
    let mut world = settled(ElectionOrder::Highest);
    world.set_fitness(3, Fitness::Unfit);
    let took = world.until_all_follow(2, seconds(1));
    assert!(took < seconds(1));
    let suspected = |(_, _, notice): &(_, _, Notice)| matches!(notice, Notice::CoordinatorSuspected { .. });
    assert!(!world.notices.iter().any(suspected));
    world.kill(3);
    world.pass(seconds(10));
    assert!(world.all_follow(2));
}

#[test]
fn when_all_stop_at_once_nobody_waits_for_long() {
    let mut world = settled(ElectionOrder::Highest);
    for number in [1, 2, 3] {
        world.set_fitness(number, Fitness::Unfit);
    }
    world.pass(seconds(4));
    assert_ne!(world.role(3), Role::Leading);
    assert_eq!(world.granted.len(), 1);
}

#[test]
fn whose_disk_hangs_neither_claims_nor_leaves_office() {
    let mut world = settled(ElectionOrder::Highest);
    world.set_disk_hangs(3, true);
    world.pass(seconds(100));
    assert!(world.all_follow(3));
    world.set_disk_hangs(2, true);
    world.kill(3);
    world.pass(seconds(8));
    assert_eq!(world.role(1), Role::Leading);
    assert_eq!(world.coordinator(2), None, "what is not on its disk it does not obey");
    world.set_disk_hangs(2, false);
    world.until_all_follow(1, FAILOVER);
}

#[test]
fn a_granted_epoch_that_was_never_stored_is_nobodys() {
    let mut world = settled(ElectionOrder::Highest);
    world.kill(3);
    while world.granted.len() < 2 {
        world.pass(milliseconds(1));
    }
    assert_eq!(world.epoch(2), world.granted[0]);
    world.kill(2);
    world.until_all_follow(1, seconds(8));
    world.start(2);
    world.start(3);
    world.pass(seconds(3));
    assert!(world.all_follow(1));
    assert_eq!(world.epoch(1).number, 3);
}

#[test]
fn a_lost_volume_obeys_nobody_before_a_majority_was_heard() {
    let mut world = settled(ElectionOrder::Highest);
    world.kill(3);
    world.until_all_follow(2, FAILOVER);
    world.lose_disk(1);
    world.cut(1, 2);
    world.cut(1, 3);
    world.start(1);
    world.pass(seconds(60));
    assert_eq!((world.role(1), world.epoch(1)), (Role::Leaderless, Epoch::default()));
    assert_eq!(world.elections(1, seconds(30)), 0);
    world.heal_all();
    world.until_all_follow(2, FAILOVER);
}

#[test]
fn a_server_of_a_cluster_of_one_leads_it() {
    let mut world = World::new(1, ElectionOrder::Highest, 1);
    world.until_all_follow(1, FAILOVER);
    world.pass(seconds(300));
    assert_eq!(world.granted.len(), 1);
}

#[test]
fn invariant_4_a_coordinator_is_not_obeyed_once_a_higher_epoch_is_on_its_way_to_the_disk() {
    let epochs = [1, 2].map(|number| Epoch { number, boot: Boot(number) });
    let members = [1, 2, 3].map(name);
    let settings = ElectionSettings { order: ElectionOrder::Highest, hand_over: seconds(60) };
    let mut server = Coordination::new(seconds(1), name(2), Boot(9), settings, &members, Epoch::default());
    server.on_fitness(seconds(1), Fitness::Fit);
    server.on_greeting(seconds(1), &name(1), Boot(1), Epoch::default());
    server.on_message(seconds(1), &name(1), Boot(1), &Message::Lead { epoch: epochs[0] });
    assert_eq!(server.to_store().map(|(epoch, _)| epoch), Some(epochs[0]), "it is being stored");
    server.on_reference(seconds(1), ReferenceAnswer::Reported(epochs[1]));
    server.on_stored(seconds(1), epochs[0]);
    assert_eq!(server.leadership().coordinator, None);
    server.on_stored(seconds(1), epochs[1]);
    assert_eq!((server.leadership().epoch, server.leadership().coordinator), (epochs[1], None));
}

#[test]
fn a_coordinator_that_stalls_for_a_moment_is_not_deposed() {
    for phase in 0..20 {
        let mut world = settled(ElectionOrder::Highest);
        world.kill(3);
        world.until_all_follow(2, FAILOVER);
        world.start(3);
        // The best is back, and would claim at once if it missed the coordinator.
        world.pass(seconds(10) + milliseconds(phase * 50));
        let granted = world.granted.len();
        world.pause(2);
        world.pass(milliseconds(600));
        world.resume(2);
        world.pass(seconds(5));
        assert_eq!(world.granted.len(), granted);
        assert_eq!(world.coordinator(3), Some(name(2)));
    }
}

#[test]
fn a_reference_service_that_comes_up_while_it_is_asked_grants_an_epoch_as_soon_as_it_may() {
    for after in (0..60).map(|tenths| milliseconds(tenths * 100)) {
        let mut world = World::new(1, ElectionOrder::Highest, 7);
        world.reference.is_up = false;
        world.pass(after);
        world.restart_reference();
        // It refuses all claims of the first election, which fails. Its answer to the next heartbeat gives hope again.
        world.pass(seconds(4));
        world.answer_heartbeat(1);
        world.until_all_follow(1, FAILOVER);
    }
}

#[test]
fn a_reference_service_that_denies_every_claim_is_asked_twice_a_minute_and_no_more() {
    let mut world = World::new(1, ElectionOrder::Highest, 1);
    world.reference.denies_claims = true;
    for _ in 0..12 {
        world.pass(seconds(10));
        world.answer_heartbeat(1);
    }
    let elections = world.elections(1, seconds(0));
    assert!((2..=5).contains(&elections), "{elections} elections in two minutes");
    world.reference.denies_claims = false;
    world.until_all_follow(1, seconds(31) + FAILOVER);
}

#[test]
fn who_gives_a_coordinator_time_to_show_itself_answers_and_does_not_claim_at_once() {
    // After a partition: a question that was on its way for long comes before the beat of the new coordinator.
    let settings = ElectionSettings { order: ElectionOrder::Highest, hand_over: seconds(60) };
    let higher = Epoch { number: 2, boot: Boot(2) };
    let mut server =
        Coordination::new(seconds(1), name(3), Boot(3), settings, &[1, 2, 3].map(name), Epoch::default());
    server.on_fitness(seconds(1), Fitness::Fit);
    server.on_greeting(seconds(1), &name(1), Boot(1), Epoch::default());
    server.on_reference(seconds(1), ReferenceAnswer::Reported(higher));
    server.on_stored(seconds(1), higher);
    server.take_acts();
    server.on_message(seconds(1), &name(1), Boot(1), &Message::Elect { epoch: Epoch::default() });
    let acts = server.take_acts();
    assert_eq!(acts, [Act::Send { to: name(1), message: Message::Answer { epoch: higher } }]);
    server.on_greeting(seconds(1), &name(2), Boot(2), higher);
    server.on_message(seconds(1), &name(2), Boot(2), &Message::Lead { epoch: higher });
    assert_eq!(server.leadership().coordinator, Some(&name(2)));
}

#[test]
fn invariant_4_a_lower_epoch_changes_nothing_and_is_answered_with_the_higher() {
    let mut world = settled(ElectionOrder::Highest);
    let old = world.epoch(3);
    world.kill(3);
    world.until_all_follow(2, FAILOVER);
    world.start(3);
    world.until_all_follow(2, FAILOVER);
    let new = world.epoch(2);
    for message in [
        Message::Lead { epoch: old },
        Message::Follows { epoch: old, coordinator: Some(name(3)) },
        Message::Offer { epoch: old },
        Message::HandOver { epoch: old },
    ] {
        for server in [1, 2] {
            let sent = world.sent.len();
            world.deliver(3, server, &message);
            assert!(world.all_follow(2), "{message:?}");
            let answers: Vec<_> =
                world.sent[sent..].iter().map(|(_, _, to, answer)| (*to, answer.epoch())).collect();
            assert_eq!(answers, [(3, new)], "{message:?}");
        }
    }
}
