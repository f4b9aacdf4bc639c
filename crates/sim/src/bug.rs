//! Bugs that are planted on purpose, so that it is known that the checks see them, and see them for what they are. Some break what
//! surrounds a mind: the body that executes its effects, or the disk. The others are inside the mind itself, in a build with the
//! feature `planted-bugs` ([`papo_replica::Planted`]).

use crate::checker::Invariant;
use clap::ValueEnum;
#[cfg(feature = "planted-bugs")]
use papo_replica::Planted;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Bug {
    /// A batch is reported as stored before it is on disk.
    AckBeforeFsync,
    /// A batch that a full disk refused is reported as stored.
    FullTakenForStored,
    /// A batch whose fsync failed is reported as stored, and the server goes on.
    FsyncErrorIgnored,
    /// A restarted server keeps its old boot.
    BootReused,
    /// A restarted server forgets how far its Lamport clock had come.
    CeilingForgotten,
    /// A restarted server forgets under which identities it stored what it has.
    IdentityForgotten,
    /// A crash in the middle of a batch leaves its later half.
    TornBatchKept,
    /// Publications reach the proxy without their identity, so that what is sent again is heard again.
    NoDedupe,
    /// What was published lately is not sent again to a proxy that comes back.
    NothingSentAgain,
    /// Publications wait in the server until after the reply, and die with it.
    PublishedAfterReply,
    /// A broker loses the next reply after a worker died.
    ReplyLostAfterDeath,
    /// A request has another key on each server that it is given to.
    NewKeyOnRedispatch,
    /// A broker hands no cookie on.
    CookieDropped,
    /// A broker hands a client the cookie of another.
    CookieSwapped,
    /// A reply goes to two clients.
    ReplyMisdirected,
    /// A broker answers twice.
    ReplyDoubled,
    /// A proxy matches topics by their beginning.
    TopicByPrefix,
    /// A proxy gives direct messages to who subscribed to everything.
    DirectMessagesToAll,
    /// A server does not read what its peers push or answer after a reconnect.
    DeafAfterReconnect,
    /// An epoch is reported as stored, and is not on the disk.
    EpochNotPersisted,
    /// The reference service grants an epoch before that is on its disk.
    GrantBeforeFsync,
    /// A restarted server forgets what time it had come to.
    ClockForgotten,
    /// What a coordinator of a lower epoch says is obeyed.
    #[cfg(feature = "planted-bugs")]
    EpochUnfenced,
    /// An epoch is led before it is on the disk.
    #[cfg(feature = "planted-bugs")]
    LeadsBeforeAdopting,
    /// That a better server holds its own election is not heard.
    #[cfg(feature = "planted-bugs")]
    AnswerIgnored,
    /// Whoever is asked begins another election beside the one that it holds.
    #[cfg(feature = "planted-bugs")]
    TwoElections,
    /// A clock that is ahead steps back.
    #[cfg(feature = "planted-bugs")]
    ClockStepsBack,
    /// A calendar that is far from all others counts as they do.
    #[cfg(feature = "planted-bugs")]
    OutlierCounts,
    /// The promised number of disks is counted among the members that are linked, not among all.
    #[cfg(feature = "planted-bugs")]
    QuorumOverLive,
    /// What was pushed to a peer counts as on its disk.
    #[cfg(feature = "planted-bugs")]
    PushCountsAsStored,
    /// What a peer's earlier boot had on disk counts for the next one, too.
    #[cfg(feature = "planted-bugs")]
    PeerVectorsMerged,
    /// Operations are shown as soon as they are on the disk of the server that took them.
    #[cfg(feature = "planted-bugs")]
    ShownBeforeDurable,
    /// What peers say is shown is not believed.
    #[cfg(feature = "planted-bugs")]
    ShownNotMerged,
    /// A client that waited too long for disks is told that its write is done.
    #[cfg(feature = "planted-bugs")]
    UnknownTakenForDone,
    /// A new boot writes before it has heard of a majority.
    #[cfg(feature = "planted-bugs")]
    StartBarrierSkipped,
    /// A server's Lamport clock does not rise above operations of its peers.
    #[cfg(feature = "planted-bugs")]
    LamportNotRaised,
    /// Pulls are answered without the first operation that is missing.
    #[cfg(feature = "planted-bugs")]
    PullOffByOne,
    /// What collected behind a batch that a full disk refused is stored nevertheless.
    #[cfg(feature = "planted-bugs")]
    RefusedBatchFollowed,
    /// A cursor passes over what arrived late.
    #[cfg(feature = "planted-bugs")]
    CursorSkipsLate,
    /// Operations of one identity are all shown.
    #[cfg(feature = "planted-bugs")]
    TwinsShown,
    /// What a session has seen is not waited for.
    #[cfg(feature = "planted-bugs")]
    SessionNotAwaited,
    /// Absence is taken for granted without asking the peers.
    #[cfg(feature = "planted-bugs")]
    AbsenceNotAsked,
    /// What a dead server did not publish nobody publishes.
    #[cfg(feature = "planted-bugs")]
    NotPublishedForTheDead,
}

impl Bug {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The same for the mind that has it, if a mind has.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn inside(self) -> Option<Planted> {
        match self {
            Self::EpochUnfenced => Some(Planted::EpochUnfenced),
            Self::LeadsBeforeAdopting => Some(Planted::LeadsBeforeAdopting),
            Self::AnswerIgnored => Some(Planted::AnswerIgnored),
            Self::TwoElections => Some(Planted::TwoElections),
            Self::ClockStepsBack => Some(Planted::ClockStepsBack),
            Self::OutlierCounts => Some(Planted::OutlierCounts),
            Self::QuorumOverLive => Some(Planted::QuorumOverLive),
            Self::PushCountsAsStored => Some(Planted::PushCountsAsStored),
            Self::PeerVectorsMerged => Some(Planted::PeerVectorsMerged),
            Self::ShownBeforeDurable => Some(Planted::ShownBeforeDurable),
            Self::ShownNotMerged => Some(Planted::ShownNotMerged),
            Self::UnknownTakenForDone => Some(Planted::UnknownTakenForDone),
            Self::StartBarrierSkipped => Some(Planted::StartBarrierSkipped),
            Self::LamportNotRaised => Some(Planted::LamportNotRaised),
            Self::PullOffByOne => Some(Planted::PullOffByOne),
            Self::RefusedBatchFollowed => Some(Planted::RefusedBatchFollowed),
            Self::CursorSkipsLate => Some(Planted::CursorSkipsLate),
            Self::TwinsShown => Some(Planted::TwinsShown),
            Self::SessionNotAwaited => Some(Planted::SessionNotAwaited),
            Self::AbsenceNotAsked => Some(Planted::AbsenceNotAsked),
            Self::NotPublishedForTheDead => Some(Planted::NotPublishedForTheDead),
            _ => None,
        }
    }

    /// Within so many seeds from 0 on, one breaks a rule that this bug may break.
    #[must_use]
    pub fn caught_within(self) -> u64 {
        self.signature().0
    }

    /// Whether a broken rule shows this bug, and not a weakness of the simulator.
    #[must_use]
    pub fn explains(self, invariant: Invariant) -> bool {
        self.signature().1.contains(&invariant)
    }

    /// Within how many seeds it is caught, and by which rules.
    fn signature(self) -> (u64, &'static [Invariant]) {
        use Invariant::{
            Answered, Causal, Converges, Durable, Epochs, Equal, Heard, Honest, Lasting, Named, Once,
            Session, Starts, Time,
        };
        match self {
            Self::AckBeforeFsync => (50, &[Durable, Epochs]),
            Self::FullTakenForStored => (50, &[Durable, Starts, Epochs]),
            Self::FsyncErrorIgnored => (50, &[Durable, Starts, Epochs]),
            Self::EpochNotPersisted => (50, &[Epochs]),
            Self::ClockForgotten => (300, &[Time]),
            #[cfg(feature = "planted-bugs")]
            Self::ClockStepsBack | Self::OutlierCounts => (100, &[Time]),
            Self::GrantBeforeFsync => (500, &[Epochs]),
            #[cfg(feature = "planted-bugs")]
            Self::EpochUnfenced => (50, &[Epochs]),
            #[cfg(feature = "planted-bugs")]
            Self::LeadsBeforeAdopting => (50, &[Epochs]),
            #[cfg(feature = "planted-bugs")]
            Self::AnswerIgnored => (500, &[Invariant::Leads]),
            #[cfg(feature = "planted-bugs")]
            Self::TwoElections => (50, &[Epochs]),
            Self::BootReused => (50, &[Once, Equal, Durable, Converges, Lasting, Starts]),
            Self::CeilingForgotten => (500, &[Causal]),
            Self::IdentityForgotten => (50, &[Once, Heard, Equal, Durable]),
            Self::TornBatchKept => (500, &[Starts]),
            Self::NoDedupe => (50, &[Heard]),
            Self::NothingSentAgain => (50, &[Heard]),
            Self::PublishedAfterReply => (2000, &[Heard]),
            Self::ReplyLostAfterDeath => (50, &[Answered, Converges]),
            Self::NewKeyOnRedispatch => (50, &[Once, Heard]),
            Self::CookieDropped => (50, &[Session, Causal]),
            Self::CookieSwapped => (50, &[Session, Causal]),
            Self::ReplyMisdirected => (50, &[Answered, Causal]),
            Self::ReplyDoubled => (50, &[Answered]),
            Self::TopicByPrefix => (50, &[Named]),
            Self::DirectMessagesToAll => (50, &[Named]),
            Self::DeafAfterReconnect => (50, &[Converges, Honest]),
            #[cfg(feature = "planted-bugs")]
            Self::QuorumOverLive | Self::PushCountsAsStored => (50, &[Durable]),
            #[cfg(feature = "planted-bugs")]
            Self::PeerVectorsMerged => (1000, &[Durable]),
            #[cfg(feature = "planted-bugs")]
            Self::ShownBeforeDurable => (50, &[Durable, Lasting]),
            #[cfg(feature = "planted-bugs")]
            Self::ShownNotMerged => (1000, &[Invariant::Spreads]),
            #[cfg(feature = "planted-bugs")]
            Self::UnknownTakenForDone => (50, &[Durable]),
            #[cfg(feature = "planted-bugs")]
            Self::StartBarrierSkipped => (10_000, &[Causal]),
            #[cfg(feature = "planted-bugs")]
            Self::LamportNotRaised => (200, &[Causal]),
            #[cfg(feature = "planted-bugs")]
            Self::PullOffByOne => (50, &[Converges, Honest]),
            #[cfg(feature = "planted-bugs")]
            Self::RefusedBatchFollowed => (5000, &[Converges, Durable, Equal, Starts]),
            #[cfg(feature = "planted-bugs")]
            Self::CursorSkipsLate => (50, &[Lasting]),
            #[cfg(feature = "planted-bugs")]
            Self::TwinsShown => (100, &[Once, Equal]),
            #[cfg(feature = "planted-bugs")]
            Self::SessionNotAwaited => (300, &[Session]),
            #[cfg(feature = "planted-bugs")]
            Self::AbsenceNotAsked => (1000, &[Honest]),
            #[cfg(feature = "planted-bugs")]
            Self::NotPublishedForTheDead => (3000, &[Heard]),
        }
    }
}
