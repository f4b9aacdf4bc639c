//! What will happen, in order of time; at one time, in the order in which it was decided.

use crate::clock::Micros;
use crate::node::{ConnectionId, Happening, Node, Side};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that will happen.
#[derive(Debug, Clone)]
pub enum Event {
    /// The next message of a connection reaches this end.
    Arrival {
        /// Which connection.
        connection: ConnectionId,
        /// Which end.
        side: Side,
    },
    /// A process calls another.
    Dial {
        /// Who.
        from: Node,
        /// In which incarnation; a later one calls by itself.
        incarnation: u64,
        /// Whom.
        to: Node,
    },
    /// A connection that has been blocked for so long is given up by both ends.
    GiveUp {
        /// Which.
        connection: ConnectionId,
    },
    /// To a process itself.
    Own {
        /// Which process.
        node: Node,
        /// In which incarnation.
        incarnation: u64,
        /// What.
        happening: Happening,
    },
    /// A fault of the plan begins.
    FaultBegins(usize),
    /// A fault of the plan ends.
    FaultEnds(usize),
    /// A process starts again.
    Start(Node),
    /// A process that was stopped goes on.
    Resume(Node),
    /// All faults end for good.
    Heal,
    /// Time to compare the servers.
    Look,
}

/// The queue: a heap of times, and beside it the events, which are large, in slots that are used again.
#[derive(Debug, Default)]
pub struct Queue {
    times: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    serial: u64,
}

impl Queue {
    /// Has something happen at this time.
    pub fn at(&mut self, at: Micros, event: Event) {
        self.serial += 1;
        let slot = self.free.pop().unwrap_or(self.events.len());
        match self.events.get_mut(slot) {
            Some(free) => *free = Some(event),
            None => self.events.push(Some(event)),
        }
        self.times.push(Reverse((at, self.serial, slot)));
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(Micros, Event)> {
        let Reverse((at, _, slot)) = self.times.pop()?;
        let event = self.events.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_decision() {
        let mut queue = Queue::default();
        for (at, index) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            queue.at(at, Event::FaultBegins(index));
        }
        let mut order = Vec::new();
        while let Some((at, Event::FaultBegins(index))) = queue.pop() {
            order.push((at, index));
            if order.len() == 1 {
                queue.at(4, Event::FaultBegins(4));
            }
        }
        assert_eq!(order, [(3, 1), (3, 3), (4, 4), (5, 0), (5, 2)]);
    }
}
