//! The operations of one server: what it *holds*, a grow-only set merged by union, and what of that is *shown* (design,
//! "History").
//!
//! Per (origin, boot) what is held is gapless, and what is shown is a prefix of it that only grows: an operation is shown once it
//! was durable as promised, and that stays true. State, lists, histories and exports are functions of what is shown alone. Of
//! shown operations with one identity the first in total order stands and is visible; the others are hidden (design, "Identity
//! and idempotence"). This module must not know about operations on their way to the disk, who asks, or what makes an operation
//! durable.

mod unshown;
mod walk;

use crate::op::{Op, Ordered};
use crate::state::State;
use crate::vector::{VersionVector, Writer};
use papo_protocol::lamport::Lamport;
use papo_protocol::time::UnixMillis;
use papo_protocol::{Boot, Dot, Identity, ServerName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use unshown::Unshown;
pub(crate) use walk::Fit;

/// How many writers [`History::latest_shown`] names: what a session cookie has room for.
pub(crate) const LATEST_WRITERS: usize = 6;

/// An operation is missing between others of its (origin, boot).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {} of {} in boot {:016x} is missing", missing.seq, missing.origin, missing.boot.0)]
pub struct GapError {
    /// The first that is missing.
    pub missing: Dot,
}

/// What a server holds and shows, and what that amounts to.
#[derive(Debug, Default)]
pub struct History {
    /// Per writer the operations held, the first at index 0.
    logs: BTreeMap<Writer, Vec<Arc<Op>>>,
    /// How many of each are shown.
    shown: VersionVector,
    /// Writers of whom more is held than shown.
    lagging: BTreeSet<Writer>,
    unshown: Unshown,
    /// The standing operation of each shown identity.
    standing: HashMap<Identity, Arc<Op>>,
    /// All shown operations of the identities that have several.
    twins: HashMap<Identity, Vec<Arc<Op>>>,
    /// The standing operations in total order.
    visible: BTreeSet<Ordered>,
    state: State,
    highest: Lamport,
    /// What is shown by boot alone: it is 64 random bits, and names its writer in a session cookie.
    shown_of_boot: HashMap<Boot, u64>,
    /// The boots shown last, the latest at the end.
    latest: Vec<Boot>,
    /// For a planted bug: all operations of an identity are visible.
    #[cfg(feature = "planted-bugs")]
    pub(crate) shows_twins: bool,
}

impl History {
    /// Builds a history that shows all of these operations, which come in any order; one given twice counts once.
    ///
    /// # Errors
    /// [`GapError`] names the first dot that is missing.
    pub fn from_operations(ops: impl IntoIterator<Item = Op>) -> Result<Self, GapError> {
        let mut history = Self::holding(ops)?;
        let held = history.vector();
        history.show_all(&held);
        Ok(history)
    }

    /// Builds a history that holds all of these operations and shows what `shown` says, as far as it is held.
    ///
    /// # Errors
    /// As [`Self::from_operations`].
    pub fn restore(ops: impl IntoIterator<Item = Op>, shown: &VersionVector) -> Result<Self, GapError> {
        let mut history = Self::holding(ops)?;
        history.show_all(shown);
        Ok(history)
    }

    fn holding(ops: impl IntoIterator<Item = Op>) -> Result<Self, GapError> {
        let mut ops: Vec<Arc<Op>> = ops.into_iter().map(Arc::new).collect();
        ops.sort_by(|a, b| a.dot.cmp(&b.dot));
        let mut history = Self::default();
        for op in &ops {
            history.hold(op)?;
        }
        Ok(history)
    }

    /// Takes an operation that is on disk; one that is held already changes nothing. It is not shown yet.
    ///
    /// # Errors
    /// [`GapError`] when the one before it is not held; nothing changes then.
    pub fn hold(&mut self, op: &Arc<Op>) -> Result<(), GapError> {
        let writer = Writer::of(&op.dot);
        let next = self.count(&writer) + 1;
        if op.dot.seq > next {
            return Err(GapError { missing: Dot { seq: next, ..op.dot.clone() } });
        }
        if op.dot.seq < next {
            return Ok(());
        }
        self.highest = self.highest.max(op.lamport);
        self.unshown.add(op);
        self.lagging.insert(writer.clone());
        self.logs.entry(writer).or_default().push(Arc::clone(op));
        Ok(())
    }

    /// Shows everything in `vector` that is held. In an order of its own: that decides only what counts as shown last.
    pub fn show_all(&mut self, vector: &VersionVector) {
        let mut writers: Vec<(Lamport, Writer, u64)> = Vec::new();
        for writer in &self.lagging {
            let count = vector.get(writer);
            let last = self.log(writer).get(..index(count)).unwrap_or(self.log(writer)).last();
            writers.push((last.map_or(Lamport::default(), |op| op.lamport), writer.clone(), count));
        }
        writers.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (_, writer, count) in writers {
            self.show(&writer, count);
        }
    }

    /// Shows the first `count` operations of `writer`, as far as they are held, and says which are shown now and were not.
    pub fn show(&mut self, writer: &Writer, count: u64) -> Vec<Arc<Op>> {
        let log = self.log(writer);
        let (from, held) = (self.shown.get(writer), log.len() as u64);
        let to = count.min(held);
        let Some(newly) = log.get(index(from)..index(to)).filter(|newly| !newly.is_empty()) else {
            return Vec::new();
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
        for op in &newly {
            self.unshown.remove(op);
            self.stand(op);
        }
        newly
    }

    /// Makes the first in total order of this operation and the standing one of its identity the visible one.
    fn stand(&mut self, op: &Arc<Op>) {
        if let Some(standing) = self.standing.get(&op.identity) {
            let twins = self.twins.entry(op.identity).or_insert_with(|| vec![Arc::clone(standing)]);
            twins.push(Arc::clone(op));
            #[cfg(feature = "planted-bugs")]
            if self.shows_twins {
                self.visible.insert(Ordered(Arc::clone(op)));
                self.state.add(op);
                return;
            }
            if standing.order_key() < op.order_key() {
                return;
            }
            self.state.take_away(standing);
            self.visible.remove(&Ordered(Arc::clone(standing)));
        }
        self.standing.insert(op.identity, Arc::clone(op));
        self.visible.insert(Ordered(Arc::clone(op)));
        self.state.add(op);
    }

    /// What the visible operations amount to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The visible operations in total order.
    pub fn visible(&self) -> impl DoubleEndedIterator<Item = &Arc<Op>> {
        self.visible.iter().map(|op| &op.0)
    }

    /// All operations held, by writer.
    pub fn ops(&self) -> impl Iterator<Item = &Arc<Op>> {
        self.logs.values().flatten()
    }

    /// The operation that stands for an identity.
    #[must_use]
    pub fn standing(&self, identity: &Identity) -> Option<&Arc<Op>> {
        self.standing.get(identity)
    }

    /// All shown operations of an identity, if it has several; none otherwise.
    pub(crate) fn twins(&self, identity: &Identity) -> &[Arc<Op>] {
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

    /// The operations of `origin` that are shown and were taken since, from all its boots.
    pub(crate) fn shown_since(&self, origin: &ServerName, since: UnixMillis) -> Vec<Arc<Op>> {
        let of_origin = self.logs.iter().filter(|(writer, _)| writer.origin == *origin);
        let mut ops: Vec<Arc<Op>> = of_origin
            .flat_map(|(writer, log)| {
                let shown = log.get(..index(self.shown.get(writer))).unwrap_or_default();
                shown.iter().rev().take_while(|op| op.at >= since).cloned()
            })
            .collect();
        ops.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
        ops
    }

    /// When `origin` took its newest operation that is held here.
    pub(crate) fn last_taken_at(&self, origin: &ServerName) -> Option<UnixMillis> {
        let of_origin = self.logs.iter().filter(|(writer, _)| writer.origin == *origin);
        of_origin.filter_map(|(_, log)| log.last()).map(|op| op.at).max()
    }

    fn log(&self, writer: &Writer) -> &[Arc<Op>] {
        self.logs.get(writer).map_or(&[], Vec::as_slice)
    }

    /// How many operations of `writer` are held.
    #[must_use]
    pub fn count(&self, writer: &Writer) -> u64 {
        self.log(writer).len() as u64
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
        for (writer, log) in &self.logs {
            vector.raise(writer.clone(), log.len() as u64);
        }
        vector
    }

    /// What is shown: never more than is held, and it only grows.
    #[must_use]
    pub fn shown(&self) -> &VersionVector {
        &self.shown
    }

    /// What a holder of `have` lacks, by writer and without gaps.
    pub fn missing_from<'a>(&'a self, have: &'a VersionVector) -> impl Iterator<Item = &'a Arc<Op>> {
        self.logs.iter().flat_map(|(writer, log)| log.get(index(have.get(writer))..).unwrap_or_default())
    }

    /// The highest Lamport value of all operations held.
    #[must_use]
    pub fn highest(&self) -> Lamport {
        self.highest
    }

    /// How many operations are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logs.values().map(Vec::len).sum()
    }

    /// Whether no operation is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
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
