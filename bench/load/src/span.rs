//! The time measured: it begins when the load is steady, and knows what the process under test used in it.

use crate::cpu;
use std::time::{Duration, Instant};

/// When to measure, and whom.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Between the first answer to everybody and the measuring.
    pub warmup: Duration,
    /// Measured for so long.
    pub measured: Duration,
    /// What is under way at the end may take so long; what takes longer is lost.
    pub drain: Duration,
    /// The process whose processor time counts.
    pub pid: Option<u32>,
}

/// How long was really measured, and the processor time that the process used in it.
pub type Over = (Duration, Option<Duration>);

#[derive(Debug, Clone, Copy)]
enum Stage {
    Warming { until: Instant },
    Measuring { since: Instant, cpu: Option<Duration> },
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

    /// Looks at the clock; gives what there is to know when the time is over.
    ///
    /// # Errors
    /// When the process under test is gone.
    pub fn on_time(&mut self, now: Instant) -> anyhow::Result<Option<Over>> {
        match self.stage {
            Stage::Warming { until } if now >= until => {
                let cpu = self.plan.pid.map(cpu::time_of).transpose()?;
                self.stage = Stage::Measuring { since: now, cpu };
            }
            Stage::Measuring { since, cpu } if now >= since + self.plan.measured => {
                let used = self.plan.pid.map(cpu::time_of).transpose()?;
                let cpu = used.zip(cpu).map(|(after, before)| after.saturating_sub(before));
                return Ok(Some((now - since, cpu)));
            }
            Stage::Warming { .. } | Stage::Measuring { .. } => {}
        }
        Ok(None)
    }

    /// Whether what arrives now counts.
    pub fn is_measuring(&self) -> bool {
        matches!(self.stage, Stage::Measuring { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_between_warm_up_and_end_counts() {
        let seconds = Duration::from_secs;
        let begun = Instant::now();
        let plan = Plan { warmup: seconds(1), measured: seconds(3), drain: seconds(1), pid: None };
        let mut span = Span::begin(plan, begun);
        assert_eq!(span.on_time(begun).unwrap(), None);
        assert!(!span.is_measuring());
        // Looked at late: the measuring begins then, and lasts as long as planned.
        assert_eq!(span.on_time(begun + seconds(2)).unwrap(), None);
        assert!(span.is_measuring());
        assert_eq!(span.on_time(begun + seconds(4)).unwrap(), None);
        assert_eq!(span.on_time(begun + seconds(6)).unwrap(), Some((seconds(4), None)));
    }
}
