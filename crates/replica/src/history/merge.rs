//! Several sequences of operations, each in total order, as one.
//!
//! Each writer's operations are in total order as they come, since its Lamport clock only rises. So no list of all operations in
//! order is kept: what comes late, when a partition heals, is appended to the lists of its writers like anything else
//! (docs/adr/0006).

use super::entries::Place;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// Yields what has the greatest key first; oldest first that is [`std::cmp::Reverse`] of the order.
pub(super) struct Merge<I, F, K> {
    /// The key of the first operation of each sequence that has one, and which sequence that is.
    heads: BinaryHeap<(K, usize)>,
    /// That operation, and what follows.
    sequences: Vec<(Place, I)>,
    key: F,
}

impl<I: Iterator<Item = Place>, F: Fn(Place) -> K, K: Ord> Merge<I, F, K> {
    pub(super) fn new(sequences: impl Iterator<Item = I>, key: F) -> Self {
        let sequences: Vec<(Place, I)> =
            sequences.filter_map(|mut rest| Some((rest.next()?, rest))).collect();
        let heads = sequences.iter().enumerate().map(|(number, (first, _))| (key(*first), number)).collect();
        Self { heads, sequences, key }
    }

    pub(super) fn peek(&self) -> Option<Place> {
        let (_, number) = self.heads.peek()?;
        self.sequences.get(*number).map(|(first, _)| *first)
    }

    /// The first of each sequence that is left.
    pub(super) fn heads(&self) -> impl Iterator<Item = Place> {
        self.heads.iter().filter_map(|(_, number)| self.sequences.get(*number)).map(|(first, _)| *first)
    }
}

impl<I: Iterator<Item = Place>, F: Fn(Place) -> K, K: Ord> Iterator for Merge<I, F, K> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let mut head = self.heads.peek_mut()?;
        let (first, rest) = self.sequences.get_mut(head.1)?;
        let place = *first;
        match rest.next() {
            Some(next) => {
                *first = next;
                head.0 = (self.key)(next);
            }
            None => drop(PeekMut::pop(head)),
        }
        Some(place)
    }
}
