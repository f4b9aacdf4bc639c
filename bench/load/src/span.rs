//! The time measured: it begins when the load is steady, and knows what the process under test used in it.

use crate::cpu;
use crate::report::{self, Measuring};
use std::time::{Duration, Instant};

/// What `--warmup`, `--seconds` and `--pid` say.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Between the first answer to everybody and the measuring.
    pub warmup: Duration,
    /// Measured for so long.
    pub measured: Duration,
    /// The process whose processor time counts.
    pub pid: Option<u32>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Warming { until: Instant },
    Measuring { since: Instant, cpu: Option<Duration> },
    Over { measured: Duration, cpu: Option<Duration> },
}

/// One run's time.
#[derive(Debug)]
pub struct Span {
    plan: Plan,
    stage: Stage,
}

impl Span {
    /// Begins the warm-up: everybody has been answered.
    pub fn begin(plan: Plan, now: Instant) -> Self {
        Self { plan, stage: Stage::Warming { until: now + plan.warmup } }
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// When the process under test is gone.
    pub fn on_time(&mut self, now: Instant) -> anyhow::Result<()> {
        match self.stage {
            Stage::Warming { until } if now >= until => {
                report::line(&Measuring { measuring_seconds: self.plan.measured.as_secs_f64() })?;
                let cpu = self.plan.pid.map(cpu::time_of).transpose()?;
                self.stage = Stage::Measuring { since: Instant::now(), cpu };
            }
            Stage::Measuring { since, cpu } if now >= since + self.plan.measured => {
                let used = self.plan.pid.map(cpu::time_of).transpose()?;
                let cpu = used.zip(cpu).map(|(after, before)| after.saturating_sub(before));
                self.stage = Stage::Over { measured: since.elapsed(), cpu };
            }
            Stage::Warming { .. } | Stage::Measuring { .. } | Stage::Over { .. } => {}
        }
        Ok(())
    }

    /// Whether what arrives now counts.
    pub fn is_measuring(&self) -> bool {
        matches!(self.stage, Stage::Measuring { .. })
    }

    /// When it is over: how long was measured, and the processor time used in it.
    pub fn over(&self) -> Option<(Duration, Option<Duration>)> {
        match self.stage {
            Stage::Over { measured, cpu } => Some((measured, cpu)),
            Stage::Warming { .. } | Stage::Measuring { .. } => None,
        }
    }
}
