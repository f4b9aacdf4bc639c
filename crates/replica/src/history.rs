//! The operations of one server: what it *holds*, a grow-only set merged by union, and what of that is *shown* (design,
//! "History").
//!
//! Per (origin, boot) what is held is gapless, and what is shown is a prefix of it that only grows: an operation is shown once it
//! was durable as promised, and that stays true. State, lists, histories and exports are functions of what is shown alone. Of
//! shown operations with one identity the first in total order stands and is visible; the others are hidden (design, "Identity
//! and idempotence"). Of each it keeps a short record; texts are read from the [`Archive`] where they are not among the newest
//! (docs/adr/0006). This module must not know about operations on their way to the disk, who asks, or what makes an operation
//! durable.

mod digest;
mod entries;
mod merge;
mod recent;
mod restoring;
mod standing;
mod unshown;
mod walk;

use crate::archive::Archive;
use crate::heading::Heading;
use crate::op::Op;
use crate::state::{Change, Scope, State};
use crate::vector::{VersionVector, Writer};
use digest::Digest;
use entries::Entries;
pub(crate) use entries::{Place, Subject};
use merge::Merge;
use papo_protocol::lamport::Lamport;
use papo_protocol::names::NameError;
use papo_protocol::request::HistoryScope;
use papo_protocol::time::UnixMillis;
use papo_protocol::{Boot, ChannelName, Dot, Identity, ServerName, UserName};
use recent::Recent;
pub use restoring::Restoring;
use standing::Standing;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use unshown::Unshown;
pub(crate) use walk::Fit;

/// How many writers [`History::latest_shown`] names: what a session cookie has room for.
pub(crate) const LATEST_WRITERS: usize = 6;

/// Why an operation cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// An operation is missing between others of its (origin, boot).
    #[error("operation {} of {} in boot {:016x} is missing", missing.seq, missing.origin, missing.boot.0)]
    Gap {
        /// The first that is missing.
        missing: Dot,
    },
    /// It is about no user or channel that there can be.
    #[error("an operation is about a name that is none")]
    Name(#[from] NameError),
}

/// What a server holds and shows, and what that amounts to.
#[derive(Debug)]
pub struct History {
    archive: Box<dyn Archive>,
    recent: Recent,
    /// All that is held.
    entries: Entries,
    /// How many of each writer's are shown.
    shown: VersionVector,
    /// Writers of whom more is held than shown.
    lagging: BTreeSet<Writer>,
    unshown: Unshown,
    /// The standing operation of each shown identity.
    standing: Standing,
    /// All shown operations of the identities that have several.
    twins: HashMap<Identity, Vec<Place>>,
    state: State,
    highest: Lamport,
    /// What is shown by boot alone: it is 64 random bits, and names its writer in a session cookie.
    shown_of_boot: HashMap<Boot, u64>,
    /// The boots shown last, the latest at the end.
    latest: Vec<Boot>,
    /// Of what is shown.
    digest: Digest,
    /// For a planted bug: all operations of an identity are visible.
    #[cfg(feature = "planted-bugs")]
    pub(crate) shows_twins: bool,
}

impl History {
    /// Without an operation yet. `archive` has each from before it is held here; the newest, up to `recent_bytes_max`, are kept and
    /// not asked for.
    pub fn new(archive: impl Archive + 'static, recent_bytes_max: usize) -> Self {
        Self {
            archive: Box::new(archive),
            recent: Recent::new(recent_bytes_max),
            entries: Entries::default(),
            shown: VersionVector::default(),
            lagging: BTreeSet::new(),
            unshown: Unshown::default(),
            standing: Standing::default(),
            twins: HashMap::new(),
            state: State::default(),
            highest: Lamport::default(),
            shown_of_boot: HashMap::new(),
            latest: Vec::new(),
            digest: Digest::default(),
            #[cfg(feature = "planted-bugs")]
            shows_twins: false,
        }
    }

    /// Takes an operation that is on disk; one that is held already changes nothing. It is not shown yet.
    ///
    /// # Errors
    /// When the one before it is not held; nothing changes then.
    pub fn hold(&mut self, op: &Arc<Op>) -> Result<(), HoldError> {
        let writer = Writer::of(&op.dot);
        let Some(place) = self.append(&Heading::of(op, &writer))? else { return Ok(()) };
        self.recent.add(place, op);
        self.note_unshown(place);
        self.lagging.insert(writer);
        Ok(())
    }

    /// The Lamport value of the last operation of `writer`, 0 without one.
    pub(crate) fn last_lamport(&self, writer: &Writer) -> Lamport {
        self.entries.log(writer).last().map_or(Lamport::default(), |place| self.entries.get(*place).lamport())
    }

    /// Where the operation is from now on; `None` when it was held already.
    fn append(&mut self, heading: &Heading<'_>) -> Result<Option<Place>, HoldError> {
        let Writer { origin, boot } = heading.writer;
        let next = self.count(heading.writer) + 1;
        if heading.seq > next {
            return Err(HoldError::Gap { missing: Dot { origin: origin.clone(), boot: *boot, seq: next } });
        }
        if heading.seq < next {
            return Ok(None);
        }
        let subject = self.state.subject(heading.about)?;
        self.highest = self.highest.max(heading.lamport);
        Ok(Some(self.entries.add(heading, subject)))
    }

    fn note_unshown(&mut self, place: Place) {
        let entry = self.entries.get(place);
        self.unshown.add(&entry.identity, self.state.made_by(entry.subject()));
    }

    /// Shows everything in `vector` that is held. In an order of its own: that decides only what counts as shown last.
    pub fn show_all(&mut self, vector: &VersionVector) {
        let mut writers: Vec<(Lamport, Writer, u64)> = Vec::new();
        for writer in &self.lagging {
            let count = vector.get(writer);
            let log = self.entries.log(writer);
            let last = log.get(..index(count)).unwrap_or(log).last();
            let lamport = last.map_or(Lamport::default(), |last| self.entries.get(*last).lamport());
            writers.push((lamport, writer.clone(), count));
        }
        writers.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (_, writer, count) in writers {
            self.show(&writer, count);
        }
    }

    /// Shows the first `count` operations of `writer`, as far as they are held. Whether any is shown now that was not.
    pub fn show(&mut self, writer: &Writer, count: u64) -> bool {
        let log = self.entries.log(writer);
        let (from, held) = (self.shown.get(writer), log.len() as u64);
        let to = count.min(held);
        let Some(newly) = log.get(index(from)..index(to)).filter(|newly| !newly.is_empty()) else {
            return false;
        };
        let newly = newly.to_vec();
        if to == held {
            self.lagging.remove(writer);
        }
        self.shown.raise(writer.clone(), to);
        self.shown_of_boot.insert(writer.boot, to);
        self.latest.retain(|boot| *boot != writer.boot);
        self.latest.push(writer.boot);
        if self.latest.len() > LATEST_WRITERS {
            self.latest.remove(0);
        }
        for place in newly {
            self.stand(place);
        }
        true
    }

    /// Takes a shown operation in. The first in total order of it and the standing one of its identity is the visible one.
    fn stand(&mut self, place: Place) {
        let entry = *self.entries.get(place);
        let subject = entry.subject();
        self.digest.add(self.entries.writer(entry.writer()).boot, &entry);
        self.unshown.remove(&entry.identity, self.state.made_by(subject));
        self.state.add(subject, entry.writer(), place);
        if let Some(standing) = self.standing.get_or_set(&self.entries, place) {
            self.twins.entry(entry.identity).or_insert_with(|| vec![standing]).push(place);
            #[cfg(feature = "planted-bugs")]
            if self.shows_twins {
                self.state.change(subject, Change::Stands);
                return;
            }
            if self.entries.order_key(standing) < self.entries.order_key(place) {
                self.entries.set_hidden(place, true);
                return;
            }
            self.entries.set_hidden(standing, true);
            self.state.change(self.entries.get(standing).subject(), Change::Hidden);
            self.standing.set(&self.entries, place);
        }
        self.state.change(subject, Change::Stands);
    }

    /// What the visible operations amount to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The visible operations in total order.
    pub fn visible(&self) -> impl Iterator<Item = Arc<Op>> {
        let logs = self.entries.logs().map(|(writer, log)| self.shown_of(writer, log).iter().copied());
        self.oldest_first(logs).map(|place| self.op(place))
    }

    /// The visible posts of a channel, oldest first.
    pub fn posts(&self, channel: &ChannelName) -> impl Iterator<Item = Arc<Op>> {
        self.in_order(self.state.posts(channel)).map(|place| self.op(place))
    }

    /// When a user logged in first.
    #[must_use]
    pub fn registered_at(&self, user: &UserName) -> Option<UnixMillis> {
        self.in_order(self.state.logins(user)).next().map(|first| self.taken_at(first))
    }

    /// When a channel was created.
    #[must_use]
    pub fn created_at(&self, channel: &ChannelName) -> Option<UnixMillis> {
        self.in_order(self.state.creations(channel)).next().map(|first| self.taken_at(first))
    }

    /// The visible messages of a channel or user, newest first.
    pub(crate) fn newest_in(&self, scope: &HistoryScope) -> impl Iterator<Item = Place> {
        let messages = self.messages(scope).into_iter().flat_map(Scope::of_writers);
        self.newest_first(messages.map(|(_, places)| places.iter().rev().copied()))
    }

    /// The visible operations that were taken since, newest first.
    pub(crate) fn newest_since(&self, since: UnixMillis) -> impl Iterator<Item = Place> {
        self.newest_first(self.entries.logs().map(move |(writer, log)| {
            self.taken_since(self.shown_of(writer, log), since).iter().rev().copied()
        }))
    }

    /// The messages of a channel or user.
    fn messages(&self, scope: &HistoryScope) -> Option<&Scope> {
        match scope {
            HistoryScope::Channel(channel) => self.state.posts(channel),
            HistoryScope::User(user) => self.state.direct_messages(user),
        }
    }

    /// The visible ones of a scope, oldest first.
    fn in_order(&self, scope: Option<&Scope>) -> impl Iterator<Item = Place> {
        let writers = scope.into_iter().flat_map(Scope::of_writers);
        self.oldest_first(writers.map(|(_, places)| places.iter().copied()))
    }

    fn oldest_first(
        &self,
        sequences: impl Iterator<Item = impl Iterator<Item = Place>>,
    ) -> impl Iterator<Item = Place> {
        let merged = Merge::new(sequences, |place| Reverse(self.entries.order_key(place)));
        merged.filter(|place| !self.entries.get(*place).is_hidden())
    }

    fn newest_first(
        &self,
        sequences: impl Iterator<Item = impl Iterator<Item = Place>>,
    ) -> impl Iterator<Item = Place> {
        let merged = Merge::new(sequences, |place| self.entries.order_key(place));
        merged.filter(|place| !self.entries.get(*place).is_hidden())
    }

    fn shown_of<'a>(&self, writer: &Writer, log: &'a [Place]) -> &'a [Place] {
        log.get(..index(self.shown.get(writer))).unwrap_or_default()
    }

    /// Of one writer's: a server's time never runs backwards, so these are the last.
    fn taken_since<'a>(&self, log: &'a [Place], since: UnixMillis) -> &'a [Place] {
        log.split_at(log.partition_point(|place| self.taken_at(*place) < since)).1
    }

    /// The operation itself.
    pub(crate) fn op(&self, place: Place) -> Arc<Op> {
        match self.recent.get(place) {
            Some(op) => Arc::clone(op),
            None => self.archive.read(&self.dot(place)),
        }
    }

    /// Where it was first written.
    pub(crate) fn dot(&self, place: Place) -> Dot {
        self.entries.dot(place)
    }

    /// When its origin took it.
    pub(crate) fn taken_at(&self, place: Place) -> UnixMillis {
        self.entries.get(place).at
    }

    /// The operation that stands for an identity.
    #[must_use]
    pub(crate) fn standing(&self, identity: &Identity) -> Option<Place> {
        self.standing.get(&self.entries, identity)
    }

    /// All shown operations of an identity, if it has several; none otherwise.
    pub(crate) fn twins(&self, identity: &Identity) -> &[Place] {
        self.twins.get(identity).map_or(&[], Vec::as_slice)
    }

    /// What is held and not shown.
    pub(crate) fn unshown(&self) -> &Unshown {
        &self.unshown
    }

    /// Writers of whom more is held than shown.
    pub(crate) fn lagging(&self) -> impl Iterator<Item = &Writer> {
        self.lagging.iter()
    }

    /// The operations of `origin` that are shown and were taken since, from all its boots, oldest first.
    pub(crate) fn shown_since(&self, origin: &ServerName, since: UnixMillis) -> Vec<Place> {
        let logs = self.entries.logs_of(origin);
        let recent = logs.map(|(writer, log)| self.taken_since(self.shown_of(writer, log), since));
        Merge::new(recent.map(|log| log.iter().copied()), |place| Reverse(self.entries.order_key(place)))
            .collect()
    }

    /// The operations of `writer` that are shown, after its first `count`.
    pub(crate) fn shown_after(&self, writer: &Writer, count: u64) -> &[Place] {
        self.shown_of(writer, self.entries.log(writer)).get(index(count)..).unwrap_or_default()
    }

    /// When `origin` took its newest operation that is held here.
    pub(crate) fn last_taken_at(&self, origin: &ServerName) -> Option<UnixMillis> {
        self.entries.logs_of(origin).filter_map(|(_, log)| log.last()).map(|last| self.taken_at(*last)).max()
    }

    /// How many operations of `writer` are held.
    #[must_use]
    pub fn count(&self, writer: &Writer) -> u64 {
        self.entries.log(writer).len() as u64
    }

    /// Whether the `seq`-th operation of a boot is shown. A boot alone names its writer: it is 64 random bits.
    #[must_use]
    pub fn shows(&self, boot: Boot, seq: u64) -> bool {
        self.shown_of_boot.get(&boot).is_some_and(|count| *count >= seq)
    }

    /// The writers of whom something was shown last, with how many: what a reader of this moment has seen of late.
    pub(crate) fn latest_shown(&self) -> impl Iterator<Item = (Boot, u64)> {
        self.latest.iter().filter_map(|boot| Some((*boot, *self.shown_of_boot.get(boot)?)))
    }

    /// What is held, as a version vector.
    #[must_use]
    pub fn vector(&self) -> VersionVector {
        let mut vector = VersionVector::default();
        for (writer, log) in self.entries.logs() {
            vector.raise(writer.clone(), log.len() as u64);
        }
        vector
    }

    /// What is shown: never more than is held, and it only grows.
    #[must_use]
    pub fn shown(&self) -> &VersionVector {
        &self.shown
    }

    /// The same on every server that shows the same operations.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.get()
    }

    /// Hands on what a holder of `have` lacks, by writer and without gaps, until `take` has enough. It is read as it goes.
    pub fn missing_from(&self, have: &VersionVector, mut take: impl FnMut(Arc<Op>) -> ControlFlow<()>) {
        for (writer, log) in self.entries.logs() {
            let (count, held) = (have.get(writer), log.len() as u64);
            let Some(first) = log.get(index(count)) else { continue };
            let mut flow = ControlFlow::Continue(());
            if self.recent.get(*first).is_some() {
                let missing = log.get(index(count)..).unwrap_or_default();
                flow = missing.iter().try_for_each(|place| take(self.op(*place)));
            } else {
                self.archive.read_on(writer, count, &mut |op| {
                    let is_last = op.dot.seq >= held;
                    flow = take(op);
                    if is_last { ControlFlow::Break(()) } else { flow }
                });
            }
            if flow.is_break() {
                return;
            }
        }
    }

    /// The highest Lamport value of all operations held.
    #[must_use]
    pub fn highest(&self) -> Lamport {
        self.highest
    }

    /// How many operations are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no operation is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many shown operations are hidden behind a twin that stands.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.twins.values().map(|twins| twins.len() - 1).sum()
    }
}

/// A count of operations as the index of the first after them.
fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
