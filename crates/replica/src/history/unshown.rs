//! What the operations that are held and not shown yet are about: it is waited for, and never taken for absent.

use crate::state::Made;
use papo_protocol::{ChannelName, Identity, UserName};
use std::collections::HashMap;
use std::hash::Hash;

/// Identities and names, each with how many operations are about it.
#[derive(Debug, Default)]
pub(crate) struct Unshown {
    identities: HashMap<Identity, u32>,
    users: HashMap<UserName, u32>,
    channels: HashMap<ChannelName, u32>,
}

fn add<K: Hash + Eq + Clone>(counts: &mut HashMap<K, u32>, key: &K) {
    *counts.entry(key.clone()).or_default() += 1;
}

fn remove<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Unshown {
    /// Of this identity; `made` is what it makes exist, if anything.
    pub(super) fn add(&mut self, identity: &Identity, made: Option<Made<'_>>) {
        add(&mut self.identities, identity);
        match made {
            Some(Made::User(user)) => add(&mut self.users, user),
            Some(Made::Channel(channel)) => add(&mut self.channels, channel),
            None => {}
        }
    }

    /// It is shown.
    pub(super) fn remove(&mut self, identity: &Identity, made: Option<Made<'_>>) {
        remove(&mut self.identities, identity);
        match made {
            Some(Made::User(user)) => remove(&mut self.users, user),
            Some(Made::Channel(channel)) => remove(&mut self.channels, channel),
            None => {}
        }
    }

    /// Whether an operation of this identity waits to be shown.
    pub(crate) fn has_identity(&self, identity: &Identity) -> bool {
        self.identities.contains_key(identity)
    }

    /// Whether a login of this user does.
    pub(crate) fn has_user(&self, user: &UserName) -> bool {
        self.users.contains_key(user)
    }

    /// Whether a creation of this channel does.
    pub(crate) fn has_channel(&self, channel: &ChannelName) -> bool {
        self.channels.contains_key(channel)
    }
}
