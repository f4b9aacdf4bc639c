//! What goes to standard output: one line of JSON each, so that whoever started the load can follow it.

use crate::histogram::Histogram;
use crate::span::Over;
use serde::Serialize;
use std::io::Write as _;
use std::time::Duration;

/// All connections stand.
#[derive(Debug, Serialize)]
pub struct Up {
    /// How many.
    pub up: usize,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Replies, or deliveries to all subscribers together, a second.
    pub per_second: f64,
    /// Half of all took no longer, in microseconds.
    pub p50_us: Option<f64>,
    /// 99 of 100 took no longer, in microseconds.
    pub p99_us: Option<f64>,
    /// How many there were.
    pub count: u64,
    /// The longest of all, in microseconds.
    pub max_us: Option<f64>,
    /// Processor time of the processes `--pid` for each, in microseconds.
    pub cpu_us: Option<f64>,
    /// What this load used itself for each, in microseconds.
    pub own_cpu_us: f64,
    /// Seconds measured.
    pub seconds: f64,
    /// Everything that should not be.
    #[serde(flatten)]
    pub faults: Faults,
}

/// What went wrong, over the whole run; all zero in a good one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Messages that are not what was sent.
    pub wrong: u64,
    /// Requests without a reply, or messages that a subscriber did not get.
    pub lost: u64,
    /// Messages that came again.
    pub doubled: u64,
    /// Messages that came after a later one.
    pub out_of_order: u64,
}

impl Measured {
    /// From what was counted in the time measured.
    #[allow(clippy::cast_precision_loss)]
    pub fn new(latencies: &Histogram, over: Over, faults: Faults) -> Self {
        let count = latencies.total();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
        Self {
            per_second: count as f64 / over.measured.as_secs_f64(),
            p50_us: latencies.percentile_microseconds(50),
            p99_us: latencies.percentile_microseconds(99),
            max_us: latencies.percentile_microseconds(100),
            count,
            cpu_us: over.cpu.map(each),
            own_cpu_us: each(over.own_cpu),
            seconds: over.measured.as_secs_f64(),
            faults,
        }
    }
}

/// Writes a line at once.
///
/// # Errors
/// When standard output is closed.
pub fn line(value: &impl Serialize) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, value)?;
    output.write_all(b"\n")?;
    output.flush()?;
    Ok(())
}
