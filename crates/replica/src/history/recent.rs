//! The newest operations, whole: what was written of late is pushed, published and read without a look at the disk.

use super::entries::Place;
use crate::constants::ENTRY_OVERHEAD_BYTES;
use crate::op::Op;
use std::collections::VecDeque;
use std::sync::Arc;

/// The operations of the last places, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Recent {
    /// The place of the first.
    first: usize,
    ops: VecDeque<Arc<Op>>,
    bytes: usize,
    bytes_max: usize,
}

fn bytes_of(op: &Op) -> usize {
    op.text_bytes() + ENTRY_OVERHEAD_BYTES
}

impl Recent {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { first: 0, ops: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Takes the operation of the newest place.
    pub(super) fn add(&mut self, place: Place, op: &Arc<Op>) {
        if self.first + self.ops.len() != place.index() {
            // Others came before it without their texts.
            *self = Self { first: place.index(), ..Self::new(self.bytes_max) };
        }
        self.bytes += bytes_of(op);
        self.ops.push_back(Arc::clone(op));
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.ops.pop_front()
        {
            self.bytes -= bytes_of(&oldest);
            self.first += 1;
        }
    }

    pub(super) fn get(&self, place: Place) -> Option<&Arc<Op>> {
        self.ops.get(place.index().checked_sub(self.first)?)
    }
}
