//! What a mind did by itself, that an operator wants to know. The host words it, for logs, and counts it.

use crate::timekeeping::RoundReport;
use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use papo_protocol::reference::ClaimRefusal;
use std::time::Duration;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Nothing was heard of the coordinator for long.
    CoordinatorSuspected {
        /// Who it was.
        coordinator: ServerName,
        /// In which epoch.
        epoch: Epoch,
    },
    /// This server holds an election.
    ElectionBegun {
        /// Whom it asks: the better ones that it reaches.
        asked: Vec<ServerName>,
    },
    /// A better server takes the election over.
    ElectionTakenOver {
        /// Which.
        by: ServerName,
    },
    /// No better server answered, or none announced itself: this one asks the reference service for an epoch.
    NobodyAnswered,
    /// The reference service grants none now.
    ClaimRefused {
        /// Its highest.
        epoch: Epoch,
        /// Who holds that.
        holder: Option<ServerName>,
        /// The reason.
        why: ClaimRefusal,
    },
    /// An election is over.
    ElectionEnded {
        /// How.
        outcome: ElectionOutcome,
        /// How long it took.
        took: Duration,
    },
    /// This server is the coordinator, and announces it.
    Leads {
        /// Of this epoch.
        epoch: Epoch,
    },
    /// Another server is the coordinator from now on, as far as this one is concerned.
    Follows {
        /// Which.
        coordinator: ServerName,
        /// In which epoch.
        epoch: Epoch,
    },
    /// This server was the coordinator, and has heard of a higher epoch.
    Deposed {
        /// Its own.
        own: Epoch,
        /// The higher one.
        by: Epoch,
    },
    /// This server hands its office over.
    HandsOver {
        /// To whom; `None` when it gives it up and nobody is there.
        to: Option<ServerName>,
    },
    /// Whom the office was handed to has not taken it.
    HandOverFailed {
        /// Who.
        to: ServerName,
    },
    /// This server had the servers agree on the time.
    RoundHeld(RoundReport),
}

/// How an election ended for the server that held it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElectionOutcome {
    /// It is the coordinator.
    Won,
    /// Another is.
    Lost,
    /// Nobody is, as far as it hears.
    Failed,
}

impl ElectionOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Won, Self::Lost, Self::Failed];

    /// In a word, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}
