//! Version vectors (Parker et al. 1983): how many operations of each (origin, boot) somebody holds. They say what to pull.

use papo_protocol::{Boot, Dot, ServerName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One boot of one server: the source of one gapless sequence of operations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    /// The server.
    pub origin: ServerName,
    /// Its boot.
    pub boot: Boot,
}

impl Writer {
    /// The writer of this dot.
    #[must_use]
    pub fn of(dot: &Dot) -> Self {
        Self { origin: dot.origin.clone(), boot: dot.boot }
    }
}

/// For each writer how many of its operations are held, from the first on without gaps. Only writers that wrote have an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(ServerName, Boot, u64)>", into = "Vec<(ServerName, Boot, u64)>")]
pub struct VersionVector(BTreeMap<Writer, u64>);

impl VersionVector {
    /// How many operations of `writer` are held.
    #[must_use]
    pub fn get(&self, writer: &Writer) -> u64 {
        self.0.get(writer).copied().unwrap_or(0)
    }

    /// Whether the operation of this dot is held.
    #[must_use]
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&Writer::of(dot)) >= dot.seq
    }

    /// Whether everything in `other` is held.
    #[must_use]
    pub fn covers_all(&self, other: &Self) -> bool {
        other.iter().all(|(writer, count)| self.get(writer) >= count)
    }

    /// How many operations `other` holds beyond these.
    #[must_use]
    pub fn missing_from(&self, other: &Self) -> u64 {
        other
            .iter()
            .map(|(writer, count)| count.saturating_sub(self.get(writer)))
            .fold(0, u64::saturating_add)
    }

    /// The entries, by origin and boot.
    pub fn iter(&self) -> impl Iterator<Item = (&Writer, u64)> {
        self.0.iter().map(|(writer, count)| (writer, *count))
    }

    /// The same for equal vectors, and different for different ones but for chance: 16 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("{:016x}", self.hash())
    }

    /// The same as a number: of SHA-256.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = Sha256::new();
        for (writer, count) in &self.0 {
            // Names are of any length: the length keeps entries apart.
            hasher.update((writer.origin.as_str().len() as u64).to_be_bytes());
            hasher.update(writer.origin.as_str());
            hasher.update(writer.boot.0.to_be_bytes());
            hasher.update(count.to_be_bytes());
        }
        hasher.finalize().iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Raises every entry to that of `other`, where it is lower.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (writer, count) in other.iter() {
            if self.get(writer) < count {
                self.raise(writer.clone(), count);
            }
        }
    }

    /// Gives an entry up, or lowers it.
    pub(crate) fn lower(&mut self, writer: &Writer, count: u64) {
        if count == 0 {
            self.0.remove(writer);
        } else if let Some(entry) = self.0.get_mut(writer) {
            *entry = (*entry).min(count);
        }
    }

    /// Raises the entry of `writer` to `count`, if it is lower.
    pub(crate) fn raise(&mut self, writer: Writer, count: u64) {
        if count > 0 {
            let entry = self.0.entry(writer).or_default();
            *entry = (*entry).max(count);
        }
    }
}

impl From<Vec<(ServerName, Boot, u64)>> for VersionVector {
    fn from(entries: Vec<(ServerName, Boot, u64)>) -> Self {
        let mut vector = Self::default();
        for (origin, boot, count) in entries {
            vector.raise(Writer { origin, boot }, count);
        }
        vector
    }
}

impl From<VersionVector> for Vec<(ServerName, Boot, u64)> {
    fn from(vector: VersionVector) -> Self {
        vector.0.into_iter().map(|(writer, count)| (writer.origin, writer.boot, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(entries: &[(&str, u64, u64)]) -> VersionVector {
        let entries =
            entries.iter().map(|(name, boot, count)| (ServerName::new(name).unwrap(), Boot(*boot), *count));
        VersionVector::from(entries.collect::<Vec<_>>())
    }

    #[test]
    fn a_vector_covers_the_dots_up_to_its_count_of_that_boot_only() {
        let held = vector(&[("server-1", 7, 3)]);
        let dot = |boot, seq| Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(boot), seq };
        assert!(held.covers(&dot(7, 3)));
        assert!(!held.covers(&dot(7, 4)));
        assert!(!held.covers(&dot(8, 1)));
    }

    #[test]
    fn vectors_compare_by_what_they_hold() {
        let (small, large) = (vector(&[("a", 1, 2), ("b", 1, 0)]), vector(&[("a", 1, 5), ("c", 1, 1)]));
        assert!(large.covers_all(&small));
        assert!(!small.covers_all(&large));
        assert_eq!(small.missing_from(&large), 4);
        assert_ne!(small.digest(), large.digest());
        assert_eq!(small, vector(&[("a", 1, 2)]), "a writer that wrote nothing has no entry");
    }

    #[test]
    fn a_vector_travels_as_a_list() {
        let held = vector(&[("a", u64::MAX, 2), ("b", 1, 9)]);
        let bytes = rmp_serde::to_vec(&held).unwrap();
        assert_eq!(rmp_serde::from_slice::<VersionVector>(&bytes).unwrap(), held);
    }
}
