//! A server's link to the reference service, as `node/src/server/reference_link.rs` has it: one question at a time, of each kind at
//! most one that waits; who does not answer is called anew.

use super::Server;
use crate::clock::{Micros, SECOND};
use crate::hosts::REPLY_LIMITS;
use crate::node::{ConnectionId, Side};
use crate::shared::Shared;
use bytes::Bytes;
use papo_protocol::reference::{ReferenceCall, Registration, read_reference_answer, write_reference_request};
use papo_replica::Input;
use std::mem::discriminant;

/// A reference service that has not answered in so long is called anew.
const ANSWER_WITHIN: Micros = 2 * SECOND;
/// Between two heartbeats (the default of the settings).
const HEARTBEAT: Micros = 10 * SECOND;

/// The connection that is up, and what is asked on it.
#[derive(Debug)]
pub(super) struct ReferenceLink {
    connection: ConnectionId,
    asked: Option<(ReferenceCall, Micros)>,
    /// With when each was made.
    waiting: Vec<(ReferenceCall, Micros)>,
    next_beat: Micros,
}

impl Server {
    pub(super) fn on_reference_up(&mut self, shared: &mut Shared, connection: ConnectionId) {
        let (Some(running), Some(name)) = (&mut self.running, self.name.clone()) else { return };
        running.reference = Some(ReferenceLink {
            connection,
            asked: None,
            waiting: Vec::new(),
            next_beat: shared.now + HEARTBEAT,
        });
        let registration = Registration { name, address: None, port: None };
        self.ask_reference(shared, ReferenceCall::Rank(registration));
    }

    pub(super) fn on_reference_down(&mut self, connection: ConnectionId) {
        let link = self.running.as_mut().map(|running| &mut running.reference);
        if let Some(link) = link {
            link.take_if(|link| link.connection == connection);
        }
    }

    /// Asks when it is this question's turn; without a link never.
    pub(super) fn ask_reference(&mut self, shared: &mut Shared, call: ReferenceCall) {
        let link = self.running.as_mut().and_then(|running| running.reference.as_mut());
        let Some(link) = link else { return };
        match link.waiting.iter_mut().find(|(waiting, _)| discriminant(waiting) == discriminant(&call)) {
            Some(older) => *older = (call, shared.now),
            None => link.waiting.push((call, shared.now)),
        }
        self.ask_next(shared);
    }

    fn ask_next(&mut self, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        let Some(link) = running.reference.as_mut().filter(|link| link.asked.is_none()) else { return };
        if link.waiting.is_empty() {
            return;
        }
        let (call, made_at) = link.waiting.remove(0);
        if let ReferenceCall::Claim(claim) = &call {
            shared.checker.epochs.on_claimed(claim.boot, made_at);
        }
        let at = shared.clock(self.node).unix;
        let body = write_reference_request(&call, running.replica.lamport(), at);
        link.asked = Some((call, shared.now));
        shared.send(link.connection, Side::Dialer, vec![Bytes::new(), body]);
    }

    pub(super) fn on_reference_reply(
        &mut self,
        shared: &mut Shared,
        connection: ConnectionId,
        frames: &[Bytes],
    ) {
        let link = self.running.as_mut().and_then(|running| running.reference.as_mut());
        let Some(link) = link.filter(|link| link.connection == connection) else { return };
        let (Some((call, _)), Some(body)) = (link.asked.take(), frames.last()) else { return };
        self.ask_next(shared);
        match read_reference_answer(&call, body, &REPLY_LIMITS) {
            Some(answer) => self.handle(shared, Input::Reference(answer)),
            None => shared.count("reference_refused"),
        }
    }

    /// Called with each beat.
    pub(super) fn look_after_reference(&mut self, shared: &mut Shared) {
        let link = self.running.as_mut().and_then(|running| running.reference.as_mut());
        let (Some(link), Some(name)) = (link, self.name.clone()) else { return };
        if link.asked.as_ref().is_some_and(|(_, at)| at + ANSWER_WITHIN <= shared.now) {
            let connection = link.connection;
            shared.count("reference_silent");
            shared.close(connection, Side::Dialer);
            self.on_reference_down(connection);
            shared.dial(self.node, crate::node::Node::reference());
        } else if link.next_beat <= shared.now {
            link.next_beat = shared.now + HEARTBEAT;
            let registration = Registration { name, address: None, port: None };
            self.ask_reference(shared, ReferenceCall::Heartbeat(registration));
        }
    }
}
