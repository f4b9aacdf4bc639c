//! The link to the reference service: register once, then heartbeats (rows F01, F03). The server lives on while it is away.

use crate::role::{Context, now};
use crate::targets;
use bytes::Bytes;
use papo_protocol::codec::{Limits, decode};
use papo_protocol::reference::{ReferenceCall, Registration, read_rank, write_reference_request};
use papo_protocol::{Lamport, ServerName};
use papo_settings::Address;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, PeerId, SocketType};
use std::time::Duration;

/// Bounds of a reply: a rank and two clocks.
const REPLY_LIMITS: Limits = Limits { bytes: 64 << 10, depth: 8, values: 1024 };

/// What is known of the reference service.
pub struct ReferenceLink {
    handle: EndpointHandle,
    registration: Registration,
    heartbeat: Duration,
    peer: Option<PeerId>,
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
        let (endpoint, handle) = Endpoint::new(context.plain_endpoint(SocketType::Req, REPLY_LIMITS.bytes));
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

    /// From the link.
    pub fn on_event(&mut self, event: Event, lamport: Lamport) {
        match event {
            Event::Up { peer, .. } => {
                self.peer = Some(peer);
                self.next_beat = now().monotonic + self.heartbeat;
                self.ask(&ReferenceCall::Rank(self.registration.clone()), lamport);
            }
            Event::Message { frames, .. } => self.on_reply(frames.last()),
            Event::Down { peer, cause } if self.peer == Some(peer) => {
                tracing::info!(%cause, "reference service gone");
                self.peer = None;
            }
            // Of an address that the name had before.
            Event::Down { .. } => {}
            Event::Failed { cause, .. } => tracing::debug!(%cause, "reference service not reached"),
            Event::Subscribe { .. } | Event::Cancel { .. } => {}
        }
    }

    fn on_reply(&mut self, body: Option<&Bytes>) {
        let Some(Ok((_, reply))) = body.map(|body| decode(body, &REPLY_LIMITS)) else { return };
        if let Some(rank) = read_rank(&reply)
            && self.rank != Some(rank)
        {
            tracing::info!(server = %self.registration.name, rank, "rank given");
            self.rank = Some(rank);
        }
    }

    /// Called every second.
    pub fn on_second(&mut self, lamport: Lamport) {
        if now().monotonic >= self.next_beat {
            self.next_beat = now().monotonic + self.heartbeat;
            self.ask(&ReferenceCall::Heartbeat(self.registration.clone()), lamport);
        }
    }

    /// Asks, if the service is there.
    pub fn ask(&self, call: &ReferenceCall, lamport: Lamport) {
        let Some(peer) = self.peer else { return };
        let body = write_reference_request(call, lamport, now().unix);
        // A REP peer expects REQ's empty delimiter. A full or broken link is noticed by its Down event.
        let _ = self.handle.send(peer, Encoded::new(&[Bytes::new(), body]));
    }
}
