//! Which operation stands for each identity: a table of places, since the identities are in their records.

use super::entries::{Entries, Place};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use papo_protocol::Identity;
use std::hash::{BuildHasher, RandomState};

/// By identity. Where a record is in the table nobody can foresee, so nobody can make it slow.
#[derive(Debug, Default)]
pub(super) struct Standing {
    table: HashTable<Place>,
    hasher: RandomState,
}

impl Standing {
    pub(super) fn get(&self, entries: &Entries, identity: &Identity) -> Option<Place> {
        let hash = self.hasher.hash_one(identity);
        self.table.find(hash, |place| entries.get(*place).identity == *identity).copied()
    }

    /// The operation that stands for the identity of this one; without one, this one does from now on.
    pub(super) fn get_or_set(&mut self, entries: &Entries, place: Place) -> Option<Place> {
        match self.entry(entries, place) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(place);
                None
            }
        }
    }

    /// Makes this operation stand for its identity.
    pub(super) fn set(&mut self, entries: &Entries, place: Place) {
        self.entry(entries, place).insert(place);
    }

    fn entry(&mut self, entries: &Entries, place: Place) -> Entry<'_, Place> {
        let Self { table, hasher } = self;
        let hash_of = |place: &Place| hasher.hash_one(entries.get(*place).identity);
        let identity = entries.get(place).identity;
        table.entry(hash_of(&place), |other| entries.get(*other).identity == identity, hash_of)
    }
}
