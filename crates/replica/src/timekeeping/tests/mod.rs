//! A few machines, each with clocks of its own, and the messages of rounds between them.

mod clocks;
mod rounds;

use super::*;
use papo_protocol::time::{Now, UnixMillis};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// About when these tests begin.
const BEGINNING: i64 = 1_700_000_000_000_000;

fn now(monotonic: Duration, calendar_micros: i64) -> Now {
    Now { monotonic, unix: UnixMillis(calendar_micros.div_euclid(1000)) }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}
