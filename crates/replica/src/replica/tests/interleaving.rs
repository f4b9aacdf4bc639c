//! Any order of writes, messages, disks and crashes.

use super::*;
use crate::constants::REPUBLISH_WITHIN;
use papo_protocol::Identity;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What happens next. Numbers choose among what is possible.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A broker sends the write of this key to a server.
    Write {
        host: usize,
        key: u64,
    },
    /// The oldest message of some link arrives.
    Deliver {
        link: usize,
    },
    /// A disk does what it was told.
    Disk {
        host: usize,
    },
    /// A server ends without a word and starts again from its disk.
    Crash {
        host: usize,
    },
    /// Two servers lose their links and open new ones.
    Relink {
        a: usize,
        b: usize,
    },
    Pass {
        milliseconds: u64,
    },
}

pub(super) fn step(servers: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..servers, 0..12_u64).prop_map(|(host, key)| Step::Write { host, key }),
        12 => any::<usize>().prop_map(|link| Step::Deliver { link }),
        8 => (0..servers).prop_map(|host| Step::Disk { host }),
        1 => (0..servers).prop_map(|host| Step::Crash { host }),
        1 => (0..servers, 1..servers).prop_map(move |(a, by)| Step::Relink { a, b: (a + by) % servers }),
        2 => prop::sample::select(vec![10_u64, 300, 1000, 3000]).prop_map(|milliseconds| Step::Pass { milliseconds }),
    ]
}

/// A cluster in which nothing happens but what a step says.
pub(super) struct Chaos {
    pub(super) world: World,
    boots: u64,
    /// Requests by server and number, with their keys.
    asked: Vec<(usize, u64, u64)>,
    pub(super) acknowledged: BTreeSet<String>,
    /// When a key was first asked, and what was acknowledged soon after that.
    first_asked: BTreeMap<u64, Duration>,
    soon: BTreeSet<String>,
    published: Vec<Identity>,
    /// The settings that each server has read.
    pub(super) files: Vec<Membership>,
    /// Servers that nobody reaches: not there yet, or no longer.
    pub(super) away: BTreeSet<usize>,
}

fn text(key: u64) -> String {
    format!("texto {key}")
}

impl Chaos {
    pub(super) fn new() -> Self {
        let mut world = World::cluster(3);
        world.ask(0, "channel", GERAL);
        world.pass(1000);
        Self {
            world,
            boots: 1000,
            asked: Vec::new(),
            acknowledged: BTreeSet::new(),
            first_asked: BTreeMap::new(),
            soon: BTreeSet::new(),
            published: Vec::new(),
            files: vec![members_up_to(3); 3],
            away: BTreeSet::new(),
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { host, key } => {
                let text = text(key);
                let post = [("user", "ana"), ("channel", "geral"), ("message", text.as_str())];
                let body = request("publish", &post, 0);
                let id = self.world.send_from(host, last_resort(key, &Cookie::default()), body);
                self.asked.push((host, id, key));
                self.first_asked.entry(key).or_insert(self.world.now.monotonic);
            }
            Step::Deliver { link } => {
                let queues: BTreeSet<_> =
                    self.world.messages.iter().map(|(to, link, _)| (*to, *link)).collect();
                if let Some(queue) = queues.iter().nth(link % queues.len().max(1)) {
                    let at =
                        self.world.messages.iter().position(|(to, link, _)| (*to, *link) == *queue).unwrap();
                    let (to, link, bytes) = self.world.messages.remove(at).unwrap();
                    self.world.input(to, Input::PeerMessage { link, bytes });
                }
            }
            Step::Disk { host } => self.world.disk(host),
            Step::Crash { host } => self.crash(host),
            Step::Relink { a, b } => self.relink(a, b),
            Step::Pass { milliseconds } => {
                self.world.now.monotonic += Duration::from_millis(milliseconds);
                self.world.now.unix.0 += i64::try_from(milliseconds).unwrap();
                for at in 0..self.world.hosts.len() {
                    self.world.tick(at);
                }
            }
        }
        self.look();
    }

    pub(super) fn relink(&mut self, a: usize, b: usize) {
        self.world.drop_links(a, b);
        let numbers = [(a, b), (b, a)].map(|(asker, answerer)| ends(asker, answerer));
        let is_between = |to: usize, link: PeerLink| {
            (to == a || to == b)
                && numbers.iter().any(|ends| ends.contains(&link))
                && (link.0 % 100 == a as u64 || link.0 % 100 == b as u64)
        };
        self.world.messages.retain(|(to, link, _)| !is_between(*to, *link));
        if self.away.contains(&a) || self.away.contains(&b) {
            return;
        }
        self.world.link(a, b);
        self.world.link(b, a);
    }

    pub(super) fn crash(&mut self, host: usize) {
        self.look();
        self.boots += 1;
        let dead = &mut self.world.hosts[host];
        let stored: Vec<Op> = dead.stored.iter().map(|op| op.as_ref().clone()).collect();
        let settings = ReplicaSettings {
            boot: Boot(self.boots),
            membership: self.files[host].clone(),
            ..settings(host + 1)
        };
        let floor = dead.replica.lamport();
        let mut next = Host::start(settings, stored, floor, &dead.stored_shown, self.world.now).unwrap();
        next.stored = std::mem::take(&mut dead.stored);
        next.stored_shown = dead.stored_shown.clone();
        next.outcomes = std::mem::take(&mut dead.outcomes);
        self.world.hosts[host] = next;
        self.world.tick(host);
        for other in (0..self.world.hosts.len()).filter(|other| *other != host) {
            self.relink(host, other);
        }
    }

    /// Takes note of what clients and subscribers got.
    pub(super) fn look(&mut self) {
        for (host, id, key) in &self.asked {
            if let Some(Outcome::Reply { read, .. }) = self.world.outcome(*host, *id)
                && read.failure.is_none()
            {
                // A twin older than that may have been published so long ago that the proxies forgot it, so it is not again.
                let is_new = self.acknowledged.insert(text(*key));
                if is_new && self.first_asked[key] + REPUBLISH_WITHIN > self.world.now.monotonic {
                    self.soon.insert(text(*key));
                }
            }
        }
        for host in &mut self.world.hosts {
            self.published.extend(host.publications.drain(..).map(|(_, _, meta)| meta.identity));
            let history = host.replica.history();
            assert!(history.vector().covers_all(history.shown()), "what is shown is held");
        }
    }
}

pub(super) fn posts(chaos: &Chaos, host: usize) -> Vec<String> {
    let lines = chaos.world.hosts[host].exports()[0].clone();
    lines.lines().map(|line| line.split('"').nth(11).unwrap().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn invariant_1_what_was_acknowledged_is_shown_by_every_later_majority(
        steps in prop::collection::vec(step(3), 0..150),
        lost in 0..3_usize,
    ) {
        let mut chaos = Chaos::new();
        let mut shown = [0, 1, 2].map(|host: usize| chaos.world.hosts[host].replica.history().shown().clone());
        for step in &steps {
            chaos.take(step);
            for (host, before) in shown.iter_mut().enumerate() {
                let now = chaos.world.hosts[host].replica.history().shown();
                if let Step::Crash { host: crashed } = step && *crashed == host {
                    prop_assert!(before.covers_all(now), "a restart shows what was stored");
                } else {
                    prop_assert!(now.covers_all(before), "what is shown only grows");
                }
                *before = now.clone();
            }
        }
        // A minority dies for good; the others talk to each other as they like.
        let survivors: Vec<usize> = (0..3).filter(|host| *host != lost).collect();
        chaos.world.drop_links(lost, survivors[0]);
        chaos.world.drop_links(lost, survivors[1]);
        chaos.world.cut(lost, survivors[0]);
        chaos.world.cut(lost, survivors[1]);
        chaos.relink(survivors[0], survivors[1]);
        chaos.world.pass(8000);
        chaos.look();
        for host in &survivors {
            let found = posts(&chaos, *host);
            let distinct: BTreeSet<String> = found.iter().cloned().collect();
            prop_assert_eq!(distinct.len(), found.len(), "invariant 2: no identity twice");
            prop_assert!(distinct.is_superset(&chaos.acknowledged), "{:?} of {:?}", found, &chaos.acknowledged);
        }
        let [a, b] = [survivors[0], survivors[1]].map(|host| &chaos.world.hosts[host]);
        prop_assert_eq!(a.replica.history().shown(), b.replica.history().shown());
        prop_assert_eq!(a.exports(), b.exports(), "invariant 3: equal shown vectors, equal bytes");
        let identities: BTreeSet<Identity> = chaos.published.iter().copied().collect();
        for op in a.replica.history().visible().filter(|op| op.to_history_entry().is_some()) {
            let entry = op.to_history_entry().unwrap();
            if chaos.soon.contains(&entry.message) {
                prop_assert!(identities.contains(&op.identity), "acknowledged and never published: {}", entry.message);
            }
        }
    }
}
