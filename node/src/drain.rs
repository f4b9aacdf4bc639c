//! How a broker or a proxy leaves after SIGTERM: first it serves on for a while as if nothing had happened, because what leads
//! clients to it (the endpoints of a Kubernetes Service) learns of its end late; then it takes no new connections and ends those that
//! it has, each when it has nothing more to give it; then it goes.
//!
//! This module must not know clocks, links or requests: time and activity are arguments.

use std::time::Duration;

/// A leaving role without anything to do waits so long for what may be on the wire.
const QUIET: Duration = Duration::from_millis(400);

/// How long the stages of leaving take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainSettings {
    /// Served on after SIGTERM, at least. Zero where nobody is led here by a list that lags behind.
    pub serve_on: Duration,
    /// Time for the connections to end, at most.
    pub end_within: Duration,
}

/// Where a role stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not told to stop.
    Serving,
    /// Told to stop, and not ready any more; serving on.
    ServingOn,
    /// No new connections; those that are there end.
    Ending,
    /// To go now.
    Gone,
}

/// What the role did since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// It owes somebody something.
    pub owes: bool,
    /// Everything that it has ever been told, as a count that only grows.
    pub heard: u64,
}

/// A role's way out.
#[derive(Debug)]
pub struct Drain {
    settings: DrainSettings,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Serving,
    ServingOn { until: Duration },
    Ending { until: Duration, heard: u64, quiet_since: Duration },
    Gone,
}

impl Drain {
    /// Of a role that serves.
    #[must_use]
    pub fn new(settings: DrainSettings) -> Self {
        Self { settings, state: State::Serving }
    }

    /// The role was told to stop. Later calls change nothing.
    pub fn begin(&mut self, now: Duration) {
        if matches!(self.state, State::Serving) {
            self.state = State::ServingOn { until: now + self.settings.serve_on };
        }
    }

    /// Whether the role was told to stop: it is not ready any more.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Serving)
    }

    /// Where the role stands now. To be asked often once [`Self::has_begun`]; a stage that this call enters is answered once, before
    /// the next one.
    pub fn stage(&mut self, now: Duration, activity: Activity) -> Stage {
        match self.state {
            State::Serving => Stage::Serving,
            State::ServingOn { until } if now < until => Stage::ServingOn,
            State::ServingOn { .. } => {
                let until = now + self.settings.end_within;
                self.state = State::Ending { until, heard: activity.heard, quiet_since: now };
                Stage::Ending
            }
            State::Ending { until, heard, quiet_since } => {
                let busy = activity.owes || activity.heard != heard;
                let quiet_since = if busy { now } else { quiet_since };
                if now >= until || now.saturating_sub(quiet_since) >= QUIET {
                    self.state = State::Gone;
                    return Stage::Gone;
                }
                self.state = State::Ending { until, heard: activity.heard, quiet_since };
                Stage::Ending
            }
            State::Gone => Stage::Gone,
        }
    }

    /// How long a role may wait for other things before it asks for its stage again.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.state {
            State::Serving => Duration::MAX,
            State::ServingOn { .. } | State::Ending { .. } => QUIET / 4,
            State::Gone => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Activity = Activity { owes: false, heard: 7 };
    const BUSY: Activity = Activity { owes: true, heard: 7 };

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn drain(serve_on: u64, end_within: u64) -> Drain {
        Drain::new(DrainSettings { serve_on: at(serve_on), end_within: at(end_within) })
    }

    #[test]
    fn a_role_that_was_not_told_to_stop_serves() {
        let mut drain = drain(0, 0);
        assert_eq!(drain.stage(at(1_000_000), IDLE), Stage::Serving);
        assert!(!drain.has_begun());
    }

    #[test]
    fn it_serves_on_for_the_time_given_however_idle() {
        let mut drain = drain(5_000, 10_000);
        drain.begin(at(100));
        assert!(drain.has_begun());
        assert_eq!(drain.stage(at(100), IDLE), Stage::ServingOn);
        assert_eq!(drain.stage(at(5_099), IDLE), Stage::ServingOn);
        drain.begin(at(5_099));
        assert_eq!(drain.stage(at(5_100), IDLE), Stage::Ending);
    }

    #[test]
    fn without_such_a_time_it_ends_at_once_and_goes_when_all_is_quiet() {
        let mut drain = drain(0, 10_000);
        drain.begin(at(100));
        assert_eq!(drain.stage(at(100), IDLE), Stage::Ending);
        assert_eq!(drain.stage(at(499), IDLE), Stage::Ending);
        assert_eq!(drain.stage(at(500), IDLE), Stage::Gone);
        assert_eq!(drain.stage(at(501), BUSY), Stage::Gone);
    }

    #[test]
    fn what_it_owes_or_hears_keeps_it() {
        let mut drain = drain(0, 10_000);
        drain.begin(at(0));
        assert_eq!(drain.stage(at(0), IDLE), Stage::Ending);
        assert_eq!(drain.stage(at(399), BUSY), Stage::Ending);
        assert_eq!(drain.stage(at(798), IDLE), Stage::Ending);
        assert_eq!(drain.stage(at(798), Activity { owes: false, heard: 8 }), Stage::Ending);
        assert_eq!(drain.stage(at(1_197), Activity { owes: false, heard: 8 }), Stage::Ending);
        assert_eq!(drain.stage(at(1_198), Activity { owes: false, heard: 8 }), Stage::Gone);
    }

    #[test]
    fn it_goes_in_time_whatever_it_owes() {
        let mut drain = drain(0, 2_000);
        drain.begin(at(0));
        assert_eq!(drain.stage(at(0), BUSY), Stage::Ending);
        assert_eq!(drain.stage(at(1_999), BUSY), Stage::Ending);
        assert_eq!(drain.stage(at(2_000), BUSY), Stage::Gone);
    }

    #[test]
    fn each_stage_is_seen_even_by_one_who_asks_late() {
        let mut drain = drain(5_000, 0);
        drain.begin(at(0));
        assert_eq!(drain.stage(at(60_000), IDLE), Stage::Ending);
        assert_eq!(drain.stage(at(60_000), IDLE), Stage::Gone);
    }
}
