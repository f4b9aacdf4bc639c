//! Lamport's logical clock (CACM 1978), with the exercise's rule: add one before each send; on receipt `max(own, received) + 1`
//! (rows E02, E03).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A value of a Lamport clock. At most 2^53, so that every client's number type holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lamport(u64);

impl Lamport {
    /// Largest value that travels: 2^53, the last integer that a double holds exactly.
    pub const MAX: Self = Self(1 << 53);

    /// A value read from the wire; `None` above [`Self::MAX`].
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        (value <= Self::MAX.0).then_some(Self(value))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lamport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One process's clock.
#[derive(Debug, Default)]
pub struct LamportClock(Lamport);

impl LamportClock {
    /// A clock that has seen `at_least`.
    #[must_use]
    pub fn starting_at(at_least: Lamport) -> Self {
        Self(at_least)
    }

    /// The value now, without an event.
    #[must_use]
    pub fn now(&self) -> Lamport {
        self.0
    }

    /// Before a send: one more.
    pub fn on_send(&mut self) -> Lamport {
        self.0 = Lamport((self.0.0 + 1).min(Lamport::MAX.0));
        self.0
    }

    /// On receipt: `max(own, received) + 1`. A message without a clock counts as 0.
    pub fn on_receive(&mut self, received: Lamport) -> Lamport {
        self.0 = self.0.max(received);
        self.on_send()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e04_login_goes_1_2_3_4() {
        let (mut client, mut server) = (LamportClock::default(), LamportClock::default());
        let sent = client.on_send();
        let received = server.on_receive(sent);
        let replied = server.on_send();
        let read = client.on_receive(replied);
        assert_eq!([sent, received, replied, read].map(Lamport::get), [1, 2, 3, 4]);
    }

    #[test]
    fn e03_receiving_never_goes_back() {
        let mut clock = LamportClock::starting_at(Lamport::new(10).unwrap());
        assert_eq!(clock.on_receive(Lamport::new(3).unwrap()).get(), 11);
        assert_eq!(Lamport::new((1 << 53) + 1), None);
    }
}
