//! How it is shown who leads.

use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use std::time::Duration;

/// Whom this server obeys, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership<'a> {
    /// The highest epoch on this server's disk.
    pub epoch: Epoch,
    /// Who leads it, if this server hears it, or is it.
    pub coordinator: Option<&'a ServerName>,
    /// What this server does about it.
    pub role: Role,
    /// Since when it is the same one, on the monotonic clock; since the start while there is none.
    pub since: Duration,
}

/// What a server is in the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is the coordinator.
    Leading,
    /// It hears one.
    Following,
    /// It holds an election.
    Electing,
    /// It hears none, and waits.
    Leaderless,
}

impl Role {
    /// In a word, as `/status` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Following => "following",
            Self::Electing => "electing",
            Self::Leaderless => "leaderless",
        }
    }
}
