//! A client: one request at a time. Some wait for ever, as five lines of REQ do; some lose patience and repeat with the same id,
//! through another broker; some talk to a server itself.

use super::asking::{Ask, CHANNELS, Known, user_name};
use super::receipt::Receipt;
use super::walk::{PAGE, Walks};
use super::{LIMITS, REPLY_LIMITS};
use crate::checker::{Created, Invariant, Target};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::node::{Alarm, ConnectionId, Happening, Node, Side};
use crate::random::Random;
use crate::shared::Shared;
use bytes::Bytes;
use papo_protocol::Encoding;
use papo_protocol::client::{ReadReply, read_reply, write_request};
use papo_protocol::lamport::{Lamport, LamportClock};
use std::collections::BTreeSet;

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habit {
    /// Through a broker, or to a server itself.
    pub through_broker: bool,
    /// After so long it repeats with the same id, elsewhere; without, it waits for as long as its connection lives.
    pub patience: Option<Micros>,
    /// Whether its requests carry its Lamport clock.
    pub has_clock: bool,
    /// Whether its posts name their author, or leave that to its connection's last login.
    pub names_itself: bool,
    /// Which encoding it speaks.
    pub encoding: Encoding,
    /// Between an answer and the next request, at most.
    pub pace: Micros,
}

/// What its current connection has seen.
#[derive(Debug)]
struct Session {
    connection: ConnectionId,
    opened_at: Micros,
    logged_in: bool,
    /// Acknowledged on this connection, and to be seen by its reads.
    posts: Vec<(Target, String)>,
    channels: BTreeSet<String>,
    last_clock: u64,
    last_write: u64,
    /// The highest place of a message that it read.
    last_read: u64,
}

/// A request that has no answer yet.
#[derive(Debug)]
struct Pending {
    ask: Ask,
    text: String,
    id: Option<[u8; 16]>,
    tries: u64,
    clock: u64,
    /// It carried the highest clock there is, which a broker that refuses it gives back.
    absurd: bool,
    /// Whether it was sent on the current connection and waits for its answer.
    sent: bool,
}

/// Who asks.
#[derive(Debug)]
pub struct Client {
    node: Node,
    habit: Habit,
    user: String,
    users: usize,
    /// Whom it may call.
    targets: Vec<Node>,
    target: usize,
    random: Random,
    clock: LamportClock,
    session: Option<Session>,
    pending: Option<Pending>,
    own_channels: Vec<String>,
    walks: Walks,
    serial: u64,
    attempts: u64,
    /// Asks nothing more.
    pub stopped: bool,
}

impl Client {
    /// Of a drawn habit.
    #[must_use]
    pub fn new(number: usize, brokers: usize, servers: usize, users: usize, mut random: Random) -> Self {
        let through_broker = number < 2 || !random.once_in(3);
        let patient = number == 0 || (number > 1 && random.once_in(2));
        let habit = Habit {
            through_broker,
            patience: (!patient).then(|| random.within(SECOND, 5 * SECOND)),
            has_clock: !random.once_in(3),
            names_itself: !random.once_in(4),
            encoding: if random.once_in(5) { Encoding::Json } else { Encoding::MessagePack },
            pace: random.within(100 * MILLISECOND, SECOND),
        };
        let targets: Vec<Node> = if through_broker {
            (0..brokers).map(Node::broker).collect()
        } else {
            (0..servers).map(Node::server).collect()
        };
        Self {
            node: Node::client(number),
            habit,
            user: user_name(number),
            users,
            target: random.below(targets.len()),
            targets,
            random,
            clock: LamportClock::default(),
            session: None,
            pending: None,
            own_channels: Vec::new(),
            walks: Walks::new(),
            serial: 0,
            attempts: 0,
            stopped: false,
        }
    }

    /// Calls somebody.
    pub fn start(&mut self, shared: &mut Shared) {
        self.dial(shared);
    }

    /// Whether it waits for nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending.is_none()
    }

    /// What it has read page by page.
    #[must_use]
    pub fn walks(&self) -> &Walks {
        &self.walks
    }

    /// For the trace of one that does not get on.
    #[must_use]
    pub fn waits_for(&self) -> String {
        format!("{} ({:?}) waits: {:?}", self.node, self.habit, self.pending)
    }

    fn dial(&self, shared: &mut Shared) {
        if let Some(target) = self.targets.get(self.target) {
            shared.dial(self.node, *target);
        }
    }

    fn dial_another(&mut self, shared: &mut Shared) {
        self.target = (self.target + 1) % self.targets.len().max(1);
        self.dial(shared);
    }

    /// Takes in what happens.
    pub fn on_happening(&mut self, shared: &mut Shared, happening: Happening) {
        match happening {
            Happening::Opened { connection, .. } => {
                self.session = Some(Session {
                    connection,
                    opened_at: shared.now,
                    logged_in: false,
                    posts: Vec::new(),
                    channels: BTreeSet::new(),
                    last_clock: 0,
                    last_write: 0,
                    last_read: 0,
                });
                if self.pending.is_some() {
                    self.send(shared);
                } else {
                    self.think_later(shared);
                }
            }
            Happening::Frames { connection, frames } => self.on_frames(shared, connection, &frames),
            Happening::Closed { connection, .. } => self.on_closed(shared, connection),
            Happening::Unreachable { .. } => self.dial_another(shared),
            Happening::Alarm(Alarm::Think) => self.think(shared),
            Happening::Alarm(Alarm::Patience(attempt)) => self.on_patience(shared, attempt),
            Happening::Alarm(Alarm::Tick | Alarm::Beat | Alarm::Disk(_) | Alarm::Settings) => {}
        }
    }

    fn on_closed(&mut self, shared: &mut Shared, connection: ConnectionId) {
        if self.session.as_ref().is_some_and(|session| session.connection != connection) {
            return;
        }
        self.session = None;
        if self.habit.patience.is_none() {
            // Its request is lost with the connection, and nobody knows how it ended.
            self.pending = None;
        } else if let Some(pending) = &mut self.pending {
            pending.sent = false;
        }
        self.dial_another(shared);
    }

    fn on_patience(&mut self, shared: &mut Shared, attempt: u64) {
        if attempt != self.attempts || !self.pending.as_ref().is_some_and(|pending| pending.sent) {
            return;
        }
        let Some(session) = self.session.take() else { return };
        shared.count("client_lost_patience");
        shared.close(session.connection, Side::Dialer);
        // A server says only after a while that it lacks what a cursor covers; who does not wait so long never hears it.
        let in_vain = shared.checker.may_have_lost();
        self.pending.take_if(|pending| in_vain && matches!(pending.ask, Ask::Walk(_)));
        if let Some(pending) = &mut self.pending {
            pending.sent = false;
        }
        self.dial_another(shared);
    }

    fn think_later(&mut self, shared: &mut Shared) {
        let after = self.random.within(self.habit.pace / 4, self.habit.pace);
        shared.alarm(self.node, shared.now + after, Alarm::Think);
    }

    fn think(&mut self, shared: &mut Shared) {
        let Some(session) = &self.session else { return };
        if let Some(pending) = &self.pending {
            if !pending.sent {
                self.send(shared);
            }
            return;
        }
        if self.stopped {
            return;
        }
        self.serial += 1;
        let ask = match self.serial {
            1 => Ask::Login,
            2 => Ask::Channel(CHANNELS.first().copied().unwrap_or_default().to_owned()),
            _ if !session.logged_in && !self.habit.names_itself => Ask::Login,
            serial => {
                let channels = Known { own: &self.own_channels, told: &shared.told };
                Ask::draw(&mut self.random, self.users, self.node.number, serial, &channels)
            }
        };
        let text = format!("c{}-{}", self.node.number, self.serial);
        if let Ask::Post(target) = &ask {
            let broker = self.habit.through_broker;
            shared.checker.on_post(shared.now, &text, &self.user, target.clone(), broker);
        }
        shared.count(match (self.habit.patience, self.habit.encoding) {
            (Some(_), Encoding::Json) => "asked_with_retries_in_json",
            (Some(_), Encoding::MessagePack) => "asked_with_retries",
            (None, Encoding::Json) => "asked_once_in_json",
            (None, Encoding::MessagePack) => "asked_once",
        });
        let id = self.habit.patience.map(|_| self.random.bytes());
        self.pending = Some(Pending { ask, text, id, tries: 0, clock: 0, absurd: false, sent: false });
        self.send(shared);
    }

    fn send(&mut self, shared: &mut Shared) {
        let (Some(session), Some(pending)) = (&self.session, &mut self.pending) else { return };
        let absurd = self.habit.has_clock && self.random.once_in(150);
        let clock = match (absurd, self.habit.has_clock) {
            (true, _) => Lamport::MAX,
            (false, true) => self.clock.on_send(),
            (false, false) => Lamport::default(),
        };
        pending.absurd = absurd;
        pending.clock = if absurd { 0 } else { clock.get() };
        pending.tries += 1;
        pending.sent = true;
        let named = self.habit.names_itself || !session.logged_in;
        let (service, fields) = pending.ask.fields(&self.user, named, &pending.text);
        let mut fields = fields;
        if let Ask::Walk(channel) = &pending.ask
            && let Some(cursor) = self.walks.get(channel).and_then(|walk| walk.cursor.as_ref())
        {
            fields.extend([("papo_cursor", cursor.as_str()), ("limit", PAGE)]);
        }
        let at = shared.clock(self.node).unix;
        let body = if pending.ask == Ask::Garbage {
            Bytes::from_static(b"\xc1nothing")
        } else {
            write_request(service, &fields, pending.id, clock, at, self.habit.encoding)
        };
        debug_assert!(body.len() < LIMITS.bytes);
        self.attempts += 1;
        let attempt = self.attempts;
        if pending.tries > 1 {
            shared.count("client_repeated");
        }
        if let Some(patience) = self.habit.patience {
            shared.alarm(self.node, shared.now + patience, Alarm::Patience(attempt));
        }
        shared.trace.line(shared.now, || {
            format!("{} asks {:?} {} clock {clock}", self.node, pending.ask, pending.text)
        });
        shared.send(session.connection, Side::Dialer, vec![Bytes::new(), body]);
    }

    fn on_frames(&mut self, shared: &mut Shared, connection: ConnectionId, frames: &[Bytes]) {
        if self.session.as_ref().is_none_or(|session| session.connection != connection) {
            return;
        }
        let node = self.node;
        let Some(pending) = self.pending.take_if(|pending| pending.sent) else {
            shared.violate(Invariant::Answered, || format!("{node} gets an answer and has asked nothing"));
            return;
        };
        let reply = match frames {
            [delimiter, body] if delimiter.is_empty() => read_reply(body, &REPLY_LIMITS),
            _ => {
                shared.violate(Invariant::Answered, || format!("{node} gets {} frames", frames.len()));
                return;
            }
        };
        match reply {
            Ok(reply) => {
                shared.trace.line(shared.now, || {
                    let outcome = reply.failure.as_ref().map(|failure| &failure.text);
                    format!(
                        "{node} is answered {:?} {}: {outcome:?} clock {}",
                        pending.ask, pending.text, reply.clock
                    )
                });
                if !pending.absurd {
                    self.clock.on_receive(reply.clock);
                }
                if reply.failure.is_some() {
                    self.on_refused(shared, pending, &reply);
                } else {
                    self.on_success(shared, &pending, &reply);
                }
            }
            Err(error) => {
                shared.violate(Invariant::Answered, || format!("{node} cannot read its answer: {error}"));
            }
        }
        self.think_later(shared);
    }

    fn on_refused(&mut self, shared: &mut Shared, mut pending: Pending, reply: &ReadReply) {
        let Some(failure) = &reply.failure else { return };
        let code = failure.code.as_deref().unwrap_or_default();
        let uncertain = code == "unknown";
        let certain = !uncertain && (!self.habit.through_broker || code == "no_server");
        // What a cursor covers may be lost for good, where harm may take it away.
        let in_vain = code == "cursor_ahead" && shared.checker.may_have_lost();
        if failure.retry && self.habit.patience.is_some() && !in_vain {
            pending.sent = false;
            self.pending = Some(pending);
            return;
        }
        if certain && pending.tries == 1 {
            shared.checker.on_not_done(shared.now, &pending.text);
        }
        let Some(session) = &self.session else { return };
        match (&pending.ask, code) {
            (Ask::OwnChannel(channel), "name_taken") => {
                let node = self.node;
                shared.violate(Invariant::Honest, || {
                    format!("{node} is told that {channel} is taken, and nobody else has asked for it")
                });
            }
            (
                Ask::Post(Target::Channel(channel)) | Ask::History(channel) | Ask::Walk(channel),
                "unknown_channel",
            ) if session.channels.contains(channel) && is_sure(shared, session) => {
                let node = self.node;
                shared.violate(Invariant::Session, || {
                    format!("{node} is told that {channel} does not exist, which it has created on this connection")
                });
            }
            (Ask::Walk(_), "cursor_invalid") => {
                let node = self.node;
                shared.violate(Invariant::Honest, || format!("{node} gave a cursor back, and it is refused"));
            }
            (Ask::Walk(_), "cursor_ahead") => shared.count("cursor_ahead"),
            (Ask::Garbage, "bad_request") => shared.count("garbage_refused"),
            _ => {}
        }
        if uncertain {
            shared.count("outcome_unknown");
        }
        if code == "no_server" {
            shared.count("no_server");
        }
    }

    fn on_success(&mut self, shared: &mut Shared, pending: &Pending, reply: &ReadReply) {
        let node = self.node;
        let Some(session) = &mut self.session else { return };
        let sure = is_sure(shared, session);
        let clock = reply.clock.get();
        if clock <= pending.clock || clock <= session.last_clock {
            let (sent, last) = (pending.clock, session.last_clock);
            shared.violate(Invariant::Causal, || {
                format!("{node} is answered with the clock {clock} after it sent {sent} and heard {last}")
            });
        }
        session.last_clock = clock;
        if let Some(receipt) = Receipt::of(reply) {
            let Receipt { identity, lamport, .. } = receipt;
            // A repetition may find what was written before this connection's last write.
            if pending.tries == 1 && lamport <= session.last_write {
                let last = session.last_write;
                shared.violate(Invariant::Causal, || {
                    format!(
                        "{} stands at {lamport}, after a write of the same connection at {last}",
                        pending.text
                    )
                });
            }
            if pending.tries == 1 && lamport <= session.last_read {
                let last = session.last_read;
                shared.violate(Invariant::Causal, || {
                    format!("{} stands at {lamport}, after the same connection read {last}", pending.text)
                });
            }
            session.last_write = session.last_write.max(lamport);
            if let Ask::Post(_) = &pending.ask {
                shared.checker.on_posted(shared.now, &pending.text, identity);
            } else {
                shared.checker.on_done(format!("{:?} of {node}", pending.ask), identity);
            }
            let created = match &pending.ask {
                Ask::Login => Some(Created::User(self.user.clone())),
                Ask::Channel(name) | Ask::OwnChannel(name) => Some(Created::Channel(name.clone())),
                _ => None,
            };
            if let Some(created) = created {
                shared.checker.on_created(shared.now, created, receipt, &shared.volumes);
            }
        }
        let read = reply.messages().iter().map(|message| message.clock.get()).max();
        session.last_read = session.last_read.max(read.unwrap_or(0));
        match &pending.ask {
            Ask::Login => session.logged_in = true,
            Ask::Channel(channel) | Ask::OwnChannel(channel) => {
                session.channels.insert(channel.clone());
                if matches!(pending.ask, Ask::OwnChannel(_)) {
                    self.own_channels.push(channel.clone());
                    shared.told.push(channel.clone());
                }
            }
            Ask::Post(target) => session.posts.push((target.clone(), pending.text.clone())),
            Ask::Channels if sure => {
                let names = reply.names(&["channels"]);
                if let Some(missing) = session.channels.iter().find(|channel| !names.contains(channel)) {
                    shared
                        .violate(Invariant::Session, || format!("{node} does not see its channel {missing}"));
                }
            }
            Ask::History(channel) => {
                check_history(shared, node, session, reply, &|target| {
                    *target == Target::Channel(channel.clone())
                });
            }
            Ask::Walk(channel) => {
                let walk = self.walks.entry(channel.clone()).or_default();
                walk.on_page(shared, &node.to_string(), reply);
                shared.count("cursor_pages");
            }
            Ask::OwnHistory => {
                check_history(shared, node, session, reply, &|target| matches!(target, Target::User(_)));
            }
            Ask::Channels | Ask::Users | Ask::Sync | Ask::Garbage => {}
        }
    }
}

/// Whether no server was asked to serve as things stand since this connection was opened: then its own writes must be seen.
fn is_sure(shared: &Shared, session: &Session) -> bool {
    shared.checker.last_resort_at.is_none_or(|at| at < session.opened_at)
}

fn check_history(
    shared: &mut Shared,
    node: Node,
    session: &Session,
    reply: &ReadReply,
    is_asked: &dyn Fn(&Target) -> bool,
) {
    let messages = reply.messages();
    let mut texts = BTreeSet::new();
    let mut before = Lamport::default();
    for message in &messages {
        let target = match &message.dst {
            Some(user) => Target::User(user.clone()),
            None => Target::Channel(message.channel.clone().unwrap_or_default()),
        };
        shared.checker.on_shown(shared.now, &message.message, &message.user, &target, message.message_id);
        if !texts.insert(message.message.as_str()) {
            let text = &message.message;
            shared.violate(Invariant::Once, || format!("a history that {node} reads has {text} twice"));
        }
        if message.clock < before {
            let text = &message.message;
            shared
                .violate(Invariant::Equal, || format!("a history that {node} reads has {text} out of order"));
        }
        before = message.clock;
    }
    if is_sure(shared, session)
        && let Some((_, text)) =
            session.posts.iter().rfind(|(target, text)| is_asked(target) && !texts.contains(text.as_str()))
    {
        shared.violate(Invariant::Session, || format!("{node} does not see its own {text}"));
    }
}
