//! Whether a peer and this server have the same: every second they tell each other hashes, and pull only where these differ (design,
//! "History"). While both stay as they were when they were equal, every second time is enough. Servers that show the same dots and
//! other operations have diverged, which is reported (row H07).

use super::peers::Asking;
use super::replication::Pulled;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::CHECK_WHEN_EQUAL;
use crate::peer::{Hashes, PeerMessage};
use papo_protocol::ServerName;
use std::collections::BTreeSet;

impl Replica {
    /// Servers that show other operations than this one under the same dots (row H07).
    pub fn diverged(&self) -> impl Iterator<Item = &ServerName> {
        let names: BTreeSet<_> =
            self.peers().filter(|peer| peer.has_diverged).map(|peer| peer.name).collect();
        names.into_iter()
    }

    fn hashes(&self) -> Hashes {
        Hashes {
            have: self.history.vector().hash(),
            shown: self.history.shown().hash(),
            digest: self.history.digest(),
        }
    }

    /// Whether both were equal a moment ago, and this server is still as it was. A peer that changes meanwhile asks by itself.
    pub(super) fn is_known_equal(&self, now: Now, link: PeerLink) -> bool {
        let equal = self.peers.links.get(&link).and_then(|peer| peer.equal);
        equal.is_some_and(|(at, hashes)| now.monotonic < at + CHECK_WHEN_EQUAL && hashes == self.hashes())
    }

    /// Begins a round that may turn out to need no pull.
    pub(super) fn check(&mut self, now: Now, link: PeerLink, effects: &mut Vec<Effect>) {
        let hashes = self.hashes();
        self.peers.last_token += 1;
        let token = self.peers.last_token;
        if let Some(peer) = self.peers.links.get_mut(&link) {
            peer.begun += 1;
            peer.asking = Some(Asking { token, since: now.monotonic });
            effects.push(Effect::ToPeer { link, bytes: PeerMessage::Check { hashes, token }.encode() });
        }
    }

    pub(super) fn on_check(&mut self, link: PeerLink, hashes: Hashes, token: u64, effects: &mut Vec<Effect>) {
        self.compare(link, hashes);
        let answer = PeerMessage::Checked { hashes: self.hashes(), token };
        effects.push(Effect::ToPeer { link, bytes: answer.encode() });
    }

    /// The round is over if the peer has nothing that is not here, and pulls otherwise.
    pub(super) fn on_checked(
        &mut self,
        now: Now,
        link: PeerLink,
        hashes: Hashes,
        token: u64,
        effects: &mut Vec<Effect>,
    ) {
        let same = self.compare(link, hashes);
        let Some(peer) = self.peers.links.get_mut(&link) else { return };
        // Not when the peer asked: each must ask, to know what the other has as of a moment that is its own.
        peer.equal = same.map(|hashes| (now.monotonic, hashes));
        if peer.is_answered_by(token) {
            self.finish_pull(now, link, if same.is_some() { Pulled::All } else { Pulled::More }, effects);
        }
    }

    /// What the peer and this server both have on disk and show; `None` where they differ. Who shows the same dots must show the same
    /// operations.
    fn compare(&mut self, link: PeerLink, theirs: Hashes) -> Option<Hashes> {
        let own = self.hashes();
        let peer = self.peers.links.get_mut(&link)?;
        if theirs.shown == own.shown {
            let has_diverged = theirs.digest != own.digest;
            if has_diverged && !peer.has_diverged {
                tracing::error!(
                    peer = peer.name().map(ServerName::as_str),
                    shown = self.history.shown().digest(),
                    "a peer shows other operations under the same numbers: one of the two disks is damaged, or papo has a bug; compare \
                     the exports of both, and replace the volume of the one that is wrong"
                );
            }
            peer.has_diverged = has_diverged;
        }
        let is_same = (theirs.have, theirs.shown) == (own.have, own.shown);
        if is_same {
            peer.have = self.history.vector();
            peer.shown = self.history.shown().clone();
        } else if let Some(name) = peer.name().cloned() {
            // Whichever link this came by, the next question is asked in time.
            for peer in self.peers.links.values_mut().filter(|peer| peer.name() == Some(&name)) {
                peer.equal = None;
            }
        }
        is_same.then_some(own)
    }
}
