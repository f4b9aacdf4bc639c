//! The routing driven by scripted publishers and subscribers, and compared with a plain model.

use super::*;
use papo_protocol::identity::Identity;
use papo_protocol::time::UnixMillis;
use proptest::prelude::*;

const ANA: SubscriberId = SubscriberId(1);
const ANABELA: SubscriberId = SubscriberId(2);
const WATCHER: SubscriberId = SubscriberId(3);

struct Bench {
    routing: Routing,
    now: Duration,
    identities: u8,
}

impl Bench {
    /// Each subscriber with its topics.
    fn new(subscriptions: &[(SubscriberId, &[&'static str])]) -> Self {
        Self::with(RoutingSettings::default(), subscriptions)
    }

    fn with(settings: RoutingSettings, subscriptions: &[(SubscriberId, &[&'static str])]) -> Self {
        let mut bench = Self { routing: Routing::new(settings), now: Duration::ZERO, identities: 0 };
        for (subscriber, topics) in subscriptions {
            bench.input(RoutingInput::SubscriberUp(*subscriber));
            for topic in *topics {
                bench.subscribe(*subscriber, topic);
            }
        }
        bench
    }

    fn input(&mut self, input: RoutingInput) {
        self.routing.handle(input);
    }

    fn subscribe(&mut self, subscriber: SubscriberId, topic: &'static str) {
        self.input(RoutingInput::Subscribe { subscriber, topic: topic.into() });
    }

    fn cancel(&mut self, subscriber: SubscriberId, topic: &'static str) {
        self.input(RoutingInput::Cancel { subscriber, topic: topic.into() });
    }

    fn publish(&mut self, papo: bool, frames: &[&[u8]]) -> Vec<SubscriberId> {
        let frames: Vec<_> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        let sent = frames.clone();
        let now = Now { monotonic: self.now, unix: UnixMillis(0) };
        let Some(delivery) = self.routing.publish(now, papo, frames) else { return Vec::new() };
        assert_eq!(delivery.frames, [sent[0].clone(), sent[1].clone()], "topic and body, and nothing else");
        delivery.receivers.collect()
    }

    /// Of our servers, with an identity of its own.
    fn ours(&mut self, kind: PublicationKind, topic: &str) -> Vec<SubscriberId> {
        self.identities += 1;
        self.identified(kind, topic, self.identities)
    }

    fn identified(&mut self, kind: PublicationKind, topic: &str, identity: u8) -> Vec<SubscriberId> {
        let meta = PublicationMeta { kind, identity: Identity([identity; 16]) };
        self.publish(true, &[topic.as_bytes(), b"body", &meta.to_bytes()])
    }

    fn foreign(&mut self, topic: &str, body: &str) -> Vec<SubscriberId> {
        self.publish(false, &[topic.as_bytes(), body.as_bytes()])
    }

    /// Lets time pass, with a tick every second.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.now = end.min(self.now + Duration::from_secs(1));
            self.routing.tick(Now { monotonic: self.now, unix: UnixMillis(0) });
        }
    }

    fn counters(&self) -> RoutingCounters {
        *self.routing.counters()
    }
}

#[test]
fn d02_ana_never_sees_anabela() {
    let mut bench = Bench::new(&[(ANA, &["ana"]), (ANABELA, &["anabela"])]);
    for kind in [PublicationKind::Direct, PublicationKind::Channel] {
        assert_eq!(bench.ours(kind, "anabela"), [ANABELA]);
        assert_eq!(bench.ours(kind, "ana"), [ANA]);
    }
    assert_eq!(bench.foreign("anabela", "{}"), [ANABELA]);
}

#[test]
fn d01_the_empty_subscription_gets_every_channel_and_no_direct_message() {
    let mut bench = Bench::new(&[(ANA, &["ana", "geral"]), (WATCHER, &[""])]);
    assert_eq!(bench.ours(PublicationKind::Channel, "geral"), [ANA, WATCHER]);
    assert_eq!(bench.ours(PublicationKind::Channel, "outro"), [WATCHER]);
    assert_eq!(bench.ours(PublicationKind::Direct, "ana"), [ANA]);
    assert_eq!(bench.ours(PublicationKind::Direct, "bia"), []);
}

#[test]
fn who_named_the_topic_and_everything_gets_one_copy() {
    let mut bench = Bench::new(&[(ANA, &["", "geral", "geral"])]);
    assert_eq!(bench.ours(PublicationKind::Channel, "geral"), [ANA]);
    assert_eq!(bench.counters().deliveries, 1);
}

#[test]
fn d03_announcements_of_our_servers_go_to_who_named_their_topic() {
    let mut bench = Bench::new(&[(ANA, &["servers"]), (WATCHER, &[""])]);
    assert_eq!(bench.ours(PublicationKind::Servers, "servers"), [ANA]);
    assert_eq!(bench.ours(PublicationKind::Channel, "servers"), [ANA], "whatever the kind");
    assert_eq!(bench.publish(true, &[b"servers", b"{}"]), [ANA]);
    assert_eq!(bench.foreign("servers", "{}"), [], "a foreign server is not believed");
}

#[test]
fn d04_replication_topics_never_reach_clients() {
    let topics: [&'static str; 3] = ["replica", "replication", "replicate"];
    let mut bench = Bench::new(&[(ANA, &topics), (WATCHER, &[""])]);
    for topic in topics {
        assert_eq!(bench.foreign(topic, "{}"), []);
        for kind in [PublicationKind::Channel, PublicationKind::Direct, PublicationKind::Servers] {
            assert_eq!(bench.ours(kind, topic), []);
        }
    }
    assert_eq!(bench.counters().hidden, 12);
}

#[test]
fn a_repeated_identity_is_dropped_for_sixty_seconds() {
    let mut bench = Bench::new(&[(ANA, &["geral"])]);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 7), [ANA]);
    bench.pass(59_999);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 7), []);
    assert_eq!(bench.counters().duplicates, 1);
    bench.pass(1);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 7), [ANA]);
}

#[test]
fn a_proxy_that_stood_still_for_minutes_still_knows_what_it_sent_before() {
    let mut bench = Bench::new(&[(ANA, &["geral"])]);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 7), [ANA]);
    bench.now += Duration::from_secs(300);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 7), [], "the repetition had waited");
    bench.pass(58_000);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 7), [ANA], "a minute is lived");
}

#[test]
fn identities_are_bounded_and_the_overflow_counted() {
    let settings = RoutingSettings { identities_max: 2, ..RoutingSettings::default() };
    let mut bench = Bench::with(settings, &[(ANA, &["geral"])]);
    for identity in 1..=3 {
        bench.identified(PublicationKind::Channel, "geral", identity);
    }
    assert_eq!((bench.counters().identities_evicted, bench.routing.identities()), (1, 2));
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 3), []);
    assert_eq!(bench.identified(PublicationKind::Channel, "geral", 1), [ANA]);
}

#[test]
fn foreign_direct_messages_are_kept_from_the_empty_subscription() {
    let mut bench = Bench::new(&[(ANA, &["ana"]), (WATCHER, &[""])]);
    assert_eq!(bench.foreign("ana", r#"{"user":"bia","message":"oi"}"#), [ANA, WATCHER]);
    for field in ["dst", "to", "src", "from"] {
        assert_eq!(bench.foreign("ana", &format!(r#"{{"{field}":"bia","message":"oi"}}"#)), [ANA]);
        assert_eq!(bench.foreign("ana", &format!(r#"{{"data":{{"{field}":"bia"}}}}"#)), [ANA]);
    }
    let oversized =
        format!(r#"{{"src":"bia","message":"{}"}}"#, "a".repeat(constants::PUBLICATION_READ_LIMITS.bytes));
    assert_eq!(bench.foreign("ana", &oversized), [ANA]);
}

#[test]
fn a_third_frame_without_the_token_is_ignored_and_counted() {
    let mut bench = Bench::new(&[(ANA, &["ana"]), (WATCHER, &[""])]);
    let meta = PublicationMeta { kind: PublicationKind::Channel, identity: Identity([7; 16]) }.to_bytes();
    for _ in 0..2 {
        assert_eq!(
            bench.publish(false, &[b"ana", br#"{"src":"bia"}"#, &meta]),
            [ANA],
            "neither kind nor identity counts"
        );
    }
    assert_eq!((bench.counters().ignored_third_frames, bench.counters().foreign), (2, 2));
    assert_eq!(bench.publish(true, &[b"ana", br#"{"src":"bia"}"#, b"unreadable"]), [ANA]);
    assert_eq!(bench.counters().malformed_third_frames, 1);
}

#[test]
fn malformed_publications_are_dropped_and_counted() {
    let mut bench = Bench::new(&[(WATCHER, &[""])]);
    let messages: [&[&[u8]]; 4] = [&[], &[b"geral"], &[b"geral", b"{}", b"", b""], &[b"", b"{}"]];
    for papo in [true, false] {
        for frames in messages {
            assert_eq!(bench.publish(papo, frames), []);
        }
    }
    assert_eq!(bench.counters().malformed, 8);
}

#[test]
fn a_topic_subscribed_to_twice_must_be_cancelled_twice() {
    let mut bench = Bench::new(&[(ANA, &["geral", "geral"])]);
    bench.cancel(ANA, "geral");
    assert_eq!(bench.ours(PublicationKind::Channel, "geral"), [ANA]);
    bench.cancel(ANA, "geral");
    bench.cancel(ANA, "geral");
    assert_eq!(bench.ours(PublicationKind::Channel, "geral"), []);
    bench.subscribe(ANA, "geral");
    assert_eq!(bench.ours(PublicationKind::Channel, "geral"), [ANA]);
}

#[test]
fn subscriptions_are_bounded_per_topic_per_subscriber_and_in_all() {
    let settings = RoutingSettings {
        topic_bytes_max: 5,
        topics_per_subscriber_max: 2,
        subscriptions_max: 3,
        ..RoutingSettings::default()
    };
    let mut bench = Bench::with(settings, &[(ANA, &["a", "too long", "b", "c"]), (ANABELA, &["a", "b"])]);
    assert_eq!((bench.counters().refused_subscriptions, bench.routing.subscriptions()), (3, 3));
    assert_eq!(bench.ours(PublicationKind::Channel, "b"), [ANA]);
    bench.cancel(ANA, "c");
    bench.cancel(ANA, "b");
    bench.subscribe(ANABELA, "b");
    assert_eq!(bench.ours(PublicationKind::Channel, "b"), [ANABELA]);
}

#[test]
fn a_subscriber_that_left_or_never_came_gets_nothing() {
    let mut bench = Bench::new(&[(ANA, &["geral", ""])]);
    bench.subscribe(WATCHER, "geral");
    bench.input(RoutingInput::SubscriberDown(ANA));
    assert_eq!(bench.ours(PublicationKind::Channel, "geral"), []);
    assert_eq!((bench.routing.subscribers(), bench.routing.subscriptions()), (0, 0));
    assert_eq!(bench.counters().refused_subscriptions, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Up(u64),
    Down(u64),
    Subscribe(u64, &'static str),
    Cancel(u64, &'static str),
    Publish(PublicationKind, &'static str),
}

fn step() -> impl Strategy<Value = Step> {
    let topic = prop::sample::select(vec!["", "ana", "anabela", "geral", "servers", "replica"]);
    let kind = prop::sample::select(vec![
        PublicationKind::Channel,
        PublicationKind::Direct,
        PublicationKind::Servers,
    ]);
    prop_oneof![
        1 => (0u64..4).prop_map(Step::Up),
        1 => (0u64..4).prop_map(Step::Down),
        5 => ((0u64..4), topic.clone()).prop_map(|(who, topic)| Step::Subscribe(who, topic)),
        3 => ((0u64..4), topic.clone()).prop_map(|(who, topic)| Step::Cancel(who, topic)),
        5 => (kind, topic).prop_map(|(kind, topic)| Step::Publish(kind, topic)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The receivers are those that a list of all subscriptions gives.
    #[test]
    fn delivers_like_a_plain_list_of_subscriptions(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new(&[]);
        let mut up = std::collections::BTreeSet::new();
        let mut list: Vec<(u64, &str)> = Vec::new();
        for step in steps {
            match step {
                Step::Up(who) => {
                    up.insert(who);
                    bench.input(RoutingInput::SubscriberUp(SubscriberId(who)));
                }
                Step::Down(who) => {
                    up.remove(&who);
                    list.retain(|(owner, _)| *owner != who);
                    bench.input(RoutingInput::SubscriberDown(SubscriberId(who)));
                }
                Step::Subscribe(who, topic) => {
                    if up.contains(&who) {
                        list.push((who, topic));
                    }
                    bench.subscribe(SubscriberId(who), topic);
                }
                Step::Cancel(who, topic) => {
                    if let Some(index) = list.iter().position(|entry| *entry == (who, topic)) {
                        list.remove(index);
                    }
                    bench.cancel(SubscriberId(who), topic);
                }
                Step::Publish(kind, topic) => {
                    let public = kind == PublicationKind::Channel && topic != "servers";
                    let wanted = |named: &str| named == topic || (public && named.is_empty());
                    let shown = !topic.is_empty() && topic != "replica";
                    let expected: std::collections::BTreeSet<_> =
                        list.iter().filter(|(_, named)| shown && wanted(named)).map(|(who, _)| SubscriberId(*who)).collect();
                    prop_assert_eq!(bench.ours(kind, topic), expected.into_iter().collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(
                bench.routing.subscriptions(),
                list.iter().collect::<std::collections::BTreeSet<_>>().len()
            );
        }
    }
}
