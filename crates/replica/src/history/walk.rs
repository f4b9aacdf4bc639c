//! Reading on from where a reader stands: what is shown of one channel or user and not in its version vector, in total order, in
//! pages.
//!
//! Each writer's operations are in total order already, so a page is a merge of what follows in each. A page is a prefix of the
//! merge; what it reached is a version vector again: of a writer with operations left, up to before the first of these.

use super::{History, index};
use crate::op::{Op, OpKind, Ordered};
use crate::vector::{VersionVector, Writer};
use papo_protocol::request::HistoryScope;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

/// Whether an operation goes into a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It does.
    Yes,
    /// The page is full.
    Full,
    /// No page takes it: it is left out.
    Never,
}

/// Where a reader stands that has what went into a page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) reached: VersionVector,
    /// Whether another page follows.
    pub(crate) more: bool,
    /// Whether an operation was left out that no page takes.
    pub(crate) left_out: bool,
}

/// What one writer wrote after what the reader has.
struct Rest<'a> {
    writer: &'a Writer,
    ops: std::slice::Iter<'a, Arc<Op>>,
}

/// Whether the operation belongs to the scope.
fn is_in(op: &Op, scope: &HistoryScope) -> bool {
    match (&op.kind, scope) {
        (OpKind::Publish { channel, .. }, HistoryScope::Channel(asked)) => channel == asked,
        (OpKind::Message { src, dst, .. }, HistoryScope::User(asked)) => src == asked || dst == asked,
        (
            OpKind::Login { .. }
            | OpKind::CreateChannel { .. }
            | OpKind::Publish { .. }
            | OpKind::Message { .. },
            _,
        ) => false,
    }
}

impl History {
    /// The next page for a reader that has `have`, all of which is shown here. `fit` is given each operation in turn.
    pub(crate) fn page_after(
        &self,
        scope: &HistoryScope,
        have: &VersionVector,
        mut fit: impl FnMut(&Op) -> Fit,
    ) -> Page {
        let mut rests: Vec<Rest<'_>> = Vec::new();
        for (writer, shown) in self.shown.iter() {
            let ops = self.log(writer).get(index(have.get(writer))..index(shown)).unwrap_or_default();
            if !ops.is_empty() {
                rests.push(Rest { writer, ops: ops.iter() });
            }
        }
        let mut heads = BinaryHeap::new();
        for (number, rest) in rests.iter_mut().enumerate() {
            let head = rest.ops.find(|op| is_in(op, scope));
            heads.extend(head.map(|op| Reverse((Ordered(Arc::clone(op)), number))));
        }
        let mut page = Page { reached: self.shown.clone(), more: false, left_out: false };
        let mut taken = HashSet::new();
        while let Some(Reverse((Ordered(op), number))) = heads.pop() {
            // Of an identity the reader gets one, whichever stood where it read: never a second.
            let known = taken.contains(&op.identity)
                || self.twins(&op.identity).iter().any(|twin| have.covers(&twin.dot));
            if !known {
                match fit(&op) {
                    Fit::Yes => {}
                    Fit::Never => page.left_out = true,
                    Fit::Full => {
                        page.more = true;
                        heads.push(Reverse((Ordered(op), number)));
                        break;
                    }
                }
                taken.insert(op.identity);
            }
            if let Some(rest) = rests.get_mut(number) {
                let head = rest.ops.find(|op| is_in(op, scope));
                heads.extend(head.map(|op| Reverse((Ordered(Arc::clone(op)), number))));
            }
        }
        // A hidden twin comes after the one that stands, so its writer is not passed either while that one is left.
        for Reverse((Ordered(op), number)) in heads {
            if let Some(rest) = rests.get(number) {
                page.reached.lower(rest.writer, op.dot.seq - 1);
            }
        }
        page
    }

    /// The same place for a reader of this scope, without the writers that wrote nothing in it.
    pub(crate) fn only_in(&self, scope: &HistoryScope, reached: &VersionVector) -> VersionVector {
        let mut relevant = VersionVector::default();
        for (writer, count) in reached.iter() {
            let ops = self.log(writer).get(..index(count)).unwrap_or_default();
            if ops.iter().any(|op| is_in(op, scope)) {
                relevant.raise(writer.clone(), count);
            }
        }
        relevant
    }
}
