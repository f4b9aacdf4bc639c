//! Durations counted in buckets that are at most 0.4 % wide, so that a percentile needs no list of all samples.

use std::time::Duration;

/// Buckets for each doubling: 1 / 256 of a value is its resolution.
const STEP_BITS: u32 = 8;
/// Enough for any number of nanoseconds in a `u64`.
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// Counts of durations.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Empty.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }

    /// Counts one.
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanoseconds)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration that `percent` of all do not exceed, in microseconds; `None` without samples.
    pub fn percentile_microseconds(&self, percent: u64) -> Option<f64> {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(middle(bucket) / 1000.0);
            }
        }
        None
    }
}

/// Each of the least values has a bucket of its own; above, each doubling has 1 << [`STEP_BITS`] of them.
fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    usize::try_from((u64::from(shift) << STEP_BITS) + (value >> shift)).unwrap_or(usize::MAX)
}

/// The middle of a bucket's values.
#[allow(clippy::cast_precision_loss)]
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    let shift = (bucket >> STEP_BITS).saturating_sub(1);
    let least = (bucket - (shift << STEP_BITS)) << shift;
    least as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_whose_middle_is_within_half_a_percent() {
        for exponent in 0..64 {
            for value in [1_u64 << exponent, (1_u64 << exponent) - 1, 3 << exponent >> 1] {
                let found = middle(bucket(value));
                let off = (found - value as f64).abs();
                assert!(off <= value as f64 * 0.005, "{value}: {found}");
                assert!(bucket(value) < BUCKETS, "{value}");
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn buckets_rise_with_the_values() {
        for value in 0..100_000 {
            assert!((0..=1).contains(&(bucket(value + 1) - bucket(value))), "{value}");
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile_microseconds(50), None);
        for microseconds in 1..=100 {
            histogram.record(Duration::from_micros(microseconds));
        }
        for percent in [1, 50, 99, 100] {
            let found = histogram.percentile_microseconds(percent).unwrap();
            assert!((found / percent as f64 - 1.0).abs() < 0.005, "{percent}: {found}");
        }
        assert_eq!(histogram.total(), 100);
    }
}
