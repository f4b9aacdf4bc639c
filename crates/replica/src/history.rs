//! The operations that are stored on this server's disk: a grow-only set, merged by union (design, "History").
//!
//! Per (origin, boot) it is gapless. Of operations with one identity the first in total order stands and is visible; the others
//! are stored, replicated and hidden (design, "Identity and idempotence"). It must not know about operations on their way to the
//! disk, nor who asks.

use crate::op::{Op, Ordered};
use crate::state::State;
use crate::vector::{VersionVector, Writer};
use papo_protocol::lamport::Lamport;
use papo_protocol::{Boot, Dot, Identity};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// An operation is missing between others of its (origin, boot).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {} of {} in boot {:016x} is missing", missing.seq, missing.origin, missing.boot.0)]
pub struct GapError {
    /// The first that is missing.
    pub missing: Dot,
}

/// What a server holds, and what it amounts to.
#[derive(Debug, Default)]
pub struct History {
    /// Per writer its operations, the first at index 0.
    logs: BTreeMap<Writer, Vec<Arc<Op>>>,
    /// The standing operation of each identity.
    standing: HashMap<Identity, Arc<Op>>,
    /// The standing operations in total order.
    visible: BTreeSet<Ordered>,
    state: State,
    highest: Lamport,
}

impl History {
    /// Builds a history from operations in any order; an operation given twice counts once.
    ///
    /// # Errors
    /// [`GapError`] names the first dot that is missing.
    pub fn from_operations(ops: impl IntoIterator<Item = Op>) -> Result<Self, GapError> {
        let mut ops: Vec<Arc<Op>> = ops.into_iter().map(Arc::new).collect();
        ops.sort_by(|a, b| a.dot.cmp(&b.dot));
        let mut history = Self::default();
        for op in &ops {
            history.insert(op)?;
        }
        Ok(history)
    }

    /// Adds an operation; one that is held already changes nothing.
    ///
    /// # Errors
    /// [`GapError`] when the one before it is not held; nothing changes then.
    pub fn insert(&mut self, op: &Arc<Op>) -> Result<(), GapError> {
        let writer = Writer::of(&op.dot);
        let next = self.count(&writer) + 1;
        if op.dot.seq > next {
            return Err(GapError { missing: Dot { seq: next, ..op.dot.clone() } });
        }
        if op.dot.seq < next {
            return Ok(());
        }
        self.highest = self.highest.max(op.lamport);
        self.logs.entry(writer).or_default().push(Arc::clone(op));
        self.show(op);
        Ok(())
    }

    /// Makes the first in total order of this operation and the standing one of its identity the visible one.
    fn show(&mut self, op: &Arc<Op>) {
        if let Some(standing) = self.standing.get(&op.identity) {
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

    /// All operations, hidden ones too, by writer.
    pub fn ops(&self) -> impl Iterator<Item = &Arc<Op>> {
        self.logs.values().flatten()
    }

    /// The operation that stands for an identity.
    #[must_use]
    pub fn standing(&self, identity: &Identity) -> Option<&Arc<Op>> {
        self.standing.get(identity)
    }

    /// How many operations of `writer` are held.
    #[must_use]
    pub fn count(&self, writer: &Writer) -> u64 {
        self.logs.get(writer).map_or(0, |log| log.len() as u64)
    }

    /// Whether the `seq`-th operation of a boot is held. A boot alone names its writer: it is 64 random bits.
    #[must_use]
    pub fn holds(&self, boot: Boot, seq: u64) -> bool {
        self.logs.iter().any(|(writer, log)| writer.boot == boot && log.len() as u64 >= seq)
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

    /// What a holder of `have` lacks, by writer and without gaps.
    pub fn missing_from<'a>(&'a self, have: &'a VersionVector) -> impl Iterator<Item = &'a Arc<Op>> {
        self.logs.iter().flat_map(|(writer, log)| {
            let skip = usize::try_from(have.get(writer)).unwrap_or(usize::MAX);
            log.get(skip..).unwrap_or_default()
        })
    }

    /// The highest Lamport value of all operations.
    #[must_use]
    pub fn highest(&self) -> Lamport {
        self.highest
    }

    /// How many operations are held, hidden ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logs.values().map(Vec::len).sum()
    }

    /// Whether no operation is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// How many operations are hidden behind a twin that stands.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.len() - self.visible.len()
    }
}

#[cfg(test)]
mod tests;
