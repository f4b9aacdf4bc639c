//! The links to other servers, and what each has said: who it is, what it has on disk, what it shows.
//!
//! Links are opened both ways between two servers, and each carries a version vector of its own, which starts anew with the link.
//! So what a peer's earlier boot had on disk counts no longer than its link lives.

use super::PeerLink;
use crate::constants::{PULL_INTERVAL, PUSHED_BYTES_MAX, SUSPECT_AFTER};
use crate::peer::{Hashes, PEER_VERSION_HAVE};
use crate::vector::{VersionVector, Writer};
use papo_protocol::{Boot, ServerName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

/// Who is at the other end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing heard yet.
    Awaited,
    /// A server of this cluster.
    Known { name: ServerName, boot: Boot, version: u8 },
    /// Of another cluster, or of too old a version: ignored.
    Foreign,
}

/// The pull or check that a peer has not answered yet.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) token: u64,
    pub(super) since: Duration,
}

/// What was pushed over a link and is not on the peer's disk as far as known.
#[derive(Debug, Default)]
struct Pushed {
    /// The last number in each message, and its bytes.
    messages: VecDeque<(u64, usize)>,
    bytes: usize,
}

/// A link, opened by either end.
#[derive(Debug)]
pub(super) struct Link {
    /// Whether this server opened it.
    pub(super) dialled: bool,
    pub(super) greeting: Greeting,
    /// What the peer has on disk.
    pub(super) have: VersionVector,
    /// What the peer shows.
    pub(super) shown: VersionVector,
    /// Rounds of pulls begun and finished; one runs while they differ.
    pub(super) begun: u64,
    pub(super) finished: u64,
    /// Whether another round begins as soon as this one is finished.
    pub(super) again: bool,
    pub(super) asking: Option<Asking>,
    /// When the last question that was answered was asked.
    pub(super) asked: Duration,
    /// When both ends last had the same, and what that was.
    pub(super) equal: Option<(Duration, Hashes)>,
    /// Whether the peer shows other operations under the same dots.
    pub(super) has_diverged: bool,
    pushed: Pushed,
}

impl Link {
    pub(super) fn new(dialled: bool) -> Self {
        Self {
            dialled,
            greeting: Greeting::Awaited,
            have: VersionVector::default(),
            shown: VersionVector::default(),
            begun: 0,
            finished: 0,
            again: false,
            asking: None,
            asked: Duration::ZERO,
            equal: None,
            has_diverged: false,
            pushed: Pushed::default(),
        }
    }

    pub(super) fn name(&self) -> Option<&ServerName> {
        match &self.greeting {
            Greeting::Known { name, .. } => Some(name),
            Greeting::Awaited | Greeting::Foreign => None,
        }
    }

    fn boot(&self) -> Option<Boot> {
        match &self.greeting {
            Greeting::Known { boot, .. } => Some(*boot),
            Greeting::Awaited | Greeting::Foreign => None,
        }
    }

    /// Under which the peer's operations are kept, those of its present boot.
    pub(super) fn writer(&self) -> Option<Writer> {
        match &self.greeting {
            Greeting::Known { name, boot, .. } => Some(Writer { origin: name.clone(), boot: *boot }),
            Greeting::Awaited | Greeting::Foreign => None,
        }
    }

    pub(super) fn speaks(&self, least: u8) -> bool {
        matches!(&self.greeting, Greeting::Known { version, .. } if *version >= least)
    }

    /// Whether this answers the question that was asked last; it is answered then.
    pub(super) fn is_answered_by(&mut self, token: u64) -> bool {
        let answered = self.asking.take_if(|asking| asking.token == token);
        self.asked = answered.as_ref().map_or(self.asked, |asking| asking.since);
        answered.is_some()
    }

    pub(super) fn is_running(&self) -> bool {
        self.begun > self.finished
    }

    /// Whether so many more bytes may be pushed: a peer that does not keep up is left to pull, so that nothing piles up for it.
    pub(super) fn takes_push(&mut self, own: &Writer, last: u64, bytes: usize) -> bool {
        let stored = self.have.get(own);
        while let Some((_, bytes)) = self.pushed.messages.pop_front_if(|(last, _)| *last <= stored) {
            self.pushed.bytes -= bytes;
        }
        let takes = self.pushed.bytes == 0 || self.pushed.bytes + bytes <= PUSHED_BYTES_MAX;
        if takes {
            self.pushed.messages.push_back((last, bytes));
            self.pushed.bytes += bytes;
        }
        takes
    }
}

/// Since when a member has had no link.
#[derive(Debug)]
struct Absence {
    since: Duration,
    suspected: bool,
}

/// All links, and what outlasts them.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) links: BTreeMap<PeerLink, Link>,
    pub(super) next_pull: Duration,
    pub(super) last_token: u64,
    /// What any peer has said is shown. That an operation was durable once is a lasting fact, whoever said it and is gone.
    pub(super) claimed: VersionVector,
    /// Members whose history was heard of since the start.
    pub(super) heard: BTreeSet<ServerName>,
    /// When a member was asked for everything that it had and that is here by now.
    pub(super) covered: BTreeMap<ServerName, Duration>,
    absent: BTreeMap<ServerName, Absence>,
}

impl Peers {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            links: BTreeMap::new(),
            next_pull: now + PULL_INTERVAL,
            last_token: 0,
            claimed: VersionVector::default(),
            heard: BTreeSet::new(),
            covered: BTreeMap::new(),
            absent: BTreeMap::new(),
        }
    }

    /// The links to this server.
    pub(super) fn links_to<'a>(
        &'a self,
        name: &'a ServerName,
    ) -> impl DoubleEndedIterator<Item = (PeerLink, &'a Link)> {
        self.links
            .iter()
            .filter(move |(_, link)| link.name() == Some(name))
            .map(|(number, link)| (*number, link))
    }

    /// Whether there is a link to this server.
    pub(super) fn is_linked(&self, name: &ServerName) -> bool {
        self.links_to(name).next().is_some()
    }

    /// The servers that there is a link to.
    pub(super) fn names(&self) -> BTreeSet<ServerName> {
        self.links.values().filter_map(Link::name).cloned().collect()
    }

    /// The links on which to pull and push: one for each server, by preference one that this server opened, and else the newest.
    pub(super) fn asked_links(&self) -> Vec<PeerLink> {
        let mut links: BTreeMap<&ServerName, (bool, PeerLink)> = BTreeMap::new();
        for (number, link) in &self.links {
            let usable = link.dialled || link.speaks(PEER_VERSION_HAVE);
            if let Some(name) = link.name().filter(|_| usable) {
                let found = links.entry(name).or_insert((link.dialled, *number));
                *found = (*found).max((link.dialled, *number));
            }
        }
        links.into_values().map(|(_, number)| number).collect()
    }

    /// The link on which to tell this server what is on disk here: by preference one that it opened, on which it pushes.
    pub(super) fn link_to_tell(&self, name: &ServerName) -> Option<PeerLink> {
        let links = self.links_to(name).filter(|(_, link)| link.speaks(PEER_VERSION_HAVE));
        links.map(|(number, link)| (!link.dialled, number)).max().map(|(_, number)| number)
    }

    /// How many operations of `writer` this server is known to have on disk. While links to two of its boots are up, no more than
    /// both have: one of them is gone, and which is not known here.
    pub(super) fn fsynced(&self, name: &ServerName, writer: &Writer) -> u64 {
        let mut of_boots: Vec<(Option<Boot>, u64)> = Vec::new();
        for (_, link) in self.links_to(name) {
            let (boot, count) = (link.boot(), link.have.get(writer));
            match of_boots.iter_mut().find(|(other, _)| *other == boot) {
                Some((_, highest)) => *highest = (*highest).max(count),
                None => of_boots.push((boot, count)),
            }
        }
        of_boots.into_iter().map(|(_, count)| count).min().unwrap_or(0)
    }

    /// Whether this round is over, by its end or the link's.
    pub(super) fn has_finished(&self, link: PeerLink, round: u64) -> bool {
        self.links.get(&link).is_none_or(|peer| peer.finished >= round)
    }

    /// Takes note of who is away. To be called when links or members change.
    pub(super) fn note_absences<'a>(&mut self, now: Duration, others: impl Iterator<Item = &'a ServerName>) {
        let mut absent = BTreeMap::new();
        let mut before = mem::take(&mut self.absent);
        for name in others {
            if self.is_linked(name) {
                continue;
            }
            let absence = before.remove(name).unwrap_or(Absence { since: now, suspected: false });
            absent.insert(name.clone(), absence);
        }
        self.absent = absent;
    }

    /// Members that are suspected from now on, and were not before.
    pub(super) fn newly_suspected(&mut self, now: Duration) -> Vec<ServerName> {
        let overdue = self
            .absent
            .iter_mut()
            .filter(|(_, absence)| !absence.suspected && absence.since + SUSPECT_AFTER <= now);
        overdue
            .map(|(name, absence)| {
                absence.suspected = true;
                name.clone()
            })
            .collect()
    }

    /// Whether this member has been away for long.
    pub(super) fn is_suspected(&self, name: &ServerName) -> bool {
        self.absent.get(name).is_some_and(|absence| absence.suspected)
    }

    /// When something is due: the next regular pull, or the end of somebody's grace.
    pub(super) fn next_tick(&self) -> Option<Duration> {
        let grace = self.absent.values().filter(|absence| !absence.suspected);
        let pull = (!self.links.is_empty()).then_some(self.next_pull);
        grace.map(|absence| absence.since + SUSPECT_AFTER).chain(pull).min()
    }
}
