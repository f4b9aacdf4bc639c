//! What of the dispatch can be set, and what is counted.

use crate::constants;
use crate::counters::counters;
use std::time::Duration;

/// Deadlines and bounds; none may be zero. The defaults are in [`crate::constants`], with their sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchSettings {
    /// A worker that has not answered for so long is no longer waited for alone.
    pub server_deadline: Duration,
    /// A client is answered after so long at the latest.
    pub broker_deadline: Duration,
    /// A papo worker not heard for so long counts as dead.
    pub worker_dead_after: Duration,
    /// How long a request that every worker refused rests before the workers are asked again.
    pub rest: Duration,
    /// Requests that may wait for a worker.
    pub waiting_max: usize,
    /// Bytes of the requests that may wait for a worker.
    pub waiting_bytes_max: usize,
    /// Bytes of all requests held.
    pub held_bytes_max: usize,
    /// Unanswered requests of one client connection.
    pub in_flight_per_client_max: usize,
    /// Requests a foreign worker gets at once.
    pub foreign_capacity: usize,
    /// Bytes of what a worker was given and has not answered, at which it gets nothing more.
    pub worker_bytes_max: usize,
    /// Bytes of a client message, envelope included.
    pub request_bytes_max: usize,
    /// Workers that may die with a request before it is given up.
    pub poison_after: u32,
}

impl DispatchSettings {
    /// The link of a papo worker not heard for so long is closed.
    #[must_use]
    pub fn worker_closed_after(&self) -> Duration {
        constants::WORKER_CLOSED_AFTER.max(self.broker_deadline)
    }

    /// Bytes that a worker's link must be able to queue: all that one worker is ever given and may not have read.
    #[must_use]
    pub fn worker_queue_bytes(&self) -> usize {
        let envelopes = self.worker_queue_messages() * constants::WORKER_ENVELOPE_BYTES_MAX;
        self.worker_bytes_max + self.request_bytes_max + envelopes
    }

    /// Messages that a worker's link must be able to queue.
    #[must_use]
    pub fn worker_queue_messages(&self) -> usize {
        constants::PAPO_CAPACITY_MAX.max(self.foreign_capacity) + 1
    }
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self {
            server_deadline: constants::SERVER_DEADLINE,
            broker_deadline: constants::BROKER_DEADLINE,
            worker_dead_after: constants::WORKER_DEAD_AFTER,
            rest: constants::REST,
            waiting_max: constants::WAITING_MAX,
            waiting_bytes_max: constants::WAITING_BYTES_MAX,
            held_bytes_max: constants::HELD_BYTES_MAX,
            in_flight_per_client_max: constants::IN_FLIGHT_PER_CLIENT_MAX,
            foreign_capacity: constants::FOREIGN_CAPACITY,
            worker_bytes_max: constants::WORKER_BYTES_MAX,
            request_bytes_max: constants::REQUEST_BYTES_MAX,
            poison_after: constants::POISON_AFTER,
        }
    }
}

counters! {
    /// What the dispatch has counted since its start.
    ///
    /// At any time `requests = answered + refused + abandoned + replies_without_client` + those held.
    DispatchCounters {
        /// Messages of clients, readable or not.
        requests,
        /// Replies of workers that went to their clients.
        answered,
        /// Requests that the broker answered itself with `erro`, for any of the reasons below.
        refused,
        /// Requests of clients that left, forgotten before a worker answered them.
        abandoned,
        /// Replies whose client had left.
        replies_without_client,
        /// Times that a request was given to a further worker.
        redispatched,
        /// Times that a worker did not answer within the server's deadline.
        server_deadlines,
        /// Requests refused at the broker's deadline.
        broker_deadlines,
        /// Requests refused because too many workers died with them.
        poisoned,
        /// Writes refused because the foreign worker that had them failed: nobody knows whether they were done.
        foreign_writes_lost,
        /// Requests refused because too many waited, or were held in all.
        waiting_overflows,
        /// Requests refused because their client had too many unanswered.
        client_overflows,
        /// Client messages refused because their frames are no request.
        bad_requests,
        /// Client messages refused for their size.
        oversized_requests,
        /// Client messages ignored: no frames, or a connection that is unknown or being closed.
        ignored_client_messages,
        /// Answers of workers to requests that the client has its reply to.
        late_replies,
        /// Hellos on links that did not present the token.
        ignored_hellos,
        /// Worker messages that are none, or that answer what was never asked.
        malformed_worker_messages,
        /// Times that a papo worker fell silent.
        workers_lost,
        /// Links of silent workers that were closed.
        workers_closed,
    }
}
