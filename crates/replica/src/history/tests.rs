//! The merge: whatever the order of arrival, the same operations give the same history.

use super::*;
use crate::archive::MemoryArchive;
use crate::export;
use crate::op::OpKind;
use papo_protocol::time::{SentTimestamp, UnixMillis};
use papo_protocol::{ChannelName, ServerName, UserName};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Names are few, so that users, channels and identities collide.
fn kind() -> impl Strategy<Value = OpKind> {
    let name = prop::sample::select(vec!["ana", "bia", "geral", "avisos"]);
    let sent = prop::option::of(prop_oneof![
        any::<i64>().prop_map(SentTimestamp::Int),
        Just(SentTimestamp::Float(1.25)),
        Just(SentTimestamp::Text("ontem".into()))
    ]);
    (0..4, name.clone(), name, "[a-z\"\\\\é]{0,8}", sent).prop_map(|(which, user, other, message, sent)| {
        let user = UserName::new(user).unwrap();
        let channel = ChannelName::new(other).unwrap();
        match which {
            0 => OpKind::Login { user },
            1 => OpKind::CreateChannel { channel },
            2 => OpKind::Publish { user, channel, message, sent },
            _ => OpKind::Message { src: user, dst: UserName::new(other).unwrap(), message, sent },
        }
    })
}

/// Operations of up to four writers, gapless each.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let drafts = prop::collection::vec((0..4_u64, 1..6_u64, 0..12_u8, 0..100_000_i64, kind()), 0..40);
    drafts.prop_map(|drafts| {
        // A server's Lamport clock rises with each operation.
        let (mut counts, mut lamports) = ([0; 4], [0; 4]);
        let op = |(writer, rise, identity, at, kind): (u64, u64, u8, _, _)| {
            let index = usize::try_from(writer).unwrap();
            let (count, lamport): (&mut u64, &mut u64) = (&mut counts[index], &mut lamports[index]);
            *count += 1;
            *lamport += rise;
            let origin = ServerName::new(&format!("server-{}", writer / 2)).unwrap();
            Op {
                dot: Dot { origin, boot: Boot(writer % 2), seq: *count },
                lamport: Lamport::new(*lamport).unwrap(),
                identity: Identity([identity; 16]),
                at: UnixMillis(at),
                kind,
            }
        };
        drafts.into_iter().map(op).collect()
    })
}

fn exports(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    export::publications(history, &mut bytes).unwrap();
    export::messages(history, &mut bytes).unwrap();
    export::registry(history, &mut bytes).unwrap();
    export::server_data(history, &mut bytes).unwrap();
    bytes
}

/// What the state says, and the messages that it leads to.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    users: BTreeMap<UserName, UnixMillis>,
    channels: BTreeMap<ChannelName, UnixMillis>,
    posts: BTreeMap<ChannelName, Vec<Dot>>,
    direct_messages: BTreeMap<UserName, Vec<Dot>>,
}

const NAMES: [&str; 4] = ["ana", "bia", "geral", "avisos"];

fn summary(history: &History) -> Summary {
    let state = history.state();
    let (users, channels) =
        (NAMES.map(|name| UserName::new(name).unwrap()), NAMES.map(|name| ChannelName::new(name).unwrap()));
    for user in &users {
        assert_eq!(state.has_user(user), state.users().any(|other| other == user));
    }
    for channel in &channels {
        assert_eq!(state.has_channel(channel), state.channels().any(|other| other == channel));
    }
    let newest = |scope: HistoryScope| {
        let mut dots: Vec<Dot> = history.newest_in(&scope).map(|place| history.dot(place)).collect();
        dots.reverse();
        dots
    };
    let posts = |channel: ChannelName| {
        let dots = newest(HistoryScope::Channel(channel.clone()));
        assert_eq!(dots, history.posts(&channel).map(|op| op.dot.clone()).collect::<Vec<_>>());
        (channel, dots)
    };
    Summary {
        users: state.users().map(|user| (user.clone(), history.registered_at(user).unwrap())).collect(),
        channels: state
            .channels()
            .map(|channel| (channel.clone(), history.created_at(channel).unwrap()))
            .collect(),
        posts: channels.map(posts).into_iter().filter(|(_, dots)| !dots.is_empty()).collect(),
        direct_messages: users
            .map(|user| (user.clone(), newest(HistoryScope::User(user))))
            .into_iter()
            .filter(|(_, dots)| !dots.is_empty())
            .collect(),
    }
}

/// The same from the visible operations in total order, in the plainest way.
fn summary_of<'a>(visible: impl Iterator<Item = &'a Op>) -> Summary {
    let mut summary = Summary::default();
    for op in visible {
        match &op.kind {
            OpKind::Login { user } => drop(summary.users.entry(user.clone()).or_insert(op.at)),
            OpKind::CreateChannel { channel } => {
                summary.channels.entry(channel.clone()).or_insert(op.at);
            }
            OpKind::Publish { channel, .. } => {
                summary.posts.entry(channel.clone()).or_default().push(op.dot.clone());
            }
            OpKind::Message { src, dst, .. } => {
                for user in BTreeSet::from([src, dst]) {
                    summary.direct_messages.entry(user.clone()).or_default().push(op.dot.clone());
                }
            }
        }
    }
    summary
}

fn missing_from(history: &History, have: &VersionVector) -> Vec<Arc<Op>> {
    let mut missing = Vec::new();
    history.missing_from(have, |op| {
        missing.push(op);
        ControlFlow::Continue(())
    });
    missing
}

/// Feeds operations in this order again and again until none is refused for a gap.
fn insert_all(history: &mut History, mut ops: Vec<Arc<Op>>) {
    while !ops.is_empty() {
        ops.retain(|op| history.hold(op).is_err());
    }
    let held = history.vector();
    history.show_all(&held);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn h16_any_order_of_arrival_with_duplicates_gives_the_same_bytes(
        recent_bytes_max in prop::sample::select(vec![0, 600, usize::MAX]),
        (ops, shuffled) in ops().prop_flat_map(|ops| {
            let twice: Vec<Op> = ops.iter().chain(ops.iter().step_by(3)).cloned().collect();
            (Just(ops), Just(twice).prop_shuffle())
        }),
    ) {
        let direct = History::from_operations(ops.iter().cloned()).unwrap();
        let archive = MemoryArchive::default();
        archive.add(ops.iter().cloned().map(Arc::new));
        let mut arrived = History::new(archive, recent_bytes_max);
        insert_all(&mut arrived, shuffled.into_iter().map(Arc::new).collect());
        prop_assert_eq!(summary(&arrived), summary(&direct));
        prop_assert_eq!(arrived.vector(), direct.vector());
        let order = |history: &History| history.visible().map(|op| op.position()).collect::<Vec<_>>();
        prop_assert_eq!(order(&arrived), order(&direct));
        prop_assert_eq!(exports(&arrived), exports(&direct));

        // Against the plainest reading of the rule: of each identity the first in total order is visible.
        let mut first: BTreeMap<Identity, &Op> = BTreeMap::new();
        for op in &ops {
            let standing = first.entry(op.identity).or_insert(op);
            if op.order_key() < standing.order_key() {
                *standing = op;
            }
        }
        let mut model: Vec<&Op> = first.into_values().collect();
        model.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
        prop_assert_eq!(order(&direct), model.iter().map(|op| op.position()).collect::<Vec<_>>());
        prop_assert_eq!(direct.hidden(), ops.len() - model.len());
        prop_assert_eq!(summary(&direct), summary_of(model.into_iter()));
    }

    /// One server shows all at once, the other piece by piece, and holds more.
    #[test]
    fn invariant_3_servers_with_equal_shown_vectors_have_equal_state_order_and_export_bytes(
        ops in ops(),
        steps in prop::collection::vec((0..4_u64, 0..15_u64), 0..30),
    ) {
        let archive = MemoryArchive::default();
        archive.add(ops.iter().cloned().map(Arc::new));
        let mut one = History::of_archive(&archive, 0, &VersionVector::default()).unwrap();
        for (writer, count) in steps {
            let origin = ServerName::new(&format!("server-{}", writer / 2)).unwrap();
            let before = one.shown().clone();
            one.show(&Writer { origin, boot: Boot(writer % 2) }, count);
            prop_assert!(one.shown().covers_all(&before), "what is shown only grows");
        }
        prop_assert!(one.vector().covers_all(one.shown()), "and is held");
        let shown: Vec<Op> = ops.into_iter().filter(|op| one.shown().covers(&op.dot)).collect();
        let other = History::from_operations(shown).unwrap();
        prop_assert_eq!(one.shown(), other.shown());
        prop_assert_eq!(summary(&one), summary(&other));
        prop_assert_eq!(exports(&one), exports(&other));
        let order = |history: &History| history.visible().map(|op| op.position()).collect::<Vec<_>>();
        prop_assert_eq!(order(&one), order(&other));
        prop_assert_eq!(one.hidden(), other.hidden());
    }

    #[test]
    fn h01_a_merge_is_the_union_and_takes_only_what_is_missing(ops in ops(), split in any::<prop::sample::Index>()) {
        let whole = History::from_operations(ops.iter().cloned()).unwrap();
        let split = split.index(ops.len() + 1);
        let archive = MemoryArchive::default();
        archive.add(ops.iter().cloned().map(Arc::new));
        let counts = History::from_operations(ops.iter().take(split).cloned()).unwrap().vector();
        let mut part = History::new(archive, 600);
        for op in ops.iter().take(split) {
            part.hold(&Arc::new(op.clone())).unwrap();
        }
        part.show_all(&counts);
        let have = part.vector();
        let missing = missing_from(&whole, &have);
        prop_assert_eq!(missing.len(), ops.len() - split);
        prop_assert_eq!(missing.len() as u64, have.missing_from(&whole.vector()));
        for op in &missing {
            prop_assert_eq!(part.hold(op), Ok(()), "what is missing comes without gaps");
        }
        part.show_all(&whole.vector());
        prop_assert_eq!(part.vector(), whole.vector());
        prop_assert_eq!(exports(&part), exports(&whole));
        prop_assert!(missing_from(&part, &whole.vector()).is_empty());
    }
}

#[test]
fn an_operation_after_a_gap_is_refused_and_changes_nothing() {
    let op = |seq| {
        Arc::new(Op {
            dot: Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(7), seq },
            lamport: Lamport::new(seq).unwrap(),
            identity: Identity([9; 16]),
            at: UnixMillis(0),
            kind: OpKind::Login { user: UserName::new("ana").unwrap() },
        })
    };
    let mut history = History::new(MemoryArchive::default(), usize::MAX);
    history.hold(&op(1)).unwrap();
    let error = history.hold(&op(3)).unwrap_err();
    assert!(matches!(error, HoldError::Gap { missing } if missing.seq == 2));
    assert_eq!(history.len(), 1);
    assert!(!history.shows(Boot(7), 1), "held is not shown");
    history.show(&Writer { origin: ServerName::new("server-1").unwrap(), boot: Boot(7) }, 5);
    assert!(history.shows(Boot(7), 1) && !history.shows(Boot(7), 2) && !history.shows(Boot(8), 1));
}
