//! What the visible operations amount to: users, channels, and who wrote what where. A function of the *set* of visible
//! operations alone: adding or taking one away in any order gives the same state (invariant 3). It must not know which
//! operations are visible; that is the history's business.

use crate::op::{Op, OpKind, Ordered};
use papo_protocol::time::UnixMillis;
use papo_protocol::{ChannelName, UserName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Index<K> = BTreeMap<K, BTreeSet<Ordered>>;

/// When the first of these was taken. A key whose last operation goes leaves the index, so there is a first.
fn first_at(ops: &BTreeSet<Ordered>) -> UnixMillis {
    ops.first().map_or(UnixMillis(0), |op| op.0.at)
}

/// Users, channels, and the messages of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Every login (row I02); a user exists while there is one.
    logins: Index<UserName>,
    /// Every creation; two servers may create one channel at the same time.
    creations: Index<ChannelName>,
    posts: Index<ChannelName>,
    /// Direct messages under their author and under their recipient.
    direct_messages: Index<UserName>,
}

impl State {
    /// Users with the time of their first login, by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&UserName, UnixMillis)> {
        self.logins.iter().map(|(user, logins)| (user, first_at(logins)))
    }

    /// Channels with the time of their creation, by name.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = (&ChannelName, UnixMillis)> {
        self.creations.iter().map(|(channel, creations)| (channel, first_at(creations)))
    }

    /// Whether this user has logged in.
    #[must_use]
    pub fn has_user(&self, user: &UserName) -> bool {
        self.logins.contains_key(user)
    }

    /// Whether this channel was created.
    #[must_use]
    pub fn has_channel(&self, channel: &ChannelName) -> bool {
        self.creations.contains_key(channel)
    }

    /// Whether a user and a channel, made at once on two servers, share this name: the user wins, for privacy, and the channel
    /// is readable only (design, "Names").
    #[must_use]
    pub fn is_frozen(&self, channel: &ChannelName) -> bool {
        self.has_channel(channel) && UserName::new(channel.as_str()).is_ok_and(|user| self.has_user(&user))
    }

    /// The posts of a channel, oldest first.
    pub fn posts(&self, channel: &ChannelName) -> impl DoubleEndedIterator<Item = &Arc<Op>> {
        self.posts.get(channel).into_iter().flatten().map(|op| &op.0)
    }

    /// The direct messages from and to a user, oldest first.
    pub fn direct_messages(&self, user: &UserName) -> impl DoubleEndedIterator<Item = &Arc<Op>> {
        self.direct_messages.get(user).into_iter().flatten().map(|op| &op.0)
    }

    pub(crate) fn add(&mut self, op: &Arc<Op>) {
        fn add<K: Ord + Clone>(index: &mut Index<K>, key: &K, op: &Arc<Op>) {
            index.entry(key.clone()).or_default().insert(Ordered(Arc::clone(op)));
        }
        match &op.kind {
            OpKind::Login { user } => add(&mut self.logins, user, op),
            OpKind::CreateChannel { channel } => add(&mut self.creations, channel, op),
            OpKind::Publish { channel, .. } => add(&mut self.posts, channel, op),
            OpKind::Message { src, dst, .. } => {
                add(&mut self.direct_messages, src, op);
                add(&mut self.direct_messages, dst, op);
            }
        }
    }

    pub(crate) fn take_away(&mut self, op: &Arc<Op>) {
        fn take_away<K: Ord>(index: &mut Index<K>, key: &K, op: &Arc<Op>) {
            if let Some(ops) = index.get_mut(key) {
                ops.remove(&Ordered(Arc::clone(op)));
                if ops.is_empty() {
                    index.remove(key);
                }
            }
        }
        match &op.kind {
            OpKind::Login { user } => take_away(&mut self.logins, user, op),
            OpKind::CreateChannel { channel } => take_away(&mut self.creations, channel, op),
            OpKind::Publish { channel, .. } => take_away(&mut self.posts, channel, op),
            OpKind::Message { src, dst, .. } => {
                take_away(&mut self.direct_messages, src, op);
                take_away(&mut self.direct_messages, dst, op);
            }
        }
    }
}
