//! Where operations are read again that are on disk: a history keeps of each only what orders it and finds it, and the newest whole.

use crate::op::Op;
use crate::vector::Writer;
use papo_protocol::Dot;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A host's way to the operations that it has reported as stored, or has started a history from.
///
/// An archive that cannot read what it was asked for does not return, it ends the process: a history without it would be shorter
/// than what was shown.
pub trait Archive: fmt::Debug + Send + Sync {
    /// The operation of this dot.
    fn read(&self, dot: &Dot) -> Arc<Op>;

    /// Hands on the operations of `writer` that follow its first `count`, in their order, until `take` has enough.
    fn read_on(&self, writer: &Writer, count: u64, take: &mut dyn FnMut(Arc<Op>) -> ControlFlow<()>);
}

/// An archive in memory, for tests, simulations, and programs that read a history once. Clones are one archive.
#[derive(Debug, Clone, Default)]
pub struct MemoryArchive(Arc<Mutex<BTreeMap<Dot, Arc<Op>>>>);

impl MemoryArchive {
    /// Adds operations, as a disk that stores them.
    pub fn add(&self, ops: impl IntoIterator<Item = Arc<Op>>) {
        self.ops().extend(ops.into_iter().map(|op| (op.dot.clone(), op)));
    }

    /// All of them, by writer and number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Op>> {
        self.ops().values().cloned().collect()
    }

    fn ops(&self) -> MutexGuard<'_, BTreeMap<Dot, Arc<Op>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Archive for MemoryArchive {
    #[expect(clippy::panic, reason = "the contract: no history goes on without what it asks for")]
    fn read(&self, dot: &Dot) -> Arc<Op> {
        let found = self.ops().get(dot).cloned();
        found.unwrap_or_else(|| panic!("operation {dot:?} was never stored"))
    }

    fn read_on(&self, writer: &Writer, count: u64, take: &mut dyn FnMut(Arc<Op>) -> ControlFlow<()>) {
        let first = Dot { origin: writer.origin.clone(), boot: writer.boot, seq: count.saturating_add(1) };
        let ops: Vec<Arc<Op>> = self
            .ops()
            .range(first..)
            .take_while(|(dot, _)| Writer::of(dot) == *writer)
            .map(|(_, op)| Arc::clone(op))
            .collect();
        let _ = ops.into_iter().try_for_each(take);
    }
}
