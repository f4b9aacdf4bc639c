//! One run of a server's process: what came in, and what goes out.

use super::{REPLY_LIMITS, Route, Running, identity_of};
use crate::checker::Invariant;
use crate::node::{ConnectionId, Node, Role, Side};
use crate::shared::Shared;
use bytes::Bytes;
use papo_protocol::client::read_reply;
use papo_protocol::codec::DecodeError;
use papo_protocol::worker_link::{Cookie, FromWorker};
use papo_protocol::{Boot, Identity, RequestKey};
use papo_replica::{Effect, RequestId};
use serde::Deserialize;

impl Running {
    pub(super) fn boot(&self) -> Boot {
        // Any number that no broker has.
        Boot(self.replica.lamport().get().wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn accept(&mut self, route: Route) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.pending.insert(id, route);
        id
    }

    pub(super) fn links_to(&self, role: Role) -> Vec<ConnectionId> {
        self.links.iter().filter(|(_, link)| link.peer.role == role).map(|(id, _)| *id).collect()
    }

    /// No restart forgets a Lamport value that was sent.
    pub(super) fn cover(&mut self, shared: &mut Shared, node: Node) {
        if self.replica.lamport() <= self.ceiling {
            return;
        }
        let Some(volume) = shared.volumes.get_mut(node.number) else { return };
        // As in `node/src/storage/writer.rs`: the clock may run on a full disk.
        shared.checker.on_ceiling(node.number, volume.is_full());
        self.ceiling = volume.raise_ceiling(self.replica.lamport());
    }

    pub(super) fn reply(
        &mut self,
        shared: &mut Shared,
        node: Node,
        id: RequestId,
        cookie: Cookie,
        body: Bytes,
    ) {
        let Some(route) = self.pending.remove(&id) else {
            shared.violate(Invariant::Answered, || format!("{node} answers a request twice"));
            return;
        };
        match glance(&body) {
            Ok((clock, identity)) => {
                shared.checker.on_said(shared.now, node.number, clock);
                if let Some(identity) = identity {
                    shared.checker.on_promise(shared.now, node.number, identity, &shared.volumes);
                }
            }
            Err(error) => {
                shared.violate(Invariant::Answered, || format!("an unreadable reply of {node}: {error}"));
            }
        }
        match route.key {
            Some(key) => {
                let reply = FromWorker::Reply { key, cookie, body };
                shared.send(route.connection, Side::Dialer, reply.to_frames());
            }
            None => shared.send(route.connection, Side::Listener, vec![Bytes::new(), body]),
        }
    }

    /// The broker is to ask another server.
    pub(super) fn give_back(
        &mut self,
        shared: &mut Shared,
        id: RequestId,
        message: impl FnOnce(RequestKey) -> FromWorker,
    ) {
        if let Some(Route { connection, key: Some(key) }) = self.pending.remove(&id) {
            shared.send(connection, Side::Dialer, message(key).to_frames());
        } else {
            shared.violate(Invariant::Answered, || "a request is given back to no broker".to_owned());
        }
    }

    pub(super) fn release(&mut self, shared: &mut Shared, node: Node) {
        while self.kept_back.front().is_some_and(|(at, _)| *at <= shared.now) {
            if let Some((_, Effect::Publish { topic, body, meta })) = self.kept_back.pop_front() {
                let now = shared.clock(node).monotonic;
                self.publisher.publish(shared, now, &topic, body, &meta);
            }
        }
    }
}

/// What a reply says of itself, past all its contents.
#[derive(Deserialize)]
struct Glance {
    clock: u64,
    data: GlanceData,
}

#[derive(Deserialize)]
struct GlanceData {
    message_id: Option<Bytes>,
}

/// The Lamport value of a reply, and the identity of the write that it confirms. Quick, where the reply is as most are; the rest is
/// read as a client reads it.
fn glance(body: &[u8]) -> Result<(u64, Option<Identity>), DecodeError> {
    if let Ok(Glance { clock, data: GlanceData { message_id } }) = rmp_serde::from_slice(body) {
        let identity = message_id.and_then(|bytes| bytes.as_ref().try_into().ok()).map(Identity);
        return Ok((clock, identity));
    }
    let reply = read_reply(body, &REPLY_LIMITS)?;
    let done = reply.failure.is_none();
    let identity = reply.data.get("message_id").and_then(identity_of).filter(|_| done);
    Ok((reply.clock.get(), identity))
}
