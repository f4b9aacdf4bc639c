//! The only source of chance: a generator of 64 bits of state (SplitMix64, Steele et al. 2014), split into streams by purpose, so
//! that taking one fault out of a run changes as little as possible of the rest.

/// A stream of chance.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of this purpose; the same seed and purpose give the same numbers.
    #[must_use]
    pub fn stream(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.draw();
        Self(random.draw() ^ seed.rotate_left(32))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to and without `high`; `low` where there is none between.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low).max(1);
        low + self.draw() % width
    }

    /// An index below `count`; 0 for none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.within(0, count as u64)).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(from.len());
        from.get(index)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.within(0, times) == 0
    }

    /// Sixteen bytes.
    pub fn bytes(&mut self) -> [u8; 16] {
        ((u128::from(self.draw()) << 64) | u128::from(self.draw())).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_streams_differ() {
        let draw = |seed, purpose| {
            let mut random = Random::stream(seed, purpose);
            [random.draw(), random.draw()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut random = Random::stream(7, 7);
        assert!((0..1000).all(|_| (5..9).contains(&random.within(5, 9))));
        assert_eq!(random.below(0), 0);
    }
}
