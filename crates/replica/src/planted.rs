//! Bugs that the simulator plants in this mind, so that it is known that its checks would see them. Only a build with the feature
//! `planted-bugs` can have one; in every other the questions below are answered with a constant, and the compiler drops them.

use crate::vector::{VersionVector, Writer};
use papo_protocol::ServerName;
use std::collections::BTreeMap;

/// A bug of a mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The promised number of disks is counted among the members that are linked, not among all.
    QuorumOverLive,
    /// What was pushed to a peer counts as on its disk.
    PushCountsAsStored,
    /// What a peer's earlier boot had on disk counts for the next one, too.
    PeerVectorsMerged,
    /// Operations are shown as soon as they are on this disk.
    ShownBeforeDurable,
    /// What peers say is shown is not believed, only what is counted here.
    ShownNotMerged,
    /// A client that waited too long for disks is told that its write is done.
    UnknownTakenForDone,
    /// A new boot writes before it has heard of a majority.
    StartBarrierSkipped,
    /// The Lamport clock does not rise above operations of peers.
    LamportNotRaised,
    /// Pulls are answered without the first operation that is missing.
    PullOffByOne,
    /// What collected behind a batch that a full disk refused is stored nevertheless.
    RefusedBatchFollowed,
    /// A cursor passes over what arrived late: what stands before the last operation that it has.
    CursorSkipsLate,
    /// Operations of one identity are all shown.
    #[cfg(feature = "planted-bugs")]
    TwinsShown,
    /// What a session has seen is not waited for.
    SessionNotAwaited,
    /// Absence is taken for granted without asking the peers.
    AbsenceNotAsked,
    /// What a dead server did not publish nobody publishes.
    NotPublishedForTheDead,
    /// What a coordinator of a lower epoch says is obeyed.
    EpochUnfenced,
    /// An epoch is led before it is on the disk.
    LeadsBeforeAdopting,
    /// That a better server holds its own election is not heard.
    AnswerIgnored,
    /// Whoever is asked begins another election beside the one that it holds.
    TwoElections,
    /// A clock that is ahead steps back.
    ClockStepsBack,
    /// A calendar that is far from all others counts as they do.
    OutlierCounts,
}

/// What is planted, and what it needs to remember.
#[derive(Debug, Default)]
pub(crate) struct Plant {
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<Planted>,
    /// For [`Planted::PeerVectorsMerged`]: what members had on disk when a link to them went down.
    ghosts: BTreeMap<ServerName, VersionVector>,
}

impl Plant {
    /// Whether this bug is planted.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(&self, bug: Planted) -> bool {
        self.bug == Some(bug)
    }

    /// Never.
    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) const fn has(&self, _bug: Planted) -> bool {
        false
    }

    /// A link to this member goes down.
    pub(crate) fn keep_vector(&mut self, name: &ServerName, have: &VersionVector) {
        if self.has(Planted::PeerVectorsMerged) {
            self.ghosts.entry(name.clone()).or_default().merge(have);
        }
    }

    /// How many operations of `writer` an earlier boot of this member had on disk: 0 where nothing is planted.
    pub(crate) fn had(&self, name: &ServerName, writer: &Writer) -> u64 {
        self.ghosts.get(name).map_or(0, |have| have.get(writer))
    }
}
