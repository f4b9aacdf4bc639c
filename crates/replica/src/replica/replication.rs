//! Replication: this server asks each peer every second whether both have the same (see `comparing`) and pulls what it lacks (design,
//! "History"). What peers are told without asking is in `telling`.
//!
//! Pulls go in rounds. A round is as many pulls as it takes until the peer has no more for us and all of it is on our disk; a
//! request that must know what the peers had when it arrived waits for the end of a round that began after that.

use super::peers::{Asking, Greeting, Link};
use super::telling::Told;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::{ANSWERED_LINKS_MAX, OPS_BYTES_MAX, PULL_INTERVAL, PULL_TIMEOUT};
use crate::peer::{
    Facts, Hello, PEER_VERSION, PEER_VERSION_CHECK, PEER_VERSION_MIN, PeerMessage, decode_op, encode_op,
};
use crate::planted::Planted;
use crate::vector::{VersionVector, Writer};
use bytes::Bytes;
use papo_protocol::lamport::Lamport;
use papo_protocol::{Boot, ServerName};
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is known of a peer that this server has a link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus<'a> {
    /// Its name.
    pub name: &'a ServerName,
    /// Its boot.
    pub boot: Boot,
    /// What it last said it has on disk.
    pub have: &'a VersionVector,
    /// What it last said it shows.
    pub shown: &'a VersionVector,
    /// Whether it shows other operations than this server under the same dots.
    pub has_diverged: bool,
}

/// How a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulled {
    /// The peer has more.
    More,
    /// All that the peer had is here.
    All,
    /// Some of it is not.
    Some,
}

/// What came of the operations in a message.
#[derive(Default)]
struct Taken {
    /// Some were new, or are on their way to the disk already.
    progress: bool,
    /// Some did not follow what is held.
    gap: bool,
    /// The highest of each writer.
    told: VersionVector,
}

/// How far a server is that was told to stop.
#[derive(Debug)]
pub(super) enum Draining {
    /// It takes over what its peers held at that moment: when these rounds are over, it has.
    Taking { rounds: Vec<(PeerLink, u64)> },
    /// It waits for its peers to hold all that it held then.
    Giving { held: VersionVector },
}

impl Replica {
    /// The links to peers: at most two for each, one opened by either.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus<'_>> {
        self.peers.links.values().filter_map(|link| match &link.greeting {
            Greeting::Known { name, boot, .. } => Some(PeerStatus {
                name,
                boot: *boot,
                have: &link.have,
                shown: &link.shown,
                has_diverged: link.has_diverged,
            }),
            Greeting::Awaited | Greeting::Foreign => None,
        })
    }

    /// Whether this server, told to stop, holds and shows what its peers held at that moment, and every peer that is up has said that
    /// it holds all of that, and all that this one wrote since: then it may go, and nothing waits on its disk alone. Servers that all
    /// stop at once part with the same history. What others go on writing is theirs to keep. True without peers, for whom nobody can
    /// wait.
    #[must_use]
    pub fn has_parted(&self) -> bool {
        let names = self.peers.names();
        let Some(Draining::Giving { held }) = &self.draining else { return names.is_empty() };
        let is_shown = || held.iter().all(|(writer, count)| self.history.shown().get(writer) >= count);
        names.is_empty() || (names.iter().all(|name| self.has_taken_over(name, held)) && is_shown())
    }

    /// What the peers held is here: from now on it is they who are waited for. A server that was never level with them does not begin
    /// with that now.
    pub(super) fn go_on_draining(&mut self) {
        if let Some(Draining::Taking { rounds }) = &self.draining
            && (!self.has_caught_up
                || rounds.iter().all(|(link, round)| self.peers.has_finished(*link, *round)))
        {
            self.draining = Some(Draining::Giving { held: self.history.vector() });
        }
    }

    pub(super) fn on_peer_up(&mut self, link: PeerLink, effects: &mut Vec<Effect>) {
        self.peers.links.insert(link, Link::new(true));
        effects.push(self.hello(link, None));
    }

    pub(super) fn on_peer_down(&mut self, now: Now, link: PeerLink) {
        if let Some(Link { greeting: Greeting::Known { name, .. }, have, .. }) =
            self.peers.links.remove(&link)
        {
            self.plant.keep_vector(&name, &have);
            self.note_contact_lost(now, &name);
        }
        self.note_absences(now);
    }

    pub(super) fn note_absences(&mut self, now: Now) {
        let (own, membership) = (&self.settings.name, &self.settings.membership);
        // Whoever joins has published nothing yet.
        let others = membership.members.iter().chain(&membership.leaving).filter(|name| *name != own);
        self.peers.note_absences(now.monotonic, others);
    }

    fn hello(&self, link: PeerLink, to: Option<&ServerName>) -> Effect {
        let hello = Hello {
            version: PEER_VERSION,
            name: self.settings.name.clone(),
            cluster_id: self.settings.cluster_id.clone(),
            boot: self.settings.boot,
            history: Some(Facts {
                have: self.history.vector(),
                shown: self.history.shown().clone(),
                lamport: self.history.highest(),
                taken_at: to.and_then(|to| self.history.last_taken_at(to)),
            }),
            epoch: Some(self.leadership().epoch),
        };
        Effect::ToPeer { link, bytes: PeerMessage::Hello(hello).encode() }
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
        let message = match message {
            PeerMessage::Hello(hello) => return self.on_hello(now, link, hello, effects),
            message => message,
        };
        self.note_heard(now, link);
        let Some(from) = self.peers.links.get_mut(&link).filter(|link| link.name().is_some()) else {
            self.counters.peer_messages_ignored += 1;
            tracing::debug!(link = link.0, "ignored a message of a foreign peer, or one before its greeting");
            return;
        };
        match message {
            PeerMessage::Ops { ops, more, token, have, shown } => {
                from.have = have;
                self.note_shown(link, &shown);
                self.on_ops(now, link, &ops, more, token, effects);
            }
            PeerMessage::Pull { have, shown, limit_bytes, token } => {
                let answer = self.answer_pull(link, &have, limit_bytes, token);
                if let Some(from) = self.peers.links.get_mut(&link) {
                    from.have = have;
                }
                self.note_shown(link, &shown);
                effects.push(Effect::ToPeer { link, bytes: answer.encode() });
            }
            PeerMessage::Have { have, shown } => {
                from.have.merge(&have);
                self.note_shown(link, &shown);
            }
            PeerMessage::Check { hashes, token } => self.on_check(link, hashes, token, effects),
            PeerMessage::Checked { hashes, token } => self.on_checked(now, link, hashes, token, effects),
            PeerMessage::Push { ops } => self.on_push(now, link, &ops, effects),
            PeerMessage::Coordination(message) => self.on_coordination(now, link, &message),
            PeerMessage::Time(message) => self.on_time(now, link, message, effects),
            PeerMessage::Hello(_) => {}
        }
    }

    /// A peer shows this, so it was durable once, and may be shown here.
    fn note_shown(&mut self, link: PeerLink, shown: &VersionVector) {
        if !self.plant.has(Planted::ShownNotMerged) {
            self.peers.claimed.merge(shown);
        }
        if let Some(link) = self.peers.links.get_mut(&link) {
            link.shown.merge(shown);
        }
    }

    fn on_hello(&mut self, now: Now, number: PeerLink, hello: Hello, effects: &mut Vec<Effect>) {
        let Hello { version, name, cluster_id, boot, history, epoch } = hello;
        let answers = !self.peers.links.get(&number).is_some_and(|link| link.dialled);
        if answers {
            let answered = self.peers.links.values().filter(|link| !link.dialled).count();
            if answered >= ANSWERED_LINKS_MAX && !self.peers.links.contains_key(&number) {
                self.counters.peer_messages_ignored += 1;
                tracing::warn!(%name, "ignoring a peer: too many links");
                return;
            }
            effects.push(self.hello(number, Some(&name)));
        }
        let greeting = self.greet(version, name, &cluster_id, boot);
        let is_known = matches!(greeting, Greeting::Known { .. });
        let mut link = Link::new(!answers);
        link.greeting = greeting;
        let name = link.name().cloned();
        let before = self.peers.links.insert(number, link);
        if let Some(before) =
            before.as_ref().and_then(Link::name).filter(|before| Some(*before) != name.as_ref())
        {
            self.note_contact_lost(now, before);
        }
        let Some(name) = name.filter(|_| is_known) else { return };
        self.timekeeping.on_linked(now.monotonic);
        self.note_contact(now, &name, boot, epoch);
        if let Some(facts) = history {
            self.note_facts(now, number, name, facts);
        }
        self.note_absences(now);
        if self.peers.asked_links().contains(&number) {
            self.request_round(now, number, effects);
        }
    }

    /// Before this boot writes, it rises above all that the others tell it.
    fn note_facts(&mut self, now: Now, number: PeerLink, name: ServerName, facts: Facts) {
        // A value over the largest is of no server of ours.
        let lamport = facts.lamport.min(Lamport::MAX);
        if lamport > self.clock.now() {
            self.clock.on_receive(lamport);
        }
        self.last_taken_at = self.last_taken_at.max(facts.taken_at);
        self.note_taken_at(now);
        if self.is_of_the_cluster(&name) {
            self.peers.heard.insert(name);
        }
        if let Some(link) = self.peers.links.get_mut(&number) {
            link.have = facts.have;
        }
        self.note_shown(number, &facts.shown);
    }

    fn greet(&mut self, version: u8, name: ServerName, cluster_id: &str, boot: Boot) -> Greeting {
        if cluster_id == self.settings.cluster_id && version >= PEER_VERSION_MIN {
            return Greeting::Known { name, boot, version };
        }
        self.counters.peers_foreign += 1;
        tracing::warn!(%name, cluster_id, version, own = %self.settings.cluster_id, "ignoring a peer of another cluster or version");
        Greeting::Foreign
    }

    /// Asks every peer once a second whether there is anything to pull; asks again where an answer was lost.
    pub(super) fn pull_when_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if now.monotonic < self.peers.next_pull {
            return;
        }
        self.peers.next_pull = now.monotonic + PULL_INTERVAL;
        for link in self.peers.asked_links() {
            let Some(peer) = self.peers.links.get(&link) else { continue };
            let lost =
                peer.asking.as_ref().is_some_and(|asking| asking.since + PULL_TIMEOUT <= now.monotonic);
            if lost {
                self.pull(now, link, effects);
            } else if !peer.is_running() && peer.speaks(PEER_VERSION_CHECK) {
                if !self.is_known_equal(now, link) {
                    self.check(now, link, effects);
                }
            } else if !peer.is_running() {
                self.request_round(now, link, effects);
            }
        }
    }

    /// Asks every peer that is up, and says which rounds must finish until everything they hold at this moment is here.
    pub(super) fn request_rounds(&mut self, now: Now, effects: &mut Vec<Effect>) -> Vec<(PeerLink, u64)> {
        let links = self.peers.asked_links();
        links.into_iter().filter_map(|link| Some((link, self.request_round(now, link, effects)?))).collect()
    }

    /// Begins a round with this peer, or has one follow the running one, whose answer may be on its way already. `None` when
    /// the peer is not up.
    fn request_round(&mut self, now: Now, link: PeerLink, effects: &mut Vec<Effect>) -> Option<u64> {
        let peer = self.peers.links.get_mut(&link).filter(|peer| peer.name().is_some())?;
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
        if let Some(peer) = self.peers.links.get_mut(&link) {
            peer.asking = Some(Asking { token, since: now.monotonic });
            let shown = self.history.shown().clone();
            let pull = PeerMessage::Pull { have, shown, limit_bytes: OPS_BYTES_MAX as u64, token };
            effects.push(Effect::ToPeer { link, bytes: pull.encode() });
        }
    }

    fn answer_pull(&self, from: PeerLink, have: &VersionVector, limit_bytes: u64, token: u64) -> PeerMessage {
        // What the asker writes itself is on its way to its disk, if it is not there.
        let mut known = have.clone();
        if let Some(asker) = self.peers.links.get(&from).and_then(Link::writer) {
            let count = self.history.count(&asker);
            known.raise(asker, count);
        }
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX).min(OPS_BYTES_MAX);
        let (mut ops, mut bytes, mut more) = (Vec::new(), 0, false);
        let mut passed_over = !self.plant.has(Planted::PullOffByOne);
        self.history.missing_from(&known, |op| {
            if !std::mem::replace(&mut passed_over, true) {
                return ControlFlow::Continue(());
            }
            let op = encode_op(&op);
            if !ops.is_empty() && bytes + op.len() > limit {
                more = true;
                return ControlFlow::Break(());
            }
            bytes += op.len();
            ops.push(op);
            ControlFlow::Continue(())
        });
        PeerMessage::Ops {
            ops,
            more,
            token,
            have: self.history.vector(),
            shown: self.history.shown().clone(),
        }
    }

    fn on_ops(
        &mut self,
        now: Now,
        link: PeerLink,
        ops: &[Bytes],
        more: bool,
        token: u64,
        effects: &mut Vec<Effect>,
    ) {
        let taken = self.take_over(ops);
        let Some(peer) = self.peers.links.get_mut(&link) else { return };
        // An answer that came too late belongs to no pull; its operations were welcome.
        if !peer.is_answered_by(token) {
            return;
        }
        // Without progress, asking for more would give the same again; the next regular pull is soon enough.
        let pulled = match (more, taken.progress, taken.gap) {
            (true, true, _) => Pulled::More,
            (false, _, false) => Pulled::All,
            (true, false, _) | (false, _, true) => Pulled::Some,
        };
        if ops.is_empty() || !self.storage.finish_pull_when_settled(link, pulled) {
            self.finish_pull(now, link, pulled, effects);
        }
    }

    /// A pull's operations are on disk (or given up): the round goes on or is over.
    pub(super) fn finish_pull(
        &mut self,
        now: Now,
        link: PeerLink,
        pulled: Pulled,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.peers.links.get_mut(&link) else { return };
        if pulled == Pulled::More {
            self.pull(now, link, effects);
            return;
        }
        peer.finished = peer.begun;
        let again = mem::take(&mut peer.again);
        let (name, asked) = (peer.name().cloned(), peer.asked);
        if let Some(name) = name.filter(|_| pulled == Pulled::All) {
            self.note_covered(asked, name);
        }
        if again {
            self.request_round(now, link, effects);
        }
    }

    fn on_push(&mut self, now: Now, link: PeerLink, ops: &[Bytes], effects: &mut Vec<Effect>) {
        let taken = self.take_over(ops);
        let Some(from) = self.peers.links.get_mut(&link) else { return };
        // An older server pushes what is on its disk.
        if Told::of(from) == Told::WhenStored {
            for (writer, count) in taken.told.iter() {
                from.have.raise(writer.clone(), count);
            }
        }
        let Some(pusher) = from.name().cloned().filter(|_| taken.gap) else { return };
        let to_pusher = self
            .peers
            .asked_links()
            .into_iter()
            .find(|link| self.peers.links.get(link).and_then(Link::name) == Some(&pusher));
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
                    taken.gap = true;
                    continue;
                }
            };
            let writer = Writer::of(&op.dot);
            taken.told.raise(writer.clone(), op.dot.seq);
            // Only this server writes in its own boot.
            if writer == self.writer || op.dot.seq <= self.history.count(&writer) {
                continue;
            }
            let next = self.next_seq(&writer);
            if op.dot.seq > next || !self.storage.has_room() {
                taken.gap = true;
                continue;
            }
            if op.dot.seq == next && op.lamport <= self.last_lamport(&writer) {
                self.counters.peer_messages_ignored += 1;
                tracing::warn!(dot = ?op.dot, "ignored an operation that does not stand after its writer's last one");
                taken.gap = true;
                continue;
            }
            taken.progress = true;
            if op.dot.seq == next {
                highest = highest.max(op.lamport);
                self.storage.add(Arc::new(op));
            }
        }
        if highest > Lamport::default() && !self.plant.has(Planted::LamportNotRaised) {
            self.clock.on_receive(highest);
        }
        taken
    }
}
