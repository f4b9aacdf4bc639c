//! The link to the reference service: register, heartbeats (rows F01, F03), and what the mind asks. The server lives on while it is away.
//!
//! One question at a time, as REQ has it; the rest wait. The answer to a question is what comes next on the same connection. When
//! none comes in time the connection is closed and made again, so that a late answer is never taken for another question's.

use crate::logging::{self, Happening};
use crate::role::Context;
use crate::targets;
use bytes::Bytes;
use papo_protocol::codec::Limits;
use papo_protocol::reference::{
    ReferenceAnswer, ReferenceCall, Registration, read_reference_answer, write_reference_request,
};
use papo_protocol::time::Now;
use papo_protocol::{Lamport, ServerName};
use papo_settings::Address;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, PeerId, SocketType};
use std::mem::{self, Discriminant};
use std::time::Duration;

/// Bounds of a reply: an epoch, a name and two clocks.
const REPLY_LIMITS: Limits = Limits { bytes: 64 << 10, depth: 8, values: 1024 };
/// A reference service that has not answered in so long does not count for elections (design section 4, "Coordination").
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What is known of the reference service.
pub struct ReferenceLink {
    handle: EndpointHandle,
    registration: Registration,
    heartbeat: Duration,
    /// The connection that is up, and what was asked on it.
    peer: Option<(PeerId, Questions)>,
    rank: Option<u32>,
    next_beat: Duration,
}

impl ReferenceLink {
    /// Connects, for ever; without an address the link stays silent.
    pub fn connect(
        context: &Context,
        reference: &[Address],
        name: ServerName,
        heartbeat: Duration,
    ) -> (Endpoint, Self) {
        let settings = context.papo_endpoint(SocketType::Req, REPLY_LIMITS.bytes, "server");
        let (endpoint, handle) = Endpoint::new(settings);
        targets::follow_fixed(context, handle.clone(), reference);
        let registration = Registration { name, address: None, port: None };
        (
            endpoint,
            Self { handle, registration, heartbeat, peer: None, rank: None, next_beat: Duration::ZERO },
        )
    }

    /// For shutting down.
    pub fn handle(&self) -> &EndpointHandle {
        &self.handle
    }

    /// The rank that the reference service gave.
    pub fn rank(&self) -> Option<u32> {
        self.rank
    }

    /// Asks when it is this question's turn; without a link never. A newer question takes the place of one of its kind that waits.
    pub fn ask(&mut self, call: ReferenceCall, now: Now, lamport: Lamport) {
        if let Some((_, questions)) = &mut self.peer {
            questions.add(call);
            self.send_next(now, lamport);
        }
    }

    /// From the link. An answer is for the mind; a refusal is none.
    pub fn on_event(&mut self, event: Event, now: Now, lamport: Lamport) -> Option<ReferenceAnswer> {
        match event {
            Event::Up { peer, .. } => {
                self.peer = Some((peer, Questions::default()));
                self.next_beat = now.monotonic + self.heartbeat;
                self.ask(ReferenceCall::Rank(self.registration.clone()), now, lamport);
                None
            }
            Event::Message { peer, frames } => {
                let (_, questions) = self.peer.as_mut().filter(|(current, _)| *current == peer)?;
                let call = questions.answered()?;
                self.send_next(now, lamport);
                self.read(&call, frames.last()?)
            }
            Event::Down { peer, cause } => {
                // It may be of an address that the name had before.
                if self.peer.as_ref().is_some_and(|(current, _)| *current == peer) {
                    tracing::info!(%cause, "reference service gone");
                    self.peer = None;
                }
                None
            }
            Event::Failed { cause, .. } => {
                tracing::debug!(%cause, "reference service not reached");
                None
            }
            Event::Subscribe { .. } | Event::Cancel { .. } => None,
        }
    }

    fn read(&mut self, call: &ReferenceCall, reply: &Bytes) -> Option<ReferenceAnswer> {
        let answer = read_reference_answer(call, reply, &REPLY_LIMITS);
        match &answer {
            None | Some(ReferenceAnswer::Denied) => {
                tracing::warn!(asked = call.service(), "refused by the reference service");
            }
            Some(ReferenceAnswer::Rank(rank)) if self.rank != Some(*rank) => {
                logging::tell(&Happening::RankGiven { server: &self.registration.name, rank: *rank });
                self.rank = Some(*rank);
            }
            Some(_) => {}
        }
        answer
    }

    /// Called every second.
    pub fn on_second(&mut self, now: Now, lamport: Lamport) {
        if let Some((peer, questions)) = &self.peer
            && questions.are_overdue(now.monotonic)
        {
            tracing::warn!("the reference service does not answer: its link is made again");
            self.handle.close(*peer);
            self.peer = None;
        }
        if now.monotonic >= self.next_beat {
            self.next_beat = now.monotonic + self.heartbeat;
            self.ask(ReferenceCall::Heartbeat(self.registration.clone()), now, lamport);
        }
    }

    fn send_next(&mut self, now: Now, lamport: Lamport) {
        let Some((peer, questions)) = &mut self.peer else { return };
        let Some(call) = questions.next(now.monotonic) else { return };
        let body = write_reference_request(call, lamport, now.unix);
        // A REP peer expects REQ's empty delimiter. A full or broken link is noticed by its Down event.
        let _ = self.handle.send(*peer, Encoded::new(&[Bytes::new(), body]));
    }
}

/// What was asked on one connection, and what is still to be asked: at most one of each kind.
#[derive(Debug, Default)]
struct Questions {
    asked: Option<(ReferenceCall, Duration)>,
    waiting: Vec<ReferenceCall>,
}

impl Questions {
    fn add(&mut self, call: ReferenceCall) {
        let kind = |call: &ReferenceCall| -> Discriminant<ReferenceCall> { mem::discriminant(call) };
        match self.waiting.iter_mut().find(|waiting| kind(waiting) == kind(&call)) {
            Some(older) => *older = call,
            None => self.waiting.push(call),
        }
    }

    /// What to send now, if nothing is outstanding.
    fn next(&mut self, now: Duration) -> Option<&ReferenceCall> {
        if self.asked.is_some() || self.waiting.is_empty() {
            return None;
        }
        Some(&self.asked.insert((self.waiting.remove(0), now)).0)
    }

    /// An answer came: to what? `None` when nothing was asked.
    fn answered(&mut self) -> Option<ReferenceCall> {
        self.asked.take().map(|(call, _)| call)
    }

    fn are_overdue(&self, now: Duration) -> bool {
        self.asked.as_ref().is_some_and(|(_, at)| now.saturating_sub(*at) >= ANSWER_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::reference::{Report, Resign};
    use papo_protocol::{Boot, Epoch};

    fn report(reached: u32) -> ReferenceCall {
        let name = ServerName::new("server-1").unwrap();
        ReferenceCall::Report(Report { name, epoch: Epoch { number: 1, boot: Boot(1) }, reached })
    }

    fn resign() -> ReferenceCall {
        ReferenceCall::Resign(Resign { name: ServerName::new("server-1").unwrap(), epoch: Epoch::default() })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_question_is_asked_at_a_time_in_the_order_of_kinds() {
        let mut questions = Questions::default();
        for call in [report(1), resign(), report(2)] {
            questions.add(call);
        }
        assert_eq!(questions.next(SECOND), Some(&report(2)));
        assert_eq!(questions.next(SECOND), None);
        questions.add(report(3));
        assert_eq!(questions.answered(), Some(report(2)));
        assert_eq!(questions.next(SECOND), Some(&resign()));
        assert_eq!(questions.answered(), Some(resign()));
        assert_eq!(questions.next(SECOND), Some(&report(3)));
        assert_eq!(questions.answered(), Some(report(3)));
        assert_eq!(questions.answered(), None, "nobody asked");
        assert_eq!(questions.next(SECOND), None);
    }

    #[test]
    fn a_question_is_overdue_after_two_seconds() {
        let mut questions = Questions::default();
        questions.add(report(1));
        assert!(!questions.are_overdue(9 * SECOND), "it is not asked yet");
        questions.next(SECOND);
        assert!(!questions.are_overdue(2 * SECOND));
        assert!(questions.are_overdue(3 * SECOND));
        questions.answered();
        assert!(!questions.are_overdue(9 * SECOND));
    }
}
