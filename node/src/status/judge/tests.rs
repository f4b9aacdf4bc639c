use super::super::ask::{Adjusted, Clock, Round, Status};
use super::super::view;
use super::*;
use crate::local::Paint;

/// server-3 leads in epoch 7; each has so many operations of server-1's.
fn status(number: u32, operations: u64) -> Status {
    let text = format!(
        r#"{{"server": "server-{number}", "rank": {number}, "role": "following", "epoch": "7-00000000000000ab",
            "coordinator": "server-3", "operations": {operations}, "digest": "e3b0c44298fc1c14", "caughtUp": true, "inSync": true,
            "standing": "member", "diverged": [], "vector": [{{"server": "server-1", "boot": "01", "seq": {operations}}}],
            "clock": {{"timeMicros": 1, "offsetMicros": -1250, "aheadMicros": 0, "adjusted": {{"errorMicros": 80, "secondsAgo": 4}}}},
            "unheardOf": [1]}}"#
    );
    let mut status: Status = serde_json::from_str(&text).unwrap();
    if number == 3 {
        status.role = Some("leading".to_owned());
    }
    status
}

fn overview(statuses: Vec<Result<Status, String>>) -> Overview {
    let member = |(number, said)| Member { asked: format!("server-{number}"), said };
    Overview::of((1..).zip(statuses).map(member).collect())
}

/// Three servers, of whom one is as `change` leaves it.
fn with(number: u32, change: impl Fn(&mut Status)) -> Overview {
    let changed = |this: u32| {
        let mut status = status(this, 10);
        if this == number {
            change(&mut status);
        }
        Ok(status)
    };
    overview((1..=3).map(changed).collect())
}

#[test]
fn a_cluster_is_well_when_all_answer_and_agree() {
    let well = with(0, |_| ());
    assert_eq!((well.health(), &well.problems), (Health::Well, &Vec::new()));
    assert_eq!(well.coordinator.as_deref(), Some("server-3"));
    assert_eq!(well.epoch.as_deref(), Some("7-00000000000000ab"));
}

#[test]
fn what_is_wrong_is_said() {
    let other = |text: &str| Some(text.to_owned());
    let cases: [(Overview, &str); 8] = [
        (with(2, |status| status.coordinator = other("server-2")), "the servers do not agree on who leads"),
        (
            with(2, |status| status.epoch = other("6-00000000000000ab")),
            "the servers do not agree on who leads",
        ),
        (with(2, |status| status.role = other("leading")), "server-2 and server-3 lead at once"),
        (
            with(2, |status| status.in_sync = false),
            "server-2 lacks operations that others have, or reaches too few of them",
        ),
        (
            with(1, |status| status.caught_up = false),
            "server-1 has not caught up with the others since it started",
        ),
        (
            with(1, |status| status.diverged = vec!["server-2".to_owned()]),
            "server-1 shows other operations than server-2",
        ),
        (
            with(3, |status| {
                let last_round = Some(Round { outcome: "disagreed".to_owned() });
                status.clock = Some(Clock { last_round, ..Clock::default() });
            }),
            "server-3 could not have the clocks agree: the last round was disagreed",
        ),
        (
            overview(vec![Ok(status(1, 1)), Err("connection refused".to_owned()), Ok(status(3, 1))]),
            "server-2 does not answer: connection refused",
        ),
    ];
    for (overview, problem) in cases {
        assert_eq!((overview.health(), overview.problems), (Health::Degraded, vec![problem.to_owned()]));
    }
    let nobody = || Ok(Status { coordinator: None, role: other("leaderless"), ..status(1, 1) });
    assert_eq!(overview(vec![nobody(), nobody()]).problems, ["there is no coordinator"]);
}

#[test]
fn a_cluster_that_nobody_answers_for_is_unreachable() {
    let silent = overview(vec![Err("timed out".to_owned()), Err("timed out".to_owned())]);
    assert_eq!((silent.health(), silent.problems.len()), (Health::Unreachable, 2));
}

#[test]
fn lag_is_what_another_has_and_this_one_lacks() {
    let mut two = status(2, 4);
    two.vector.extend(
        serde_json::from_str::<Vec<_>>(r#"[{"server": "server-2", "boot": "02", "seq": 3}]"#).unwrap(),
    );
    let overview = overview(vec![Ok(status(1, 10)), Ok(two)]);
    let lags: Vec<u64> = overview.answering().map(|status| overview.lag(status)).collect();
    assert_eq!(lags, [3, 6]);
}

#[test]
fn the_table_is_plain_text_and_lines_up() {
    let mut two = status(2, 8);
    two.clock = Some(Clock {
        offset_micros: 3_600_000_000,
        adjusted: Some(Adjusted { error_micros: 1500, seconds_ago: 30 }),
        last_round: None,
    });
    two.clock.as_mut().unwrap().offset_micros = 2_000_000;
    let shown = overview(vec![Ok(status(1, 10)), Ok(two), Ok(status(3, 10)), Err("refused".to_owned())]);
    let expected = "\
degraded: 3 of 4 servers answer, server-3 leads in epoch 7

NAME      RANK  ROLE         EPOCH  OPERATIONS  LAG  DIGEST    OFFSET        ADJUSTED            STATE
server-1  1     following    7      10          0    e3b0c442  -1.250 ms     4 s ago ±0.080 ms   in sync
server-2  2     following    7      8           2    e3b0c442  +2000.000 ms  30 s ago ±1.500 ms  in sync
server-3  3     coordinator  7      10          0    e3b0c442  -1.250 ms     4 s ago ±0.080 ms   in sync
server-4  -     -            -      -           -    -         -             -                   no answer

server-4 does not answer: refused
";
    assert_eq!(view::text(&shown, Paint::Plain), expected);
    assert!(view::text(&shown, Paint::Colours).contains("\x1b[31m"));
}

#[test]
fn a_server_of_an_older_version_is_shown_as_far_as_it_says() {
    let old: Status = serde_json::from_str(
        r#"{"server": "server-1", "operations": 3, "caughtUp": true, "inSync": true, "standing": "member"}"#,
    )
    .unwrap();
    let shown = overview(vec![Ok(old)]);
    assert_eq!(shown.problems, ["there is no coordinator"]);
    assert!(view::text(&shown, Paint::Plain).contains("server-1  -     -     -      3           0"));
    let json = view::json(&shown);
    assert_eq!(json["members"][0]["state"], "in sync");
    assert_eq!(json["health"], "degraded");
}
