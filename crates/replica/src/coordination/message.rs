//! What servers say to each other about who leads. Every message carries an epoch.

use papo_protocol::ServerName;
use papo_protocol::epoch::Epoch;
use serde::{Deserialize, Serialize};

/// One message. `epoch` is the highest that is on the sender's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// A coordinator's beat: the sender leads this epoch, which bears its boot.
    Lead {
        /// Which.
        epoch: Epoch,
    },
    /// The sender holds an election: is the receiver, which is better, able to lead? (Garcia-Molina's ELECTION.)
    Elect {
        /// The sender's.
        epoch: Epoch,
    },
    /// It is, and holds its own. (OK.)
    Answer {
        /// The sender's.
        epoch: Epoch,
    },
    /// What the sender obeys. Answers an [`Message::Elect`] of a server that does not hear the coordinator, and whatever names a
    /// lower epoch.
    Follows {
        /// The sender's.
        epoch: Epoch,
        /// Who leads it, if the sender hears it.
        coordinator: Option<ServerName>,
    },
    /// The coordinator asks a better server whether it could take the office over.
    Offer {
        /// The coordinator's.
        epoch: Epoch,
    },
    /// It could.
    Accept {
        /// The coordinator's.
        epoch: Epoch,
        /// How many members the sender reaches, itself included.
        reached: u32,
    },
    /// The coordinator has resigned: let the receiver claim.
    HandOver {
        /// The coordinator's.
        epoch: Epoch,
    },
}

impl Message {
    /// The epoch that it carries.
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Lead { epoch }
            | Self::Elect { epoch }
            | Self::Answer { epoch }
            | Self::Follows { epoch, .. }
            | Self::Offer { epoch }
            | Self::Accept { epoch, .. }
            | Self::HandOver { epoch } => *epoch,
        }
    }
}
