//! An overview as a table for people, or as JSON for programs. No I/O.

use super::ask::{Clock, Status};
use super::judge::{Health, Member, Overview, is_leading};
use crate::local::Paint;
use serde_json::json;

const HEADINGS: [&str; 10] =
    ["NAME", "RANK", "ROLE", "EPOCH", "OPERATIONS", "LAG", "DIGEST", "OFFSET", "ADJUSTED", "STATE"];
/// What is not known.
const NOTHING: &str = "-";

/// A line in short, the table, and what is wrong.
pub fn text(overview: &Overview, paint: Paint) -> String {
    let rows: Vec<[String; 10]> = overview.members.iter().map(|member| row(overview, member)).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 10]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut text =
        format!("{}\n\n{}\n", summary(overview, paint), paint.strong(&line(&HEADINGS.map(str::to_owned))));
    for (member, row) in overview.members.iter().zip(&rows) {
        let line = line(row);
        text += &if member.said.is_err() { paint.bad(&line) } else { line };
        text += "\n";
    }
    if !overview.problems.is_empty() {
        text += "\n";
    }
    for problem in &overview.problems {
        text += &format!("{}\n", paint.bad(problem));
    }
    text
}

fn summary(overview: &Overview, paint: Paint) -> String {
    let (all, answering) = (overview.members.len(), overview.answering().count());
    let leader = match (&overview.coordinator, &overview.epoch) {
        (Some(coordinator), Some(epoch)) => format!("{coordinator} leads in epoch {}", number(epoch)),
        _ => "no coordinator".to_owned(),
    };
    let word = match overview.health() {
        Health::Well => paint.good("well"),
        health @ (Health::Degraded | Health::Unreachable) => paint.bad(health.as_str()),
    };
    format!("{word}: {answering} of {all} servers answer, {leader}")
}

fn row(overview: &Overview, member: &Member) -> [String; 10] {
    let name = member.name().to_owned();
    let Ok(status) = &member.said else {
        let mut row = [NOTHING; 10].map(str::to_owned);
        let [first, .., last] = &mut row;
        (*first, *last) = (name, "no answer".to_owned());
        return row;
    };
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    [
        name,
        or_nothing(status.rank.map(|rank| rank.to_string())),
        or_nothing(
            status.role.clone().map(|role| if is_leading(status) { "coordinator".to_owned() } else { role }),
        ),
        or_nothing(status.epoch.as_deref().map(|epoch| number(epoch).to_owned())),
        status.operations.to_string(),
        overview.lag(status).to_string(),
        status.digest.get(..8).unwrap_or(&status.digest).to_owned(),
        or_nothing(status.clock.as_ref().map(|clock| milliseconds(clock.offset_micros))),
        or_nothing(status.clock.as_ref().and_then(adjusted)),
        state(status).to_owned(),
    ]
}

/// `+1.250 ms`.
fn milliseconds(micros: i64) -> String {
    let sign = if micros < 0 { '-' } else { '+' };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:03} ms", micros / 1000, micros % 1000)
}

/// When the clock was last corrected, and how exactly.
fn adjusted(clock: &Clock) -> Option<String> {
    let adjusted = clock.adjusted.as_ref()?;
    let error = adjusted.error_micros;
    Some(format!("{} s ago ±{}.{:03} ms", adjusted.seconds_ago, error / 1000, error % 1000))
}

/// The epoch's number, which people compare.
fn number(epoch: &str) -> &str {
    epoch.split_once('-').map_or(epoch, |(number, _)| number)
}

fn state(status: &Status) -> &str {
    if !status.diverged.is_empty() {
        "diverged"
    } else if !status.caught_up {
        "starting"
    } else if status.standing != "member" {
        &status.standing
    } else if status.in_sync {
        "in sync"
    } else {
        "behind"
    }
}

/// One object.
pub fn json(overview: &Overview) -> serde_json::Value {
    let members: Vec<_> = overview
        .members
        .iter()
        .map(|member| match &member.said {
            Err(why) => json!({"name": member.asked, "state": "no answer", "why": why}),
            Ok(status) => json!({
                "name": status.server,
                "rank": status.rank,
                "role": status.role,
                "coordinator": status.coordinator,
                "epoch": status.epoch,
                "operations": status.operations,
                "lag": overview.lag(status),
                "digest": status.digest,
                "offsetMicros": status.clock.as_ref().map(|clock| clock.offset_micros),
                "adjusted": status.clock.as_ref().and_then(|clock| clock.adjusted.as_ref()).map(|adjusted| {
                    json!({"secondsAgo": adjusted.seconds_ago, "errorMicros": adjusted.error_micros})
                }),
                "lastRound": status.clock.as_ref().and_then(|clock| clock.last_round.as_ref()).map(|round| &round.outcome),
                "state": state(status),
            }),
        })
        .collect();
    json!({
        "health": overview.health().as_str(),
        "coordinator": overview.coordinator,
        "epoch": overview.epoch,
        "problems": overview.problems,
        "members": members,
    })
}
