//! One run of a server's process: what came in, and what goes out.

use super::{Route, Running};
use crate::checker::{Invariant, View};
use crate::hosts::receipt::Glance;
use crate::node::{ConnectionId, Node, Role, Side};
use crate::shared::Shared;
use crate::volume::Volume;
use bytes::Bytes;
use papo_protocol::worker_link::{Cookie, FromWorker};
use papo_protocol::{Boot, RequestKey};
use papo_replica::{Effect, Leadership, RequestId};

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

    /// No restart forgets a Lamport value or a time that was sent.
    pub(super) fn cover(&mut self, shared: &mut Shared, node: Node) {
        let clock = self.replica.kept_clock();
        if self.replica.lamport() <= self.ceiling && clock.ceiling <= self.time_ceiling {
            return;
        }
        let Some(volume) = shared.volumes.get_mut(node.number) else { return };
        // As in `node/src/storage/writer.rs`: the clock may run on a full disk.
        shared.checker.on_ceiling(node.number, volume.is_full());
        (self.ceiling, self.time_ceiling) = volume.raise_ceilings(self.replica.lamport(), clock);
    }

    /// The time that is given out with these effects.
    pub(super) fn look_at_times(&mut self, shared: &mut Shared, node: Node, boot: Boot, effects: &[Effect]) {
        let mut is_given_out = false;
        for effect in effects {
            match effect {
                Effect::Reply { .. } | Effect::Publish { .. } => is_given_out = true,
                Effect::Store { ops, .. } => {
                    for op in ops.iter().filter(|op| op.dot.boot == boot) {
                        // What a full disk refused comes again, as it was.
                        if self.stamped.insert(op.dot.seq, op.at) != Some(op.at) {
                            shared.checker.on_stamp(shared.now, node.number, op.at.0);
                        }
                    }
                }
                _ => {}
            }
        }
        if is_given_out {
            let time = self.replica.clock(shared.clock(node).monotonic).time;
            shared.checker.on_time(shared.now, node.number, time);
        }
    }

    /// Whom this server obeys, if that is new.
    pub(super) fn look_at_view(&mut self, shared: &mut Shared, node: Node, boot: Boot) {
        let Leadership { epoch, role, coordinator, .. } = self.replica.leadership();
        let same =
            |view: &View| (view.epoch, view.role, view.coordinator.as_ref()) == (epoch, role, coordinator);
        if self.view.as_ref().is_some_and(same) {
            return;
        }
        let view = View { epoch, role, coordinator: coordinator.cloned() };
        shared.trace.line(shared.now, || format!("{node}: {view:?}"));
        let stored = shared.volumes.get(node.number).map(Volume::epoch).unwrap_or_default();
        shared.checker.on_view(shared.now, (node.number, boot), view.clone(), stored);
        self.view = Some(view);
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
        match Glance::at(&body) {
            Ok(Glance { clock, receipt, code }) => {
                let now = shared.now;
                shared.checker.on_said(now, node.number, clock);
                if let Some(receipt) = receipt {
                    shared.checker.on_promise(now, node.number, receipt);
                }
                if matches!(code.as_deref(), Some("unknown_channel" | "unknown_user")) {
                    shared.check_absence(node, &route.body, route.came_at);
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
        if let Some(Route { connection, key: Some(key), .. }) = self.pending.remove(&id) {
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
