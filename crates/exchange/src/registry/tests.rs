use super::*;
use crate::constants::{CLAIM_QUIET, EPOCH_JUMP_MAX, FOREIGN_NAMES_MAX, HOLDER_HEARD_WITHIN};
use papo_protocol::Boot;
use papo_protocol::reference::{Claim, Report, Resign};
use papo_protocol::time::UnixMillis;
use proptest::prelude::*;
use std::collections::HashMap;

const SETTINGS: RegistrySettings = RegistrySettings { expiry: Duration::from_secs(60), list_as_map: false };

fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

/// So many milliseconds after the process started; the calendar is elsewhere, so that no deadline is counted on it by mistake.
fn at(millis: u64) -> Now {
    Now {
        monotonic: Duration::from_millis(millis),
        unix: UnixMillis(5_000_000 - i64::try_from(millis).unwrap()),
    }
}

fn registry(members: &[&str], stored: Stored) -> Registry {
    let members: Vec<ServerName> = members.iter().map(|member| name(member)).collect();
    Registry::new(SETTINGS, members.iter(), stored, at(0))
}

fn ranked(ranks: &[(&str, u32)]) -> Stored {
    let ranks = ranks.iter().map(|(server, rank)| (name(server), *rank)).collect();
    Stored { ranks, tenure: Tenure::default() }
}

fn registration(server: &str) -> Registration {
    Registration { name: name(server), address: None, port: None }
}

fn rank(registry: &mut Registry, server: &str, millis: u64) -> Result<u32, Code> {
    let call = ReferenceCall::Rank(registration(server));
    match registry.answer(call, Asker::Foreign, at(millis)).reply {
        Ok(ReferenceReply::Rank(rank)) => Ok(rank),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    }
}

fn listed(registry: &mut Registry, millis: u64) -> Vec<u32> {
    match registry.answer(ReferenceCall::List, Asker::Foreign, at(millis)).reply {
        Ok(ReferenceReply::List { servers, .. }) => {
            assert_eq!(servers.len(), registry.listed(at(millis)));
            servers.iter().map(|server| server.rank).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn f01_ranks_are_unique_from_1_and_stable() {
    let mut first = registry(&[], Stored::default());
    assert_eq!(rank(&mut first, "beta", 0), Ok(1));
    assert_eq!(rank(&mut first, "alfa", 0), Ok(2));
    assert_eq!(rank(&mut first, "beta", 1), Ok(1));
    let mut again = registry(&[], first.stored());
    assert_eq!(rank(&mut again, "alfa", 0), Ok(2));
    assert_eq!(rank(&mut again, "gama", 0), Ok(3));
}

#[test]
fn f01_members_have_their_ordinal_and_others_come_above() {
    let stored = ranked(&[("intruso", 2), ("velho", 9)]);
    let mut registry = registry(&["server-1", "server-2", "server-3"], stored);
    assert_eq!(rank(&mut registry, "server-3", 0), Ok(3));
    assert_eq!(rank(&mut registry, "server-2", 0), Ok(2));
    assert_eq!(rank(&mut registry, "velho", 0), Ok(9));
    assert_eq!(rank(&mut registry, "intruso", 0), Ok(10));
}

#[test]
fn f01_a_server_that_joins_gets_its_ordinal_and_who_had_it_another() {
    let mut registry = registry(&["server-1"], Stored::default());
    assert_eq!(rank(&mut registry, "intruso", 0), Ok(2));
    registry.set_members(["server-1", "server-2"].map(name).iter(), at(1));
    assert_eq!(rank(&mut registry, "server-2", 1), Ok(2));
    assert_eq!(rank(&mut registry, "intruso", 1), Ok(3));
    assert_eq!(listed(&mut registry, 1), [2, 3]);
}

#[test]
fn f04_a_server_without_heartbeat_for_60_s_leaves_the_list_and_keeps_its_rank() {
    let mut registry = registry(&[], Stored::default());
    rank(&mut registry, "a", 0).unwrap();
    rank(&mut registry, "b", 30_000).unwrap();
    assert_eq!(listed(&mut registry, 59_999), [1, 2]);
    assert_eq!(listed(&mut registry, 60_000), [2]);
    assert_eq!(rank(&mut registry, "a", 61_000), Ok(1));
    assert_eq!(listed(&mut registry, 61_000), [1, 2]);
}

#[test]
fn f05_a_rank_is_to_be_stored_before_it_is_told_and_only_when_it_is_new() {
    let mut registry = registry(&[], Stored::default());
    let mut beat =
        |millis| registry.answer(ReferenceCall::Heartbeat(registration("a")), Asker::Foreign, at(millis));
    assert_eq!(beat(0).store, Some(ranked(&[("a", 1)])));
    assert_eq!(beat(1), Answer { reply: Ok(ReferenceReply::Alive), store: None });
}

#[test]
fn a_flood_of_names_is_refused_until_some_expire_and_members_find_room() {
    let members = ["server-1", "server-2"];
    let mut registry = registry(&members, Stored::default());
    for number in 0..FOREIGN_NAMES_MAX {
        rank(&mut registry, &format!("flood{number}"), 0).unwrap();
    }
    assert_eq!(rank(&mut registry, "one too many", 59_999), Err(Code::TooLarge));
    assert_eq!(rank(&mut registry, "server-2", 59_999), Ok(2));
    // Known names are served, and count as heard.
    assert!(rank(&mut registry, "flood7", 59_999).is_ok());
    for number in 1..FOREIGN_NAMES_MAX {
        rank(&mut registry, &format!("more{number}"), 60_000).unwrap();
    }
    assert_eq!(rank(&mut registry, "one too many", 60_000), Err(Code::TooLarge));
    let stored = registry.stored().ranks;
    assert_eq!(stored.len(), FOREIGN_NAMES_MAX + members.len());
    assert!(["server-1", "server-2", "flood7"].iter().all(|kept| stored.contains_key(*kept)));
    assert_eq!(registry.counters().names_refused, 2);
    assert_eq!(registry.counters().names_forgotten, u64::try_from(FOREIGN_NAMES_MAX).unwrap() - 1);
}

#[test]
fn names_from_a_file_of_an_older_version_with_more_are_kept_until_room_is_needed() {
    let many: Vec<String> = (0..FOREIGN_NAMES_MAX + 5).map(|number| format!("old{number}")).collect();
    let many: Vec<(&str, u32)> = many.iter().map(String::as_str).zip(1..).collect();
    let mut registry = registry(&[], ranked(&many));
    assert_eq!(rank(&mut registry, "old3", 59_999), Ok(4));
    assert_eq!(rank(&mut registry, "new", 59_999), Err(Code::TooLarge));
    assert!(rank(&mut registry, "new", 60_000).is_ok());
    assert_eq!(registry.stored().ranks.len(), FOREIGN_NAMES_MAX);
}

// --- Epochs -----------------------------------------------------------------------------------------------------------------

fn epoch(number: u64, boot: u64) -> Epoch {
    Epoch { number, boot: Boot(boot) }
}

fn claim(server: &str, boot: u64, seen: Epoch, reached: u32) -> ReferenceCall {
    ReferenceCall::Claim(Claim { name: name(server), boot: Boot(boot), seen, reached })
}

fn report(server: &str, epoch: Epoch, reached: u32) -> ReferenceCall {
    ReferenceCall::Report(Report { name: name(server), epoch, reached })
}

fn resign(server: &str, epoch: Epoch) -> ReferenceCall {
    ReferenceCall::Resign(Resign { name: name(server), epoch })
}

fn granted(epoch: Epoch) -> ReferenceReply {
    ReferenceReply::Claimed(ClaimAnswer::Granted(epoch))
}

fn refused(why: ClaimRefusal, epoch: Epoch, holder: Option<&str>) -> ReferenceReply {
    ReferenceReply::Claimed(ClaimAnswer::Refused { epoch, holder: holder.map(name), why })
}

/// The boots of server-1 to server-3.
const ONE: u64 = 0x11;
const TWO: u64 = 0x22;
const THREE: u64 = 0x33;

/// Each story begins with an empty service, 2 s after its start.
#[test]
fn g04_claims_are_granted_and_refused_by_the_rules() {
    use ClaimRefusal::{Held, Jump, Superseded};
    let none = Epoch::default();
    let (first, second, third) = (epoch(1, THREE), epoch(2, TWO), epoch(3, ONE));
    let lead = || (2000, claim("server-3", THREE, none, 3), granted(first));
    let stories = [
        ("who asks first leads", vec![lead()]),
        ("the same claim again gets the same epoch", vec![lead(), lead()]),
        (
            "who does not know the highest epoch is told it",
            vec![
                lead(),
                (2100, claim("server-2", TWO, none, 3), refused(Superseded, first, Some("server-3"))),
                // By number alone it would be level.
                (
                    2100,
                    claim("server-2", TWO, epoch(1, TWO), 3),
                    refused(Superseded, first, Some("server-3")),
                ),
            ],
        ),
        (
            "who was granted an epoch keeps it for 2 s against who reaches no more",
            vec![
                lead(),
                (3999, claim("server-2", TWO, first, 3), refused(Held, first, Some("server-3"))),
                (4000, claim("server-2", TWO, first, 3), granted(second)),
            ],
        ),
        (
            "each report keeps it for 2 s more",
            vec![
                lead(),
                (3000, report("server-3", first, 2), ReferenceReply::Reported(first)),
                (4999, claim("server-2", TWO, first, 2), refused(Held, first, Some("server-3"))),
                (5000, claim("server-2", TWO, first, 2), granted(second)),
            ],
        ),
        (
            "who reaches more takes it from a living holder",
            vec![
                lead(),
                (3000, report("server-3", first, 1), ReferenceReply::Reported(first)),
                (3001, claim("server-2", TWO, first, 1), refused(Held, first, Some("server-3"))),
                (3001, claim("server-2", TWO, first, 2), granted(second)),
                (3002, report("server-3", first, 3), ReferenceReply::Reported(second)),
            ],
        ),
        (
            "only the holder's reports of its own epoch count",
            vec![
                lead(),
                (3900, report("server-2", first, 3), ReferenceReply::Reported(first)),
                (3900, report("server-3", none, 3), ReferenceReply::Reported(first)),
                (4000, claim("server-2", TWO, first, 1), granted(second)),
            ],
        ),
        (
            "a holder may be replaced by itself",
            vec![lead(), (2001, claim("server-3", 0x34, first, 1), granted(epoch(2, 0x34)))],
        ),
        (
            "who resigns no longer counts, and its old claim gives nothing",
            vec![
                lead(),
                (2100, resign("server-3", first), ReferenceReply::Reported(first)),
                (2200, report("server-3", first, 3), ReferenceReply::Reported(first)),
                (2300, claim("server-3", THREE, none, 3), refused(Superseded, first, None)),
                (2300, claim("server-2", TWO, first, 1), granted(second)),
                (2400, resign("server-3", first), ReferenceReply::Reported(second)),
                (2500, claim("server-1", ONE, second, 1), refused(Held, second, Some("server-2"))),
            ],
        ),
        (
            "nobody resigns for another",
            vec![
                lead(),
                (2100, resign("server-2", first), ReferenceReply::Reported(first)),
                (2100, claim("server-2", TWO, first, 3), refused(Held, first, Some("server-3"))),
            ],
        ),
        (
            "an epoch far above all that was granted is refused",
            vec![
                (2000, claim("server-1", ONE, epoch(EPOCH_JUMP_MAX + 1, 1), 3), refused(Jump, none, None)),
                (2000, claim("server-1", ONE, epoch(u64::MAX, 1), 3), refused(Jump, none, None)),
                (2000, report("server-1", epoch(EPOCH_JUMP_MAX + 1, ONE), 3), ReferenceReply::Reported(none)),
                (
                    2000,
                    claim("server-1", ONE, epoch(EPOCH_JUMP_MAX, 1), 3),
                    granted(epoch(EPOCH_JUMP_MAX + 1, ONE)),
                ),
            ],
        ),
        (
            "a service that knows too little learns a higher epoch from its holder",
            vec![
                lead(),
                (2500, report("server-2", second, 3), ReferenceReply::Reported(second)),
                (2600, report("server-3", first, 3), ReferenceReply::Reported(second)),
                (2600, claim("server-1", ONE, second, 3), refused(Held, second, Some("server-2"))),
                (4500, claim("server-1", ONE, second, 3), granted(third)),
            ],
        ),
        (
            "who has seen a higher epoch is not held up by the holder of a lower one",
            vec![lead(), (2100, claim("server-1", ONE, second, 1), granted(third))],
        ),
    ];
    for (story, steps) in stories {
        let mut registry = registry(&["server-1", "server-2", "server-3"], Stored::default());
        for (step, (millis, call, reply)) in steps.into_iter().enumerate() {
            let before = registry.stored();
            let answer = registry.answer(call, Asker::Papo, at(millis));
            assert_eq!(answer.reply, Ok(reply), "{story}: step {step}");
            let after = registry.stored();
            assert_eq!(answer.store, (before != after).then_some(after), "{story}: step {step}");
        }
    }
}

#[test]
fn nothing_new_is_granted_in_the_first_2_s() {
    assert_eq!(CLAIM_QUIET, Duration::from_secs(2));
    assert_eq!(HOLDER_HEARD_WITHIN, Duration::from_secs(2));
    let tenure = Tenure { epoch: epoch(7, THREE), holder: Some(name("server-3")) };
    let stored = Stored { tenure, ..Stored::default() };
    let mut registry = registry(&["server-2", "server-3"], stored);
    let mut ask = |millis, call| registry.answer(call, Asker::Papo, at(millis)).reply.unwrap();
    let two = || claim("server-2", TWO, epoch(7, THREE), 2);
    let refused = |why| refused(why, epoch(7, THREE), Some("server-3"));
    assert_eq!(ask(1999, two()), refused(ClaimRefusal::TooSoon));
    // What is on disk already may be told.
    assert_eq!(ask(1999, claim("server-3", THREE, epoch(6, ONE), 2)), granted(epoch(7, THREE)));
    assert_eq!(ask(1999, report("server-3", epoch(7, THREE), 2)), ReferenceReply::Reported(epoch(7, THREE)));
    assert_eq!(ask(2000, two()), refused(ClaimRefusal::Held));
    assert_eq!(ask(3999, two()), granted(epoch(8, TWO)));
}

#[test]
fn without_the_token_nothing_moves_and_it_is_counted() {
    let mut registry = registry(&["server-1"], Stored::default());
    let mine = epoch(1, ONE);
    registry.answer(claim("server-1", ONE, Epoch::default(), 1), Asker::Papo, at(2000));
    for (number, call) in
        [claim("server-1", 0x12, mine, 9), report("evil", epoch(1000, 6), 9), resign("server-1", mine)]
            .into_iter()
            .enumerate()
    {
        let answer = registry.answer(call, Asker::Foreign, at(9000));
        assert_eq!(answer.reply.map_err(|refusal| refusal.code), Err(Code::UnknownService));
        assert_eq!(answer.store, None);
        assert_eq!((registry.epoch(), registry.holder()), (mine, Some(&name("server-1"))));
        assert_eq!(registry.counters().without_token, u64::try_from(number).unwrap() + 1);
    }
}

#[test]
fn what_happens_to_epochs_is_counted() {
    let mut registry = registry(&["server-1", "server-2"], Stored::default());
    let mut ask = |millis, call| drop(registry.answer(call, Asker::Papo, at(millis)));
    let (first, second) = (epoch(1, ONE), epoch(2, TWO));
    ask(0, claim("server-1", ONE, Epoch::default(), 2));
    ask(2000, claim("server-1", ONE, Epoch::default(), 2));
    ask(2000, claim("server-2", TWO, Epoch::default(), 2));
    ask(2000, claim("server-2", TWO, first, 2));
    ask(2000, claim("server-2", TWO, epoch(u64::MAX, TWO), 2));
    ask(2000, resign("server-1", first));
    ask(2000, claim("server-2", TWO, first, 2));
    ask(2000, report("server-1", epoch(9, ONE), 2));
    assert_eq!(second, epoch(2, TWO));
    let expected = RegistryCounters {
        claims_too_soon: 1,
        claims_granted: 2,
        claims_superseded: 1,
        claims_held: 1,
        claims_jump: 1,
        resignations: 1,
        epochs_learned: 1,
        holder_changes: 3,
        ..RegistryCounters::default()
    };
    assert_eq!(registry.counters(), &expected);
}

/// What may befall a reference service and those who ask it.
#[derive(Debug, Clone)]
enum Step {
    /// A server claims, having seen the epoch that was granted so many grants ago.
    Claim {
        server: usize,
        seen_ago: usize,
        reached: u32,
    },
    /// A server reports the last epoch that it was granted.
    Report {
        server: usize,
        reached: u32,
    },
    Resign {
        server: usize,
    },
    /// A server starts anew.
    Reboot {
        server: usize,
    },
    /// The service starts anew, from the file that it wrote so many writes ago.
    Restart {
        writes_ago: usize,
    },
    Wait {
        millis: u64,
    },
}

fn steps(writes_ago: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Step>> {
    let server = 0_usize..3;
    let step = prop_oneof![
        5 => (server.clone(), 0_usize..4, 1_u32..4)
            .prop_map(|(server, seen_ago, reached)| Step::Claim { server, seen_ago, reached }),
        3 => (server.clone(), 1_u32..4).prop_map(|(server, reached)| Step::Report { server, reached }),
        1 => server.clone().prop_map(|server| Step::Resign { server }),
        1 => server.prop_map(|server| Step::Reboot { server }),
        1 => writes_ago.prop_map(|writes_ago| Step::Restart { writes_ago }),
        3 => (0_u64..3000).prop_map(|millis| Step::Wait { millis }),
    ];
    prop::collection::vec(step, 1..200)
}

/// A service, its files, and three servers.
struct World {
    registry: Registry,
    /// Every file that was ever written, the newest last.
    written: Vec<Stored>,
    /// Every epoch that was ever granted, and to whom first; the last grant last.
    grants: Vec<Epoch>,
    owners: HashMap<Epoch, (usize, Boot)>,
    boots: [u64; 3],
    next_boot: u64,
    held: [Epoch; 3],
    millis: u64,
}

impl World {
    fn new() -> Self {
        Self {
            registry: registry(&[], Stored::default()),
            written: vec![Stored::default()],
            grants: vec![Epoch::default()],
            owners: HashMap::new(),
            boots: [3, 1, 2],
            next_boot: 4,
            held: [Epoch::default(); 3],
            millis: 0,
        }
    }

    fn ask(&mut self, call: ReferenceCall) -> ReferenceReply {
        let answer = self.registry.answer(call, Asker::Papo, at(self.millis));
        self.written.extend(answer.store);
        answer.reply.unwrap()
    }

    /// The epoch that the step granted for the first time.
    fn step(&mut self, step: &Step) -> Option<Epoch> {
        match *step {
            Step::Claim { server, seen_ago, reached } => {
                let seen = self.grants[self.grants.len().saturating_sub(1 + seen_ago)];
                let boot = self.boots[server];
                let call = claim(&format!("server-{server}"), boot, seen, reached);
                let ReferenceReply::Claimed(ClaimAnswer::Granted(epoch)) = self.ask(call) else {
                    return None;
                };
                assert_eq!(epoch, seen.next(Boot(boot)).unwrap());
                let owner = self.owners.entry(epoch).or_insert((server, Boot(boot)));
                assert_eq!(*owner, (server, Boot(boot)), "granted twice: {epoch}");
                self.held[server] = epoch;
                if self.grants.contains(&epoch) {
                    return None;
                }
                self.grants.push(epoch);
                Some(epoch)
            }
            Step::Report { server, reached } => {
                let call = report(&format!("server-{server}"), self.held[server], reached);
                self.ask(call);
                None
            }
            Step::Resign { server } => {
                let call = resign(&format!("server-{server}"), self.held[server]);
                self.ask(call);
                None
            }
            Step::Reboot { server } => {
                self.boots[server] = self.next_boot;
                self.next_boot += 1;
                None
            }
            Step::Restart { writes_ago } => {
                let stored = self.written[self.written.len().saturating_sub(1 + writes_ago)].clone();
                self.registry = Registry::new(SETTINGS, [].iter(), stored.clone(), at(self.millis));
                self.written.push(stored);
                None
            }
            Step::Wait { millis } => {
                self.millis += millis;
                None
            }
        }
    }
}

proptest! {
    /// Invariant 4, as far as it is the reference service's.
    #[test]
    fn granted_epochs_only_grow_and_none_is_granted_to_two_over_restarts(steps in steps(0..=0)) {
        let mut world = World::new();
        let mut highest = Epoch::default();
        for step in &steps {
            if let Some(epoch) = world.step(step) {
                prop_assert!(epoch > highest, "{epoch} after {highest}");
                highest = epoch;
            }
        }
    }

    #[test]
    fn after_its_file_went_back_no_epoch_is_granted_to_two_and_no_claim_is_blocked(steps in steps(0..=5)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        // Everybody is silent for a while; then whoever knows the highest epoch gets the next.
        world.millis += 2000;
        let highest = world.grants.iter().max().copied().unwrap();
        let seen_ago = world.grants.iter().rev().position(|epoch| *epoch == highest).unwrap();
        world.step(&Step::Reboot { server: 0 });
        let granted = world.step(&Step::Claim { server: 0, seen_ago, reached: 1 });
        prop_assert_eq!(granted.map(|epoch| epoch.number), Some(highest.number + 1));
    }
}
