//! Invariant 4: at most one coordinator an epoch; epochs only grow; a lower one changes nothing. And whom servers agree on in the end.

use super::{Checker, Invariant};
use crate::clock::{Micros, SECOND};
use papo_protocol::{Boot, Epoch, ServerName};
use papo_replica::Role;
use std::collections::{BTreeMap, BTreeSet};

/// After an election that came to nothing a server stays out of others for a while (half a minute, and what it waits beside).
const OUT_FOR: Micros = 35 * SECOND;
/// A hand-over may be under way for so long.
const HANDING_OVER: Micros = 10 * SECOND;

/// What a server says of who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The highest epoch on its disk.
    pub epoch: Epoch,
    /// What it is.
    pub role: Role,
    /// Whom it obeys.
    pub coordinator: Option<ServerName>,
}

/// An election under way.
#[derive(Debug)]
struct Election {
    began: Micros,
    /// A better server took it over.
    is_answered: bool,
    /// An epoch was claimed in it. What is granted before that was claimed in an earlier one: the reference service stood still meanwhile.
    has_claimed: bool,
}

/// Everything that was seen of epochs.
#[derive(Debug, Default)]
pub struct Epochs {
    /// Which server each boot is of.
    boots: BTreeMap<Boot, usize>,
    /// Every epoch that the reference service decided on; it may have died before it told that, and have it on its disk.
    decided: BTreeSet<Epoch>,
    /// Every epoch that was granted, as the claimant was told.
    granted: BTreeMap<Epoch, usize>,
    /// The highest number that was granted since the reference service's disk was last harmed.
    highest: u64,
    /// What each server last said.
    views: BTreeMap<usize, (Boot, View)>,
    /// The highest epoch that each server adopted, and has on its disk unless that was harmed.
    adopted: BTreeMap<usize, Epoch>,
    /// The election that each boot holds.
    electing: BTreeMap<Boot, Election>,
    /// When an election of each server last came to nothing.
    failed: BTreeMap<usize, Micros>,
    /// When an office was last handed over.
    handed_over_at: Option<Micros>,
}

impl Epochs {
    /// A server starts.
    pub fn on_boot(&mut self, server: usize, boot: Boot) {
        self.boots.insert(boot, server);
        self.views.remove(&server);
    }

    /// A server's disk is not what it was.
    pub fn on_harmed(&mut self, server: usize) {
        self.adopted.remove(&server);
    }

    /// The file of the reference service is not what it was.
    pub fn on_reference_harmed(&mut self) {
        self.highest = 0;
    }

    /// An office is on its way from one server to another.
    pub fn on_handing_over(&mut self, at: Micros) {
        self.handed_over_at = Some(at);
    }

    /// An election came to nothing.
    pub fn on_failed(&mut self, at: Micros, server: usize) {
        self.failed.insert(server, at);
    }

    /// Whether this server may stay out of an election.
    #[must_use]
    pub fn may_stay_out(&self, at: Micros, server: usize) -> bool {
        self.failed.get(&server).is_some_and(|failed| failed + OUT_FOR > at)
            || self.handed_over_at.is_some_and(|handed| handed + HANDING_OVER > at)
    }

    /// The reference service decides on an epoch.
    pub fn on_decided(&mut self, epoch: Epoch) {
        self.decided.insert(epoch);
    }

    /// A better server answers.
    pub fn on_answered(&mut self, boot: Boot) {
        if let Some(election) = self.electing.get_mut(&boot) {
            election.is_answered = true;
        }
    }

    /// A claim that was made at that moment is on its way to the reference service.
    pub fn on_claimed(&mut self, boot: Boot, made_at: Micros) {
        if let Some(election) = self.electing.get_mut(&boot) {
            election.has_claimed |= made_at >= election.began;
        }
    }

    /// Since when a boot holds an election in which it has claimed an epoch, and no better server has answered.
    #[must_use]
    pub fn unanswered_since(&self, boot: Boot) -> Option<Micros> {
        let election = self.electing.get(&boot)?;
        (election.has_claimed && !election.is_answered).then_some(election.began)
    }
}

impl Checker {
    /// The reference service grants an epoch, perhaps again.
    pub fn on_granted(&mut self, at: Micros, server: usize, boot: Boot, epoch: Epoch) {
        let epochs = &mut self.epochs;
        let is_new = !epochs.granted.contains_key(&epoch);
        let holder = *epochs.granted.entry(epoch).or_insert(server);
        let highest = epochs.highest;
        epochs.highest = highest.max(epoch.number);
        if holder != server || epoch.boot != boot {
            self.violate(at, Invariant::Epochs, || {
                format!("{epoch} is granted to server-{}, and is not of its boot {boot}", server + 1)
            });
        } else if is_new && epoch.number <= highest {
            self.violate(at, Invariant::Epochs, || {
                format!("{epoch} is granted to server-{} after epoch {highest} was granted", server + 1)
            });
        }
    }

    /// The reference service starts, and finds this epoch in its file: none below any that it granted.
    pub fn on_reference_start(&mut self, at: Micros, stored: Epoch) {
        let highest = self.epochs.highest;
        if stored.number < highest {
            self.violate(at, Invariant::Epochs, || {
                format!("the reference service has granted epoch {highest}, and its file has {stored}")
            });
        }
    }

    /// What a server says of who leads, and the epoch on its disk.
    pub fn on_view(&mut self, at: Micros, (server, boot): (usize, Boot), view: View, stored: Epoch) {
        if self.epochs.views.get(&server).is_some_and(|(of, before)| *of == boot && *before == view) {
            return;
        }
        let name = server + 1;
        let View { epoch, role, coordinator } = view.clone();
        let before = self.epochs.adopted.insert(server, epoch).unwrap_or_default();
        let owner = self.epochs.boots.get(&epoch.boot).copied();
        let is_granted = self.epochs.decided.contains(&epoch);
        self.epochs.views.insert(server, (boot, view));
        if epoch < before {
            self.violate(at, Invariant::Epochs, || {
                format!("server-{name} is at {epoch}, and was at {before}")
            });
        } else if epoch > stored {
            self.violate(at, Invariant::Epochs, || {
                format!("server-{name} has adopted {epoch}, and its disk has {stored}")
            });
        } else if epoch != Epoch::default() && !is_granted {
            self.violate(at, Invariant::Epochs, || {
                format!("server-{name} has adopted {epoch}, which nobody was granted")
            });
        } else if role == Role::Leading && epoch.boot != boot {
            self.violate(at, Invariant::Epochs, || {
                format!("server-{name} leads {epoch}, and is in boot {boot}")
            });
        } else if let Some(coordinator) = coordinator
            && owner.is_none_or(|owner| coordinator.as_str() != format!("server-{}", owner + 1))
        {
            self.violate(at, Invariant::Epochs, || {
                format!("server-{name} obeys {coordinator} in {epoch}, which is another's")
            });
        }
    }

    /// A server begins an election; it has one at a time.
    pub fn on_election(&mut self, at: Micros, server: usize, boot: Boot) {
        let election = Election { began: at, is_answered: false, has_claimed: false };
        if let Some(Election { began: since, .. }) = self.epochs.electing.insert(boot, election) {
            self.violate(at, Invariant::Epochs, || {
                format!(
                    "server-{} begins an election, and has held another since {}",
                    server + 1,
                    crate::trace::Seconds(since)
                )
            });
        }
    }

    /// An election is over.
    pub fn on_election_ended(&mut self, boot: Boot) {
        self.epochs.electing.remove(&boot);
    }
}
