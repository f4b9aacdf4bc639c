//! What must hold when all faults are over and the world has come to rest.

use super::{Checker, Invariant, Outcome, Target};
use crate::clock::{Micros, SECOND};
use papo_protocol::Identity;
use papo_replica::{History, OpKind};
use std::collections::{BTreeMap, BTreeSet};

/// A retry later than this after the first try may find what was never published, and leave it so: a server publishes for another what
/// is 30 s old at most, by a calendar that may be off by 7 s from a calendar that may be off by 7 s.
const HEARD_WITHIN: Micros = 15 * SECOND;

impl Checker {
    /// Checks a server's history against everything that was said.
    pub fn on_end(&mut self, at: Micros, server: usize, history: &History) {
        let mut texts: BTreeMap<&str, u32> = BTreeMap::new();
        let mut identities: BTreeSet<Identity> = BTreeSet::new();
        let mut twice = None;
        let visible: Vec<_> = history.visible().collect();
        for op in &visible {
            if let OpKind::Publish { message, .. } | OpKind::Message { message, .. } = &op.kind {
                *texts.entry(message).or_default() += 1;
            }
            if !identities.insert(op.identity) {
                twice = Some(op.identity);
            }
        }
        let server = server + 1;
        if let Some(identity) = twice {
            self.violate(at, Invariant::Once, || format!("server-{server} shows {identity} twice"));
        }
        if let Some((text, count)) = texts.iter().find(|(_, count)| **count > 1) {
            self.violate(at, Invariant::Once, || format!("server-{server} shows {text} {count} times"));
        }
        let is_lost =
            |identity: &Option<Identity>| identity.is_some_and(|identity| self.lost.contains(&identity));
        let mut broken = None;
        for (text, post) in &self.posts {
            let present = texts.contains_key(text.as_str());
            let lost = is_lost(&post.identity);
            broken = match post.ended {
                Some((_, Outcome::Acknowledged)) if !present && !lost => Some((Invariant::Durable, text)),
                Some((_, Outcome::NotDone)) if present => Some((Invariant::Honest, text)),
                Some(_) | None
                    if !present && !lost && self.shown.contains(text) && !self.is_lost_text(text) =>
                {
                    Some((Invariant::Lasting, text))
                }
                Some(_) | None => broken,
            };
        }
        if let Some((invariant, text)) = broken {
            let what = match invariant {
                Invariant::Durable => "was acknowledged and is gone",
                Invariant::Honest => "was refused as not done and is there",
                _ => "was shown and is gone",
            };
            let text = format!("{text} {what} on server-{server}");
            self.violate(at, invariant, || text);
        }
        let gone = self
            .others
            .iter()
            .find(|(identity, _)| !identities.contains(*identity) && !self.lost.contains(*identity));
        if let Some((identity, what)) = gone {
            let text = format!("{what} ({identity}) was acknowledged and is gone on server-{server}");
            self.violate(at, Invariant::Durable, || text);
        }
        if !self.has_liar {
            self.check_heard(at, history);
        }
    }

    fn is_lost_text(&self, text: &str) -> bool {
        self.lost.iter().any(|identity| self.texts.get(identity).is_some_and(|lost| lost == text))
    }

    /// Every subscriber that was there all the time has heard every message that was acknowledged through a broker.
    fn check_heard(&mut self, at: Micros, history: &History) {
        let mut missed = None;
        for (subscriber, listening) in &self.listening {
            let Some(since) = listening.since else { continue };
            for (text, post) in &self.posts {
                let (Some((ended, Outcome::Acknowledged)), Some(identity)) = (post.ended, post.identity)
                else {
                    continue;
                };
                let all = listening.topics.contains("") && matches!(post.target, Target::Channel(_));
                let frozen = match &post.target {
                    Target::Channel(name) => papo_protocol::ChannelName::new(name)
                        .is_ok_and(|name| history.state().is_frozen(&name)),
                    Target::User(_) => false,
                };
                if (all || listening.topics.contains(post.target.topic()))
                    && post.through_broker
                    && since < post.sent_at
                    && ended < post.sent_at + HEARD_WITHIN
                    && !frozen
                    && !listening.heard.contains(text)
                    && !self.unheard.contains(&(identity, listening.proxy))
                    && !self.lost.contains(&identity)
                {
                    missed = Some((*subscriber, text.clone()));
                }
            }
        }
        if let Some((subscriber, text)) = missed {
            self.violate(at, Invariant::Heard, || {
                format!("subscriber-{} did not hear {text}", subscriber + 1)
            });
        }
    }
}
