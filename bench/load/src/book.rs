//! What one subscriber has got of a numbered sequence, and what that says about losses.

use crate::report::Faults;
use std::collections::BTreeSet;

/// Missing numbers that are remembered, so that a late one is told apart from a doubled one.
const MISSING_MAX: usize = 10_000;

/// One subscriber's books. Numbers begin at 1.
#[derive(Debug, Default)]
pub struct Book {
    latest: u64,
    lost: u64,
    doubled: u64,
    out_of_order: u64,
    missing: BTreeSet<u64>,
}

impl Book {
    /// Takes note of a number.
    pub fn enter(&mut self, number: u64) {
        if number == self.latest + 1 {
            self.latest = number;
        } else if number > self.latest {
            self.lost += number - self.latest - 1;
            let room = MISSING_MAX - self.missing.len();
            self.missing.extend((self.latest + 1..number).take(room));
            self.latest = number;
        } else if self.missing.remove(&number) {
            self.lost -= 1;
            self.out_of_order += 1;
        } else {
            self.doubled += 1;
        }
    }

    /// The largest number so far.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// Adds what went wrong, when `sent` was the last number sent.
    pub fn close(&self, sent: u64, faults: &mut Faults) {
        faults.lost += self.lost + sent.saturating_sub(self.latest);
        faults.doubled += self.doubled;
        faults.out_of_order += self.out_of_order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[u64], sent: u64) -> Faults {
        let mut book = Book::default();
        for number in numbers {
            book.enter(*number);
        }
        let mut faults = Faults::default();
        book.close(sent, &mut faults);
        faults
    }

    #[test]
    fn a_whole_sequence_has_no_faults() {
        assert_eq!(after(&[1, 2, 3], 3), Faults::default());
    }

    #[test]
    fn gaps_and_a_missing_end_are_lost() {
        assert_eq!(after(&[2, 5], 7), Faults { lost: 5, ..Faults::default() });
        assert_eq!(after(&[], 2), Faults { lost: 2, ..Faults::default() });
    }

    #[test]
    fn a_late_number_is_out_of_order_and_a_repeated_one_doubled() {
        assert_eq!(after(&[1, 3, 2, 4], 4), Faults { out_of_order: 1, ..Faults::default() });
        assert_eq!(after(&[1, 2, 2, 3, 1], 3), Faults { doubled: 2, ..Faults::default() });
    }
}
