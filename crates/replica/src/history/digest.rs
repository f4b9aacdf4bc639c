//! A digest of the shown operations: two servers that show the same dots and have different digests have diverged, which no
//! sequence of events may bring about (row H07). It changes by what is added alone, so that it costs nothing to keep.
//!
//! It is the sum of a hash of each operation, so that the order in which they came does not matter. Nobody is kept from making two
//! sets of equal digests; it is for bugs and broken disks. Texts are not looked at: where the client gave an id, the identity is a
//! hash of them.

use super::entries::Entry;
use papo_protocol::Boot;

/// Of a set of operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Adds an operation of this boot that is not in the set.
    pub(super) fn add(&mut self, boot: Boot, entry: &Entry) {
        let (high, low) = entry.identity.0.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
        // A boot is 64 random bits, and names its origin.
        let parts =
            [boot.0, entry.seq(), entry.lamport().get(), entry.at.0.cast_unsigned(), word(high), word(low)];
        self.0 = self.0.wrapping_add(parts.into_iter().fold(0, |hash, part| mix(hash ^ part)));
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// Every bit of the input moves every bit of the output: `mix64` of SplitMix (Steele, Lea, Flood 2014, figure 16), after its
/// increment, which keeps zeros from staying zero.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
