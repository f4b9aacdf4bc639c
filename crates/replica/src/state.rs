//! What the visible operations amount to: users, channels, and who wrote what where. A function of the *set* of shown operations
//! and of which of them are hidden: the order in which they come changes nothing (invariant 3). It must not know why an operation
//! is hidden; that is the history's business.

use crate::heading::About;
use crate::history::{Place, Subject};
use papo_protocol::names::NameError;
use papo_protocol::{ChannelName, UserName};
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Shown operations of one kind about one name: those of each writer in its order, the hidden ones too.
#[derive(Debug, Default)]
pub(crate) struct Scope(Vec<(u32, Vec<Place>)>);

impl Scope {
    /// By the writers' numbers.
    pub(crate) fn of_writers(&self) -> impl Iterator<Item = (u32, &[Place])> {
        self.0.iter().map(|(writer, places)| (*writer, places.as_slice()))
    }

    fn add(&mut self, writer: u32, place: Place) {
        match self.0.binary_search_by_key(&writer, |(writer, _)| *writer) {
            Ok(index) => {
                if let Some((_, places)) = self.0.get_mut(index) {
                    places.push(place);
                }
            }
            Err(index) => {
                // Most names have one login and no message: many of them are to be small.
                self.0.reserve_exact(usize::from(self.0.is_empty()));
                self.0.insert(index, (writer, vec![place]));
            }
        }
    }
}

/// What was said about a user or a channel.
#[derive(Debug, Default)]
struct Topic {
    /// Every login (row I02), or every creation: two servers may create one channel at the same time.
    origins: Scope,
    /// How many of these are visible. The name exists while one is.
    visible_origins: usize,
    /// Posts to a channel; of a user, direct messages from and to.
    messages: Scope,
}

/// All users, or all channels.
#[derive(Debug)]
struct Topics<N> {
    /// Every name that an operation is about has one, whether it exists or not.
    numbers: HashMap<N, u32>,
    /// By number.
    topics: Vec<(N, Topic)>,
    existing: BTreeSet<N>,
}

impl<N> Default for Topics<N> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), topics: Vec::new(), existing: BTreeSet::new() }
    }
}

impl<N: Clone + Ord + Hash + Borrow<str>> Topics<N> {
    fn number(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<N, NameError>,
    ) -> Result<u32, NameError> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let name = parse(name)?;
        // Each comes with an operation, of which there are fewer than 2^32.
        let number = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.clone(), number);
        self.topics.push((name, Topic::default()));
        Ok(number)
    }

    fn name(&self, number: u32) -> Option<&N> {
        self.topics.get(number as usize).map(|(name, _)| name)
    }

    fn topic(&self, name: &N) -> Option<&Topic> {
        self.topics.get(*self.numbers.get::<N>(name)? as usize).map(|(_, topic)| topic)
    }

    fn add_origin(&mut self, number: u32, writer: u32, place: Place) {
        if let Some((_, topic)) = self.topics.get_mut(number as usize) {
            topic.origins.add(writer, place);
        }
    }

    fn add_message(&mut self, number: u32, writer: u32, place: Place) {
        if let Some((_, topic)) = self.topics.get_mut(number as usize) {
            topic.messages.add(writer, place);
        }
    }

    /// One more origin is visible, or one fewer.
    fn count(&mut self, number: u32, change: Change) {
        let Some((name, topic)) = self.topics.get_mut(number as usize) else { return };
        match change {
            Change::Stands => topic.visible_origins += 1,
            Change::Hidden => topic.visible_origins = topic.visible_origins.saturating_sub(1),
        }
        if topic.visible_origins == 0 {
            self.existing.remove::<N>(name);
        } else if topic.visible_origins == 1 {
            self.existing.insert(name.clone());
        }
    }
}

/// What became of an operation that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It stands for its identity.
    Stands,
    /// Another does from now on.
    Hidden,
}

/// Users, channels, and the messages of each.
#[derive(Debug, Default)]
pub struct State {
    users: Topics<UserName>,
    channels: Topics<ChannelName>,
}

impl State {
    /// The users, by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &UserName> {
        self.users.existing.iter()
    }

    /// The channels, by name.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &ChannelName> {
        self.channels.existing.iter()
    }

    /// Whether this user has logged in.
    #[must_use]
    pub fn has_user(&self, user: &UserName) -> bool {
        self.users.topic(user).is_some_and(|topic| topic.visible_origins > 0)
    }

    /// Whether this channel was created.
    #[must_use]
    pub fn has_channel(&self, channel: &ChannelName) -> bool {
        self.channels.topic(channel).is_some_and(|topic| topic.visible_origins > 0)
    }

    /// Whether a user and a channel, made at once on two servers, share this name: the user wins, for privacy, and the channel
    /// is readable only (design, "Names").
    #[must_use]
    pub fn is_frozen(&self, channel: &ChannelName) -> bool {
        self.has_channel(channel) && UserName::new(channel.as_str()).is_ok_and(|user| self.has_user(&user))
    }

    /// The logins of a user.
    pub(crate) fn logins(&self, user: &UserName) -> Option<&Scope> {
        self.users.topic(user).map(|topic| &topic.origins)
    }

    /// The creations of a channel.
    pub(crate) fn creations(&self, channel: &ChannelName) -> Option<&Scope> {
        self.channels.topic(channel).map(|topic| &topic.origins)
    }

    /// The posts of a channel.
    pub(crate) fn posts(&self, channel: &ChannelName) -> Option<&Scope> {
        self.channels.topic(channel).map(|topic| &topic.messages)
    }

    /// The direct messages from and to a user.
    pub(crate) fn direct_messages(&self, user: &UserName) -> Option<&Scope> {
        self.users.topic(user).map(|topic| &topic.messages)
    }

    /// The numbers of the names that an operation is about; new names get one.
    pub(crate) fn subject(&mut self, about: About<'_>) -> Result<Subject, NameError> {
        Ok(match about {
            About::Login { user } => Subject::Login { user: self.users.number(user, UserName::new)? },
            About::CreateChannel { channel } => {
                Subject::CreateChannel { channel: self.channels.number(channel, ChannelName::new)? }
            }
            About::Publish { channel } => {
                Subject::Publish { channel: self.channels.number(channel, ChannelName::new)? }
            }
            About::Message { src, dst } => Subject::Message {
                src: self.users.number(src, UserName::new)?,
                dst: self.users.number(dst, UserName::new)?,
            },
        })
    }

    /// The user or channel that an operation makes exist, if it is one that does.
    pub(crate) fn made_by(&self, subject: Subject) -> Option<Made<'_>> {
        match subject {
            Subject::Login { user } => self.users.name(user).map(Made::User),
            Subject::CreateChannel { channel } => self.channels.name(channel).map(Made::Channel),
            Subject::Publish { .. } | Subject::Message { .. } => None,
        }
    }

    /// Takes in an operation that is shown, after all that its writer wrote before. It does not count as visible yet.
    pub(crate) fn add(&mut self, subject: Subject, writer: u32, place: Place) {
        match subject {
            Subject::Login { user } => self.users.add_origin(user, writer, place),
            Subject::CreateChannel { channel } => {
                self.channels.add_origin(channel, writer, place);
            }
            Subject::Publish { channel } => self.channels.add_message(channel, writer, place),
            Subject::Message { src, dst } => {
                self.users.add_message(src, writer, place);
                if src != dst {
                    self.users.add_message(dst, writer, place);
                }
            }
        }
    }

    /// An operation that was taken in stands for its identity from now on, or no longer.
    pub(crate) fn change(&mut self, subject: Subject, change: Change) {
        match subject {
            Subject::Login { user } => self.users.count(user, change),
            Subject::CreateChannel { channel } => self.channels.count(channel, change),
            Subject::Publish { .. } | Subject::Message { .. } => {}
        }
    }
}

/// What an operation makes exist.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Made<'a> {
    User(&'a UserName),
    Channel(&'a ChannelName),
}
