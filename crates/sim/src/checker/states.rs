//! Comparing servers, and what harm may take away.

use super::{Checker, Invariant};
use crate::clock::Micros;
use crate::trace::words;
use crate::volume::Volume;
use papo_protocol::{Boot, Identity};
use papo_replica::{Durability, History, VersionVector, export};
use std::collections::BTreeSet;

/// Looks within which what is shown by one server is shown by another that hears it: two seconds, in which each asks the other once
/// at least.
pub const LOOKS_TO_SPREAD: usize = 4;

/// How closely a server is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The order of what it shows, if its vector is not that of the last look.
    IfChanged,
    /// The order of what it shows.
    Anyhow,
    /// The bytes of its exports.
    Thorough,
}

/// Volumes that were harmed since all servers were last in sync. A minority at most.
#[derive(Debug, Default)]
pub struct Harm(BTreeSet<usize>);

impl Harm {
    /// Whether this volume may be harmed, too; if so, it counts as harmed.
    pub fn admit(&mut self, server: usize, servers: usize) -> bool {
        let admitted = self.0.contains(&server) || self.0.len() < servers.saturating_sub(1) / 2;
        if admitted {
            self.0.insert(server);
        }
        admitted
    }

    /// All servers hold the same on their disks.
    pub fn all_in_sync(&mut self) {
        self.0.clear();
    }
}

fn mix(hash: u64, number: u64) -> u64 {
    (hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
}

/// A history's order as a number.
fn order(history: &History) -> u64 {
    history.visible().fold(7, |hash, op| {
        let (lamport, _, boot, seq) = op.order_key();
        let identity = u128::from_be_bytes(op.identity.0);
        let halves = [(identity >> 64) & u128::from(u64::MAX), identity & u128::from(u64::MAX)];
        let hash = mix(mix(mix(hash, lamport.get()), boot.0), seq);
        halves.iter().fold(hash, |hash, half| mix(hash, u64::try_from(*half).unwrap_or(0)))
    })
}

/// A vector as a number.
fn vector(vector: &VersionVector) -> u64 {
    vector.iter().fold(5, |hash, (writer, count)| mix(mix(hash, writer.boot.0), count))
}

/// The bytes of all exports.
pub(super) fn exports(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = [
        export::publications(history, &mut bytes),
        export::messages(history, &mut bytes),
        export::registry(history, &mut bytes),
        export::server_data(history, &mut bytes),
    ];
    debug_assert!(written.iter().all(Result::is_ok), "writing to memory does not fail");
    bytes
}

impl Checker {
    /// Looks at what a server shows: whoever has the same vector, now or ever, must show the same.
    pub fn on_state(&mut self, at: Micros, (server, boot): (usize, Boot), history: &History, look: Look) {
        let shown = vector(history.shown());
        let before = self.looked_at.insert(server, (boot, shown));
        if look == Look::IfChanged && before == Some((boot, shown)) {
            return;
        }
        let thoroughly = look == Look::Thorough;
        let state = if thoroughly { words(&exports(history)).fold(3, mix) } else { order(history) };
        let before = *self.states.entry((shown, thoroughly)).or_insert(state);
        if before != state {
            self.violate(at, Invariant::Equal, || {
                format!(
                    "server-{} shows the vector {} and another state than was seen with it",
                    server + 1,
                    history.shown().digest()
                )
            });
        }
    }

    /// Takes note of what a server shows, at a look.
    pub fn note_shown(&mut self, server: usize, boot: Boot, history: &History) {
        let before = self.shown_before.entry(server).or_default();
        before.push_back((boot, history.shown().clone()));
        if before.len() > LOOKS_TO_SPREAD + 1 {
            before.pop_front();
        }
    }

    /// What one server showed [`LOOKS_TO_SPREAD`] looks ago in this boot, and another one holds and does not show, in words. It should
    /// not be so if they have heard each other at once for that long and more.
    #[must_use]
    pub fn late(&self, from: (usize, Boot), to: usize, history: &History) -> Option<String> {
        let before = self.shown_before.get(&from.0).filter(|before| before.len() > LOOKS_TO_SPREAD)?;
        let (_, shown) = before.front().filter(|(boot, _)| *boot == from.1 && from.0 != to)?;
        let (writer, count) = shown
            .iter()
            .find(|(writer, count)| history.shown().get(writer) < (*count).min(history.count(writer)))?;
        Some(format!(
            "server-{} has long shown {count} operations of {}, and server-{} only {} of the {} that it holds",
            from.0 + 1,
            writer.origin,
            to + 1,
            history.shown().get(writer),
            history.count(writer)
        ))
    }

    /// Whether harm has taken anything that the durability lets it take. Also an operation whose identity lives on in a twin: a
    /// cursor that covers it waits for it for ever.
    #[must_use]
    pub fn may_have_lost(&self) -> bool {
        self.is_harmed && self.durability == Durability::Local
    }

    /// These identities are no longer on a volume. What is on none of the others is lost, and may be under durability `local`.
    pub fn on_harm(&mut self, gone: Vec<Identity>, volumes: &[Volume]) {
        self.floors.clear();
        self.is_harmed |= !gone.is_empty();
        for identity in gone {
            // More disks than one are harmed only one after the other, each in sync again before the next.
            if self.durability == Durability::Local && !volumes.iter().any(|volume| volume.holds(&identity)) {
                self.lost.insert(identity);
            }
        }
    }
}
