//! What a replica has done since its start, for metrics.

use std::collections::BTreeMap;

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered, by service.
    services: BTreeMap<&'static str, u64>,
    /// Requests answered `erro`.
    pub requests_refused: u64,
    /// Requests sent on to another server.
    pub requests_elsewhere: u64,
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
    pub(super) fn count_answer(&mut self, service: &'static str, refused: bool) {
        *self.services.entry(service).or_default() += 1;
        self.requests_refused += u64::from(refused);
    }

    /// Requests answered, refusals included, by service: one of a fixed list, `invalid` for what was not understood.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.services.iter().map(|(service, count)| (*service, *count))
    }

    /// Every other count by its name.
    #[must_use]
    pub fn each(&self) -> [(&'static str, u64); 11] {
        [
            ("requests_refused", self.requests_refused),
            ("requests_elsewhere", self.requests_elsewhere),
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
