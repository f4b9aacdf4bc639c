//! Servers that ask each other every second whether they have the same.

use super::*;
use crate::peer::{Hashes, Hello, PeerMessage};

/// What one server has sent to another and was not delivered: by its kind.
fn sent(world: &mut World, milliseconds: u64) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    let end = world.now.monotonic + Duration::from_millis(milliseconds);
    while world.now.monotonic < end {
        world.now.monotonic += Duration::from_millis(50);
        for at in 0..world.hosts.len() {
            world.tick(at);
        }
        let messages = world.messages.iter().map(|(_, _, bytes)| PeerMessage::decode(bytes).unwrap());
        kinds.extend(messages.map(|message| match message {
            PeerMessage::Check { .. } => "check",
            PeerMessage::Pull { .. } => "pull",
            _ => "other",
        }));
        world.run();
    }
    kinds
}

#[test]
fn servers_that_have_the_same_tell_each_other_hashes_and_no_vectors() {
    let mut world = World::linked(2);
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(2000);
    assert_eq!(sent(&mut world, 4000), ["check"; 4], "two servers, four seconds: nothing changes");
}

#[test]
fn a_server_that_changed_asks_within_a_second_and_is_asked_though_all_were_equal() {
    let mut world = World::linked(2);
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(4000);
    // The push is lost.
    world.cut_from(0, 1);
    world.send_from(0, direct(9), request("login", &[("user", "bia")], 0));
    world.run();
    world.cut.clear();
    assert!(sent(&mut world, 1000).contains(&"check"));
    world.pass(1100);
    assert_eq!(world.hosts[1].replica.history().len(), 2);
}

#[test]
fn what_is_shown_is_told_again_where_the_word_of_it_was_lost() {
    let mut world = World::cluster(5);
    for stalled in [1, 3, 4] {
        world.hosts[stalled].disk = Disk::Stalls;
    }
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    for other in [0, 1, 3, 4] {
        world.cut_from(other, 2);
    }
    world.hosts[1].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(0, id).failure, None, "three of five have it");
    assert!(world.hosts[2].replica.history().shown().is_empty(), "and the third has not heard of the second");
    // It hears the first alone, and the two of them are no majority.
    world.cut.retain(|(from, _)| *from != 0);
    world.pass(8000);
    assert_eq!(world.hosts[2].replica.history().shown(), world.hosts[0].replica.history().shown());
}

#[test]
fn h07_servers_with_equal_vectors_and_other_operations_are_reported() {
    let mut world = World::linked(2);
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(2000);
    assert_eq!(world.hosts[0].replica.diverged().count(), 0);
    let hello = Hello {
        version: 3,
        name: name(7),
        cluster_id: "default/papo".to_owned(),
        boot: Boot(77),
        history: None,
        epoch: None,
    };
    let link = PeerLink(300);
    world.input(0, Input::PeerMessage { link, bytes: PeerMessage::Hello(hello).encode() });
    let history = world.hosts[0].replica.history();
    let same =
        Hashes { have: history.vector().hash(), shown: history.shown().hash(), digest: history.digest() };
    for (digest, diverged) in [(same.digest + 1, vec![name(7)]), (same.digest, vec![])] {
        let bytes = PeerMessage::Check { hashes: Hashes { digest, ..same }, token: 1 }.encode();
        world.input(0, Input::PeerMessage { link, bytes });
        assert_eq!(world.hosts[0].replica.diverged().cloned().collect::<Vec<_>>(), diverged);
    }
    let elsewhere = Hashes { shown: 1, digest: 2, ..same };
    let bytes = PeerMessage::Check { hashes: elsewhere, token: 1 }.encode();
    world.input(0, Input::PeerMessage { link, bytes });
    assert_eq!(
        world.hosts[0].replica.diverged().count(),
        0,
        "who shows something else may show other operations"
    );
}

#[test]
fn a_peer_of_the_version_before_is_pulled_from_every_second() {
    let mut world = World::linked(1);
    let link = PeerLink(300);
    world.input(0, Input::PeerUp { link });
    let hello = Hello {
        version: 2,
        name: name(2),
        cluster_id: "default/papo".to_owned(),
        boot: Boot(22),
        history: None,
        epoch: None,
    };
    world.input(0, Input::PeerMessage { link, bytes: PeerMessage::Hello(hello).encode() });
    let mut effects = Vec::new();
    world.now.monotonic += Duration::from_secs(10);
    world.hosts[0].replica.tick(world.now, &mut effects);
    let pulls = effects.iter().filter(|effect| match effect {
        Effect::ToPeer { bytes, .. } => matches!(PeerMessage::decode(bytes), Ok(PeerMessage::Pull { .. })),
        _ => false,
    });
    assert_eq!(pulls.count(), 1);
}

#[test]
fn with_one_link_between_two_servers_each_knows_what_the_other_has() {
    let mut world = World::of((1..=2).map(|number| member(number, 2)));
    // Each asks at moments of its own.
    world.pass(500);
    world.hosts[1] = Host::new(member(2, 2), world.now);
    world.link(0, 1);
    world.run();
    for _ in 0..10 {
        world.pass(4_000);
        assert!(world.hosts.iter().all(|host| host.replica.is_in_sync(world.now)));
    }
    assert_eq!(world.ask(1, "login", &[("user", "ana")]).failure, None);
}
