//! Who of several operators works: the holder of a Lease. The others stand by.
//!
//! ```text
//! look --free, or unchanged for DURATION--> take --> renew every RENEW_EVERY --not renewed within RENEW_WITHIN, or taken--> lost
//!  ^------------held by another------------|
//! ```
//!
//! Guarantees: every write names the version that it read, so that of two who take a Lease at once the API server refuses one. No clock
//! is compared with another machine's: who stands by counts, by its own, for how long the Lease has not changed. A holder stops
//! ([`Held::keep`] returns, and the process ends) before others may take the Lease.
//!
//! Caveat: as with every lease, a process that was stopped for longer than [`DURATION`] may send one more request when it goes on. All
//! that it sends are applies of what a ChatCluster says, which the next holder's are, too.
//!
//! The crates for this are for older kube-rs; and what is needed is less than what they do.

use crate::metrics::Metrics;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// For so long a Lease is its holder's without a sign of life: as with Kubernetes' own controllers.
pub const DURATION: Duration = Duration::from_secs(15);
/// Within this a holder that cannot renew stops: well before [`DURATION`], so that others find nobody at work.
pub const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Between two renewals, and between two looks of who stands by.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long one try may take: a connection that hangs must leave time for another.
const TRY: Duration = Duration::from_secs(3);
/// Between two tries that failed.
const RETRY: Duration = Duration::from_secs(1);

const _: () = assert!(
    RENEW_EVERY.as_secs() + TRY.as_secs() < RENEW_WITHIN.as_secs()
        && RENEW_WITHIN.as_secs() < DURATION.as_secs()
);

/// Why the Lease is no longer held.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else has it.
    #[error("the Lease is {holder}'s now")]
    Taken {
        /// Who.
        holder: String,
    },
    /// It could not be renewed in time.
    #[error("the Lease could not be renewed for {} s", RENEW_WITHIN.as_secs())]
    NotRenewed {
        /// The last failure; none where the API server did not answer.
        #[source]
        source: Option<Box<kube::Error>>,
    },
}

/// A Lease, and who wants it.
#[derive(Clone)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    metrics: Metrics,
}

/// The Lease as it was when it was last renewed.
pub struct Held {
    candidate: Candidate,
    lease: Lease,
    /// Just before the renewal was sent.
    renewed: Instant,
}

/// What one who does not hold the Lease may do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Take,
    Wait,
}

impl Candidate {
    /// Wants the Lease of this name and namespace, as `identity`, which no other candidate may have.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, identity: String, metrics: Metrics) -> Self {
        Self { api: Api::namespaced(client, namespace), name, identity, metrics }
    }

    /// Waits until it holds the Lease. `on_wait` is called once it is known that somebody else does.
    pub async fn acquire(self, on_wait: impl Fn()) -> Held {
        let mut seen: Option<(Lease, Instant)> = None;
        loop {
            let asked = Instant::now();
            match timeout(TRY, self.try_take(&mut seen)).await {
                // If an earlier try has taken it after all, the Lease says so, and is taken again.
                Err(_elapsed) => tracing::warn!(lease = %self.name, "the API server did not answer"),
                Ok(Ok(Some(lease))) => return Held { candidate: self, lease, renewed: asked },
                Ok(Ok(None)) => {
                    on_wait();
                    sleep(RENEW_EVERY).await;
                }
                Ok(Err(error)) => {
                    tracing::warn!(lease = %self.name, %error, "the Lease could not be looked at or taken");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Takes the Lease if it may. `seen` is the Lease as last seen, and since when it has been so.
    async fn try_take(&self, seen: &mut Option<(Lease, Instant)>) -> Result<Option<Lease>, kube::Error> {
        self.metrics.on_request("Lease");
        let Some(live) = self.api.get_opt(&self.name).await? else {
            self.metrics.on_request("Lease");
            return unless_conflict(self.api.create(&PostParams::default(), &self.taken(None)).await);
        };
        let now = Instant::now();
        let since = match seen {
            Some((last, since)) if last.metadata.resource_version == live.metadata.resource_version => *since,
            _ => now,
        };
        *seen = Some((live.clone(), since));
        match turn(live.spec.as_ref(), &self.identity, now.duration_since(since)) {
            Turn::Wait => Ok(None),
            Turn::Take => {
                self.metrics.on_request("Lease");
                unless_conflict(
                    self.api.replace(&self.name, &PostParams::default(), &self.taken(Some(&live))).await,
                )
            }
        }
    }

    /// The Lease, taken by this candidate.
    fn taken(&self, live: Option<&Lease>) -> Lease {
        let before = live.and_then(|live| live.spec.as_ref());
        let transitions = before.and_then(|spec| spec.lease_transitions);
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: live.map_or_else(
                || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                |live| live.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                lease_transitions: Some(transitions.map_or(0, |count| count.saturating_add(1))),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// Whether a Lease that has been like this for so long may be taken.
fn turn(spec: Option<&LeaseSpec>, identity: &str, unchanged_for: Duration) -> Turn {
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    // Its own is an earlier process of the same pod, which has ended.
    if holder.is_empty() || holder == identity {
        return Turn::Take;
    }
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    if unchanged_for >= duration { Turn::Take } else { Turn::Wait }
}

/// A conflict is no failure: somebody else was faster.
fn unless_conflict(written: Result<Lease, kube::Error>) -> Result<Option<Lease>, kube::Error> {
    match written {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Held {
    /// Renews the Lease for as long as it can; returns when it is lost.
    pub async fn keep(&mut self) -> Lost {
        loop {
            sleep_until(self.renewed + RENEW_EVERY).await;
            if let Err(lost) = self.renew().await {
                return lost;
            }
        }
    }

    /// One renewal, with as many tries as fit.
    async fn renew(&mut self) -> Result<(), Lost> {
        let deadline = self.renewed + RENEW_WITHIN;
        let mut source = None;
        while Instant::now() < deadline {
            let asked = Instant::now();
            match timeout_at(deadline.min(asked + TRY), self.try_renew()).await {
                Ok(Ok(lease)) => {
                    (self.lease, self.renewed) = (lease, asked);
                    return Ok(());
                }
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
                    // An earlier renewal whose answer was lost; or somebody else.
                    self.look_again(deadline).await?;
                }
                Ok(Err(error)) => {
                    tracing::warn!(lease = %self.candidate.name, %error, "the Lease could not be renewed");
                    source = Some(Box::new(error));
                    sleep(RETRY).await;
                }
                Err(_elapsed) => {
                    tracing::warn!(lease = %self.candidate.name, "the API server did not answer");
                }
            }
        }
        Err(Lost::NotRenewed { source })
    }

    async fn try_renew(&self) -> Result<Lease, kube::Error> {
        let mut lease = self.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.write(&lease).await
    }

    async fn look_again(&mut self, deadline: Instant) -> Result<(), Lost> {
        self.candidate.metrics.on_request("Lease");
        let Ok(Ok(live)) =
            timeout_at(deadline.min(Instant::now() + TRY), self.candidate.api.get(&self.candidate.name))
                .await
        else {
            sleep(RETRY).await;
            return Ok(());
        };
        let holder = live.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        if holder != self.candidate.identity {
            return Err(Lost::Taken { holder });
        }
        self.lease = live;
        Ok(())
    }

    /// Gives the Lease back, so that another need not wait. Only after all work has ended.
    pub async fn release(self) {
        let mut lease = self.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        match timeout(TRY, self.write(&lease)).await {
            Ok(Ok(_)) => {}
            // It runs out by itself.
            Ok(Err(error)) => tracing::debug!(%error, "the Lease was not given back"),
            Err(_elapsed) => tracing::debug!("the Lease was not given back in time"),
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.candidate.metrics.on_request("Lease");
        self.candidate.api.replace(&self.candidate.name, &PostParams::default(), lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn_of(holder: Option<&str>, unchanged_for: u64) -> Turn {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        turn(Some(&spec), "me", Duration::from_secs(unchanged_for))
    }

    #[test]
    fn a_lease_of_nobody_or_of_an_earlier_self_is_taken_at_once() {
        assert_eq!(turn(None, "me", Duration::ZERO), Turn::Take);
        assert_eq!(turn_of(None, 0), Turn::Take);
        assert_eq!(turn_of(Some(""), 0), Turn::Take);
        assert_eq!(turn_of(Some("me"), 0), Turn::Take);
    }

    #[test]
    fn a_lease_of_another_is_taken_only_when_it_gave_no_sign_of_life_for_its_whole_time() {
        assert_eq!(turn_of(Some("other"), 0), Turn::Wait);
        assert_eq!(turn_of(Some("other"), 14), Turn::Wait);
        assert_eq!(turn_of(Some("other"), 15), Turn::Take);
    }
}
