//! The fault-tolerant mean of calendars: those within a bound of the median count, the others do not. While a majority of the calendars
//! is honest, the median lies among theirs, so that a liar either agrees with it to within the bound or moves nothing at all.
//!
//! TEMPO takes the largest set whose members lie within an interval of each other. The median needs no search, and what it promises can
//! be said in one sentence.

use super::Offset;
use crate::constants::READING_BOUND;

/// What a set of calendars agrees on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mean {
    /// The mean of those that count.
    pub(crate) value: Offset,
    /// How many count.
    pub(crate) counted: usize,
    /// How many were read.
    pub(crate) of: usize,
}

impl Mean {
    /// Whether most of the calendars agree. Without that nobody can tell who is right.
    pub(crate) fn is_majority(&self) -> bool {
        2 * self.counted > self.of
    }
}

/// The mean of those within [`READING_BOUND`] of the median, all as offsets from one clock; `None` without any.
pub(crate) fn fault_tolerant_mean(readings: &[Offset]) -> Option<Mean> {
    let mut sorted = readings.to_vec();
    sorted.sort_unstable();
    // Of an even number the lower one: any that lies between honest ones will do.
    let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let near = sorted.iter().filter(|reading| (**reading - median).size() <= READING_BOUND);
    // As differences from the median they are small, and their sum cannot overflow.
    let (sum, counted) = near.fold((0_i64, 0_usize), |(sum, counted), reading| {
        (sum.saturating_add((*reading - median).micros()), counted + 1)
    });
    let mean = sum / i64::try_from(counted).ok()?;
    Some(Mean { value: median + Offset::from_micros(mean), counted, of: readings.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUND: i64 = READING_BOUND.as_micros() as i64;

    fn mean_of(seconds: &[i64]) -> Mean {
        let readings: Vec<_> = seconds.iter().map(|second| Offset::from_micros(second * 1_000_000)).collect();
        fault_tolerant_mean(&readings).unwrap()
    }

    #[test]
    fn e08_100_110_and_105_agree_on_105() {
        let mean = mean_of(&[100, 110, 105]);
        assert_eq!(mean, Mean { value: Offset::from_micros(105_000_000), counted: 3, of: 3 });
        let by = [100, 110, 105].map(|time| 105 - time);
        assert_eq!(by, [5, -5, 0]);
    }

    #[test]
    fn a_calendar_an_hour_off_does_not_count() {
        let mean = mean_of(&[0, 3600, -2, 2]);
        assert_eq!((mean.value, mean.counted, mean.is_majority()), (Offset::ZERO, 3, true));
    }

    #[test]
    fn two_that_differ_by_an_hour_agree_on_nothing() {
        assert!(!mean_of(&[0, 3600]).is_majority());
        assert!(!mean_of(&[0, 3600, 7200]).is_majority());
        assert!(mean_of(&[0, 3]).is_majority());
        assert_eq!(fault_tolerant_mean(&[]), None);
    }

    proptest! {
        #[test]
        fn with_an_honest_majority_the_mean_is_within_the_bound_of_the_honest(
            honest in proptest::collection::vec(-BOUND / 2..=BOUND / 2, 3..8),
            liars in proptest::collection::vec(any::<i64>(), 0..2),
            order in any::<u64>(),
        ) {
            let mut all: Vec<_> = honest.iter().chain(&liars).map(|micros| Offset::from_micros(*micros)).collect();
            let turn = usize::try_from(order % all.len() as u64).unwrap();
            all.rotate_left(turn);
            let mean = fault_tolerant_mean(&all).unwrap();
            let (low, high) = (*honest.iter().min().unwrap(), *honest.iter().max().unwrap());
            prop_assert!(mean.is_majority());
            // A liar who counts is within the bound of the median and one of at least four.
            let slack = BOUND * liars.len() as i64 / all.len() as i64;
            prop_assert!((low - slack..=high + slack).contains(&mean.value.micros()));
            if liars.iter().all(|liar| liar.saturating_sub(low).abs().min(liar.saturating_sub(high).abs()) > 2 * BOUND) {
                prop_assert!((low..=high).contains(&mean.value.micros()), "a far liar moved the mean");
            }
        }
    }
}
