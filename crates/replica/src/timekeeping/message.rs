//! What servers say to each other about the time.

use super::{Moment, Offset};
use papo_protocol::epoch::Epoch;
use serde::{Deserialize, Serialize};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The coordinator asks a server what its clocks say.
    Probe {
        /// The coordinator's.
        epoch: Epoch,
        /// Comes back with the answer.
        token: u64,
    },
    /// They say this.
    Reading {
        /// Of the probe.
        token: u64,
        /// The machine's calendar.
        calendar: Moment,
        /// The server's own time.
        time: Moment,
    },
    /// The time of that reading should have been so much more.
    Adjust {
        /// The coordinator's.
        epoch: Epoch,
        /// Of the probe.
        token: u64,
        /// By how much.
        by: Offset,
        /// By how many microseconds this may be wrong.
        error: u64,
    },
}
