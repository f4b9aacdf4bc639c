//! The record of a campaign: a file with one line for each run of consecutive seeds, which grows over many sessions.
//!
//! A seed is a world only together with the code that lives in it: a change of a mind or of the simulator makes another world of the
//! same seed. So a line counts for the commit that it names, and says nothing of later ones but that such worlds went well before.
//! Further runs take seeds above all that a line has, whatever the commit.

use crate::campaign::Totals;
use crate::plan::FaultKind;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

const HEADER: &str = "first seed\tlast seed\tcommit\tseconds\tevents\tfaults\tkinds of fault\tfailed seeds";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The first seed.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Of the code.
    pub commit: String,
    /// How long it took.
    pub seconds: u64,
    /// Events.
    pub events: u64,
    /// Faults.
    pub faults: u64,
    /// How many kinds of them.
    pub kinds: u64,
    /// Seeds that failed.
    pub failed: Vec<u64>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("the record of the campaign cannot be read or written")]
    File(#[from] io::Error),
    /// A line is none of ours.
    #[error("line {0} of the campaign's record is not readable")]
    Line(usize),
}

impl Line {
    /// What came of these seeds, all of which were run.
    #[must_use]
    pub fn of(first: u64, commit: &str, seconds: u64, totals: &Totals) -> Self {
        Self {
            first,
            last: first + totals.seeds.saturating_sub(1),
            commit: commit.to_owned(),
            seconds,
            events: totals.events,
            faults: totals.faults.values().sum(),
            kinds: totals.faults.keys().collect::<Vec<&FaultKind>>().len() as u64,
            failed: totals.failures.keys().copied().collect(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut fields = text.split('\t');
        let mut field = || fields.next();
        let line = Self {
            first: field()?.parse().ok()?,
            last: field()?.parse().ok()?,
            commit: field()?.to_owned(),
            seconds: field()?.parse().ok()?,
            events: field()?.parse().ok()?,
            faults: field()?.parse().ok()?,
            kinds: field()?.parse().ok()?,
            failed: field()?
                .split(',')
                .filter(|seed| *seed != "-")
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?,
        };
        (fields.next().is_none() && line.first <= line.last).then_some(line)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, commit, seconds, events, faults, kinds, failed } = self;
        let failed: Vec<String> = failed.iter().map(u64::to_string).collect();
        let failed = if failed.is_empty() { "-".to_owned() } else { failed.join(",") };
        write!(f, "{first}\t{last}\t{commit}\t{seconds}\t{events}\t{faults}\t{kinds}\t{failed}")
    }
}

/// All lines of a file; none where there is no file yet.
///
/// # Errors
/// When it is not readable.
pub fn read(path: &Path) -> Result<Vec<Line>, RecordError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    let lines = text.lines().enumerate().skip(1);
    lines.map(|(number, line)| Line::read(line).ok_or(RecordError::Line(number + 1))).collect()
}

/// Adds a line.
///
/// # Errors
/// When the file cannot be written.
pub fn append(path: &Path, line: &Line) -> Result<(), RecordError> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let header = if is_new { format!("{HEADER}\n") } else { String::new() };
    file.write_all(format!("{header}{line}\n").as_bytes())?;
    Ok(())
}

/// What all lines amount to, for people: by commit, and together.
#[must_use]
pub fn summary(lines: &[Line]) -> String {
    let mut commits: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        commits.entry(&line.commit).or_default().push(line);
    }
    let count = |lines: &[&Line]| {
        let seeds: u64 = lines.iter().map(|line| line.last - line.first + 1).sum();
        let events: u64 = lines.iter().map(|line| line.events).sum();
        let faults: u64 = lines.iter().map(|line| line.faults).sum();
        let failed: usize = lines.iter().map(|line| line.failed.len()).sum();
        format!("{seeds} seeds, {events} events, {faults} faults, {failed} failed seeds")
    };
    let mut text: String =
        commits.iter().map(|(commit, lines)| format!("{commit}: {}\n", count(lines))).collect();
    text += &format!("in all: {}", count(&lines.iter().collect::<Vec<_>>()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(first: u64, failed: Vec<u64>) -> Line {
        let commit = "abc".to_owned();
        Line { first, last: first + 9, commit, seconds: 3, events: 40, faults: 50, kinds: 21, failed }
    }

    #[test]
    fn a_record_grows_line_by_line_and_is_read_again() {
        let path = std::env::temp_dir().join(format!("papo-campaign-{}.tsv", std::process::id()));
        fs::remove_file(&path).ok();
        assert_eq!(read(&path).unwrap(), vec![]);
        let lines = vec![line(0, vec![]), line(10, vec![12, 17])];
        for line in &lines {
            append(&path, line).unwrap();
        }
        assert_eq!(read(&path).unwrap(), lines);
        assert!(summary(&lines).ends_with("in all: 20 seeds, 80 events, 100 faults, 2 failed seeds"));
        fs::write(&path, "header\n1\t2\n").unwrap();
        assert!(matches!(read(&path), Err(RecordError::Line(2))));
        fs::remove_file(&path).unwrap();
    }
}
