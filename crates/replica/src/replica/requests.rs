//! Serving clients: identity first, then validation against what is stored, then append (design, "Server": write).
//!
//! A request is judged by [`Replica::judge`], which changes nothing; [`Replica::serve`] acts on the verdict. A request that
//! waited is judged anew.

use super::reading::{history_reply, sync_reply};
use super::waiting::{Until, Waiting};
use super::{Effect, LoginPolicy, Now, Origin, Replica, RequestId};
use crate::constants::{ABSENCE_WAIT, SESSION_WAIT};
use crate::op::{Op, OpKind};
use crate::session::{BadCookie, Session};
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
    /// The same write is stored already.
    Done(Arc<Op>),
    /// What decides it is on its way to the disk.
    Unsettled,
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
        let mut asked = Asked {
            client,
            key,
            client_id: request.client_id,
            sent: request.timestamp,
            call: request.call,
            peers_asked: false,
            bytes: body.len(),
        };
        // Read your writes: what the session has written must be here first.
        if let Caller::Broker { session, last_resort } = &mut asked.client.caller
            && let Some(written) = session.written
            && !self.history.holds(written.boot, written.seq)
        {
            if *last_resort {
                session.written = None;
            } else {
                self.request_rounds(now, effects);
                let deadline = Some(now.monotonic + SESSION_WAIT);
                self.park(now, Waiting { asked, until: Until::Holds(written), deadline }, effects);
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
    pub(super) fn serve(&mut self, now: Now, asked: Asked, effects: &mut Vec<Effect>) {
        match self.judge(&asked) {
            Verdict::Answer(reply) => self.answer(now, asked.client, &reply, effects),
            Verdict::Done(op) => {
                self.publish_for_another(now, &op, effects);
                self.answer_write(now, asked.client, &op, effects);
            }
            Verdict::Absent(refusal) => {
                let rounds = if asked.peers_asked { Vec::new() } else { self.request_rounds(now, effects) };
                if rounds.is_empty() {
                    self.answer(now, asked.client, &Reply::Refused(refusal), effects);
                } else {
                    let deadline = Some(now.monotonic + ABSENCE_WAIT);
                    self.park(now, Waiting { asked, until: Until::Pulled(rounds), deadline }, effects);
                }
            }
            Verdict::Unsettled => {
                let until = Until::Settled(self.storage.last_batch());
                self.park(now, Waiting { asked, until, deadline: None }, effects);
            }
            Verdict::Append(_, _) if self.leaves_to_others(&asked) => {
                self.turn_away(now, asked.client, effects);
            }
            Verdict::Append(kind, identity) => {
                let dot = Dot {
                    origin: self.settings.name.clone(),
                    boot: self.settings.boot,
                    seq: self.next_seq(&self.writer),
                };
                let op = Op { dot, lamport: self.lamport_to_append(), identity, at: now.unix, kind };
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

    /// Whether a new write is for another server: this one is about to stop, or has too much on its way to the disk.
    fn leaves_to_others(&self, asked: &Asked) -> bool {
        let drained = match asked.client.caller {
            Caller::Broker { last_resort, .. } => self.draining.is_some() && !last_resort,
            Caller::Direct { .. } => false,
        };
        drained || !self.storage.has_room()
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
            Call::History { scope: HistoryScope::Channel(channel), shape, limit, .. } => {
                if let Some(verdict) = self.absent_channel(channel) {
                    return verdict;
                }
                history_reply(*shape, state.posts(channel), *limit)
            }
            Call::History { scope: HistoryScope::User(user), shape, limit, .. } => {
                history_reply(*shape, state.direct_messages(user), *limit)
            }
            Call::Users => Reply::Users(state.users().map(|(user, _)| user.clone()).collect()),
            Call::Channels => Reply::Channels(state.channels().map(|(channel, _)| channel.clone()).collect()),
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
        if let Some(op) = self.history.standing(&identity) {
            return Verdict::Done(Arc::clone(op));
        }
        if self.storage.has_identity(&identity) {
            return Verdict::Unsettled;
        }
        self.validate(&kind).unwrap_or(Verdict::Append(kind, identity))
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
                let unsettled = channel.is_some_and(|channel| self.storage.has_channel(&channel))
                    || (unique && self.storage.has_user(user));
                unsettled.then_some(Verdict::Unsettled)
            }
            OpKind::CreateChannel { channel } => {
                let user = UserName::new(channel.as_str()).ok();
                if state.has_channel(channel) {
                    return taken(format!("the channel `{channel}` already exists"));
                }
                if user.as_ref().is_some_and(|user| state.has_user(user)) {
                    return taken(format!("the user `{channel}` has this name: choose another"));
                }
                let unsettled = self.storage.has_channel(channel)
                    || user.is_some_and(|user| self.storage.has_user(&user));
                unsettled.then_some(Verdict::Unsettled)
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
                if self.storage.has_user(dst) {
                    return Some(Verdict::Unsettled);
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
        if self.storage.has_channel(channel) {
            return Some(Verdict::Unsettled);
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
