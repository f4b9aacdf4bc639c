//! Between [`Coordination`], which knows servers by name, and the links, the disk and the proxies. What it decides about is no business
//! of this module's.

use super::peers::Greeting;
use super::{Effect, Now, PeerLink, Replica};
use crate::constants::STORE_EPOCH_AGAIN;
use crate::coordination::{Act, Fitness, Leadership, Message, rank};
use crate::membership::Standing;
use crate::peer::{PEER_VERSION_COORDINATION, PeerMessage};
use papo_protocol::epoch::Epoch;
use papo_protocol::publication::{PublicationKind, PublicationMeta, write_coordinator};
use papo_protocol::reference::ReferenceAnswer;
use papo_protocol::{Boot, Identity, ServerName};

/// Where coordinators announce themselves (row D03).
const SERVERS_TOPIC: &str = "servers";

impl Replica {
    /// Who leads, as far as this server is concerned.
    #[must_use]
    pub fn leadership(&self) -> Leadership<'_> {
        self.coordination.leadership()
    }

    /// Whether a server that stops may go as far as its office is concerned: it has none, or has handed it over.
    #[must_use]
    pub fn has_left_office(&self) -> bool {
        !self.coordination.is_leading()
    }

    /// What this server is good for is judged anew. Before anything else, as all that it does depends on that.
    pub(super) fn judge_fitness(&mut self, now: Now) {
        let is_member = self.standing() == Standing::Member;
        let fitness = if self.draining.is_some() || !is_member {
            Fitness::Unfit
        } else if self.storage.takes_nothing(now) {
            Fitness::Impaired
        } else {
            Fitness::Fit
        };
        self.coordination.on_fitness(now.monotonic, fitness);
    }

    /// A server has greeted on a link.
    pub(super) fn note_contact(&mut self, now: Now, name: &ServerName, boot: Boot, epoch: Option<Epoch>) {
        if let Some(epoch) = epoch {
            self.coordination.on_greeting(now.monotonic, name, boot, epoch);
        }
    }

    /// A link to this server is closed.
    pub(super) fn note_contact_lost(&mut self, now: Now, name: &ServerName) {
        if self.link_to_coordinate(name).is_none() {
            self.coordination.on_gone(now.monotonic, name);
        }
    }

    /// The peer at the other end of this link has said something.
    pub(super) fn note_heard(&mut self, now: Now, link: PeerLink) {
        let link = self.peers.links.get(&link).filter(|link| link.speaks(PEER_VERSION_COORDINATION));
        if let Some(name) = link.and_then(|link| link.name()) {
            self.coordination.on_heard(now.monotonic, name);
        }
    }

    pub(super) fn on_coordination(&mut self, now: Now, link: PeerLink, message: &Message) {
        let greeting = self.peers.links.get(&link).map(|link| &link.greeting);
        if let Some(Greeting::Known { name, boot, version }) = greeting
            && *version >= PEER_VERSION_COORDINATION
        {
            self.coordination.on_message(now.monotonic, name, *boot, message);
        }
    }

    pub(super) fn on_reference(&mut self, now: Now, answer: ReferenceAnswer) {
        self.coordination.on_reference(now.monotonic, answer);
    }

    /// A batch is on the disk, with this epoch if it had one.
    pub(super) fn note_epoch_stored(&mut self, now: Now, epoch: Option<Epoch>) {
        if let Some(epoch) = epoch {
            self.coordination.on_stored(now.monotonic, epoch);
        }
    }

    /// The disk has refused a batch.
    pub(super) fn note_epoch_refused(&mut self, now: Now) {
        self.coordination.on_refused(now.monotonic + STORE_EPOCH_AGAIN);
    }

    /// Does what coordination has decided.
    pub(super) fn coordinate(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for act in self.coordination.take_acts() {
            match act {
                Act::Send { to, message } => {
                    if let Some(link) = self.link_to_coordinate(&to) {
                        let bytes = PeerMessage::Coordination(message).encode();
                        effects.push(Effect::ToPeer { link, bytes });
                    }
                }
                Act::Ask(call) => effects.push(Effect::AskReference(call)),
                Act::Announce(epoch) => self.announce(now, epoch, effects),
                Act::Notice(notice) => effects.push(Effect::Notice(notice)),
            }
        }
    }

    /// The newest link to this server, of those that this one opened if there are such. A server of a lower version is not reached.
    pub(super) fn link_to_coordinate(&self, name: &ServerName) -> Option<PeerLink> {
        let links = self.peers.links_to(name).filter(|(_, link)| link.speaks(PEER_VERSION_COORDINATION));
        links.map(|(number, link)| (link.dialled, number)).max().map(|(_, number)| number)
    }

    /// This server leads (rows D03, G04). All proxies get the same identity, so that subscribers hear it once.
    fn announce(&mut self, now: Now, epoch: Epoch, effects: &mut Vec<Effect>) {
        let name = &self.settings.name;
        let identity = Identity::of_content(
            "election",
            name.as_str(),
            SERVERS_TOPIC,
            epoch.to_string().as_bytes(),
            &[0; 16],
        );
        let meta = PublicationMeta { kind: PublicationKind::Servers, identity };
        let clock = self.clock.on_send();
        let body = write_coordinator(name, rank(name), epoch.number, clock, now.unix);
        effects.push(Effect::Publish { topic: SERVERS_TOPIC.to_owned(), body, meta });
    }
}
