//! Building a history from what a disk holds, without the texts.

use super::{History, HoldError};
use crate::archive::{Archive, MemoryArchive};
use crate::heading::Heading;
use crate::op::Op;
use crate::vector::{VersionVector, Writer};
use std::sync::Arc;

/// A history that is being read. It shows nothing until it is complete.
#[derive(Debug)]
pub struct Restoring(History);

impl Restoring {
    /// Begins; see [`History::new`].
    pub fn new(archive: impl Archive + 'static, recent_bytes_max: usize) -> Self {
        Self(History::new(archive, recent_bytes_max))
    }

    /// Takes an operation that the archive has. Each writer's come in their order; one that came already changes nothing.
    ///
    /// # Errors
    /// When the one before it did not come, or it is about a name that is none.
    pub fn add(&mut self, heading: &Heading<'_>) -> Result<(), HoldError> {
        self.0.append(heading).map(drop)
    }

    /// The history, which shows what `shown` says, as far as it is held.
    #[must_use]
    pub fn finish(self, shown: &VersionVector) -> History {
        let Self(mut history) = self;
        history.lagging = history.entries.logs().map(|(writer, _)| writer.clone()).collect();
        history.show_all(shown);
        let unshown: Vec<_> = history
            .lagging
            .iter()
            .flat_map(|writer| {
                let log = history.entries.log(writer);
                log.split_at(history.shown_of(writer, log).len()).1
            })
            .copied()
            .collect();
        for place in unshown {
            history.note_unshown(place);
        }
        history
    }
}

impl History {
    /// The history of all that this archive has, showing what `shown` says. For tests and simulations, and for reading once.
    ///
    /// # Errors
    /// When an operation is missing.
    pub fn of_archive(
        archive: &MemoryArchive,
        recent_bytes_max: usize,
        shown: &VersionVector,
    ) -> Result<Self, HoldError> {
        let mut restoring = Restoring::new(archive.clone(), recent_bytes_max);
        for op in archive.all() {
            restoring.add(&Heading::of(&op, &Writer::of(&op.dot)))?;
        }
        Ok(restoring.finish(shown))
    }

    /// A history that shows all of these operations, which come in any order; one given twice counts once.
    ///
    /// # Errors
    /// When an operation is missing.
    pub fn from_operations(ops: impl IntoIterator<Item = Op>) -> Result<Self, HoldError> {
        let archive = MemoryArchive::default();
        archive.add(ops.into_iter().map(Arc::new));
        let mut history = Self::of_archive(&archive, 0, &VersionVector::default())?;
        let held = history.vector();
        history.show_all(&held);
        Ok(history)
    }
}
