//! The proxy's mind against a plain model: who subscribed to exactly this topic, or to everything public, gets a publication, once;
//! no identity passes twice within the window; no bound is broken.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use papo_exchange::{Now, Routing, RoutingInput, RoutingSettings, SubscriberId};
use papo_protocol::Identity;
use papo_protocol::publication::{PublicationKind, PublicationMeta};
use papo_protocol::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TOPICS: [&[u8]; 9] = [
    b"",
    b"ana",
    b"anabela",
    b"geral",
    b"servers",
    b"replica",
    b"replication",
    b"replicate",
    b"far too long",
];
const BODIES: [(&[u8], bool); 4] = [
    (br#"{"user":"ana","message":"oi"}"#, true),
    (br#"{"dst":"ana","message":"oi"}"#, false),
    (br#"{"data":{"from":"ana"}}"#, false),
    (b"\x81\xa4user\xa3ana", true),
];
const WINDOW: Duration = Duration::from_secs(60);
/// Of a longer gap between two calls no more counts.
const LIVED_AT_ONCE: Duration = Duration::from_secs(2);

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Up(u8),
    Down(u8),
    Subscribe(u8, u8),
    Cancel(u8, u8),
    Ours { kind: u8, topic: u8, identity: u8, body: u8 },
    Foreign { papo: bool, topic: u8, body: u8, third: Option<&'a [u8]> },
    Raw { papo: bool, frames: Vec<&'a [u8]> },
    Pass(u16),
}

fn settings() -> RoutingSettings {
    RoutingSettings {
        identity_window: WINDOW,
        identities_max: 5,
        topic_bytes_max: 11,
        topics_per_subscriber_max: 3,
        subscriptions_max: 8,
    }
}

/// What a plain list knows.
#[derive(Default)]
struct Model {
    up: BTreeSet<u64>,
    subscribed: BTreeMap<(u64, &'static [u8]), u32>,
    seen: Vec<(Duration, u8)>,
    lived: Duration,
}

impl Model {
    fn subscribe(&mut self, who: u64, topic: &'static [u8]) {
        if !self.up.contains(&who) {
            return;
        }
        let room = topic.len() <= settings().topic_bytes_max
            && self.subscribed.keys().filter(|(owner, _)| *owner == who).count()
                < settings().topics_per_subscriber_max
            && self.subscribed.len() < settings().subscriptions_max;
        match self.subscribed.get_mut(&(who, topic)) {
            Some(times) => *times += 1,
            None if room => drop(self.subscribed.insert((who, topic), 1)),
            None => {}
        }
    }

    fn cancel(&mut self, who: u64, topic: &'static [u8]) {
        if let Some(times) = self.subscribed.get_mut(&(who, topic)) {
            *times -= 1;
            if *times == 0 {
                self.subscribed.remove(&(who, topic));
            }
        }
    }

    /// Whether this identity passes.
    fn passes(&mut self, identity: u8) -> bool {
        let lived = self.lived;
        self.seen.retain(|(at, _)| *at + WINDOW > lived);
        if self.seen.iter().any(|(_, seen)| *seen == identity) {
            return false;
        }
        if self.seen.len() == settings().identities_max {
            self.seen.remove(0);
        }
        self.seen.push((lived, identity));
        true
    }

    fn receivers(&self, topic: &[u8], public: bool) -> Vec<SubscriberId> {
        let wanted = |named: &[u8]| named == topic || (public && named.is_empty());
        let all: BTreeSet<_> = self
            .subscribed
            .keys()
            .filter(|(_, named)| wanted(named))
            .map(|(who, _)| SubscriberId(*who))
            .collect();
        all.into_iter().collect()
    }
}

struct World {
    routing: Routing,
    model: Model,
    now: Duration,
}

impl World {
    fn publish(&mut self, papo: bool, frames: Vec<Bytes>) -> Vec<SubscriberId> {
        let sent = frames.clone();
        let now = Now { monotonic: self.now, unix: UnixMillis(0) };
        let Some(delivery) = self.routing.publish(now, papo, frames) else { return Vec::new() };
        assert_eq!(delivery.frames[..], sent[..2], "topic and body, and nothing else");
        let receivers: Vec<_> = delivery.receivers.collect();
        assert!(!receivers.is_empty());
        receivers
    }

    fn expected(
        &mut self,
        papo: bool,
        topic: &[u8],
        meta: Option<(PublicationKind, u8)>,
        body_is_public: bool,
    ) -> Vec<SubscriberId> {
        let reserved = [&b"servers"[..], b"replica", b"replication", b"replicate"].contains(&topic);
        if topic.is_empty() || (reserved && !(papo && topic == b"servers")) {
            return Vec::new();
        }
        let public = match meta {
            Some((_, identity)) if !self.model.passes(identity) => return Vec::new(),
            Some((kind, _)) => kind == PublicationKind::Channel,
            None => body_is_public,
        };
        self.model.receivers(topic, public && !reserved)
    }

    fn run(&mut self, step: Step) {
        let topic = |topic: u8| TOPICS[usize::from(topic) % TOPICS.len()];
        let who = |who: u8| u64::from(who % 5);
        match step {
            Step::Up(number) => {
                self.model.up.insert(who(number));
                self.routing.handle(RoutingInput::SubscriberUp(SubscriberId(who(number))));
            }
            Step::Down(number) => {
                self.model.up.remove(&who(number));
                self.model.subscribed.retain(|(owner, _), _| *owner != who(number));
                self.routing.handle(RoutingInput::SubscriberDown(SubscriberId(who(number))));
            }
            Step::Subscribe(number, name) => {
                self.model.subscribe(who(number), topic(name));
                let (subscriber, topic) = (SubscriberId(who(number)), Bytes::from_static(topic(name)));
                self.routing.handle(RoutingInput::Subscribe { subscriber, topic });
            }
            Step::Cancel(number, name) => {
                self.model.cancel(who(number), topic(name));
                let (subscriber, topic) = (SubscriberId(who(number)), Bytes::from_static(topic(name)));
                self.routing.handle(RoutingInput::Cancel { subscriber, topic });
            }
            Step::Ours { kind, topic: name, identity, body } => {
                let kind = [PublicationKind::Channel, PublicationKind::Direct, PublicationKind::Servers]
                    [usize::from(kind % 3)];
                let (topic, identity) = (topic(name), identity % 8);
                let body = BODIES[usize::from(body) % BODIES.len()].0;
                let meta = PublicationMeta { kind, identity: Identity([identity; 16]) };
                let expected = self.expected(true, topic, Some((kind, identity)), false);
                let frames = vec![Bytes::from_static(topic), Bytes::from_static(body), meta.to_bytes()];
                assert_eq!(self.publish(true, frames), expected);
            }
            Step::Foreign { papo, topic: name, body, third } => {
                let (body, public) = BODIES[usize::from(body) % BODIES.len()];
                let topic = topic(name);
                // A third frame that is one, of a publisher that may send it, makes it one of ours.
                if papo && third.is_some_and(|third| PublicationMeta::from_bytes(third).is_some()) {
                    return;
                }
                let expected = self.expected(papo, topic, None, public);
                let mut frames = vec![Bytes::from_static(topic), Bytes::from_static(body)];
                frames.extend(third.map(Bytes::copy_from_slice));
                assert_eq!(self.publish(papo, frames), expected);
            }
            Step::Raw { papo, frames } => {
                let [topic, _, rest @ ..] = frames.as_slice() else {
                    assert_eq!(
                        self.publish(papo, frames.into_iter().map(Bytes::copy_from_slice).collect()),
                        []
                    );
                    return;
                };
                if papo && rest.first().is_some_and(|third| PublicationMeta::from_bytes(third).is_some()) {
                    return;
                }
                // Whether the body is public is not for the model to say: at most these.
                let most = self.expected(papo, topic, None, true);
                let receivers = self.publish(papo, frames.into_iter().map(Bytes::copy_from_slice).collect());
                assert!(receivers.iter().all(|receiver| most.contains(receiver)));
            }
            Step::Pass(millis) => {
                let gap = Duration::from_millis(u64::from(millis));
                self.now += gap;
                self.model.lived += gap.min(LIVED_AT_ONCE);
                self.routing.tick(Now { monotonic: self.now, unix: UnixMillis(0) });
            }
        }
        assert_eq!(self.routing.subscriptions(), self.model.subscribed.len());
        assert_eq!(self.routing.subscribers(), self.model.up.len());
        assert!(self.routing.identities() <= settings().identities_max);
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut world = World { routing: Routing::new(settings()), model: Model::default(), now: Duration::ZERO };
    for step in steps {
        world.run(step);
    }
});
