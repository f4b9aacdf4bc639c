//! A cluster in which a write must be on more than one disk.

use super::*;
use crate::peer::{Facts, Hello, PeerMessage};
use papo_protocol::Dot;

fn durable(reply: &ReadReply) -> Option<(u64, u64)> {
    let Some(Value::Map(fields)) = field(reply, "durable") else { return None };
    let number =
        |name: &str| fields.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.to_u64());
    Some((number("fsynced")?, number("of")?))
}

#[test]
fn invariant_1_a_write_is_acknowledged_once_a_majority_has_it_on_disk() {
    let mut world = World::cluster(3);
    for other in [1, 2] {
        world.hosts[other].disk = Disk::Stalls;
    }
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    assert_eq!(world.outcome(0, id), None, "one of three disks is no majority");
    assert_eq!(world.ask(0, "users", &[]).names(&["users"]), [""; 0], "and nothing is shown yet");
    world.hosts[2].disk = Disk::Works;
    world.run();
    let reply = world.read(0, id);
    assert_eq!(reply.failure, None);
    assert_eq!(durable(&reply), Some((2, 3)));
    for host in [0, 2] {
        assert_eq!(world.ask(host, "users", &[]).names(&["users"]), ["ana"]);
    }
}

#[test]
fn a_write_goes_on_with_one_of_three_dead_and_goes_elsewhere_with_two() {
    let mut world = World::cluster(3);
    world.drop_links(0, 2);
    world.drop_links(1, 2);
    let reply = world.ask(0, "channel", GERAL);
    assert_eq!((reply.failure.is_none(), durable(&reply)), (true, Some((2, 3))));
    world.drop_links(0, 1);
    let write = world.send_from(0, broker(1, &Cookie::default()), request("publish", OI, 0));
    assert_eq!(world.outcome(0, write), Some(&Outcome::Elsewhere));
    let refused = world.ask(0, "publish", OI).failure.unwrap();
    assert_eq!((refused.code.as_deref(), refused.retry), (Some("no_server"), true));
    assert_eq!(world.ask(0, "history", GERAL).messages().len(), 0, "reads go on");
    assert_eq!(world.hosts[0].stored.len(), 1, "nothing was appended");
}

#[test]
fn a_write_that_too_few_confirm_in_time_is_unknown_and_published_when_they_do() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    for other in [1, 2] {
        world.hosts[other].disk = Disk::Stalls;
    }
    let through_broker = world.send_from(0, broker(1, &Cookie::default()), request("publish", OI, 0));
    let directly = world.send_from(0, direct(9), request("publish", OI, 0));
    world.run();
    world.pass(2999);
    assert_eq!((world.outcome(0, through_broker), world.outcome(0, directly)), (None, None));
    world.pass(1);
    assert_eq!(world.outcome(0, through_broker), Some(&Outcome::Unknown));
    let refused = world.read(0, directly).failure.unwrap();
    assert_eq!((refused.code.as_deref(), refused.retry), (Some("unknown"), true));
    assert_eq!(world.hosts[0].publications.len(), 0);
    // Asked again, it is the same write, and is not known yet.
    let again = world.send_from(1, broker(1, &Cookie::default()), request("publish", OI, 0));
    world.hosts[1].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(1, again).failure, None);
    assert_eq!(world.hosts[0].publications.len(), 2, "late, but published");
    assert_eq!(world.ask(0, "history", GERAL).messages().len(), 2);
}

#[test]
fn a_retry_of_a_write_that_is_not_durable_yet_waits_for_it_and_is_stored_once() {
    let mut world = World::cluster(3);
    world.hosts[2].disk = Disk::Stalls;
    world.cut_from(1, 0);
    let first = world.send_from(0, broker(1, &Cookie::default()), request("channel", GERAL, 0));
    world.run();
    assert_eq!(world.outcome(0, first), None, "the second server's word is lost");
    let again = world.send_from(0, broker(1, &Cookie::default()), request("channel", GERAL, 0));
    world.run();
    assert_eq!(world.outcome(0, again), None);
    world.hosts[2].disk = Disk::Works;
    world.run();
    assert_eq!((world.read(0, first).failure, world.read(0, again).failure), (None, None));
    assert_eq!(world.hosts[0].stored.len(), 1);
}

#[test]
fn a_channel_that_is_held_and_not_shown_is_waited_for_and_never_refused_as_absent() {
    let mut world = World::cluster(3);
    for other in [1, 2] {
        world.hosts[other].disk = Disk::Stalls;
    }
    world.send_from(0, direct(1), request("channel", GERAL, 0));
    world.run();
    let post = world.send_from(0, direct(2), request("publish", OI, 0));
    let same = world.send_from(0, direct(3), request("channel", GERAL, 0));
    world.pass(500);
    assert_eq!((world.outcome(0, post), world.outcome(0, same)), (None, None));
    world.hosts[1].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(0, post).failure, None);
    assert_eq!(code(&world.read(0, same)), Some("name_taken"));
}

#[test]
fn all_waits_for_every_disk() {
    let all = |number| ReplicaSettings { durability: Durability::All, ..member(number, 3) };
    let mut world = World::of((1..=3).map(all));
    world.link_all();
    world.hosts[2].disk = Disk::Stalls;
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    assert_eq!(world.outcome(0, id), None);
    world.hosts[2].disk = Disk::Works;
    world.run();
    assert_eq!(durable(&world.read(0, id)), Some((3, 3)));
}

#[test]
fn what_a_peers_earlier_boot_had_on_disk_counts_no_more() {
    let mut world = World::cluster(3);
    world.hosts[2].disk = Disk::Stalls;
    world.cut_from(1, 0);
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    // The second server has it, and comes back without its disk before it said so.
    world.cut.clear();
    world.drop_links(0, 1);
    world.drop_links(1, 2);
    world.cut(0, 1);
    let lost = ReplicaSettings { boot: Boot(222), ..member(2, 3) };
    world.hosts[1] = Host::new(lost, world.now);
    world.hosts[1].disk = Disk::Stalls;
    world.cut.clear();
    world.link(0, 1);
    world.link(1, 0);
    world.run();
    assert_eq!(world.outcome(0, id), None, "it is on one disk");
    world.hosts[1].disk = Disk::Works;
    world.pass(1000);
    assert_eq!(durable(&world.read(0, id)), Some((2, 3)));
}

#[test]
fn invariant_12_what_was_shown_stays_shown_after_restarts_and_changes_of_members() {
    let mut world = World::cluster(3);
    world.hosts[2].disk = Disk::Stalls;
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(2000);
    let shown = world.hosts[0].replica.history().shown().clone();
    assert_eq!(world.hosts[0].stored_shown, shown, "it is stored within a second");
    let membership = Membership { generation: 1, ..members_up_to(5) };
    world.input(0, Input::Members(membership));
    assert_eq!(world.hosts[0].replica.history().shown(), &shown);
    assert_eq!(world.ask(0, "users", &[]).names(&["users"]), ["ana"]);

    let stored: Vec<Op> = world.hosts[0].stored.iter().map(|op| op.as_ref().clone()).collect();
    let next = ReplicaSettings { boot: Boot(12), ..member(1, 3) };
    let stored_shown = world.hosts[0].stored_shown.clone();
    world.hosts[0] = Host::start(next, stored, Lamport::default(), &stored_shown, world.now).unwrap();
    assert_eq!(world.hosts[0].replica.history().shown(), &shown);
}

#[test]
fn a_new_boot_neither_writes_nor_reads_until_it_heard_a_majority_and_reads_alone_after_5_s() {
    let mut world = World::of((1..=3).map(|number| member(number, 3)));
    let write = |world: &mut World, counter| {
        world.send_from(0, broker(counter, &Cookie::default()), request("channel", GERAL, 0))
    };
    let id = write(&mut world, 1);
    assert_eq!(world.outcome(0, id), Some(&Outcome::Elsewhere));
    assert_eq!(code(&world.ask(0, "channel", GERAL)), Some("no_server"));
    let read = world.send_from(0, broker(2, &Cookie::default()), request("users", &[], 0));
    assert_eq!(world.outcome(0, read), Some(&Outcome::Elsewhere));
    let waiting = world.send_from(0, direct(2), request("users", &[], 0));
    world.pass(4999);
    assert_eq!(world.outcome(0, waiting), None);
    world.pass(1);
    assert_eq!(world.read(0, waiting).failure, None);
    let id = write(&mut world, 3);
    assert_eq!(world.outcome(0, id), Some(&Outcome::Elsewhere), "alone it never writes");
    assert!(!world.hosts[0].replica.has_caught_up());
    world.link_all();
    assert!(world.hosts[0].replica.has_caught_up());
    assert_eq!(world.ask(0, "channel", GERAL).failure, None);
}

#[test]
fn a_server_that_is_still_catching_up_says_of_nothing_that_it_does_not_exist() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", &[("channel", "long")]);
    let long = "x".repeat(100_000);
    for _ in 0..10 {
        world.ask(0, "publish", &[("user", "ana"), ("channel", "long"), ("message", &long)]);
    }
    world.ask(0, "channel", GERAL);
    world.pass(1);
    // The third comes back with an empty disk, which takes long to take in what the others have.
    world.drop_links(2, 0);
    world.drop_links(2, 1);
    let settings = ReplicaSettings { boot: Boot(77), ..member(3, 3) };
    world.hosts[2] = Host::new(settings, world.now);
    world.hosts[2].disk = Disk::Stalls;
    for other in [0, 1] {
        world.link(2, other);
        world.link(other, 2);
    }
    world.run();
    let cookie = Cookie::default();
    let post = world.send_from(2, broker(1, &cookie), request("publish", OI, 0));
    let nobody_else = world.send_from(2, last_resort(2, &cookie), request("publish", OI, 0));
    let own = world.send_from(2, direct(3), request("publish", OI, 0));
    world.pass(500);
    assert_eq!(world.outcome(2, post), Some(&Outcome::Elsewhere));
    assert_eq!(world.outcome(2, nobody_else), Some(&Outcome::Elsewhere));
    assert_eq!(code(&world.read(2, own)), Some("no_server"));
    // However long it takes: there are others, who know.
    world.pass(10_000);
    for list in ["channels", "users"] {
        let read = world.send_from(2, broker(4, &cookie), request(list, &[], 0));
        assert_eq!(world.outcome(2, read), Some(&Outcome::Elsewhere), "{list}");
    }
    let read = world.send_from(2, direct(5), request("history", GERAL, 0));
    world.pass(1);
    assert_eq!(code(&world.read(2, read)), Some("no_server"));
    world.hosts[2].disk = Disk::Works;
    world.pass(1_000);
    assert_eq!(world.ask(2, "history", GERAL).failure, None);
    assert_eq!(world.ask(2, "publish", OI).failure, None);
}

#[test]
fn with_local_durability_a_lone_boot_writes_after_5_s() {
    let local = |number| ReplicaSettings { durability: Durability::Local, ..member(number, 3) };
    let mut world = World::of((1..=3).map(local));
    assert_eq!(code(&world.ask(0, "channel", GERAL)), Some("no_server"));
    world.pass(5000);
    let reply = world.ask(0, "channel", GERAL);
    assert_eq!((reply.failure.is_none(), durable(&reply)), (true, Some((1, 3))));
}

#[test]
fn a_new_boot_rises_above_the_clocks_of_those_it_hears() {
    let mut world = World::cluster(3);
    let taken_at = UnixMillis(START + 60_000);
    let history =
        Facts { lamport: Lamport::new(70_000).unwrap(), taken_at: Some(taken_at), ..Facts::default() };
    let cluster_id = "default/papo".to_owned();
    let hello =
        Hello { version: 2, name: name(2), cluster_id, boot: Boot(9), history: Some(history), epoch: None };
    let link = PeerLink(5_000);
    world.input(0, Input::PeerUp { link });
    world.input(0, Input::PeerMessage { link, bytes: PeerMessage::Hello(hello).encode() });
    world.ask(0, "login", &[("user", "ana")]);
    let op = &world.hosts[0].stored[0];
    assert!(op.lamport.get() > 70_000);
    assert_eq!(op.at, taken_at);
}

#[test]
fn an_older_peers_messages_do_no_harm_and_its_disk_counts() {
    #[derive(serde::Serialize)]
    enum Old {
        Hello { version: u8, name: ServerName, cluster_id: String, boot: Boot },
        Pull { have: VersionVector, limit_bytes: u64, token: u64 },
        Ops { ops: Vec<Bytes>, more: bool, token: u64, have: VersionVector },
    }
    let encode = |message: &Old| {
        let mut bytes = vec![1];
        rmp_serde::encode::write_named(&mut bytes, message).unwrap();
        Bytes::from(bytes)
    };
    let mut world = World::of((1..=3).map(|number| member(number, 3)));
    let (asked, answered) = (PeerLink(5_000), PeerLink(5_001));
    let hello = || Old::Hello { version: 1, name: name(2), cluster_id: "default/papo".into(), boot: Boot(9) };
    world.input(0, Input::PeerUp { link: asked });
    world.input(0, Input::PeerMessage { link: asked, bytes: encode(&hello()) });
    world.input(0, Input::PeerMessage { link: answered, bytes: encode(&hello()) });
    let have = VersionVector::default();
    world.input(
        0,
        Input::PeerMessage {
            link: asked,
            bytes: encode(&Old::Ops { ops: vec![], more: false, token: 1, have }),
        },
    );
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 0));
    world.run();
    assert_eq!(world.outcome(0, id), None);
    let have = VersionVector::from(vec![(name(1), Boot(11), 1)]);
    let pull = Old::Pull { have, limit_bytes: 1000, token: 4 };
    world.input(0, Input::PeerMessage { link: answered, bytes: encode(&pull) });
    assert_eq!(durable(&world.read(0, id)), Some((2, 3)));
    assert_eq!(world.counters(0).peer_messages_ignored, 0);
}

#[test]
fn a_server_publishes_again_what_it_wrote_in_the_last_10_s_when_it_starts() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    world.ask(0, "publish", OI);
    let restart = |world: &mut World, boot| {
        let stored: Vec<Op> = world.hosts[0].stored.iter().map(|op| op.as_ref().clone()).collect();
        let settings = ReplicaSettings { boot: Boot(boot), ..member(1, 3) };
        let shown = world.hosts[0].replica.history().shown().clone();
        let mut host = Host::start(settings, stored.clone(), Lamport::default(), &shown, world.now).unwrap();
        host.stored = stored.into_iter().map(Arc::new).collect();
        world.hosts[0] = host;
    };
    restart(&mut world, 12);
    world.pass(0);
    assert_eq!(world.hosts[0].publications.len(), 1);
    world.pass(11_000);
    restart(&mut world, 13);
    world.pass(0);
    assert_eq!(world.hosts[0].publications.len(), 0);
}

#[test]
fn a_dead_servers_last_writes_are_published_by_the_others() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    world.ask(0, "publish", OI);
    world.drop_links(0, 1);
    world.drop_links(0, 2);
    world.pass(2999);
    assert_eq!(world.hosts[1].publications.len(), 0);
    world.pass(1);
    let identities: Vec<_> = world.hosts[0].publications.iter().map(|(_, _, meta)| meta.identity).collect();
    for other in [1, 2] {
        let again: Vec<_> =
            world.hosts[other].publications.iter().map(|(_, _, meta)| meta.identity).collect();
        assert_eq!(again, identities);
    }
}

#[test]
fn a_client_never_reads_older_than_it_has_read() {
    let mut world = World::cluster(3);
    world.cut(0, 2);
    world.cut(1, 2);
    world.ask(0, "channel", GERAL);
    let read = world.send_from(0, broker(1, &Cookie::default()), request("channels", &[], 0));
    assert_eq!(world.read(0, read).names(&["channels"]), ["geral"]);
    let cookie = world.cookie(0, read);
    let later = world.send_from(2, broker(2, &cookie), request("channels", &[], 0));
    world.pass(999);
    assert_eq!(world.outcome(2, later), None);
    world.pass(1);
    assert_eq!(world.outcome(2, later), Some(&Outcome::Elsewhere));
    world.cut.clear();
    world.pass(6000);
    let later = world.send_from(2, broker(3, &cookie), request("channels", &[], 0));
    assert_eq!(world.read(2, later).names(&["channels"]), ["geral"]);
}

#[test]
fn a_peer_that_does_not_keep_up_is_pushed_no_more_than_a_bound() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    world.hosts[2].disk = Disk::Stalls;
    let text = "x".repeat(200_000);
    let post = [("user", "ana"), ("channel", "geral"), ("message", text.as_str())];
    let mut pushed = 0;
    for _ in 0..100 {
        let id = world.send_from(0, direct(world.last_request + 1), request("publish", &post, 0));
        let (batch, ops, _) = world.hosts[0].batches.pop_front().unwrap();
        world.hosts[0].archive.add(ops);
        world.input(0, Input::Stored { batch });
        let to_third = ends(0, 2)[1];
        pushed += world
            .messages
            .iter()
            .filter(|(to, link, _)| (*to, *link) == (2, to_third))
            .map(|(_, _, bytes)| bytes.len())
            .sum::<usize>();
        world.messages.retain(|(to, _, _)| *to != 2);
        world.run();
        assert_eq!(world.read(0, id).failure, None, "the slow one stalls nobody");
    }
    assert!(pushed <= crate::constants::PUSHED_BYTES_MAX + 300_000, "{pushed}");
    world.hosts[2].disk = Disk::Works;
    world.pass(12_000);
    assert_eq!(world.hosts[2].replica.history().len(), 101, "it pulled the rest");
}

#[test]
fn a_long_history_streams_in_small_pieces_while_chat_goes_on() {
    const OPS: u64 = 30_000;
    let mut world = World::of((1..=3).map(|number| member(number, 3)));
    let login = |seq: u64| Op {
        dot: Dot { origin: name(1), boot: Boot(1), seq },
        lamport: Lamport::new(seq).unwrap(),
        identity: papo_protocol::Identity(u128::from(seq).to_be_bytes()),
        at: UnixMillis(START),
        kind: crate::op::OpKind::Login { user: papo_protocol::UserName::new("ana").unwrap() },
    };
    let shown = VersionVector::from(vec![(name(1), Boot(1), OPS)]);
    for host in [0, 1] {
        let ops = (1..=OPS).map(login);
        world.hosts[host] =
            Host::start(member(host + 1, 3), ops, Lamport::default(), &shown, world.now).unwrap();
    }
    world.link(0, 1);
    world.link(1, 0);
    world.run();
    world.link(2, 0);
    world.link(2, 1);
    let (mut pieces, mut largest, mut posts) = (0, 0, 0);
    while world.hosts[2].replica.history().len() as u64 <= OPS {
        let (to, link, bytes) = world.messages.pop_front().unwrap();
        if to == 2 && bytes.len() > 100_000 {
            pieces += 1;
            assert!(bytes.len() < 1 << 20, "a piece has {} bytes", bytes.len());
            largest =
                largest.max(world.messages.iter().filter(|(_, _, bytes)| bytes.len() > 100_000).count());
        }
        world.input(to, Input::PeerMessage { link, bytes });
        for host in 0..3 {
            world.disk(host);
        }
        if pieces > posts {
            posts += 1;
            let user = format!("novo{posts}");
            let id = world.send_from(0, direct(100 + posts), request("login", &[("user", &user)], 0));
            world.disk(0);
            // To the second server and back, however much is on its way to the third.
            for _ in 0..2 {
                while let Some(at) = world.messages.iter().position(|(to, _, _)| *to != 2) {
                    let (to, link, bytes) = world.messages.remove(at).unwrap();
                    world.input(to, Input::PeerMessage { link, bytes });
                    world.disk(1);
                }
            }
            assert_eq!(world.read(0, id).failure, None);
        }
    }
    assert!(pieces >= 4 && posts >= 4, "{pieces} pieces, {posts} posts");
    assert!(largest <= 2, "one piece for each peer is on its way at a time: {largest}");
}

#[test]
fn a_new_member_is_pulled_from_on_the_links_that_it_opened() {
    let mut world = World::of((1..=2).map(settings));
    world.ask(1, "login", &[("user", "ana")]);
    world.link(1, 0);
    world.run();
    assert_eq!(world.hosts[0].stored.len(), 1);
}

#[test]
fn a_server_that_was_behind_publishes_once_it_is_not_and_answers_nobody_before() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    world.cut(0, 1);
    world.cut(0, 2);
    world.pass(31_500);
    world.cut.clear();
    let id = world.send_from(0, last_resort(1, &Cookie::default()), request("publish", OI, 0));
    world.run();
    assert_eq!(world.ask(0, "history", GERAL).messages().len(), 1, "it is durable, and shown");
    let again = world.send_from(0, last_resort(1, &Cookie::default()), request("publish", OI, 0));
    world.run();
    assert_eq!((world.outcome(0, id), world.outcome(0, again)), (None, None));
    assert_eq!(world.hosts[0].publications.len(), 0);
    let other = world.send_from(0, broker(2, &Cookie::default()), request("publish", OI, 0));
    assert_eq!(world.outcome(0, other), Some(&Outcome::Elsewhere), "another server is not behind");
    world.pass(3000);
    assert_eq!(world.outcome(0, id), Some(&Outcome::Unknown));
    assert_eq!(world.outcome(0, again), Some(&Outcome::Unknown));
    // The pulls that were lost are asked again.
    world.pass(3000);
    assert_eq!(world.hosts[0].publications.len(), 1);
}

#[test]
fn a_dot_is_shown_only_after_all_before_it() {
    let mut world = World::cluster(3);
    for number in 0..20 {
        world.ask(number % 3, "login", &[("user", &format!("u{number}"))]);
    }
    for host in &world.hosts {
        let history = host.replica.history();
        assert_eq!(history.shown(), &history.vector());
        for op in history.visible() {
            let before = Dot { seq: op.dot.seq.max(2) - 1, ..op.dot.clone() };
            assert!(history.shown().covers(&before));
        }
    }
}
