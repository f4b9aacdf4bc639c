//! Servers that join and leave while the others go on.

use super::*;
use crate::membership::Standing;

fn generation(generation: u64, members: &[usize], joining: &[usize], leaving: &[usize]) -> Membership {
    let names = |numbers: &[usize]| numbers.iter().copied().map(name).collect();
    Membership { generation, members: names(members), joining: names(joining), leaving: names(leaving) }
}

/// So many servers, all linked, in this membership.
fn world(servers: usize, membership: &Membership) -> World {
    let of = |number| ReplicaSettings { membership: membership.clone(), ..settings(number) };
    let mut world = World::of((1..=servers).map(of));
    world.link_all();
    world
}

fn change(world: &mut World, hosts: &[usize], membership: &Membership) {
    for host in hosts {
        world.input(*host, Input::Members(membership.clone()));
    }
    world.run();
}

fn through_the_broker(world: &mut World, host: usize, user: &str) -> Outcome {
    let id = world.send_from(
        host,
        broker(world.last_request, &Cookie::default()),
        request("login", &[("user", user)], 0),
    );
    world.run();
    world.outcome(host, id).cloned().unwrap()
}

#[test]
fn a_server_that_joins_pulls_all_there_is_and_neither_counts_nor_takes_writes() {
    let mut world = world(2, &generation(1, &[1], &[2], &[]));
    world.hosts[1].disk = Disk::Stalls;
    assert_eq!(world.ask(0, "login", &[("user", "ana")]).failure, None, "one member's disk is enough");
    assert_eq!(world.hosts[1].replica.standing(), Standing::Joining);
    world.hosts[1].disk = Disk::Works;
    world.pass(1000);
    assert!(world.hosts[1].replica.has_caught_up());
    assert_eq!(world.ask(1, "users", &[]).names(&["users"]), ["ana"], "it may be read from");
    assert_eq!(through_the_broker(&mut world, 1, "bia"), Outcome::Elsewhere);
    assert_eq!(code(&world.ask(1, "login", &[("user", "bia")])), Some("no_server"));
}

#[test]
fn a_cluster_grows_from_one_to_three_and_takes_writes_all_the_time() {
    let steps = [
        generation(1, &[1], &[2, 3], &[]),
        generation(2, &[1, 2], &[3], &[]),
        generation(3, &[1, 2, 3], &[], &[]),
    ];
    let mut world = world(3, &steps[0]);
    for (number, step) in steps.iter().enumerate() {
        // The settings reach one server after the other.
        for host in [1, 0, 2] {
            // At this very moment, before a message more is exchanged.
            world.input(host, Input::Members(step.clone()));
            let reply = world.ask(0, "login", &[("user", &format!("user-{number}-{host}"))]);
            assert_eq!(reply.failure, None, "generation {} at {host}", step.generation);
        }
    }
    // From now on the old server may go, and nothing with it.
    world.drop_links(0, 1);
    world.drop_links(0, 2);
    world.run();
    assert_eq!(world.ask(1, "users", &[]).names(&["users"]).len(), 9);
    assert_eq!(world.ask(1, "login", &[("user", "ana")]).failure, None, "two of three are a majority");
}

#[test]
fn a_server_that_leaves_takes_no_writes_and_is_released_once_every_member_has_all_it_had() {
    let mut world = world(3, &generation(1, &[1, 2, 3], &[], &[]));
    world.hosts[0].disk = Disk::Stalls;
    assert_eq!(world.ask(2, "login", &[("user", "ana")]).failure, None);
    assert!(!world.hosts[2].replica.is_released(), "it does not leave");
    let leaves = generation(2, &[1, 2], &[], &[3]);
    change(&mut world, &[0, 1, 2], &leaves);
    assert_eq!(world.hosts[2].replica.standing(), Standing::Leaving);
    assert_eq!(through_the_broker(&mut world, 2, "bia"), Outcome::Elsewhere);
    assert!(!world.hosts[2].replica.is_released(), "one member has not stored what it wrote");
    world.hosts[0].disk = Disk::Works;
    world.pass(1000);
    assert!(world.hosts[2].replica.is_released());
    world.drop_links(2, 0);
    world.drop_links(2, 1);
    assert_eq!(world.ask(0, "login", &[("user", "bia")]).failure, None, "and nobody misses it");
    assert_eq!(world.ask(1, "users", &[]).names(&["users"]), ["ana", "bia"]);
}

#[test]
fn a_write_that_waits_for_disks_when_its_server_begins_to_leave_is_answered() {
    let mut world = world(3, &generation(1, &[1, 2, 3], &[], &[]));
    world.hosts[0].disk = Disk::Stalls;
    world.hosts[1].disk = Disk::Stalls;
    let id = world.send_from(2, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    change(&mut world, &[0, 1, 2], &generation(2, &[1, 2], &[], &[3]));
    world.hosts[1].disk = Disk::Works;
    world.pass(500);
    assert_eq!(world.outcome(2, id), None, "of the two that count, one has it");
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(2, id).failure, None);
    assert!(world.hosts[2].replica.is_released());
}

#[test]
fn an_older_membership_changes_nothing() {
    let mut world = world(2, &generation(5, &[1, 2], &[], &[]));
    change(&mut world, &[0], &generation(4, &[1], &[], &[]));
    assert_eq!(world.hosts[0].replica.membership(), &generation(5, &[1, 2], &[], &[]));
}

#[test]
fn what_a_server_wrote_before_it_left_the_others_publish_again_when_it_is_gone() {
    let mut world = world(3, &generation(1, &[1, 2, 3], &[], &[]));
    for (service, fields) in [("channel", GERAL), ("publish", OI)] {
        assert_eq!(world.ask(2, service, fields).failure, None);
    }
    for (number, leaving) in [(2, &[3][..]), (3, &[])] {
        assert!(world.hosts[0].publications.is_empty(), "it is there to publish itself");
        change(&mut world, &[0, 1, 2], &generation(number, &[1, 2], &[], leaving));
    }
    let identities =
        |host: &Host| host.publications.iter().map(|(.., meta)| meta.identity).collect::<Vec<_>>();
    for host in [0, 1] {
        assert_eq!(identities(&world.hosts[host]), identities(&world.hosts[2])[..1]);
    }
}
