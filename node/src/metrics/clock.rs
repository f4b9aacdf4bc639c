//! Of a server's clock.

use super::{Result, advance, counter, counters};
use crate::role;
use papo_replica::Replica;
use prometheus::{Gauge, IntCounter, IntCounterVec, Opts, Registry};

/// Of the common time.
pub(super) struct ClockMetrics {
    offset: Gauge,
    ahead: Gauge,
    error: Gauge,
    rounds: IntCounterVec,
    probes_discarded: IntCounter,
    messages_ignored: IntCounter,
}

fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Gauge> {
    let gauge = Gauge::with_opts(Opts::new(name, help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

impl ClockMetrics {
    /// Names them.
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            offset: seconds(
                registry,
                "papo_server_clock_offset_seconds",
                "By how much the servers' time is ahead of this machine's calendar",
            )?,
            ahead: seconds(
                registry,
                "papo_server_clock_ahead_seconds",
                "By how much this server is ahead of the servers' time: it runs at half rate until level",
            )?,
            error: seconds(
                registry,
                "papo_server_clock_error_seconds",
                "By how much the last adjustment may have been wrong",
            )?,
            rounds: counters(
                registry,
                "papo_server_clock_rounds_total",
                "Rounds that this server held as the coordinator, by outcome",
                &["outcome"],
            )?,
            probes_discarded: counter(
                registry,
                "papo_server_clock_probes_discarded_total",
                "Probes of other clocks that took too long to tell anything",
            )?,
            messages_ignored: counter(
                registry,
                "papo_server_clock_messages_ignored_total",
                "Messages about the time of who does not coordinate, or about what was not asked",
            )?,
        })
    }

    /// Takes over the mind's state and counts.
    pub(super) fn update(&self, replica: &Replica) {
        let clock = replica.clock(role::now().monotonic);
        // Microseconds up to the year 9999 are exact in a double.
        self.offset.set(clock.offset.micros() as f64 / 1e6);
        self.ahead.set(clock.ahead.micros() as f64 / 1e6);
        self.error.set(clock.adjusted.map_or(0.0, |(error, _)| error.get().as_secs_f64()));
        let timekeeping = replica.timekeeping();
        for (outcome, count) in timekeeping.counts() {
            advance(&self.rounds.with_label_values(&[outcome.as_str()]), count);
        }
        advance(&self.probes_discarded, timekeeping.probes_discarded());
        advance(&self.messages_ignored, timekeeping.ignored());
    }
}
