//! A server's links to proxies, as `node/src/server/publisher.rs` has them: each publication goes to every proxy that asked for
//! any, and what went out in the last ten seconds goes again to one that comes back.

use crate::bug::Bug;
use crate::clock::Micros;
use crate::node::{ConnectionId, Node, Side};
use crate::shared::Shared;
use bytes::Bytes;
use papo_protocol::Identity;
use papo_protocol::publication::PublicationMeta;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What is sent again after a reconnect.
const KEEP: Duration = Duration::from_secs(10);

/// What a process published so lately before it ended is certainly published again: ten seconds after a server took it, less what
/// it takes to be confirmed and published, and to start.
const PUBLISHED_AGAIN_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Kept {
    at: Duration,
    identity: Identity,
    frames: Vec<Bytes>,
    /// Connections that it was put on.
    put_on: BTreeSet<ConnectionId>,
}

/// The links and what they lately carried.
#[derive(Debug, Default)]
pub struct Publisher {
    /// Proxies by connection, those that asked for publications.
    links: BTreeMap<ConnectionId, Node>,
    kept: VecDeque<Kept>,
}

impl Publisher {
    /// A proxy asks for publications, and gets the latest.
    pub fn on_subscribed(
        &mut self,
        shared: &mut Shared,
        now: Duration,
        connection: ConnectionId,
        proxy: Node,
    ) {
        self.links.insert(connection, proxy);
        self.forget(shared, now);
        if shared.bug == Some(Bug::NothingSentAgain) {
            return;
        }
        for kept in &mut self.kept {
            kept.put_on.insert(connection);
            shared.count("publications_sent_again");
            shared.send(connection, Side::Dialer, kept.frames.clone());
        }
    }

    /// A link is gone.
    pub fn on_closed(&mut self, connection: ConnectionId) {
        self.links.remove(&connection);
    }

    /// Sends to every proxy, and keeps it for those that come back.
    pub fn publish(
        &mut self,
        shared: &mut Shared,
        now: Duration,
        topic: &str,
        body: Bytes,
        meta: &PublicationMeta,
    ) {
        let mut frames = vec![Bytes::copy_from_slice(topic.as_bytes()), body];
        if shared.bug != Some(Bug::NoDedupe) {
            frames.push(meta.to_bytes());
        }
        for connection in self.links.keys() {
            shared.send(*connection, Side::Dialer, frames.clone());
        }
        self.forget(shared, now);
        let put_on = self.links.keys().copied().collect();
        self.kept.push_back(Kept { at: now, identity: meta.identity, frames, put_on });
    }

    fn forget(&mut self, shared: &mut Shared, now: Duration) {
        while self.kept.front().is_some_and(|kept| kept.at + KEEP < now) {
            if let Some(kept) = self.kept.pop_front() {
                self.excuse(shared, &kept);
            }
        }
    }

    /// What was put on no link that is up and sound now may never reach that proxy.
    fn excuse(&self, shared: &mut Shared, kept: &Kept) {
        if shared.bug == Some(Bug::NothingSentAgain) {
            return;
        }
        for proxy in shared.proxies() {
            let arrives = self.links.iter().any(|(link, to)| {
                *to == proxy && kept.put_on.contains(link) && shared.network.is_sound(*link)
            });
            if !arrives {
                shared.checker.on_unheard(kept.identity, proxy.number);
            }
        }
    }

    /// The process ends, and starts again after a while. What its kernel still has is sent, unless the machine is gone, too; what
    /// it took of late is published again by its next boot, or by the others.
    pub fn end(&mut self, shared: &mut Shared, now: Duration, whole_machine: bool, back_after: Micros) {
        if whole_machine {
            self.links.clear();
        }
        for kept in std::mem::take(&mut self.kept) {
            let away = now.saturating_sub(kept.at) + Duration::from_micros(back_after);
            if away > PUBLISHED_AGAIN_WITHIN || !shared.calendars_agree {
                self.excuse(shared, &kept);
            }
        }
    }

    /// Publications that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
