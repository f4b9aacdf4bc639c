//! A model of the reference service. The real one is in a crate that this one must not know.

use super::world::seconds;
use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::{Claim, ClaimAnswer, ClaimRefusal, ReferenceAnswer, ReferenceCall};
use std::time::Duration;

/// The reference service: what the design says of it, in a few lines.
#[derive(Debug, Default)]
pub struct Reference {
    pub is_up: bool,
    /// It does not know the servers' token.
    pub denies_claims: bool,
    pub started: Duration,
    pub epoch: Epoch,
    pub holder: Option<ServerName>,
    pub reported: Option<(Duration, u32)>,
    pub last_grant: Option<(Claim, Epoch)>,
}

impl Reference {
    pub fn answer(&mut self, now: Duration, call: &ReferenceCall) -> ReferenceAnswer {
        match call {
            ReferenceCall::Claim(_) if self.denies_claims => ReferenceAnswer::Denied,
            ReferenceCall::Claim(claim) => ReferenceAnswer::Claimed(self.claim(now, claim)),
            ReferenceCall::Report(report) => {
                if report.epoch == self.epoch && self.holder.as_ref() == Some(&report.name) {
                    self.reported = Some((now, report.reached));
                }
                ReferenceAnswer::Reported(self.epoch)
            }
            ReferenceCall::Resign(resign) => {
                if resign.epoch == self.epoch {
                    self.holder = None;
                }
                ReferenceAnswer::Reported(self.epoch)
            }
            _ => ReferenceAnswer::Alive,
        }
    }

    pub fn claim(&mut self, now: Duration, claim: &Claim) -> ClaimAnswer {
        if let Some((before, epoch)) = &self.last_grant
            && (&before.name, before.boot, before.seen) == (&claim.name, claim.boot, claim.seen)
        {
            return ClaimAnswer::Granted(*epoch);
        }
        let refuse = |why| ClaimAnswer::Refused { epoch: self.epoch, holder: self.holder.clone(), why };
        if now < self.started + seconds(2) {
            return refuse(ClaimRefusal::TooSoon);
        }
        if claim.seen < self.epoch {
            return refuse(ClaimRefusal::Superseded);
        }
        let is_held = self.holder.as_ref().is_some_and(|holder| *holder != claim.name)
            && self.reported.is_some_and(|(at, reached)| at + seconds(2) > now && reached >= claim.reached);
        if is_held {
            return refuse(ClaimRefusal::Held);
        }
        let epoch = claim.seen.next(claim.boot).unwrap();
        (self.epoch, self.holder) = (epoch, Some(claim.name.clone()));
        self.reported = Some((now, claim.reached));
        self.last_grant = Some((claim.clone(), epoch));
        ClaimAnswer::Granted(epoch)
    }

    /// What survives of an older copy of its disk.
    pub fn restart(&mut self, now: Duration, epoch: Epoch) {
        *self = Self { is_up: true, started: now, epoch, ..Self::default() };
    }
}
