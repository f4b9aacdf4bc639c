//! Several servers.

use super::*;
use crate::op::OpKind;
use crate::peer::{PeerMessage, encode_op};

#[test]
fn l05_a_login_on_one_server_is_in_the_exports_of_all() {
    let mut world = World::linked(3);
    world.ask(0, "login", &[("user", "teste_replicacao")]);
    for host in &world.hosts {
        let [_, _, registry, server_data] = host.exports();
        assert!(registry.contains("teste_replicacao"), "{registry}");
        assert!(server_data.contains("\"username\": \"teste_replicacao\""), "{server_data}");
        assert_eq!(host.stored.len(), 1);
    }
}

#[test]
fn h01_what_was_written_apart_is_everywhere_after_linking() {
    let mut world = World::apart(3);
    for host in 0..3 {
        world.ask(host, "login", &[("user", &format!("user{host}"))]);
        world.ask(host, "channel", &[("channel", &format!("canal{host}"))]);
        let post = [("user", "ana"), ("channel", &*format!("canal{host}")), ("message", "oi")];
        world.ask(host, "publish", &post);
    }
    world.link_all();
    world.pass(1000);
    let exports = world.hosts[0].exports();
    assert_eq!(exports[0].lines().count(), 3);
    assert!(world.hosts.iter().all(|host| host.exports() == exports), "h16: the same bytes everywhere");
    assert_eq!(world.hosts[2].replica.history().len(), 9);
}

#[test]
fn h13_a_lost_push_is_pulled_within_a_second_or_two() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(3000);
    assert_eq!(world.hosts[1].stored.len(), 0);
    world.cut.clear();
    world.pass(6000);
    assert_eq!(world.hosts[1].stored.len(), 1);
}

#[test]
fn a_push_that_does_not_follow_what_is_held_is_pulled_at_once() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    world.ask(0, "login", &[("user", "ana")]);
    world.cut.clear();
    world.ask(0, "login", &[("user", "bia")]);
    assert_eq!(world.hosts[1].stored.len(), 2);
}

#[test]
fn a_long_history_is_pulled_in_pieces_at_once() {
    let mut world = World::apart(2);
    world.ask(0, "channel", GERAL);
    let text = "x".repeat(100_000);
    for _ in 0..20 {
        world.ask(0, "publish", &[("user", "ana"), ("channel", "geral"), ("message", &text)]);
    }
    world.link_all();
    assert_eq!(world.hosts[1].stored.len(), 21);
    assert!(world.hosts[1].batch_sizes.len() >= 4, "{:?}", world.hosts[1].batch_sizes);
    world.pass(1000);
    let peer = world.hosts[1].replica.peers().next().unwrap();
    assert_eq!((peer.name.as_str(), peer.have), ("server-1", &world.hosts[1].replica.history().vector()));
}

#[test]
fn twins_from_two_servers_converge_to_one_visible() {
    let mut world = World::linked(2);
    world.ask(0, "channel", GERAL);
    world.cut(0, 1);
    let cookie = Cookie::default();
    // The first server dies with the request in hand; the broker sends it to the second with the same key.
    let first = world.send_from(0, broker(7, &cookie), request("publish", OI, 3));
    let second = world.send_from(1, broker(7, &cookie), request("publish", OI, 9));
    world.run();
    let identity = |world: &World, host: usize, id| {
        assert_eq!(world.read(host, id).failure, None);
        world.hosts[host].publications[0].2.identity
    };
    assert_eq!(identity(&world, 0, first), identity(&world, 1, second));
    world.cut.clear();
    world.pass(8000);
    for host in &world.hosts {
        let history = host.replica.history();
        assert_eq!((history.len(), history.hidden()), (3, 1));
        assert_eq!(host.exports()[0].lines().count(), 1);
    }
    assert_eq!(world.hosts[0].exports(), world.hosts[1].exports());
    let again = world.send_from(0, broker(7, &cookie), request("publish", OI, 0));
    assert_eq!(world.read(0, again).failure, None);
    assert_eq!(world.hosts[0].publications.len(), 1, "a retry is not published again by whom it was");
}

#[test]
fn a_post_whose_server_died_before_publishing_is_published_by_the_one_that_gets_the_retry() {
    let mut world = World::linked(2);
    world.ask(0, "channel", GERAL);
    let cookie = Cookie::default();
    world.send_from(0, broker(7, &cookie), request("publish", OI, 0));
    world.run();
    // The first server's publication and reply never left its machine; its operation did.
    let again = world.send_from(1, broker(7, &cookie), request("publish", OI, 0));
    assert_eq!(world.read(1, again).failure, None);
    let identities = |host: usize| -> Vec<_> {
        world.hosts[host].publications.iter().map(|(_, _, meta)| meta.identity).collect()
    };
    assert_eq!(identities(1), identities(0), "a proxy that had the first drops the second by its identity");

    // Later a proxy may have forgotten the identity: whoever repeats a request so late is answered, and nothing is sent.
    world.pass(31_000);
    world.send_from(1, broker(7, &cookie), request("publish", OI, 0));
    assert_eq!(world.hosts[1].publications.len(), 1);
}

#[test]
fn a_retry_is_published_also_where_the_calendar_is_behind() {
    let mut world = World::linked(2);
    world.ask(0, "channel", GERAL);
    world.send_from(0, broker(7, &Cookie::default()), request("publish", OI, 0));
    world.run();
    world.now.unix.0 -= 1;
    let again = world.send_from(1, broker(7, &Cookie::default()), request("publish", OI, 0));
    assert_eq!(world.read(1, again).failure, None);
    assert_eq!(world.hosts[1].publications.len(), 1);
}

#[test]
fn a_twin_that_comes_with_its_older_one_is_published_under_its_identity_and_answers_for_it() {
    let mut world = World::linked(2);
    world.ask(0, "channel", GERAL);
    world.hosts[1].disk = Disk::Stalls;
    let cookie = Cookie::default();
    world.send_from(1, broker(6, &cookie), request("login", &[("user", "ana")], 1000));
    let later = world.send_from(1, broker(7, &cookie), request("publish", OI, 0));
    let first = world.send_from(0, broker(7, &cookie), request("publish", OI, 0));
    world.run();
    world.hosts[1].disk = Disk::Works;
    world.run();
    assert_eq!(world.hosts[1].batch_sizes, [1, 1, 2]);
    // The older one's server may have died before publishing it.
    assert_eq!(world.hosts[1].publications[0].2, world.hosts[0].publications[0].2);
    let position = |host, id| field(&world.read(host, id), "position").cloned();
    assert!(position(0, first).is_some());
    assert_eq!(position(1, later), position(0, first));
}

#[test]
fn a_key_that_was_replicated_before_its_retry_is_answered_from_the_history() {
    let mut world = World::linked(2);
    let cookie = Cookie::default();
    world.send_from(0, broker(7, &cookie), request("channel", GERAL, 0));
    world.run();
    let again = world.send_from(1, broker(7, &cookie), request("channel", GERAL, 0));
    assert_eq!(world.read(1, again).failure, None);
    assert_eq!(world.hosts[1].replica.history().len(), 1);
}

#[test]
fn an_unknown_channel_is_refused_only_after_the_peers_were_asked() {
    let mut world = World::linked(2);
    // The push is lost, so the second server does not know the channel when it is asked.
    world.cut(0, 1);
    world.ask(0, "channel", GERAL);
    world.cut.clear();
    let id = world.send_from(1, direct(1), request("publish", OI, 0));
    assert_eq!(world.outcome(1, id), None);
    world.run();
    assert_eq!(world.read(1, id).failure, None);

    let absent = [("channel", "nenhum")];
    let id = world.send_from(1, direct(2), request("history", &absent, 0));
    assert_eq!(world.outcome(1, id), None);
    world.run();
    assert_eq!(code(&world.read(1, id)), Some("unknown_channel"));
}

#[test]
fn a_refusal_waits_for_silent_peers_300_ms_at_most() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    let id = world.send_from(1, direct(1), request("publish", OI, 0));
    world.pass(299);
    assert_eq!(world.outcome(1, id), None);
    world.pass(1);
    assert_eq!(code(&world.read(1, id)), Some("unknown_channel"));
    let id = world.send_from(1, direct(2), request("publish", OI, 0));
    world.input(1, Input::PeerDown { link: ends(1, 0)[0] });
    assert_eq!(code(&world.read(1, id)), Some("unknown_channel"), "nobody is waited for who is gone");
}

#[test]
fn a_pull_on_its_way_is_too_old_to_decide_an_absence() {
    let mut world = World::linked(2);
    // The answer to this pull is composed before the channel is created, and delivered after.
    world.pass(999);
    world.now.monotonic += Duration::from_millis(1);
    let mut effects = Vec::new();
    world.hosts[1].replica.tick(world.now, &mut effects);
    world.execute(1, effects);
    let (to, link, pull) = world.messages.pop_front().unwrap();
    world.input(to, Input::PeerMessage { link, bytes: pull });
    let late: Vec<_> = world.messages.drain(..).collect();
    world.cut(0, 1);
    world.ask(0, "channel", GERAL);
    world.cut.clear();
    let id = world.send_from(1, direct(1), request("publish", OI, 0));
    world.messages.extend(late);
    world.run();
    assert_eq!(world.read(1, id).failure, None);
}

#[test]
fn too_many_waiting_requests_go_elsewhere() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    let cookie = Cookie::default();
    for counter in 0..crate::constants::WAITING_MAX as u64 {
        world.send_from(1, broker(counter, &cookie), request("publish", OI, 0));
    }
    let over = world.send_from(1, broker(u64::MAX, &cookie), request("publish", OI, 0));
    assert_eq!(world.outcome(1, over), Some(&Outcome::Elsewhere));
    let over = world.send_from(1, direct(1), request("publish", OI, 0));
    assert_eq!(code(&world.read(1, over)), Some("no_server"));
    world.pass(300);
    assert_eq!(world.hosts[1].replica.requests_waiting(), 0);
}

#[test]
fn requests_that_wait_are_bounded_in_bytes_too() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    let text = "a".repeat(100 << 10);
    let large = || request("publish", &[("user", "ana"), ("channel", "geral"), ("message", &text)], 0);
    let fit = crate::constants::WAITING_BYTES_MAX / large().len();
    for counter in 0..fit as u64 {
        let id = world.send_from(1, broker(counter, &Cookie::default()), large());
        assert_eq!(world.outcome(1, id), None);
    }
    let over = world.send_from(1, broker(u64::MAX, &Cookie::default()), large());
    assert_eq!(world.outcome(1, over), Some(&Outcome::Elsewhere));
}

#[test]
fn a_session_reads_its_own_writes_on_any_server() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    let login = world.send_from(0, broker(1, &Cookie::default()), request("login", &[("user", "ana")], 1));
    world.run();
    let cookie = world.cookie(0, login);
    world.cut.clear();
    let users = world.send_from(1, broker(2, &cookie), request("users", &[], 0));
    assert_eq!(world.outcome(1, users), None, "the second server does not hold the login yet");
    world.run();
    assert_eq!(world.read(1, users).names(&["users"]), ["ana"]);
    assert!(world.read(1, users).clock > world.read(0, login).clock, "e03: the cookie carries the clock");

    world.ask(0, "channel", GERAL);
    let post = [("channel", "geral"), ("msg", "oi")];
    let post = world.send_from(1, broker(3, &world.cookie(1, users)), request("publish", &post, 0));
    world.run();
    assert_eq!(world.read(1, post).failure, None, "the session's user is known on the second server");
}

#[test]
fn a_session_reads_all_its_writes_also_those_through_other_servers() {
    let mut world = World::cluster(3);
    // The third server hears of the first's writes only by pulling from the second.
    world.cut(0, 2);
    let first = world.send_from(0, broker(1, &Cookie::default()), request("login", &[("user", "ana")], 1));
    world.run();
    let cookie = world.cookie(0, first);
    let second = world.send_from(1, broker(2, &cookie), request("login", &[("user", "bia")], 1));
    world.run();
    let cookie = world.cookie(1, second);
    let users = world.send_from(2, broker(3, &cookie), request("users", &[], 0));
    world.run();
    assert_eq!(world.read(2, users).names(&["users"]), ["ana", "bia"]);
}

#[test]
fn a_server_that_lacks_the_sessions_write_sends_it_elsewhere_after_a_second() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    let login = world.send_from(0, broker(1, &Cookie::default()), request("login", &[("user", "ana")], 1));
    world.run();
    let cookie = world.cookie(0, login);
    let users = world.send_from(1, broker(2, &cookie), request("users", &[], 0));
    world.pass(999);
    assert_eq!(world.outcome(1, users), None);
    world.pass(1);
    assert_eq!(world.outcome(1, users), Some(&Outcome::Elsewhere));

    let users = world.send_from(1, last_resort(2, &cookie), request("users", &[], 0));
    assert_eq!(world.read(1, users).names(&["users"]), [""; 0]);
    let next = world.send_from(1, broker(3, &world.cookie(1, users)), request("users", &[], 0));
    assert_eq!(world.read(1, next).failure, None, "the dot has left the cookie");
}

#[test]
fn d06_a_channel_and_a_user_made_at_once_leave_the_user_and_freeze_the_channel() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    world.ask(0, "channel", &[("channel", "ana")]);
    world.ask(0, "publish", &[("user", "bia"), ("channel", "ana"), ("message", "antes")]);
    world.ask(1, "login", &[("user", "ana")]);
    world.cut.clear();
    world.pass(8000);
    for host in 0..2 {
        let post = [("user", "bia"), ("channel", "ana"), ("message", "depois")];
        assert_eq!(code(&world.ask(host, "publish", &post)), Some("frozen_channel"));
        assert_eq!(world.ask(host, "history", &[("channel", "ana")]).messages().len(), 1);
        let dm = [("src", "bia"), ("dst", "ana"), ("message", "oi")];
        assert_eq!(world.ask(host, "message", &dm).failure, None);
        assert_eq!(world.ask(host, "login", &[("user", "ana")]).failure, None);
    }
}

#[test]
fn a_full_disk_drops_what_peers_sent_and_pulls_it_again_later() {
    let mut world = World::linked(2);
    world.hosts[1].disk = Disk::Full;
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(3000);
    assert!(world.counters(1).batches_refused >= 2);
    assert_eq!(world.hosts[1].replica.history().len(), 0);
    world.hosts[1].disk = Disk::Works;
    world.pass(2000);
    assert_eq!(world.hosts[1].replica.history().len(), 1);
}

#[test]
fn operations_count_in_the_reported_vector_only_once_stored() {
    let mut world = World::linked(2);
    world.hosts[1].disk = Disk::Stalls;
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(2000);
    let replica = &world.hosts[1].replica;
    assert!(replica.history().vector().iter().next().is_none());
    world.hosts[1].disk = Disk::Works;
    world.pass(1000);
    assert_eq!(world.hosts[0].replica.history().vector(), world.hosts[1].replica.history().vector());
}

#[test]
fn peers_of_another_cluster_are_ignored_and_counted() {
    let mut world = World::linked(2);
    let other = ReplicaSettings { cluster_id: "default/outro".to_owned(), ..settings(2) };
    world.hosts[1] = Host::new(other, world.now);
    world.hosts[0] = Host::new(settings(1), world.now);
    world.link_all();
    world.ask(0, "login", &[("user", "ana")]);
    world.pass(3000);
    assert_eq!(world.hosts[1].stored.len(), 0);
    assert_eq!(world.counters(0).peers_foreign, 2);
    assert_eq!(world.hosts[0].replica.peers().count(), 0);
}

#[test]
fn messages_out_of_place_and_operations_in_our_own_name_are_ignored() {
    let mut world = World::linked(2);
    world.ask(0, "login", &[("user", "ana")]);
    let mut op = world.hosts[0].stored[0].as_ref().clone();
    op.dot.seq = 2;
    op.kind = OpKind::CreateChannel { channel: papo_protocol::ChannelName::new("falso").unwrap() };
    let push = PeerMessage::Push { ops: vec![encode_op(&op), Bytes::from_static(b"?")] }.encode();
    world.input(0, Input::PeerMessage { link: PeerLink(777), bytes: push.clone() });
    assert_eq!(world.counters(0).peer_messages_ignored, 1, "no hello on this link");
    world.input(0, Input::PeerMessage { link: ends(1, 0)[1], bytes: push });
    world.input(0, Input::PeerMessage { link: ends(0, 1)[0], bytes: Bytes::from_static(b"\xff") });
    world.run();
    assert_eq!(world.counters(0).peer_messages_ignored, 3);
    assert_eq!(world.hosts[0].replica.history().len(), 1);
}

#[test]
fn an_operation_that_does_not_stand_after_its_writers_last_one_is_ignored() {
    let mut world = World::linked(2);
    world.ask(0, "login", &[("user", "ana")]);
    world.run();
    let mut op = world.hosts[0].stored[0].as_ref().clone();
    op.dot.seq = 2;
    let push = |op: &Op| PeerMessage::Push { ops: vec![encode_op(op)] }.encode();
    world.input(1, Input::PeerMessage { link: ends(0, 1)[1], bytes: push(&op) });
    world.run();
    assert_eq!((world.counters(1).peer_messages_ignored, world.hosts[1].stored.len()), (1, 1));
    op.lamport = Lamport::new(op.lamport.get() + 1).unwrap();
    world.input(1, Input::PeerMessage { link: ends(0, 1)[1], bytes: push(&op) });
    world.run();
    assert_eq!((world.counters(1).peer_messages_ignored, world.hosts[1].stored.len()), (1, 2));
}

#[test]
fn a_stopping_server_knows_when_its_peers_hold_what_it_holds() {
    let mut world = World::linked(2);
    world.cut(0, 1);
    world.ask(0, "login", &[("user", "ana")]);
    world.input(0, Input::Drain);
    assert!(!world.hosts[0].replica.has_parted());
    world.cut.clear();
    world.pass(8000);
    assert!(world.hosts[0].replica.has_parted());
    // What another goes on writing is no reason to stay.
    world.ask(1, "login", &[("user", "bia")]);
    assert!(world.hosts[0].replica.has_parted());
    let mut alone = World::apart(1);
    alone.ask(0, "login", &[("user", "ana")]);
    alone.input(0, Input::Drain);
    assert!(alone.hosts[0].replica.has_parted(), "nobody to wait for");
}

#[test]
fn l06_servers_that_stop_at_once_part_with_the_same_history() {
    let mut world = World::linked(3);
    world.cut_from(0, 2);
    world.cut_from(1, 2);
    world.ask(0, "login", &[("user", "ana")]);
    world.run();
    assert!(world.hosts[1].stored.len() == 1 && world.hosts[2].stored.is_empty());
    for host in 0..3 {
        world.input(host, Input::Drain);
    }
    world.run();
    assert!(!world.hosts[2].replica.has_parted(), "the others held more when it was told to stop");
    world.cut.clear();
    world.pass(8000);
    for host in &world.hosts {
        assert!(host.replica.has_parted());
        assert_eq!(
            (host.stored.len(), host.replica.history().shown()),
            (1, &host.replica.history().vector())
        );
    }
}
