//! What a replica has done since its start, for metrics.

use std::collections::BTreeMap;

/// How a request ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Answered, and not refused.
    Ok,
    /// Answered `erro`.
    Erro,
    /// Sent on to another server.
    Elsewhere,
    /// Stored here, and not known to be on enough disks.
    Unknown,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Erro => "erro",
            Self::Elsewhere => "elsewhere",
            Self::Unknown => "unknown",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by service and outcome.
    requests: BTreeMap<(&'static str, Outcome), u64>,
    /// Session cookies that could not be read.
    pub cookies_unreadable: u64,
    /// Lamport values of clients that were ignored as absurd.
    pub clocks_ignored: u64,
    /// Operations written here first.
    pub ops_appended: u64,
    /// Operations taken over from peers.
    pub ops_replicated: u64,
    /// Batches stored.
    pub batches_stored: u64,
    /// Batches that a full disk refused.
    pub batches_refused: u64,
    /// Publications sent.
    pub publications: u64,
    /// Peers of another cluster or of too old a version.
    pub peers_foreign: u64,
    /// Messages of peers that were unreadable or out of place, and operations that were unreadable.
    pub peer_messages_ignored: u64,
}

impl Counters {
    pub(super) fn count_request(&mut self, service: &'static str, outcome: Outcome) {
        *self.requests.entry((service, outcome)).or_default() += 1;
    }

    /// Requests by service and outcome. The service is one of a fixed list; `other` for one that is none of ours, `invalid` for what
    /// was not understood. The outcome is `ok`, `erro`, `elsewhere` or `unknown`.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.requests.iter().map(|((service, outcome), count)| (*service, outcome.as_str(), *count))
    }

    /// Every other count by its name.
    #[must_use]
    pub fn each(&self) -> [(&'static str, u64); 9] {
        [
            ("cookies_unreadable", self.cookies_unreadable),
            ("clocks_ignored", self.clocks_ignored),
            ("ops_appended", self.ops_appended),
            ("ops_replicated", self.ops_replicated),
            ("batches_stored", self.batches_stored),
            ("batches_refused", self.batches_refused),
            ("publications", self.publications),
            ("peers_foreign", self.peers_foreign),
            ("peer_messages_ignored", self.peer_messages_ignored),
        ]
    }
}
