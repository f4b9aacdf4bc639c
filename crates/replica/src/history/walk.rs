//! Reading on from where a reader stands: what is shown of one channel or user and not in its version vector, in total order, in
//! pages.
//!
//! Each writer's operations are in total order already, so a page is a merge of what follows in each. A page is a prefix of the
//! merge; what it reached is a version vector again: of a writer with operations left, up to before the first of these.

use super::History;
use super::merge::Merge;
use crate::op::Op;
use crate::state::Scope;
use crate::vector::VersionVector;
use papo_protocol::request::HistoryScope;
use std::cmp::Reverse;
use std::collections::HashSet;

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

impl History {
    /// The next page for a reader that has `have`, all of which is shown here. `fit` is given each operation in turn.
    pub(crate) fn page_after(
        &self,
        scope: &HistoryScope,
        have: &VersionVector,
        mut fit: impl FnMut(&Op) -> Fit,
    ) -> Page {
        let writers = self.messages(scope).into_iter().flat_map(Scope::of_writers);
        let rests = writers.map(|(writer, places)| {
            let had = have.get(self.entries.writer(writer));
            let first = places.partition_point(|place| self.entries.get(*place).seq() <= had);
            places.split_at(first).1.iter().copied()
        });
        let mut rests = Merge::new(rests, |place| Reverse(self.entries.order_key(place)));
        let mut page = Page { reached: self.shown.clone(), more: false, left_out: false };
        let mut taken = HashSet::new();
        while let Some(place) = rests.peek() {
            let identity = self.entries.get(place).identity;
            // Of an identity the reader gets one, whichever stood where it read: never a second.
            let known = taken.contains(&identity)
                || self.twins(&identity).iter().any(|twin| have.covers(&self.dot(*twin)));
            if !known {
                match fit(&self.op(place)) {
                    Fit::Yes => {}
                    Fit::Never => page.left_out = true,
                    Fit::Full => {
                        page.more = true;
                        break;
                    }
                }
                taken.insert(identity);
            }
            rests.next();
        }
        // A hidden twin comes after the one that stands, so its writer is not passed either while that one is left.
        for place in rests.heads() {
            let entry = self.entries.get(place);
            page.reached.lower(self.entries.writer(entry.writer()), entry.seq() - 1);
        }
        page
    }

    /// The same place for a reader of this scope, without the writers that wrote nothing in it.
    pub(crate) fn only_in(&self, scope: &HistoryScope, reached: &VersionVector) -> VersionVector {
        let mut relevant = VersionVector::default();
        for (writer, places) in self.messages(scope).into_iter().flat_map(Scope::of_writers) {
            let writer = self.entries.writer(writer);
            let count = reached.get(writer);
            if places.first().is_some_and(|first| self.entries.get(*first).seq() <= count) {
                relevant.raise(writer.clone(), count);
            }
        }
        relevant
    }
}
