//! Which servers there is a link to, and when each was last heard.

use crate::constants::REACHED_WITHIN;
use papo_protocol::{Boot, ServerName};
use std::collections::BTreeMap;
use std::time::Duration;

/// A server that there is a link to.
#[derive(Debug, Clone, Copy)]
struct Contact {
    boot: Boot,
    heard: Duration,
    /// Since when it was never silent for long.
    since: Duration,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<ServerName, Contact>);

impl Contacts {
    /// There is a link to this server. Says whether there was none before to this boot of it.
    pub(super) fn greet(&mut self, now: Duration, name: &ServerName, boot: Boot) -> bool {
        match self.0.get_mut(name).filter(|contact| contact.boot == boot) {
            Some(contact) => {
                contact.hear(now);
                false
            }
            None => {
                self.0.insert(name.clone(), Contact { boot, heard: now, since: now });
                true
            }
        }
    }

    /// There is none any more.
    pub(super) fn lose(&mut self, name: &ServerName) {
        self.0.remove(name);
    }

    /// It said something.
    pub(super) fn hear(&mut self, now: Duration, name: &ServerName) {
        if let Some(contact) = self.0.get_mut(name) {
            contact.hear(now);
        }
    }

    /// Whether there is a link to this server.
    pub(super) fn has(&self, name: &ServerName) -> bool {
        self.0.contains_key(name)
    }

    /// All that there is a link to.
    pub(super) fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.0.keys()
    }

    /// Whether it was heard within this time.
    pub(super) fn has_heard(&self, now: Duration, name: &ServerName, within: Duration) -> bool {
        self.0.get(name).is_some_and(|contact| contact.heard + within > now)
    }

    /// Since when it was never silent for long; `None` while it is.
    pub(super) fn unbroken_since(&self, now: Duration, name: &ServerName) -> Option<Duration> {
        self.0.get(name).filter(|contact| contact.heard + REACHED_WITHIN > now).map(|contact| contact.since)
    }
}

impl Contact {
    fn hear(&mut self, now: Duration) {
        if self.heard + REACHED_WITHIN <= now {
            self.since = now;
        }
        self.heard = now;
    }
}
