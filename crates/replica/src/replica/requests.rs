//! Serving clients: identity first, then validation against what is shown, then append (design, "Server": write).
//!
//! A request is judged by [`Replica::judge`], which changes nothing; [`Replica::serve`] acts on the verdict. A request that
//! waited is judged anew.

use super::reading::{Reader, sync_reply};
use super::waiting::{Until, Waiting};
use super::{Effect, LoginPolicy, Now, Origin, Replica, RequestId};
use crate::constants::{ABSENCE_WAIT, CURSOR_WAIT, SESSION_WAIT, START_WAIT};
use crate::cursor::{BadCursor, read_cursor};
use crate::history::Place;
use crate::op::{Op, OpKind};
use crate::planted::Planted;
use crate::session::{BadCookie, Session};
use crate::vector::VersionVector;
use bytes::Bytes;
use papo_protocol::lamport::Lamport;
use papo_protocol::reply::{Code, Refusal, Reply};
use papo_protocol::request::{Call, HistoryScope, ReplyStyle, read_request};
use papo_protocol::time::SentTimestamp;
use papo_protocol::{ChannelName, Dot, Identity, RequestKey, UserName};
use std::sync::Arc;

/// Where the session of a client is kept.
#[derive(Debug)]
pub(super) enum Caller {
    /// In the broker's cookie.
    Broker { session: Session, last_resort: bool },
    /// In this server's table.
    Direct { session: Option<u64> },
}

/// Whom to answer, and how.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) style: ReplyStyle,
    /// The service, for metrics.
    pub(super) service: &'static str,
    /// Whom the request names as its author, for logs.
    pub(super) author: Option<UserName>,
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) client: Client,
    key: RequestKey,
    client_id: Option<[u8; 16]>,
    sent: Option<SentTimestamp>,
    call: Call,
    /// Whether the peers were asked for what seems absent.
    pub(super) peers_asked: bool,
    /// Of its body: what it costs while it waits.
    pub(super) bytes: usize,
}

/// What is to be done with a request.
enum Verdict {
    /// Nothing changes.
    Answer(Reply),
    /// Refuse, but only after asking the peers: it rests on absence.
    Absent(Refusal),
    /// The same write is shown already.
    Done(Place),
    /// The same write is on its way.
    Undecided(Identity),
    /// A login or a creation of this name is on its way, and decides.
    Unsettled(String),
    /// The reader has seen what is not shown here yet.
    Ahead(VersionVector),
    /// A new write.
    Append(OpKind, Identity),
}

impl Replica {
    pub(super) fn on_request(
        &mut self,
        now: Now,
        id: RequestId,
        from: Origin,
        body: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let (key, caller) = self.identify(from);
        let request = match read_request(body, &self.settings.limits) {
            Ok(request) => request,
            Err(bad) => {
                self.receive_clock(now, &caller, bad.clock);
                let service = if bad.refusal.code == Code::UnknownService { "other" } else { "invalid" };
                let client = Client { id, caller, style: bad.style, service, author: None };
                self.answer(now, client, &Reply::Refused(bad.refusal), effects);
                return;
            }
        };
        self.counters.clocks_ignored += u64::from(request.absurd_clock);
        self.receive_clock(now, &caller, request.clock);
        let (service, author) = describe(&request.call);
        let client = Client { id, caller, style: request.style, service, author: author.cloned() };
        let asked = Asked {
            client,
            key,
            client_id: request.client_id,
            sent: request.timestamp,
            call: request.call,
            peers_asked: false,
            bytes: body.len(),
        };
        if !self.may_read(now) && reads_history(&asked.call) {
            return self.wait_for_the_start(now, asked, effects);
        }
        self.admit(now, asked, effects);
    }

    /// A server that starts does not show all that it showed before: others are asked meanwhile, and who has no other waits.
    fn wait_for_the_start(&mut self, now: Now, asked: Asked, effects: &mut Vec<Effect>) {
        match asked.client.caller {
            Caller::Broker { last_resort: false, .. } => self.turn_away(now, asked.client, effects),
            Caller::Broker { last_resort: true, .. } | Caller::Direct { .. } => {
                let deadline = self.started + START_WAIT;
                self.park(now, Waiting { asked, until: Until::Started, deadline }, effects);
            }
        }
    }

    /// Read your writes, and never older than you have read: what the session has seen must be shown here first.
    pub(super) fn admit(&mut self, now: Now, mut asked: Asked, effects: &mut Vec<Effect>) {
        if let Caller::Broker { session, last_resort } = &mut asked.client.caller
            && !session.seen().all(|seen| self.history.shows(seen.boot, seen.seq))
            && !self.plant.has(Planted::SessionNotAwaited)
        {
            if *last_resort {
                session.written = None;
                session.read.clear();
            } else {
                let seen = session.seen().copied().collect();
                self.request_rounds(now, effects);
                let deadline = now.monotonic + SESSION_WAIT;
                self.park(now, Waiting { asked, until: Until::Seen(seen), deadline }, effects);
                return;
            }
        }
        self.serve(now, asked, effects);
    }

    fn identify(&mut self, from: Origin) -> (RequestKey, Caller) {
        match from {
            Origin::Broker { key, cookie, last_resort } => {
                let session = Session::from_cookie(&cookie).unwrap_or_else(|BadCookie| {
                    self.counters.cookies_unreadable += 1;
                    Session::default()
                });
                (key, Caller::Broker { session, last_resort })
            }
            Origin::Direct { session, counter } => {
                if let Some(session) = session {
                    self.sessions.open(session);
                }
                (RequestKey { boot: self.settings.boot, counter }, Caller::Direct { session })
            }
        }
    }

    /// The clock rises above what the client says, within bounds, and above what its session was told by any server.
    fn receive_clock(&mut self, now: Now, caller: &Caller, claimed: Lamport) {
        let told = match caller {
            Caller::Broker { session, .. } => session.lamport,
            Caller::Direct { .. } => Lamport::default(),
        };
        let known = self.clock.now().max(told);
        let claimed = if self.allowance.admit(now.monotonic, known, claimed) {
            claimed
        } else {
            self.counters.clocks_ignored += 1;
            Lamport::default()
        };
        self.clock.on_receive(told.max(claimed));
    }

    /// Decides a request that waits for nothing, or has waited enough.
    pub(super) fn serve(&mut self, now: Now, mut asked: Asked, effects: &mut Vec<Effect>) {
        match self.judge(&asked) {
            Verdict::Answer(reply) => {
                if reads_history(&asked.call) {
                    self.note_read(&mut asked.client);
                }
                self.answer(now, asked.client, &reply, effects);
            }
            Verdict::Done(place) => {
                let op = self.history.op(place);
                self.publish_for_another(now, &op, effects);
                self.answer_write(now, asked.client, &op, effects);
            }
            Verdict::Absent(refusal) => {
                let is_final = asked.peers_asked || self.plant.has(Planted::AbsenceNotAsked);
                let rounds = if is_final { Vec::new() } else { self.request_rounds(now, effects) };
                if rounds.is_empty() && !self.has_caught_up {
                    // What a server lacks that is still catching up may be there all the same.
                    self.turn_away(now, asked.client, effects);
                } else if rounds.is_empty() {
                    self.answer(now, asked.client, &Reply::Refused(refusal), effects);
                } else {
                    let deadline = now.monotonic + ABSENCE_WAIT;
                    self.park(now, Waiting { asked, until: Until::Pulled(rounds), deadline }, effects);
                }
            }
            Verdict::Undecided(identity) => {
                let deadline = now.monotonic + self.settings.write_deadline;
                self.park(now, Waiting { asked, until: Until::Decided(identity), deadline }, effects);
            }
            Verdict::Unsettled(name) => {
                let deadline = now.monotonic + self.settings.write_deadline;
                self.park(now, Waiting { asked, until: Until::Named(name), deadline }, effects);
            }
            Verdict::Ahead(have) => {
                self.request_rounds(now, effects);
                let deadline = now.monotonic + CURSOR_WAIT;
                self.park(now, Waiting { asked, until: Until::Covered(have), deadline }, effects);
            }
            Verdict::Append(_, _) if self.leaves_to_others(now, &asked) => {
                self.turn_away(now, asked.client, effects);
            }
            Verdict::Append(kind, identity) => {
                let dot = Dot {
                    origin: self.settings.name.clone(),
                    boot: self.settings.boot,
                    seq: self.next_seq(&self.writer),
                };
                let at = self.last_taken_at.map_or(now.unix, |last| last.max(now.unix));
                self.last_taken_at = Some(at);
                let op = Op { dot, lamport: self.lamport_to_append(), identity, at, kind };
                self.storage.add_for(asked.client, Arc::new(op));
            }
        }
    }

    /// The Lamport value of a new operation. Receiving the request has raised the clock above everything held, so appending is
    /// no further event (row E04: received at 2, answered at 3), unless an operation has this value already.
    fn lamport_to_append(&mut self) -> Lamport {
        let now = self.clock.now();
        self.last_appended = if now > self.last_appended { now } else { self.clock.on_send() };
        self.last_appended
    }

    /// Whether a new write is for another server: this one may not write, or has too much on its way to disks, or its disk hangs; or
    /// it is about to stop or behind the others, and there may be a better one.
    fn leaves_to_others(&self, now: Now, asked: &Asked) -> bool {
        let another_is_better = match asked.client.caller {
            Caller::Broker { last_resort: false, .. } => self.draining.is_some() || !self.is_current(now),
            Caller::Broker { last_resort: true, .. } | Caller::Direct { .. } => false,
        };
        let has_room = self.storage.has_room() && self.unconfirmed.has_room();
        another_is_better || !self.may_write(now) || !has_room || self.storage.is_stuck(now)
    }

    fn judge(&self, asked: &Asked) -> Verdict {
        let state = self.history.state();
        Verdict::Answer(match &asked.call {
            Call::Login { user } => return self.judge_write(asked, OpKind::Login { user: user.clone() }),
            Call::CreateChannel { channel } => {
                return self.judge_write(asked, OpKind::CreateChannel { channel: channel.clone() });
            }
            Call::Publish { user, channel, message } => {
                let Some(user) = self.author(asked, user.as_ref()) else { return no_author() };
                let (channel, message, sent) = (channel.clone(), message.clone(), asked.sent.clone());
                return self.judge_write(asked, OpKind::Publish { user, channel, message, sent });
            }
            Call::Message { src, dst, message } => {
                let Some(src) = self.author(asked, src.as_ref()) else { return no_author() };
                let (dst, message, sent) = (dst.clone(), message.clone(), asked.sent.clone());
                return self.judge_write(asked, OpKind::Message { src, dst, message, sent });
            }
            Call::History { scope, shape, cursor, limit } => {
                if let HistoryScope::Channel(channel) = scope
                    && let Some(verdict) = self.absent_channel(channel)
                {
                    return verdict;
                }
                let reader = Reader {
                    history: &self.history,
                    cluster_id: &self.settings.cluster_id,
                    encoding: asked.client.style.encoding,
                    scope,
                    shape: *shape,
                    limit: *limit,
                    skips_late: self.plant.has(Planted::CursorSkipsLate),
                };
                let Some(cursor) = cursor else { return Verdict::Answer(reader.newest()) };
                match read_cursor(&self.settings.cluster_id, scope, cursor) {
                    Ok(have) if self.history.shown().covers_all(&have) => reader.after(&have),
                    Ok(have) => return Verdict::Ahead(have),
                    Err(BadCursor) => {
                        let text = "the field `papo_cursor` is no cursor of this channel or user: leave it out to start anew";
                        return refuse(Code::CursorInvalid, text.to_owned());
                    }
                }
            }
            Call::Users => Reply::Users(state.users().cloned().collect()),
            Call::Channels => Reply::Channels(state.channels().cloned().collect()),
            Call::Sync { last_sync } => sync_reply(&self.history, *last_sync),
            Call::Subscribe { .. } | Call::Unsubscribe { .. } => Reply::Success(None),
            Call::Heartbeat => Reply::Alive,
            Call::Ping => Reply::Pong,
            Call::Clock => Reply::Time,
            Call::Election => Reply::ElectionOk,
            Call::Adjust => Reply::Adjusted,
        })
    }

    fn judge_write(&self, asked: &Asked, kind: OpKind) -> Verdict {
        let identity = kind.identity(asked.client_id.as_ref(), asked.key);
        if self.is_undecided(&identity) {
            return Verdict::Undecided(identity);
        }
        if let Some(place) = self.history.standing(&identity) {
            return Verdict::Done(place);
        }
        self.validate(&kind).unwrap_or(Verdict::Append(kind, identity))
    }

    /// Whether a write of this identity is on its way: to the disk, to be shown, or to be published by this server.
    pub(super) fn is_undecided(&self, identity: &Identity) -> bool {
        match self.history.standing(identity) {
            Some(place) => {
                let dot = self.history.dot(place);
                dot.boot == self.settings.boot && self.unconfirmed.has(dot.seq)
            }
            None => self.storage.has_identity(identity) || self.history.unshown().has_identity(identity),
        }
    }

    /// Whether a login or a creation of this name is.
    pub(super) fn is_unsettled(&self, name: &str) -> bool {
        let user = UserName::new(name).is_ok_and(|user| self.is_unsettled_user(&user));
        user || ChannelName::new(name).is_ok_and(|channel| self.is_unsettled_channel(&channel))
    }

    fn is_unsettled_user(&self, user: &UserName) -> bool {
        self.storage.has_user(user) || self.history.unshown().has_user(user)
    }

    fn is_unsettled_channel(&self, channel: &ChannelName) -> bool {
        self.storage.has_channel(channel) || self.history.unshown().has_channel(channel)
    }

    /// The author that a request names, or else the session's user (S0's dialect). It need not be registered.
    fn author(&self, asked: &Asked, named: Option<&UserName>) -> Option<UserName> {
        let session = match &asked.client.caller {
            Caller::Broker { session, .. } => Some(session),
            Caller::Direct { session } => session.and_then(|session| self.sessions.get(session)),
        };
        named.or_else(|| session?.user.as_ref()).cloned()
    }

    /// Why a write cannot be appended now, if so. One name is a user's or a channel's (row D06): both are topics.
    fn validate(&self, kind: &OpKind) -> Option<Verdict> {
        let state = self.history.state();
        let taken = |text| Some(refuse(Code::NameTaken, text));
        match kind {
            OpKind::Login { user } => {
                let channel = ChannelName::new(user.as_str()).ok();
                let unique = self.settings.login_policy == LoginPolicy::Unique;
                if state.has_user(user) {
                    let text = || format!("the user `{user}` is registered already: choose another name");
                    return if unique { taken(text()) } else { None };
                }
                if channel.as_ref().is_some_and(|channel| state.has_channel(channel)) {
                    return taken(format!("the channel `{user}` has this name: choose another"));
                }
                let unsettled = channel.is_some_and(|channel| self.is_unsettled_channel(&channel))
                    || (unique && self.is_unsettled_user(user));
                unsettled.then(|| Verdict::Unsettled(user.to_string()))
            }
            OpKind::CreateChannel { channel } => {
                let user = UserName::new(channel.as_str()).ok();
                if state.has_channel(channel) {
                    return taken(format!("the channel `{channel}` already exists"));
                }
                if user.as_ref().is_some_and(|user| state.has_user(user)) {
                    return taken(format!("the user `{channel}` has this name: choose another"));
                }
                let unsettled = self.is_unsettled_channel(channel)
                    || user.is_some_and(|user| self.is_unsettled_user(&user));
                unsettled.then(|| Verdict::Unsettled(channel.to_string()))
            }
            OpKind::Publish { channel, .. } => {
                if state.is_frozen(channel) {
                    let text =
                        "a user has the name of this channel: it can be read, but not written".to_owned();
                    return Some(refuse(Code::FrozenChannel, text));
                }
                self.absent_channel(channel)
            }
            OpKind::Message { dst, .. } => {
                if state.has_user(dst) {
                    return None;
                }
                if self.is_unsettled_user(dst) {
                    return Some(Verdict::Unsettled(dst.to_string()));
                }
                let text = format!("the user `{dst}` is not registered: it must log in first");
                Some(Verdict::Absent(Refusal { code: Code::UnknownUser, text, retry: false }))
            }
        }
    }

    fn absent_channel(&self, channel: &ChannelName) -> Option<Verdict> {
        if self.history.state().has_channel(channel) {
            return None;
        }
        if self.is_unsettled_channel(channel) {
            return Some(Verdict::Unsettled(channel.to_string()));
        }
        let text =
            format!("the channel `{channel}` does not exist: create it first with the service `channel`");
        Some(Verdict::Absent(Refusal { code: Code::UnknownChannel, text, retry: false }))
    }
}

fn refuse(code: Code, text: String) -> Verdict {
    Verdict::Answer(Reply::Refused(Refusal { code, text, retry: false }))
}

fn no_author() -> Verdict {
    refuse(Code::BadRequest, "the field `user` is missing: log in first or send `user`".to_owned())
}

/// Whether the answer depends on what is shown.
fn reads_history(call: &Call) -> bool {
    match call {
        Call::Users | Call::Channels | Call::History { .. } | Call::Sync { .. } => true,
        Call::Login { .. }
        | Call::CreateChannel { .. }
        | Call::Publish { .. }
        | Call::Message { .. }
        | Call::Subscribe { .. }
        | Call::Unsubscribe { .. }
        | Call::Heartbeat
        | Call::Ping
        | Call::Clock
        | Call::Election
        | Call::Adjust => false,
    }
}

/// The service by one name, for metrics, and the author that the request names, for logs.
fn describe(call: &Call) -> (&'static str, Option<&UserName>) {
    match call {
        Call::Login { user } => ("login", Some(user)),
        Call::Users => ("users", None),
        Call::CreateChannel { .. } => ("channel", None),
        Call::Channels => ("channels", None),
        Call::Publish { user, .. } => ("publish", user.as_ref()),
        Call::Message { src, .. } => ("message", src.as_ref()),
        Call::Subscribe { .. } => ("subscribe", None),
        Call::Unsubscribe { .. } => ("unsubscribe", None),
        Call::Heartbeat => ("heartbeat", None),
        Call::History { .. } => ("history", None),
        Call::Sync { .. } => ("sync", None),
        Call::Ping => ("ping", None),
        Call::Clock => ("clock", None),
        Call::Election => ("election", None),
        Call::Adjust => ("adjust", None),
    }
}
