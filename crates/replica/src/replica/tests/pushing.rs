//! A write is on its way to the peers' disks while this server's own disk is at work.

use super::*;
use crate::peer::{Hello, PEER_VERSION_CHECK, PEER_VERSION_EARLY_PUSH, PeerMessage};

/// The link on which a test plays a peer itself.
const PLAYED: PeerLink = PeerLink(300);

#[test]
fn peers_store_a_write_while_its_own_server_does() {
    let mut world = World::cluster(3);
    world.hosts[0].disk = Disk::Stalls;
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    assert_eq!(world.hosts[1].stored.len(), 1);
    assert_eq!(world.hosts[2].stored.len(), 1);
    assert_eq!(world.outcome(0, id), None, "it is answered once it is on this disk, too");
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(0, id).failure, None);
}

#[test]
fn what_peers_may_have_is_kept_while_the_disk_is_full_and_its_number_is_never_given_again() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    world.hosts[0].disk = Disk::Full;
    let through_broker = world.send_from(0, broker(1, &Cookie::default()), request("publish", OI, 0));
    world.run();
    assert_eq!(world.outcome(0, through_broker), Some(&Outcome::Unknown));
    let elsewhere = world.send_from(0, broker(2, &Cookie::default()), request("publish", OI, 0));
    assert_eq!(world.outcome(0, elsewhere), Some(&Outcome::Elsewhere), "no more until there is room");
    let again = world.send_from(1, broker(1, &Cookie::default()), request("publish", OI, 0));
    world.pass(1500);
    assert_eq!(world.read(1, again).failure, None, "two of three disks have it");
    assert!(world.counters(0).batches_refused >= 2, "it is tried again");

    world.hosts[0].disk = Disk::Works;
    world.pass(1500);
    assert_eq!(world.ask(0, "publish", OI).failure, None, "it recovers by itself");
    world.pass(1500);
    let seqs: Vec<u64> = world.hosts[0].stored.iter().map(|op| op.dot.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
    for host in 0..3 {
        assert_eq!(world.ask(host, "history", GERAL).messages().len(), 2);
        assert_eq!(world.hosts[host].exports(), world.hosts[0].exports());
    }
}

#[test]
fn an_older_peer_is_told_of_a_write_once_it_is_on_disk() {
    for (version, early) in [(PEER_VERSION_CHECK, false), (PEER_VERSION_EARLY_PUSH, true)] {
        let mut world = World::of([member(1, 2)].into_iter());
        let hello = PeerMessage::Hello(Hello {
            version,
            name: name(2),
            cluster_id: "default/papo".to_owned(),
            boot: Boot(7),
            history: Some(Default::default()),
            epoch: Default::default(),
        });
        world.input(0, Input::PeerMessage { link: PLAYED, bytes: hello.encode() });
        world.run();
        let mut pushes = |input| {
            let mut effects = Vec::new();
            world.hosts[0].replica.handle(world.now, input, &mut effects);
            let batch = effects.iter().find_map(|effect| match effect {
                Effect::Store { batch, ops, .. } if !ops.is_empty() => Some(*batch),
                _ => None,
            });
            let pushed = effects.iter().any(|effect| {
                matches!(effect, Effect::ToPeer { link: PLAYED, bytes }
                    if matches!(PeerMessage::decode(bytes), Ok(PeerMessage::Push { .. })))
            });
            (pushed, batch)
        };
        let body = request("login", &[("user", "ana")], 0);
        let (pushed, batch) = pushes(Input::Request { id: RequestId(1), from: direct(1), body });
        assert_eq!(pushed, early);
        assert_eq!(pushes(Input::Stored { batch: batch.unwrap() }).0, !early);
    }
}

#[test]
fn a_server_stays_in_sync_while_large_writes_of_its_own_are_on_their_way_to_a_slow_disk() {
    let mut world = World::cluster(3);
    world.ask(0, "login", &[("user", "ana")]);
    world.ask(0, "channel", GERAL);
    let text = "x".repeat(300_000);
    world.hosts[0].disk = Disk::Stalls;
    for counter in 0..60 {
        for part in 0..2 {
            let message = format!("{counter}-{part}-{text}");
            let post = [("user", "ana"), ("channel", "geral"), ("message", message.as_str())];
            world.send_from(0, broker(2 * counter + part, &Cookie::default()), request("publish", &post, 0));
        }
        // What is written next waits behind what is being written.
        world.pass(300);
        world.disk(0);
        world.run();
    }
    assert!(world.hosts[0].replica.is_in_sync(world.now));
}
