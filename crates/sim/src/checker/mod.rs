//! What must hold, whatever goes wrong (docs/architecture.md, "Invariants"). The checker sees all processes, disks and clients at
//! once; nothing that is checked may look at it.

mod ending;
mod epochs;
mod states;
mod times;

pub use epochs::{Epochs, View};
pub use states::{Harm, LOOKS_TO_SPREAD, Look};
pub use times::Times;

use crate::clock::Micros;
use crate::hosts::receipt::Receipt;
use crate::node::ConnectionId;
use crate::trace::Seconds;
use crate::volume::Volume;
use papo_protocol::{Boot, Identity};
use papo_replica::{Durability, Op, VersionVector};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Which rule is broken. The numbers are those of docs/architecture.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// 1: an acknowledged write is on the promised disks, and is not lost while fewer fail.
    Durable,
    /// 2: nothing appears twice.
    Once,
    /// 3: equal vectors, equal state.
    Equal,
    /// 4: at most one coordinator an epoch; epochs only grow; a lower one changes nothing.
    Epochs,
    /// 5: time never runs backwards on a server, follows no liar, and is the same on all.
    Time,
    /// 6: the Lamport order respects causality.
    Causal,
    /// 7: a request is answered exactly once, in time, and with its own answer.
    Answered,
    /// 8: tables are bounded.
    Bounded,
    /// 9: no mind panics.
    Panics,
    /// 10: a subscriber gets what it named.
    Named,
    /// 11: a subscriber hears each message exactly once.
    Heard,
    /// 12: what was shown stays.
    Lasting,
    /// After all faults, the servers become equal and every client gets on.
    Converges,
    /// A connection sees what it wrote, and speaks as its own user.
    Session,
    /// A server starts from what is on its disk.
    Starts,
    /// What one server shows, the others that hold it show soon.
    Spreads,
    /// Who leads is the best that may, and in the end all agree on it.
    Leads,
    /// What was refused did not happen, and what nobody did is not refused.
    Honest,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durable => "1 (durable)",
            Self::Once => "2 (once)",
            Self::Equal => "3 (equal)",
            Self::Epochs => "4 (epochs)",
            Self::Time => "5 (time)",
            Self::Causal => "6 (causal)",
            Self::Answered => "7 (answered)",
            Self::Bounded => "8 (bounded)",
            Self::Panics => "9 (panics)",
            Self::Named => "10 (named)",
            Self::Heard => "11 (heard)",
            Self::Lasting => "12 (lasting)",
            Self::Converges => "convergence",
            Self::Session => "session",
            Self::Starts => "start",
            Self::Spreads => "spreading",
            Self::Leads => "leadership",
            Self::Honest => "honesty",
        })
    }
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When it was seen.
    pub at: Micros,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} at {}: {}", self.invariant, Seconds(self.at), self.text)
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To a channel.
    Channel(String),
    /// To a user.
    User(String),
}

impl Target {
    /// Under which it is published.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self {
            Self::Channel(name) | Self::User(name) => name,
        }
    }
}

/// How a write ended, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is done.
    Acknowledged,
    /// Nothing was done, and the one server that was asked says so.
    NotDone,
}

/// A message that a client sent; its text names it, since every text is sent for once.
#[derive(Debug, Clone)]
pub struct Post {
    /// As whom.
    pub author: String,
    /// Where to.
    pub target: Target,
    /// When it was first sent.
    pub sent_at: Micros,
    /// Whether through a broker.
    pub through_broker: bool,
    /// When its client heard how it ended, and how.
    pub ended: Option<(Micros, Outcome)>,
    /// Under which it is stored, once its client knows.
    pub identity: Option<Identity>,
}

/// Something that clients create.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Created {
    /// A channel.
    Channel(String),
    /// A user.
    User(String),
}

/// That it exists.
#[derive(Debug, Clone)]
pub struct Creation {
    /// When a client heard of it.
    pub heard_at: Micros,
    /// The servers that had it on their disks then.
    pub holders: Vec<usize>,
}

/// What a subscriber named, and heard since.
#[derive(Debug, Clone)]
pub struct Listening {
    /// On which connection.
    connection: ConnectionId,
    /// At which proxy.
    pub proxy: usize,
    /// Since when all its subscriptions hold.
    pub since: Option<Micros>,
    /// Topics named exactly; the empty one is for all channels.
    pub topics: BTreeSet<String>,
    /// Those that the proxy has taken in.
    taken_in: BTreeSet<String>,
    /// Texts heard on this connection.
    pub heard: BTreeSet<String>,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Checker {
    durability: Durability,
    /// The members by the settings, and by those before: some servers may have these still.
    members: [Vec<usize>; 2],
    posts: BTreeMap<String, Post>,
    /// Texts by identity.
    texts: BTreeMap<Identity, String>,
    /// Writes that are no messages: what, by identity.
    others: BTreeMap<Identity, String>,
    /// What a history or a publication showed.
    shown: BTreeSet<String>,
    /// Identities that are on no disk any more, by harm that the durability allows.
    lost: BTreeSet<Identity>,
    /// A volume has lost something.
    is_harmed: bool,
    /// Publications that a server could not bring to a proxy, within what its bounds allow.
    unheard: BTreeSet<(Identity, usize)>,
    /// By subscriber.
    pub listening: BTreeMap<usize, Listening>,
    /// What was seen with each vector, in short and as exported.
    states: HashMap<(u64, bool), u64>,
    /// What each server showed at the last look, and in which boot.
    looked_at: BTreeMap<usize, (Boot, u64)>,
    /// What each server showed, and in which boot, at the last few looks.
    shown_before: BTreeMap<usize, VecDeque<(Boot, VersionVector)>>,
    /// The highest Lamport value that each server has said.
    said: BTreeMap<usize, u64>,
    /// How many operations of each boot were on the promised number of disks at once.
    durable: HashMap<Boot, u64>,
    /// The acknowledged writes by place, and the place above which each boot must write.
    acknowledged: BTreeMap<u64, (Boot, u64)>,
    floors: HashMap<Boot, u64>,
    /// What clients know to exist.
    pub created: BTreeMap<Created, Creation>,
    /// Servers whose disk may not hold how far their Lamport clock has come.
    at_risk: BTreeSet<usize>,
    /// Who led, and when.
    pub epochs: Epochs,
    /// What times were given out.
    pub times: Times,
    /// A calendar is so wrong that nobody can tell whether a message is too old to be published again.
    pub has_liar: bool,
    /// When a broker last asked a server to serve a request as things stand.
    pub last_resort_at: Option<Micros>,
    /// What was first seen to be broken.
    pub violation: Option<Violation>,
}

impl Checker {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(durability: Durability, members: usize) -> Self {
        let members: Vec<usize> = (0..members).collect();
        Self {
            durability,
            members: [members.clone(), members],
            posts: BTreeMap::new(),
            texts: BTreeMap::new(),
            others: BTreeMap::new(),
            shown: BTreeSet::new(),
            lost: BTreeSet::new(),
            is_harmed: false,
            unheard: BTreeSet::new(),
            listening: BTreeMap::new(),
            states: HashMap::new(),
            looked_at: BTreeMap::new(),
            shown_before: BTreeMap::new(),
            said: BTreeMap::new(),
            durable: HashMap::new(),
            acknowledged: BTreeMap::new(),
            floors: HashMap::new(),
            created: BTreeMap::new(),
            at_risk: BTreeSet::new(),
            epochs: Epochs::default(),
            times: Times::default(),
            has_liar: false,
            last_resort_at: None,
            violation: None,
        }
    }

    /// On how many of so many members' disks a write is when it is acknowledged.
    fn promised(&self, members: usize) -> usize {
        match self.durability {
            Durability::Local => 1,
            Durability::Majority => members / 2 + 1,
            Durability::All => members,
        }
    }

    /// How many operations of a boot are on the promised number of disks now. A disk that was harmed counts as it was before, while
    /// there is a server that may not know.
    fn on_promised_disks(&self, boot: Boot, volumes: &[Volume]) -> u64 {
        let of = |members: &Vec<usize>| {
            let held = members.iter().filter_map(|number| volumes.get(*number));
            let mut counts: Vec<u64> =
                held.map(|volume| volume.count(boot).max(volume.ghosts(boot))).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.get(self.promised(members.len()).saturating_sub(1)).copied().unwrap_or(0)
        };
        self.members.iter().map(of).max().unwrap_or(0)
    }

    fn note_durable(&mut self, boot: Boot, volumes: &[Volume]) {
        let count = self.on_promised_disks(boot, volumes);
        let durable = self.durable.entry(boot).or_default();
        *durable = (*durable).max(count);
    }

    /// The settings name other members.
    pub fn on_members(&mut self, members: Vec<usize>, volumes: &[Volume]) {
        let [now, before] = &mut self.members;
        if *now != members {
            *before = std::mem::replace(now, members);
        }
        let boots: BTreeSet<Boot> = volumes.iter().flat_map(Volume::boots).collect();
        for boot in boots {
            self.note_durable(boot, volumes);
        }
    }

    /// Takes note that a rule is broken. The first counts.
    pub fn violate(&mut self, at: Micros, invariant: Invariant, text: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, at, text: text() });
        }
    }

    /// A client sends a message, for the first time.
    pub fn on_post(&mut self, at: Micros, text: &str, author: &str, target: Target, through_broker: bool) {
        let post = Post {
            author: author.to_owned(),
            target,
            sent_at: at,
            through_broker,
            ended: None,
            identity: None,
        };
        self.posts.entry(text.to_owned()).or_insert(post);
    }

    /// A batch is on a disk. An operation that is then on the promised number of disks was durable once, which is a lasting fact.
    pub fn on_commit(&mut self, ops: &[Arc<Op>], volumes: &[Volume]) {
        let boots: BTreeSet<Boot> = ops.iter().map(|op| op.dot.boot).collect();
        for boot in boots {
            self.note_durable(boot, volumes);
        }
    }

    /// A server says that a write is done: it must have been on the promised number of disks at once.
    pub fn on_promise(&mut self, at: Micros, server: usize, receipt: Receipt) {
        let Receipt { identity, lamport, boot, seq } = receipt;
        let server = server + 1;
        if self.durable.get(&boot).is_none_or(|durable| *durable < seq) {
            let promised = self.members.each_ref().map(|members| self.promised(members.len()));
            let promised = promised.into_iter().min().unwrap_or(0);
            self.violate(at, Invariant::Durable, || {
                format!("server-{server} acknowledges {identity}, which was never on {promised} disks")
            });
        }
        let floor = self.floors.get(&boot).copied().unwrap_or(0);
        if lamport <= floor {
            self.violate(at, Invariant::Causal, || {
                format!("{identity} stands at {lamport}, and its boot began when {floor} was acknowledged")
            });
        }
        self.acknowledged.insert(lamport, (boot, seq));
    }

    /// A new boot begins. It hears a majority before it writes, so it stands above all that is acknowledged by now and still on so
    /// many disks that no majority is without it.
    pub fn on_boot(&mut self, boot: Boot, volumes: &[Volume]) {
        if self.durability == Durability::Local {
            return;
        }
        let [members, _] = &self.members;
        let majority = members.len() / 2 + 1;
        let floor = self.acknowledged.iter().rev().find(|(_, (writer, seq))| {
            let lacks =
                |number: &&usize| volumes.get(**number).is_none_or(|volume| volume.count(*writer) < *seq);
            members.iter().filter(lacks).count() < majority
        });
        if let Some((floor, _)) = floor {
            self.floors.insert(boot, *floor);
        }
    }

    /// A client hears that a user or a channel exists.
    pub fn on_created(&mut self, at: Micros, what: Created, receipt: Receipt, volumes: &[Volume]) {
        let holders = volumes.iter().enumerate();
        let holders = holders.filter(|(_, volume)| volume.count(receipt.boot) >= receipt.seq);
        let holders = holders.map(|(number, _)| number).collect();
        self.created.entry(what).or_insert(Creation { heard_at: at, holders });
    }

    /// A server says a Lamport value, higher than any that it said before.
    pub fn on_said(&mut self, at: Micros, server: usize, clock: u64) {
        let before = self.said.insert(server, clock).unwrap_or(0);
        if clock <= before {
            self.violate(at, Invariant::Causal, || {
                format!("server-{} says {clock} after it said {before}", server + 1)
            });
        }
    }

    /// A server said Lamport values above the ceiling on its disk, or not any more.
    pub fn on_ceiling(&mut self, server: usize, at_risk: bool) {
        if at_risk {
            self.at_risk.insert(server);
        } else {
            self.at_risk.remove(&server);
        }
    }

    /// A server starts: it may have forgotten what it said if that was not on its disk.
    pub fn on_start(&mut self, server: usize) {
        if self.at_risk.remove(&server) {
            self.said.remove(&server);
            self.times.on_forgotten(server);
        }
    }

    /// A client hears that its message is stored.
    pub fn on_posted(&mut self, at: Micros, text: &str, identity: Identity) {
        let before = self.texts.entry(identity).or_insert_with(|| text.to_owned()).clone();
        if before != text {
            self.violate(at, Invariant::Answered, || {
                format!("the answer to {text} names {identity}, which is {before}")
            });
        }
        if let Some(post) = self.posts.get_mut(text) {
            post.ended.get_or_insert((at, Outcome::Acknowledged));
            if *post.identity.get_or_insert(identity) != identity {
                self.violate(at, Invariant::Once, || format!("{text} has two identities"));
            }
        }
    }

    /// A client hears that another write is stored.
    pub fn on_done(&mut self, what: String, identity: Identity) {
        self.others.entry(identity).or_insert(what);
    }

    /// A client hears that nothing was done of its only try.
    pub fn on_not_done(&mut self, at: Micros, text: &str) {
        if let Some(post) = self.posts.get_mut(text) {
            post.ended.get_or_insert((at, Outcome::NotDone));
        }
    }

    /// Somebody is shown a message.
    pub fn on_shown(
        &mut self,
        at: Micros,
        text: &str,
        author: &str,
        target: &Target,
        identity: Option<Identity>,
    ) {
        let Some(post) = self.posts.get(text) else {
            self.violate(at, Invariant::Honest, || format!("{text} is shown and was never sent"));
            return;
        };
        if post.author != author || post.target != *target {
            let text = format!(
                "{text}, sent by {} to {:?}, is shown as by {author} to {target:?}",
                post.author, post.target
            );
            self.violate(at, Invariant::Session, || text);
            return;
        }
        if let Some(identity) = identity {
            self.texts.entry(identity).or_insert_with(|| text.to_owned());
        }
        self.shown.insert(text.to_owned());
    }

    /// A publication of this identity will not come to a proxy from the server that had it.
    pub fn on_unheard(&mut self, identity: Identity, proxy: usize) {
        self.unheard.insert((identity, proxy));
    }

    /// A subscriber is connected, and names its topics.
    pub fn on_listening(
        &mut self,
        subscriber: usize,
        connection: ConnectionId,
        proxy: usize,
        topics: BTreeSet<String>,
    ) {
        let taken_in = BTreeSet::new();
        let heard = BTreeSet::new();
        self.listening
            .insert(subscriber, Listening { connection, proxy, since: None, topics, taken_in, heard });
    }

    /// A proxy has taken in a subscription.
    pub fn on_subscribed(&mut self, at: Micros, subscriber: usize, connection: ConnectionId, topic: &str) {
        let listening = self.listening.get_mut(&subscriber).filter(|now| now.connection == connection);
        if let Some(listening) = listening {
            listening.taken_in.insert(topic.to_owned());
            if listening.taken_in == listening.topics {
                listening.since = Some(at);
            }
        }
    }

    /// A subscriber's connection is gone, or not yet up.
    pub fn on_deaf(&mut self, subscriber: usize) {
        self.listening.remove(&subscriber);
    }

    /// A subscriber hears a message.
    pub fn on_heard(&mut self, at: Micros, subscriber: usize, topic: &str, text: &str) {
        let Some(listening) = self.listening.get_mut(&subscriber) else { return };
        let direct = self.posts.get(text).is_some_and(|post| matches!(post.target, Target::User(_)));
        let named = listening.topics.contains(topic) || (listening.topics.contains("") && !direct);
        let twice = !listening.heard.insert(text.to_owned());
        if !named {
            let topics = listening.topics.clone();
            self.violate(at, Invariant::Named, || {
                format!("subscriber-{} named {topics:?} and gets {text} on {topic}", subscriber + 1)
            });
        } else if twice {
            self.violate(at, Invariant::Heard, || {
                format!("subscriber-{} hears {text} twice", subscriber + 1)
            });
        }
    }
}
