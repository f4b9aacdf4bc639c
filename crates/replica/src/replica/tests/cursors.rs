//! Reading on from a cursor.

use super::*;
use crate::history::{Fit, History};
use crate::op::OpKind;
use papo_protocol::request::HistoryScope;
use papo_protocol::{ChannelName, Dot, Identity, UserName};
use proptest::prelude::*;

fn history(world: &mut World, host: usize, cursor: Option<&[u8]>, limit: usize) -> ReadReply {
    let mut data = vec![
        ("channel".to_owned(), Value::Text("geral".into())),
        ("limit".to_owned(), Value::Int(i128::try_from(limit).unwrap())),
    ];
    data.extend(cursor.map(|bytes| ("papo_cursor".to_owned(), Value::Bytes(Bytes::copy_from_slice(bytes)))));
    let body = Value::Map(vec![
        ("service".to_owned(), Value::Text("history".into())),
        ("data".to_owned(), Value::Map(data)),
    ]);
    let bytes = papo_protocol::codec::encode(&body, Encoding::MessagePack).into();
    let id = world.send_from(host, direct(world.last_request + 1), bytes);
    world.pass(2500);
    world.read(host, id)
}

fn cursor(reply: &ReadReply) -> Vec<u8> {
    match field(reply, "papo_cursor") {
        Some(Value::Bytes(bytes)) => bytes.to_vec(),
        other => panic!("no cursor: {other:?}"),
    }
}

fn post(world: &mut World, host: usize, text: &str) {
    let reply = world.ask(host, "publish", &[("user", "ana"), ("channel", "geral"), ("message", text)]);
    assert_eq!(reply.failure, None);
}

fn texts(reply: &ReadReply) -> Vec<String> {
    reply.messages().into_iter().map(|read| read.message).collect()
}

#[test]
fn a_walk_from_the_beginning_gives_everything_once_whichever_server_answers() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    let all: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    for (number, text) in all.iter().enumerate() {
        post(&mut world, number % 3, text);
    }
    let (mut read, mut at) = (Vec::new(), Vec::new());
    for page in 0..5 {
        let reply = history(&mut world, page % 3, Some(&at), 3);
        read.extend(texts(&reply));
        at = cursor(&reply);
        assert_eq!(field(&reply, "more"), Some(&Value::Bool(page < 3)), "page {page}");
    }
    assert_eq!(read, all);
    post(&mut world, 1, "depois");
    let reply = history(&mut world, 2, Some(&at), 3);
    assert_eq!(texts(&reply), ["depois"]);
}

#[test]
fn the_newest_come_with_a_cursor_that_stands_after_them() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    for text in ["1", "2", "3"] {
        post(&mut world, 0, text);
    }
    let first = history(&mut world, 0, None, 2);
    assert_eq!(texts(&first), ["2", "3"]);
    post(&mut world, 2, "4");
    assert_eq!(texts(&history(&mut world, 1, Some(&cursor(&first)), 9)), ["4"]);
}

#[test]
fn a_cursor_ahead_of_a_server_is_waited_for_and_then_refused() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    world.cut(0, 2);
    world.cut(1, 2);
    post(&mut world, 0, "1");
    let ahead = cursor(&history(&mut world, 0, None, 9));
    let refused = history(&mut world, 2, Some(&ahead), 9).failure.unwrap();
    assert_eq!((refused.code.as_deref(), refused.retry), (Some("cursor_ahead"), true));
    world.cut.clear();
    world.pass(6000);
    assert_eq!(texts(&history(&mut world, 2, Some(&ahead), 9)), [""; 0]);
}

/// The channel and a post in it by each of so many boots of three servers.
fn posts_of_boots(boots: u64) -> Vec<Op> {
    let channel = || ChannelName::new("geral").unwrap();
    let op = |boot: u64| Op {
        dot: Dot {
            origin: name(1 + usize::try_from(boot % 3).unwrap()),
            boot: Boot(u64::MAX - boot),
            seq: 1,
        },
        lamport: Lamport::new(boot + 1).unwrap(),
        identity: Identity(u128::from(boot).to_be_bytes()),
        at: UnixMillis(START),
        kind: match boot {
            0 => OpKind::CreateChannel { channel: channel() },
            _ => OpKind::Publish {
                user: UserName::new("ana").unwrap(),
                channel: channel(),
                message: boot.to_string(),
                sent: None,
            },
        },
    };
    (0..=boots).map(op).collect()
}

/// A server that shows all these.
fn after_restarts(boots: u64, now: Now) -> Host {
    let ops = posts_of_boots(boots);
    let shown = History::from_operations(ops.clone()).unwrap().shown().clone();
    Host::start(settings(1), ops, Lamport::default(), &shown, now).unwrap()
}

#[test]
fn a_cursor_stays_under_16_kib_after_a_thousand_restarts_that_wrote_and_never_exceeds_64() {
    for (boots, bytes_max) in [(1_000, 16 << 10), (5_000, 64 << 10)] {
        let mut world = World::apart(1);
        world.hosts[0] = after_restarts(boots, world.now);
        // As text, which is how it is written in JSON.
        let at = cursor(&history(&mut world, 0, None, 9));
        assert!(at.len().div_ceil(3) * 4 < bytes_max, "{} bytes after {boots} restarts", at.len());
        post(&mut world, 0, "depois");
        let reply = history(&mut world, 0, Some(&at), 9);
        assert_eq!(texts(&reply), ["depois"]);
    }
    // Beyond, there is none: a reader begins anew with the newest.
    let mut world = World::apart(1);
    world.hosts[0] = after_restarts(10_000, world.now);
    let reply = history(&mut world, 0, None, 9);
    assert_eq!((field(&reply, "papo_cursor"), texts(&reply).len()), (None, 9));
}

#[test]
fn a_cursor_of_another_channel_is_invalid() {
    let mut world = World::cluster(3);
    world.ask(0, "channel", GERAL);
    let scope = HistoryScope::Channel(ChannelName::new("avisos").unwrap());
    let other = crate::cursor::write_cursor("default/papo", &scope, &VersionVector::default());
    assert_eq!(code(&history(&mut world, 0, Some(&other), 9)), Some("cursor_invalid"));
}

/// Posts of three writers with few identities, so that there are twins; each writer's in order.
fn posts() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec((0..3_u64, 0..3_u64, 0..8_u8, any::<bool>()), 0..30).prop_map(|drafts| {
        let (mut counts, mut lamports) = ([0; 3], [0; 3]);
        let op = |(writer, skip, identity, elsewhere): (u64, u64, u8, bool)| {
            let index = usize::try_from(writer).unwrap();
            counts[index] += 1;
            lamports[index] += skip + 1;
            let channel = ChannelName::new(if elsewhere { "avisos" } else { "geral" }).unwrap();
            Op {
                dot: Dot { origin: name(index), boot: Boot(writer), seq: counts[index] },
                lamport: Lamport::new(lamports[index]).unwrap(),
                // Twins are of one content.
                identity: Identity([identity + if elsewhere { 100 } else { 0 }; 16]),
                at: UnixMillis(0),
                kind: OpKind::Publish {
                    user: UserName::new("ana").unwrap(),
                    channel,
                    message: String::new(),
                    sent: None,
                },
            }
        };
        drafts.into_iter().map(op).collect()
    })
}

/// A vector that shows the first `counts` of each writer.
fn first(counts: [u64; 3]) -> VersionVector {
    let entries = counts.iter().enumerate().map(|(index, count)| (name(index), Boot(index as u64), *count));
    VersionVector::from(entries.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Two servers show more and more, in different orders; a reader walks on either, in pages of any size.
    #[test]
    fn invariant_2_no_identity_appears_twice_in_a_walk_and_none_is_missed(
        ops in posts(),
        steps in prop::collection::vec((any::<bool>(), [0..12_u64, 0..12, 0..12], 1..5_usize), 0..20),
    ) {
        let scope = HistoryScope::Channel(ChannelName::new("geral").unwrap());
        let mut servers = [0, 1].map(|_| {
            let archive = MemoryArchive::default();
            archive.add(ops.iter().cloned().map(Arc::new));
            History::of_archive(&archive, RECENT_BYTES_MAX, &VersionVector::default()).unwrap()
        });
        let (mut have, mut read) = (VersionVector::default(), Vec::new());
        let mut walk = |history: &History, have: &mut VersionVector, limit: usize| {
            let mut given = 0;
            let page = history.page_after(&scope, have, |op| {
                if given == limit {
                    return Fit::Full;
                }
                given += 1;
                read.push(op.identity);
                Fit::Yes
            });
            *have = page.reached;
            page.more
        };
        for (which, counts, limit) in steps {
            let server = &mut servers[usize::from(which)];
            server.show_all(&first(counts));
            server.show_all(&have);
            walk(server, &mut have, limit);
        }
        servers[0].show_all(&first([99; 3]));
        while walk(&servers[0], &mut have, 2) {}
        let mut expected: Vec<Identity> = servers[0].posts(&ChannelName::new("geral").unwrap()).map(|op| op.identity).collect();
        read.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_cursor_without_the_writers_of_other_channels_stands_at_the_same_place(ops in posts(), counts in [0..12_u64, 0..12, 0..12]) {
        let scope = HistoryScope::Channel(ChannelName::new("geral").unwrap());
        let history = History::from_operations(ops).unwrap();
        let follow = |have: &VersionVector| {
            let mut follow = Vec::new();
            history.page_after(&scope, have, |op| {
                follow.push(op.dot.clone());
                Fit::Yes
            });
            follow
        };
        let mut have = first(counts);
        let held = history.vector();
        for (writer, _) in first(counts).iter() {
            have.lower(writer, held.get(writer));
        }
        prop_assert_eq!(follow(&history.only_in(&scope, &have)), follow(&have));
    }
}
