//! One server and its clients.

use super::*;
use crate::archive::Archive;
use crate::vector::Writer;
use papo_protocol::Dot;
use std::ops::ControlFlow;

#[test]
fn e04_a_login_is_received_at_2_and_answered_at_3() {
    let mut world = World::apart(1);
    let id = world.send_from(0, direct(1), request("login", &[("user", "ana")], 1));
    world.run();
    assert_eq!(world.read(0, id).clock.get(), 3);
    assert_eq!(world.hosts[0].stored[0].lamport.get(), 2);
}

#[test]
fn c08_a_write_is_answered_after_it_is_stored_and_published() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    world.hosts[0].disk = Disk::Stalls;
    world.hosts[0].order.clear();
    let id = world.send_from(0, direct(50), request("publish", OI, 0));
    world.run();
    assert_eq!(world.outcome(0, id), None);
    assert_eq!(world.hosts[0].publications.len(), 0);
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(0, id).failure, None);
    assert_eq!(world.hosts[0].order, ["publish", "reply"]);
    assert_eq!(world.hosts[0].publications[0].0, "geral");
}

#[test]
fn writes_that_come_while_the_disk_is_busy_are_stored_together() {
    let mut world = World::apart(1);
    world.hosts[0].disk = Disk::Stalls;
    let ids: Vec<u64> = (0..10)
        .map(|counter| {
            world.send_from(0, direct(counter), request("login", &[("user", &format!("u{counter}"))], 0))
        })
        .collect();
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.hosts[0].batch_sizes, [1, 9]);
    assert!(ids.iter().all(|id| world.read(0, *id).failure.is_none()));
    let seqs: Vec<u64> = world.hosts[0].stored.iter().map(|op| op.dot.seq).collect();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    assert!(world.hosts[0].stored.is_sorted_by(|a, b| a.lamport < b.lamport));
}

#[test]
fn l01_users_and_channels_are_listed_by_name() {
    let mut world = World::apart(1);
    world.ask(0, "login", &[("user", "bia")]);
    world.ask(0, "login", &[("user", "ana")]);
    world.ask(0, "channel", GERAL);
    world.ask(0, "channel", &[("channel", "avisos")]);
    assert_eq!(world.ask(0, "users", &[]).names(&["users"]), ["ana", "bia"]);
    assert_eq!(world.ask(0, "channels", &[]).names(&["channels"]), ["avisos", "geral"]);
}

#[test]
fn c15_unknown_channels_and_users_are_refused_at_once_without_peers() {
    let mut world = World::apart(1);
    assert_eq!(code(&world.ask(0, "publish", OI)), Some("unknown_channel"));
    assert_eq!(code(&world.ask(0, "history", GERAL)), Some("unknown_channel"));
    let dm = [("src", "ana"), ("dst", "bia"), ("message", "oi")];
    assert_eq!(code(&world.ask(0, "message", &dm)), Some("unknown_user"));
    assert_eq!(world.hosts[0].stored.len(), 0);
}

#[test]
fn d06_a_name_is_a_users_or_a_channels() {
    let mut world = World::apart(1);
    world.ask(0, "login", &[("user", "ana")]);
    world.ask(0, "channel", GERAL);
    assert_eq!(code(&world.ask(0, "channel", &[("channel", "ana")])), Some("name_taken"));
    assert_eq!(code(&world.ask(0, "login", &[("user", "geral")])), Some("name_taken"));
    assert_eq!(code(&world.ask(0, "channel", GERAL)), Some("name_taken"));
}

#[test]
fn d06_a_name_on_its_way_to_the_disk_is_waited_for() {
    let mut world = World::apart(1);
    world.hosts[0].disk = Disk::Stalls;
    let first = world.send_from(0, direct(1), request("channel", GERAL, 0));
    let same = world.send_from(0, direct(2), request("channel", GERAL, 0));
    let user = world.send_from(0, direct(3), request("login", &[("user", "geral")], 0));
    let post = world.send_from(0, direct(4), request("publish", OI, 0));
    world.run();
    assert_eq!(world.hosts[0].replica.requests_waiting(), 3);
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(0, first).failure, None);
    assert_eq!(code(&world.read(0, same)), Some("name_taken"));
    assert_eq!(code(&world.read(0, user)), Some("name_taken"));
    assert_eq!(world.read(0, post).failure, None);
}

#[test]
fn c02_a_repeated_login_is_a_success_unless_names_are_unique() {
    let mut world = World::apart(1);
    let ana = [("user", "ana")];
    assert_eq!(world.ask(0, "login", &ana).failure, None);
    assert_eq!(world.ask(0, "login", &ana).failure, None);
    assert_eq!(world.hosts[0].stored.len(), 2, "i02: every login is stored");

    let unique = ReplicaSettings { login_policy: LoginPolicy::Unique, ..settings(1) };
    world.hosts[0] = Host::new(unique, world.now);
    world.hosts[0].disk = Disk::Stalls;
    let ids =
        [1, 2].map(|id| world.send_from(0, direct(70 + u64::from(id)), request_with_id("login", &ana, id)));
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.read(0, ids[0]).failure, None);
    assert_eq!(code(&world.read(0, ids[1])), Some("name_taken"));
    let retry = world.send_from(0, direct(80), request_with_id("login", &ana, 1));
    assert_eq!(world.read(0, retry).failure, None, "a retry is answered as it was the first time");
}

#[test]
fn a_retry_with_the_clients_id_is_stored_once_and_answered_the_same() {
    let mut world = World::apart(1);
    let first = world.send_from(0, direct(1), request_with_id("channel", GERAL, 7));
    world.run();
    let again = world.send_from(0, direct(2), request_with_id("channel", GERAL, 7));
    for name in ["message_id", "position", "durable", "status"] {
        let [first, again] = [first, again].map(|id| field(&world.read(0, id), name).cloned());
        assert!(first.is_some(), "{name}");
        assert_eq!(first, again);
    }
    assert_eq!(world.hosts[0].stored.len(), 1);
    let other = world.send_from(0, direct(3), request_with_id("channel", &[("channel", "avisos")], 7));
    world.run();
    assert_eq!(world.read(0, other).failure, None);
    assert_eq!(world.hosts[0].stored.len(), 2, "other content under a reused id is not hidden");
}

#[test]
fn a_redispatched_key_is_stored_once_and_both_are_answered() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    world.hosts[0].disk = Disk::Stalls;
    let cookie = Cookie::default();
    let ids = [1, 2].map(|_| world.send_from(0, broker(5, &cookie), request("publish", OI, 0)));
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert!(ids.iter().all(|id| world.read(0, *id).failure.is_none()));
    assert_eq!(world.hosts[0].stored.len(), 2);
    assert_eq!(world.hosts[0].publications.len(), 1);
}

#[test]
fn c07_a_post_without_a_user_is_the_sessions() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    let post = [("channel", "geral"), ("msg", "oi")];
    let refused = world.ask(0, "publish", &post);
    assert_eq!(code(&refused), Some("bad_request"));
    assert!(refused.failure.unwrap().text.contains("log in first or send `user`"));
    world.ask(0, "login", &[("user", "ana")]);
    assert_eq!(world.ask(0, "publish", &post).failure, None);
    assert_eq!(world.ask(0, "history", GERAL).messages()[0].user, "ana");
    world.input(0, Input::SessionClosed { session: 1 });
    assert_eq!(code(&world.ask(0, "publish", &post)), Some("bad_request"));
}

#[test]
fn c18_histories_are_in_order_and_cut_to_the_newest() {
    let mut world = World::apart(1);
    for user in ["ana", "bia"] {
        world.ask(0, "login", &[("user", user)]);
    }
    world.ask(0, "channel", GERAL);
    for text in ["1", "2", "3"] {
        world.ask(0, "publish", &[("user", "ana"), ("channel", "geral"), ("message", text)]);
        world.ask(0, "message", &[("src", "ana"), ("dst", "bia"), ("message", text)]);
    }
    let texts = |reply: ReadReply| reply.messages().into_iter().map(|read| read.message).collect::<Vec<_>>();
    assert_eq!(texts(world.ask(0, "history", GERAL)), ["1", "2", "3"]);
    assert_eq!(texts(world.ask(0, "get_publications", GERAL)), ["1", "2", "3"]);
    for user in ["ana", "bia"] {
        assert_eq!(texts(world.ask(0, "history_messages", &[("user", user)])), ["1", "2", "3"]);
    }
    assert_eq!(texts(world.ask(0, "history_messages", &[("user", "caio")])), [""; 0]);
    let limited = Bytes::from_static(br#"{"service":"history","data":{"channel":"geral","limit":2}}"#);
    let id = world.send_from(0, direct(70), limited);
    let reply = world.read(0, id);
    assert_eq!(field(&reply, "truncated"), Some(&Value::Bool(true)));
    assert_eq!(texts(reply), ["2", "3"]);
}

#[test]
fn malformed_requests_are_refused_and_absurd_clocks_ignored() {
    let mut world = World::apart(1);
    let id = world.send_from(0, direct(1), Bytes::from_static(b"{\"service\":"));
    assert_eq!(code(&world.read(0, id)), Some("bad_request"));
    let id = world.send_from(0, direct(2), request("ping", &[], 1 << 53));
    assert_eq!(world.read(0, id).failure, None);
    assert!(world.read(0, id).clock.get() < 10);
    assert_eq!(world.counters(0).clocks_ignored, 1);
    let id = world.send_from(0, direct(3), request("voar", &[], 1));
    assert_eq!(code(&world.read(0, id)), Some("unknown_service"));
    assert_eq!(
        world.counters(0).requests().collect::<Vec<_>>(),
        [("invalid", "erro", 1), ("other", "erro", 1), ("ping", "ok", 1)]
    );
}

#[test]
fn a_full_disk_sends_writes_elsewhere_and_gives_their_numbers_again() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    world.hosts[0].disk = Disk::Stalls;
    let cookie = Cookie::default();
    let in_flight = world.send_from(0, broker(1, &cookie), request("publish", OI, 0));
    let collected = world.send_from(0, broker(2, &cookie), request("publish", OI, 0));
    let direct_one = world.send_from(0, direct(60), request("publish", OI, 0));
    world.hosts[0].disk = Disk::Full;
    world.run();
    assert_eq!(world.outcome(0, in_flight), Some(&Outcome::Elsewhere));
    assert_eq!(world.outcome(0, collected), Some(&Outcome::Elsewhere));
    let refused = world.read(0, direct_one).failure.unwrap();
    assert_eq!((refused.code.as_deref(), refused.retry), (Some("no_server"), true));
    assert_eq!(world.ask(0, "history", GERAL).messages().len(), 0, "reads go on");
    assert!(world.counters(0).requests().any(|count| count == ("publish", "elsewhere", 2)));

    world.hosts[0].disk = Disk::Works;
    let again = world.send_from(0, broker(1, &cookie), request("publish", OI, 0));
    world.run();
    assert_eq!(world.read(0, again).failure, None, "it recovers by itself");
    let seqs: Vec<u64> = world.hosts[0].stored.iter().map(|op| op.dot.seq).collect();
    assert_eq!(seqs, [1, 2]);
}

#[test]
fn what_collected_behind_a_refused_batch_is_given_up_with_it() {
    let mut world = World::apart(1);
    world.hosts[0].disk = Disk::Stalls;
    let ids = [(1, "ana"), (2, "bia")]
        .map(|(counter, user)| world.send_from(0, direct(counter), request("login", &[("user", user)], 0)));
    let (batch, _, _) = world.hosts[0].batches.pop_front().unwrap();
    world.hosts[0].disk = Disk::Works;
    world.input(0, Input::StorageFull { batch });
    world.run();
    assert!(ids.iter().all(|id| code(&world.read(0, *id)) == Some("no_server")));
    assert_eq!(world.hosts[0].stored.len(), 0, "an operation would have been stored behind a gap");
    world.ask(0, "users", &[]);
    assert_eq!(world.ask(0, "login", &[("user", "caio")]).failure, None);
    assert_eq!(world.hosts[0].stored[0].dot.seq, 1);
}

#[test]
fn while_the_disk_hangs_reads_go_on_and_new_writes_go_elsewhere() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    world.hosts[0].disk = Disk::Stalls;
    let hangs = world.send_from(0, broker(1, &Cookie::default()), request("publish", OI, 0));
    world.pass(1_900);
    let soon = world.send_from(0, broker(2, &Cookie::default()), request("publish", OI, 0));
    world.pass(200);
    let late = world.send_from(0, broker(3, &Cookie::default()), request("publish", OI, 0));
    let read = world.send_from(0, broker(4, &Cookie::default()), request("history", GERAL, 0));
    world.run();
    assert_eq!(
        (world.outcome(0, hangs), world.outcome(0, soon)),
        (None, None),
        "they may be on disk any moment"
    );
    assert_eq!(world.outcome(0, late), Some(&Outcome::Elsewhere));
    assert_eq!(world.read(0, read).failure, None);
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.ask(0, "publish", OI).failure, None, "a disk that works again is used again");
}

#[test]
fn a_draining_server_reads_on_and_leaves_the_brokers_writes_to_others() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    world.input(0, Input::Drain);
    let cookie = Cookie::default();
    let write = world.send_from(0, broker(1, &cookie), request("publish", OI, 0));
    let read = world.send_from(0, broker(2, &cookie), request("history", GERAL, 0));
    let nobody_else = world.send_from(0, last_resort(1, &cookie), request("publish", OI, 0));
    world.run();
    assert_eq!(world.outcome(0, write), Some(&Outcome::Elsewhere));
    assert_eq!(world.read(0, read).failure, None);
    assert_eq!(world.read(0, nobody_else).failure, None);
}

#[test]
fn i03_a_restart_goes_on_from_what_is_stored_and_never_goes_back() {
    let mut world = World::apart(1);
    world.ask(0, "channel", GERAL);
    world.ask(0, "publish", OI);
    let mut stored: Vec<Op> = world.hosts[0].stored.iter().map(|op| op.as_ref().clone()).collect();
    stored.reverse();
    let exports = world.hosts[0].exports();
    let shown = world.hosts[0].replica.history().shown().clone();
    let floor = Lamport::new(5_000).unwrap();
    let next_boot = ReplicaSettings { boot: Boot(12), ..settings(1) };
    world.hosts[0] = Host::start(next_boot.clone(), stored.clone(), floor, &shown, world.now).unwrap();
    assert_eq!(world.hosts[0].exports(), exports);
    world.ask(0, "publish", OI);
    assert_eq!(world.hosts[0].stored[0].dot.seq, 1);
    assert!(world.hosts[0].stored[0].lamport > floor);

    stored.retain(|op| op.dot.seq != 1);
    let error = Host::start(next_boot, stored, floor, &shown, world.now).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "operation 1 of server-1 in boot 000000000000000b is missing");
}

#[test]
fn h08_sync_gives_what_is_newer_in_the_exercises_shape() {
    let mut world = World::apart(1);
    world.ask(0, "login", &[("user", "ana")]);
    world.ask(0, "channel", GERAL);
    world.pass(10_000);
    world.ask(0, "publish", OI);
    let count = |world: &mut World, since: i64, name| {
        let body = format!(r#"{{"service":"sync","data":{{"last_sync":{since}}}}}"#);
        let id = world.send_from(0, direct(70), body.into());
        match field(&world.read(0, id), name) {
            Some(Value::List(items)) => items.len(),
            other => panic!("{name}: {other:?}"),
        }
    };
    let all = ["logins", "channels", "channel_messages", "user_messages"];
    assert_eq!(all.map(|name| count(&mut world, 0, name)), [1, 1, 1, 0]);
    assert_eq!(all.map(|name| count(&mut world, START / 1000 + 10, name)), [0, 1, 1, 0]);
    assert_eq!(all.map(|name| count(&mut world, START / 1000 + 11, name)), [0, 1, 0, 0]);
}

#[test]
fn c18_h08_a_post_too_large_for_any_reply_hides_none_of_those_before_it() {
    let mut world = World::apart(1);
    world.hosts[0].replica.settings.limits.bytes = crate::constants::REQUEST_BYTES_MAX;
    world.ask(0, "channel", GERAL);
    let huge = "x".repeat(papo_protocol::reply::REPLY_BYTES_MAX + 1);
    for text in ["antes", &huge, "depois"] {
        let posted = world.ask(0, "publish", &[("user", "ana"), ("channel", "geral"), ("message", text)]);
        assert_eq!(posted.failure, None);
    }
    for service in ["history", "history_channel", "get_publications", "sync"] {
        let reply = world.ask(0, service, GERAL);
        assert_eq!(field(&reply, "truncated"), Some(&Value::Bool(true)), "{service}");
        let key = if service == "sync" { "channel_messages" } else { "publications" };
        let list = field(&reply, key).or_else(|| field(&reply, "messages")).and_then(Value::as_list);
        let texts: Vec<_> = list
            .unwrap()
            .iter()
            .map(|entry| entry.get("message").and_then(Value::to_text).unwrap())
            .collect();
        assert_eq!(texts, ["antes", "depois"], "{service}");
    }
}

/// A disk that takes everything and gives nothing back.
#[derive(Debug)]
struct Nowhere;

impl Archive for Nowhere {
    fn read(&self, dot: &Dot) -> Arc<Op> {
        panic!("{dot:?} is read again");
    }

    fn read_on(&self, writer: &Writer, _: u64, _: &mut dyn FnMut(Arc<Op>) -> ControlFlow<()>) {
        panic!("what {writer:?} wrote is read again");
    }
}

#[test]
fn what_was_written_of_late_is_never_read_from_the_disk() {
    let mut world = World::of((1..=3).map(|number| member(number, 3)));
    for (host, number) in (1..=3).enumerate() {
        let history = History::new(Nowhere, 1 << 20);
        world.hosts[host].replica =
            Replica::open(member(number, 3), history, Stored::default(), world.now).unwrap();
    }
    world.link_all();
    world.ask(0, "channel", GERAL);
    for round in 0..30 {
        let host = round % 3;
        assert_eq!(world.ask(host, "publish", OI).failure, None);
        assert_eq!(world.ask(host, "history", GERAL).messages().len(), round + 1);
    }
    let cookie = Cookie::default();
    for host in [0, 1] {
        let id = world.send_from(host, broker(7, &cookie), request("publish", OI, 0));
        world.run();
        assert_eq!(world.read(host, id).failure, None, "a retry, too");
    }
    // Who lost its links pulls what it missed.
    world.drop_links(0, 2);
    world.drop_links(1, 2);
    assert_eq!(world.ask(0, "publish", OI).failure, None);
    world.link_all();
    world.pass(3000);
    assert_eq!(world.ask(2, "history", GERAL).messages().len(), 32);
    assert_eq!(world.ask(2, "sync", &[]).failure, None);
}
