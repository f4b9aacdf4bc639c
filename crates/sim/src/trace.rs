//! What happened, as a hash that two runs of one seed share, and as lines for people where they are wanted.

use crate::clock::{Micros, SECOND};
use std::fmt;

/// Bytes as numbers, of which their length is the last: different for different bytes.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let ends = [u64::from_le_bytes(last), bytes.len() as u64];
    words.iter().map(|word| u64::from_le_bytes(*word)).chain(ends)
}

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Empty; `verbose` keeps lines.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: verbose.then(Vec::new) }
    }

    /// Takes a number in.
    pub fn number(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// Takes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for word in words(bytes) {
            self.number(word);
        }
    }

    /// Adds a line, if lines are wanted.
    pub fn line(&mut self, at: Micros, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{} {}", Seconds(at), line()));
        }
    }

    /// Of all that happened.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, oldest first; none unless they were wanted.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// A time, for people.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub Micros);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:3}.{:06}", self.0 / SECOND, self.0 % SECOND)
    }
}
