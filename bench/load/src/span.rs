//! The time measured: it begins when the load is steady, and knows what the process under test used in it.

use crate::cpu;
use std::time::{Duration, Instant};

/// When to measure, and whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Between the first answer to everybody and the measuring.
    pub warmup: Duration,
    /// Measured for so long.
    pub measured: Duration,
    /// What is under way at the end may take so long; what takes longer is lost.
    pub drain: Duration,
    /// The processes whose processor time counts, added up; none when nobody asks.
    pub pids: Vec<u32>,
}

/// What there is to know when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// How long was really measured.
    pub measured: Duration,
    /// The processor time that the processes used in it.
    pub cpu: Option<Duration>,
    /// What this load used itself.
    pub own_cpu: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Warming { until: Instant },
    Measuring { since: Instant, cpu: Duration, own_cpu: Duration },
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
        Self { stage: Stage::Warming { until: now + plan.warmup }, plan }
    }

    /// Looks at the clock; gives what there is to know when the time is over.
    ///
    /// # Errors
    /// When the process under test is gone.
    pub fn on_time(&mut self, now: Instant) -> anyhow::Result<Option<Over>> {
        match self.stage {
            Stage::Warming { until } if now >= until => {
                let (cpu, own_cpu) = (self.cpu()?, cpu::time_of(std::process::id())?);
                self.stage = Stage::Measuring { since: now, cpu, own_cpu };
            }
            Stage::Measuring { since, cpu, own_cpu } if now >= since + self.plan.measured => {
                let used = self.cpu()?.saturating_sub(cpu);
                let own_cpu = cpu::time_of(std::process::id())?.saturating_sub(own_cpu);
                let cpu = (!self.plan.pids.is_empty()).then_some(used);
                return Ok(Some(Over { measured: now - since, cpu, own_cpu }));
            }
            Stage::Warming { .. } | Stage::Measuring { .. } => {}
        }
        Ok(None)
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.plan.pids.iter().map(|pid| cpu::time_of(*pid)).sum()
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
        let plan = Plan { warmup: seconds(1), measured: seconds(3), drain: seconds(1), pids: Vec::new() };
        let mut span = Span::begin(plan, begun);
        assert_eq!(span.on_time(begun).unwrap(), None);
        assert!(!span.is_measuring());
        // Looked at late: the measuring begins then, and lasts as long as planned.
        assert_eq!(span.on_time(begun + seconds(2)).unwrap(), None);
        assert!(span.is_measuring());
        assert_eq!(span.on_time(begun + seconds(4)).unwrap(), None);
        let over = span.on_time(begun + seconds(6)).unwrap().unwrap();
        assert_eq!((over.measured, over.cpu), (seconds(4), None));
    }
}
