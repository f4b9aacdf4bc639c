//! What will happen, in order of time; at one time, in the order in which it was decided.

use crate::clock::Micros;
use crate::node::{ConnectionId, Happening, Node, Side};
use std::collections::BTreeMap;

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

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    events: BTreeMap<(Micros, u64), Event>,
    serial: u64,
}

impl Queue {
    /// Has something happen at this time.
    pub fn at(&mut self, at: Micros, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(Micros, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
