//! Changes of the membership while a server runs: it may begin to count, or to leave. Who decides on them is no business of this
//! module's.

use super::{Effect, Now, Replica};
use crate::constants::IN_SYNC_WITHIN;
use crate::membership::{Membership, Standing};
use crate::vector::VersionVector;
use papo_protocol::ServerName;
use std::collections::BTreeSet;

impl Replica {
    /// The membership in force here.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.settings.membership
    }

    /// What this server is in it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.settings.membership.standing(&self.settings.name)
    }

    /// Whether this server had, a moment ago, all that a majority of the members had: what lets it become a member.
    #[must_use]
    pub fn is_in_sync(&self, now: Now) -> bool {
        self.is_majority(|name| {
            self.peers.covered.get(name).is_some_and(|at| *at + IN_SYNC_WITHIN > now.monotonic)
        })
    }

    /// Whether this server leaves, and every member has said that it holds all that this one held when the generation in force
    /// came, and all that it wrote since: then it may go for good, and its disk with it.
    #[must_use]
    pub fn is_released(&self) -> bool {
        let Some((_, held)) = &self.held_at_leaving else { return false };
        let mut members = self.settings.membership.members.iter();
        self.requests_waiting() == 0 && members.all(|name| self.has_taken_over(name, held))
    }

    /// Whether this server has said that it holds all of `held`, and all that this one has written.
    pub(super) fn has_taken_over(&self, name: &ServerName, held: &VersionVector) -> bool {
        let has = |writer: &_, count| self.peers.fsynced(name, writer) >= count;
        held.iter().all(|(writer, count)| has(writer, count))
            && has(&self.writer, self.history.count(&self.writer))
    }

    pub(super) fn on_members(&mut self, now: Now, new: Membership, effects: &mut Vec<Effect>) {
        let old = &self.settings.membership;
        if new.generation < old.generation {
            tracing::warn!(generation = new.generation, own = old.generation, "ignored an older membership");
            return;
        }
        let (before, after): (BTreeSet<_>, BTreeSet<_>) =
            (old.members.iter().collect(), new.members.iter().collect());
        if before.symmetric_difference(&after).count() > 1 {
            tracing::warn!(
                ?before,
                ?after,
                "more than one server begins or ceases to count at once: until each has what the others have, a majority of the \
                 new members may know less than was acknowledged"
            );
        }
        let gone: Vec<ServerName> =
            old.all().filter(|name| !new.all().any(|known| known == *name)).cloned().collect();
        self.settings.membership = new;
        for origin in gone {
            self.publish_for_the_gone(now, &origin, effects);
        }
        self.coordination.on_members(now.monotonic, &self.settings.membership.members);
        self.note_absences(now);
        self.note_leaving();
        self.note_caught_up();
        // Who has changed is to know soon what the others have, and they what it has.
        self.request_rounds(now, effects);
    }

    pub(super) fn note_leaving(&mut self) {
        self.held_at_leaving = match self.standing() {
            // Anew in each generation: members that had not heard of the one before may have counted this server's disk until now.
            Standing::Leaving => {
                let generation = self.settings.membership.generation;
                let before = self.held_at_leaving.take().filter(|(of, _)| *of == generation);
                before.or_else(|| Some((generation, self.history.vector())))
            }
            Standing::Member | Standing::Joining => None,
        };
    }
}
