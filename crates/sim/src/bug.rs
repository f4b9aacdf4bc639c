//! Bugs that are planted on purpose, so that it is known that the checks see them. Each breaks what surrounds a mind: the body
//! that executes its effects, or the disk.

use clap::ValueEnum;

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
}

impl Bug {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Within so many seeds from 0 on, one fails.
    #[must_use]
    pub fn caught_within(self) -> u64 {
        200
    }
}
