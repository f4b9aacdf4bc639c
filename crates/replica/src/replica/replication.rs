//! Replication: this server pulls what it lacks from each peer every second, and pushes its new operations as a hint (design,
//! "History"). On links that we opened we ask; on links that peers opened we answer.
//!
//! Pulls go in rounds. A round is as many pulls as it takes until the peer has no more for us and all of it is on our disk; a
//! request that must know what the peers had when it arrived waits for the end of a round that began after that.

use super::{Effect, Now, PeerLink, Replica};
use crate::constants::{ANSWERED_LINKS_MAX, OPS_BYTES_MAX, PULL_INTERVAL, PULL_TIMEOUT};
use crate::op::Op;
use crate::peer::{PEER_VERSION, PeerMessage, decode_op, encode_op};
use crate::vector::{VersionVector, Writer};
use bytes::Bytes;
use papo_protocol::lamport::Lamport;
use papo_protocol::{Boot, ServerName};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a peer that this server pulls from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus<'a> {
    /// Its name.
    pub name: &'a ServerName,
    /// Its boot.
    pub boot: Boot,
    /// What it last said it has on disk.
    pub have: &'a VersionVector,
}

/// Who is at the other end of a link.
#[derive(Debug, PartialEq, Eq)]
enum Greeting {
    /// Nothing heard yet.
    Awaited,
    /// A server of this cluster.
    Known { name: ServerName, boot: Boot },
    /// Of another cluster, or of too old a version: ignored.
    Foreign,
}

/// The pull that a peer has not answered yet.
#[derive(Debug)]
struct Asking {
    token: u64,
    since: Duration,
}

/// A link that we opened.
#[derive(Debug)]
struct AskedPeer {
    greeting: Greeting,
    have: VersionVector,
    /// Rounds begun and finished; one runs while they differ.
    begun: u64,
    finished: u64,
    /// Whether another round begins as soon as this one is finished.
    again: bool,
    asking: Option<Asking>,
}

impl AskedPeer {
    fn is_up(&self) -> bool {
        matches!(self.greeting, Greeting::Known { .. })
    }

    fn is_running(&self) -> bool {
        self.begun > self.finished
    }
}

/// All links.
#[derive(Debug)]
pub(super) struct Peers {
    asked: BTreeMap<PeerLink, AskedPeer>,
    answered: BTreeMap<PeerLink, Greeting>,
    next_pull: Duration,
    last_token: u64,
}

impl Peers {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
            next_pull: now + PULL_INTERVAL,
            last_token: 0,
        }
    }

    /// When the next regular pull is due.
    pub(super) fn next_pull(&self) -> Option<Duration> {
        (!self.asked.is_empty()).then_some(self.next_pull)
    }

    /// Whether this round is over, by its end or the link's.
    pub(super) fn has_finished(&self, link: PeerLink, round: u64) -> bool {
        self.asked.get(&link).is_none_or(|peer| peer.finished >= round)
    }
}

/// What came of the operations in a message.
#[derive(Default)]
struct Taken {
    /// Some were new, or are on their way to the disk already.
    progress: bool,
    /// Some did not follow what is held.
    gap: bool,
}

impl Replica {
    /// The peers that this server pulls from at the moment.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus<'_>> {
        self.peers.asked.values().filter_map(|peer| match &peer.greeting {
            Greeting::Known { name, boot } => Some(PeerStatus { name, boot: *boot, have: &peer.have }),
            Greeting::Awaited | Greeting::Foreign => None,
        })
    }

    /// Whether every peer that is up has said that it holds all that this server held when it was told to stop, and all that it wrote
    /// since: then it may go, and nothing waits on its disk alone. What others go on writing is theirs to keep. True without peers,
    /// for whom nobody can wait.
    #[must_use]
    pub fn is_held_by_peers(&self) -> bool {
        let now = self.history.vector();
        let held = self.draining.as_ref().unwrap_or(&now);
        let own = Writer { origin: self.settings.name.clone(), boot: self.settings.boot };
        self.peers().all(|peer| peer.have.covers_all(held) && peer.have.get(&own) >= now.get(&own))
    }

    pub(super) fn on_peer_up(&mut self, link: PeerLink, effects: &mut Vec<Effect>) {
        let peer = AskedPeer {
            greeting: Greeting::Awaited,
            have: VersionVector::default(),
            begun: 0,
            finished: 0,
            again: false,
            asking: None,
        };
        self.peers.asked.insert(link, peer);
        effects.push(self.hello(link));
    }

    pub(super) fn on_peer_down(&mut self, now: Now, link: PeerLink, effects: &mut Vec<Effect>) {
        self.peers.asked.remove(&link);
        self.peers.answered.remove(&link);
        self.wake(now, effects);
    }

    fn hello(&self, link: PeerLink) -> Effect {
        let hello = PeerMessage::Hello {
            version: PEER_VERSION,
            name: self.settings.name.clone(),
            cluster_id: self.settings.cluster_id.clone(),
            boot: self.settings.boot,
        };
        Effect::ToPeer { link, bytes: hello.encode() }
    }

    pub(super) fn on_peer_message(
        &mut self,
        now: Now,
        link: PeerLink,
        bytes: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let message = match PeerMessage::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.counters.peer_messages_ignored += 1;
                tracing::warn!(link = link.0, %error, "ignored an unreadable message of a peer");
                return;
            }
        };
        let asked = self.peers.asked.get(&link).map(AskedPeer::is_up);
        let answered =
            self.peers.answered.get(&link).map(|greeting| matches!(greeting, Greeting::Known { .. }));
        match (asked, answered, message) {
            (Some(_), _, PeerMessage::Hello { version, name, cluster_id, boot }) => {
                let greeting = self.greet(version, name, &cluster_id, boot);
                if let Some(peer) = self.peers.asked.get_mut(&link) {
                    peer.greeting = greeting;
                }
                self.request_round(now, link, effects);
            }
            (None, _, PeerMessage::Hello { version, name, cluster_id, boot }) => {
                self.on_asker(link, version, name, &cluster_id, boot, effects);
            }
            (Some(true), _, PeerMessage::Ops { ops, more, token, have }) => {
                self.on_ops(now, link, &ops, more, token, have, effects);
            }
            (None, Some(true), PeerMessage::Pull { have, limit_bytes, token }) => {
                let answer = self.answer_pull(&have, limit_bytes, token);
                effects.push(Effect::ToPeer { link, bytes: answer.encode() });
            }
            (None, Some(true), PeerMessage::Push { ops }) => self.on_push(now, link, &ops, effects),
            (_, _, PeerMessage::Ops { .. } | PeerMessage::Pull { .. } | PeerMessage::Push { .. }) => {
                self.counters.peer_messages_ignored += 1;
                tracing::debug!(link = link.0, "ignored a message of a foreign peer, or one out of place");
            }
        }
    }

    fn greet(&mut self, version: u8, name: ServerName, cluster_id: &str, boot: Boot) -> Greeting {
        if cluster_id == self.settings.cluster_id && version >= PEER_VERSION {
            return Greeting::Known { name, boot };
        }
        self.counters.peers_foreign += 1;
        tracing::warn!(%name, cluster_id, version, own = %self.settings.cluster_id, "ignoring a peer of another cluster or version");
        Greeting::Foreign
    }

    fn on_asker(
        &mut self,
        link: PeerLink,
        version: u8,
        name: ServerName,
        cluster_id: &str,
        boot: Boot,
        effects: &mut Vec<Effect>,
    ) {
        if self.peers.answered.len() >= ANSWERED_LINKS_MAX && !self.peers.answered.contains_key(&link) {
            self.counters.peer_messages_ignored += 1;
            tracing::warn!(%name, "ignoring a peer: too many links");
            return;
        }
        let greeting = self.greet(version, name, cluster_id, boot);
        self.peers.answered.insert(link, greeting);
        effects.push(self.hello(link));
    }

    /// Pulls from every peer, once a second; asks again where an answer was lost.
    pub(super) fn pull_when_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if now.monotonic < self.peers.next_pull {
            return;
        }
        self.peers.next_pull = now.monotonic + PULL_INTERVAL;
        for link in self.links() {
            let Some(peer) = self.peers.asked.get(&link) else { continue };
            let lost =
                peer.asking.as_ref().is_some_and(|asking| asking.since + PULL_TIMEOUT <= now.monotonic);
            if lost {
                self.pull(now, link, effects);
            } else if !peer.is_running() {
                self.request_round(now, link, effects);
            }
        }
    }

    fn links(&self) -> Vec<PeerLink> {
        self.peers.asked.keys().copied().collect()
    }

    /// Asks every peer that is up, and says which rounds must finish until everything they hold at this moment is here.
    pub(super) fn request_rounds(&mut self, now: Now, effects: &mut Vec<Effect>) -> Vec<(PeerLink, u64)> {
        let links = self.links();
        links.into_iter().filter_map(|link| Some((link, self.request_round(now, link, effects)?))).collect()
    }

    /// Begins a round with this peer, or has one follow the running one, whose answer may be on its way already. `None` when
    /// the peer is not up.
    fn request_round(&mut self, now: Now, link: PeerLink, effects: &mut Vec<Effect>) -> Option<u64> {
        let peer = self.peers.asked.get_mut(&link).filter(|peer| peer.is_up())?;
        if peer.is_running() {
            peer.again = true;
            return Some(peer.begun + 1);
        }
        peer.begun += 1;
        let round = peer.begun;
        self.pull(now, link, effects);
        Some(round)
    }

    fn pull(&mut self, now: Now, link: PeerLink, effects: &mut Vec<Effect>) {
        let have = self.history.vector();
        self.peers.last_token += 1;
        let token = self.peers.last_token;
        if let Some(peer) = self.peers.asked.get_mut(&link) {
            peer.asking = Some(Asking { token, since: now.monotonic });
            let pull = PeerMessage::Pull { have, limit_bytes: OPS_BYTES_MAX as u64, token };
            effects.push(Effect::ToPeer { link, bytes: pull.encode() });
        }
    }

    fn answer_pull(&self, have: &VersionVector, limit_bytes: u64, token: u64) -> PeerMessage {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX).min(OPS_BYTES_MAX);
        let (mut ops, mut bytes, mut more) = (Vec::new(), 0, false);
        for op in self.history.missing_from(have) {
            let op = encode_op(op);
            if !ops.is_empty() && bytes + op.len() > limit {
                more = true;
                break;
            }
            bytes += op.len();
            ops.push(op);
        }
        PeerMessage::Ops { ops, more, token, have: self.history.vector() }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn on_ops(
        &mut self,
        now: Now,
        link: PeerLink,
        ops: &[Bytes],
        more: bool,
        token: u64,
        have: VersionVector,
        effects: &mut Vec<Effect>,
    ) {
        let taken = self.take_over(ops);
        let Some(peer) = self.peers.asked.get_mut(&link) else { return };
        peer.have = have;
        // An answer that came too late belongs to no pull; its operations were welcome.
        if peer.asking.take_if(|asking| asking.token == token).is_none() {
            return;
        }
        // Without progress, asking for more would give the same again; the next regular pull is soon enough.
        let more = more && taken.progress;
        if ops.is_empty() || !self.storage.finish_pull_when_settled(link, more) {
            self.finish_pull(now, link, false, effects);
            self.wake(now, effects);
        }
    }

    /// A pull's operations are on disk (or given up): the round goes on or is over.
    pub(super) fn finish_pull(&mut self, now: Now, link: PeerLink, more: bool, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.asked.get_mut(&link) else { return };
        if more {
            self.pull(now, link, effects);
            return;
        }
        peer.finished = peer.begun;
        if mem::take(&mut peer.again) {
            self.request_round(now, link, effects);
        }
    }

    /// Tells the peers of this server's new operations.
    pub(super) fn push(&self, own: &[Arc<Op>], effects: &mut Vec<Effect>) {
        let links: Vec<_> =
            self.peers.asked.iter().filter(|(_, peer)| peer.is_up()).map(|(link, _)| *link).collect();
        if links.is_empty() || own.is_empty() {
            return;
        }
        let mut ops = Vec::new();
        let mut bytes = 0;
        let mut send = |ops: Vec<Bytes>| {
            let message = PeerMessage::Push { ops }.encode();
            effects.extend(links.iter().map(|link| Effect::ToPeer { link: *link, bytes: message.clone() }));
        };
        for op in own {
            let op = encode_op(op);
            if !ops.is_empty() && bytes + op.len() > OPS_BYTES_MAX {
                send(mem::take(&mut ops));
                bytes = 0;
            }
            bytes += op.len();
            ops.push(op);
        }
        send(ops);
    }

    fn on_push(&mut self, now: Now, link: PeerLink, ops: &[Bytes], effects: &mut Vec<Effect>) {
        if !self.take_over(ops).gap {
            return;
        }
        let Some(Greeting::Known { name: pusher, .. }) = self.peers.answered.get(&link) else { return };
        let to_pusher = self.peers.asked.iter().find_map(|(link, peer)| match &peer.greeting {
            Greeting::Known { name, .. } if name == pusher => Some(*link),
            Greeting::Known { .. } | Greeting::Awaited | Greeting::Foreign => None,
        });
        if let Some(link) = to_pusher {
            self.request_round(now, link, effects);
        }
    }

    /// Has the operations that follow those held stored.
    fn take_over(&mut self, ops: &[Bytes]) -> Taken {
        let mut taken = Taken::default();
        let mut highest = Lamport::default();
        for bytes in ops {
            let op = match decode_op(bytes) {
                Ok(op) => op,
                Err(error) => {
                    self.counters.peer_messages_ignored += 1;
                    tracing::warn!(%error, "ignored an unreadable operation of a peer");
                    continue;
                }
            };
            let writer = Writer::of(&op.dot);
            // Only this server writes in its own boot.
            if writer == self.writer || op.dot.seq <= self.history.count(&writer) {
                continue;
            }
            let next = self.next_seq(&writer);
            if op.dot.seq > next || !self.storage.has_room() {
                taken.gap = true;
                continue;
            }
            taken.progress = true;
            if op.dot.seq == next {
                highest = highest.max(op.lamport);
                self.storage.add(Arc::new(op));
            }
        }
        if highest > Lamport::default() {
            self.clock.on_receive(highest);
        }
        taken
    }
}
