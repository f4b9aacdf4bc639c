//! What peers are told without asking: new operations, as a hint that spares them a pull; what is on disk, by which an operation's
//! origin counts; and what is shown. Whoever misses some of it pulls it (see `replication`).

use super::peers::Link;
use super::{Effect, Replica};
use crate::constants::OPS_BYTES_MAX;
use crate::op::Op;
use crate::peer::{PEER_VERSION_EARLY_PUSH, PeerMessage, encode_op};
use crate::planted::Planted;
use crate::vector::{VersionVector, Writer};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

/// What changed since the peers were told.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Writers of whom more is on disk. This boot is not among them: its operations are pushed.
    pub(super) held: BTreeSet<Writer>,
    /// Writers of whom more is shown.
    pub(super) shown: BTreeSet<Writer>,
}

/// When a peer is told of a new operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// As soon as this server begins to store it.
    WhenBegun,
    /// Once it is on this server's disk: an older peer takes a push for the word that it is.
    WhenStored,
}

impl Told {
    pub(super) fn of(link: &Link) -> Self {
        if link.speaks(PEER_VERSION_EARLY_PUSH) { Self::WhenBegun } else { Self::WhenStored }
    }
}

impl Replica {
    /// Tells the peers what is on disk and shown here since they were told last. An operation's origin counts the disks and tells all
    /// what is shown; so only the origin is told what is on disk, and only by the origin what is shown. The others hear it within a
    /// second (see `comparing`), or at once where there is no link to the origin.
    pub(super) fn tell_peers(&mut self, effects: &mut Vec<Effect>) {
        let news = mem::take(&mut self.news);
        if news.held.is_empty() && news.shown.is_empty() {
            return;
        }
        let names = self.peers.names();
        let is_own_or_orphaned =
            |writer: &Writer| writer.origin == self.settings.name || !names.contains(&writer.origin);
        for name in &names {
            let Some(link) = self.peers.link_to_tell(name) else { continue };
            let (mut have, mut shown) = (VersionVector::default(), VersionVector::default());
            for writer in &news.held {
                if writer.origin == *name || is_own_or_orphaned(writer) {
                    have.raise(writer.clone(), self.history.count(writer));
                }
            }
            for writer in news.shown.iter().filter(|writer| is_own_or_orphaned(writer)) {
                let count = self.history.shown().get(writer);
                if !self.peers.links_to(name).any(|(_, link)| link.shown.get(writer) >= count) {
                    shown.raise(writer.clone(), count);
                }
            }
            if !have.is_empty() || !shown.is_empty() {
                effects.push(Effect::ToPeer { link, bytes: PeerMessage::Have { have, shown }.encode() });
            }
        }
    }

    /// Tells the peers of this server's new operations, those peers that are told now. Who does not keep up pulls them. Says whether
    /// anybody was told.
    pub(super) fn push(&mut self, own: &[Arc<Op>], now: Told, effects: &mut Vec<Effect>) -> bool {
        let mut links = self.peers.asked_links();
        links.retain(|link| self.peers.links.get(link).is_some_and(|link| Told::of(link) == now));
        if links.is_empty() {
            return false;
        }
        let ops: Vec<(u64, Bytes)> = own.iter().map(|op| (op.dot.seq, encode_op(op))).collect();
        let mut rest = ops.as_slice();
        let mut is_told = false;
        while let Some((_, first)) = rest.first() {
            let mut bytes = first.len();
            let fits = |(_, op): &&(u64, Bytes)| {
                bytes += op.len();
                bytes <= OPS_BYTES_MAX
            };
            let count = 1 + rest.iter().skip(1).take_while(fits).count();
            let (piece, after) = rest.split_at(count);
            rest = after;
            let last = piece.last().map_or(0, |(seq, _)| *seq);
            let message =
                PeerMessage::Push { ops: piece.iter().map(|(_, op)| op.clone()).collect() }.encode();
            for link in &links {
                let Some(peer) = self.peers.links.get_mut(link) else { continue };
                if peer.takes_push(&self.writer, last, message.len()) {
                    is_told = true;
                    effects.push(Effect::ToPeer { link: *link, bytes: message.clone() });
                    if self.plant.has(Planted::PushCountsAsStored) {
                        peer.have.raise(self.writer.clone(), last);
                    }
                }
            }
        }
        is_told
    }
}
