//! The merge: whatever the order of arrival, the same operations give the same history.

use super::*;
use crate::export;
use crate::op::OpKind;
use papo_protocol::time::{SentTimestamp, UnixMillis};
use papo_protocol::{ChannelName, ServerName, UserName};
use proptest::prelude::*;

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
    let drafts = prop::collection::vec((0..4_u64, 1..20_u64, 0..12_u8, 0..100_000_i64, kind()), 0..40);
    drafts.prop_map(|drafts| {
        let mut counts = [0; 4];
        let op = |(writer, lamport, identity, at, kind): (u64, _, u8, _, _)| {
            let count: &mut u64 = &mut counts[usize::try_from(writer).unwrap()];
            *count += 1;
            let origin = ServerName::new(&format!("server-{}", writer / 2)).unwrap();
            Op {
                dot: Dot { origin, boot: Boot(writer % 2), seq: *count },
                lamport: Lamport::new(lamport).unwrap(),
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
        (ops, shuffled) in ops().prop_flat_map(|ops| {
            let twice: Vec<Op> = ops.iter().chain(ops.iter().step_by(3)).cloned().collect();
            (Just(ops), Just(twice).prop_shuffle())
        }),
    ) {
        let direct = History::from_operations(ops.iter().cloned()).unwrap();
        let mut arrived = History::default();
        insert_all(&mut arrived, shuffled.into_iter().map(Arc::new).collect());
        prop_assert_eq!(arrived.state(), direct.state());
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
        let mut model: Vec<_> = first.values().map(|op| op.position()).collect();
        model.sort();
        prop_assert_eq!(order(&direct), model);
        prop_assert_eq!(direct.hidden(), ops.len() - first.len());
        let mut state = State::default();
        first.values().for_each(|op| state.add(&Arc::new((*op).clone())));
        prop_assert_eq!(direct.state(), &state);
    }

    /// One server shows all at once, the other piece by piece, and holds more.
    #[test]
    fn invariant_3_servers_with_equal_shown_vectors_have_equal_state_order_and_export_bytes(
        ops in ops(),
        steps in prop::collection::vec((0..4_u64, 0..15_u64), 0..30),
    ) {
        let mut one = History::restore(ops.iter().cloned(), &VersionVector::default()).unwrap();
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
        prop_assert_eq!(one.state(), other.state());
        prop_assert_eq!(exports(&one), exports(&other));
        let order = |history: &History| history.visible().map(|op| op.position()).collect::<Vec<_>>();
        prop_assert_eq!(order(&one), order(&other));
        prop_assert_eq!(one.hidden(), other.hidden());
    }

    #[test]
    fn h01_a_merge_is_the_union_and_takes_only_what_is_missing(ops in ops(), split in any::<prop::sample::Index>()) {
        let whole = History::from_operations(ops.iter().cloned()).unwrap();
        let split = split.index(ops.len() + 1);
        let mut part = History::from_operations(ops.iter().take(split).cloned()).unwrap();
        let have = part.vector();
        let missing: Vec<_> = whole.missing_from(&have).cloned().collect();
        prop_assert_eq!(missing.len(), ops.len() - split);
        prop_assert_eq!(missing.len() as u64, have.missing_from(&whole.vector()));
        for op in &missing {
            prop_assert_eq!(part.hold(op), Ok(()), "what is missing comes without gaps");
        }
        part.show_all(&whole.vector());
        prop_assert_eq!(part.vector(), whole.vector());
        prop_assert_eq!(exports(&part), exports(&whole));
        prop_assert_eq!(part.missing_from(&whole.vector()).count(), 0);
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
    let mut history = History::default();
    history.hold(&op(1)).unwrap();
    assert_eq!(history.hold(&op(3)).unwrap_err().missing.seq, 2);
    assert_eq!(history.len(), 1);
    assert!(!history.shows(Boot(7), 1), "held is not shown");
    history.show(&Writer { origin: ServerName::new("server-1").unwrap(), boot: Boot(7) }, 5);
    assert!(history.shows(Boot(7), 1) && !history.shows(Boot(7), 2) && !history.shows(Boot(8), 1));
}
