//! What leaves for clients: publications, replies, and `elsewhere`.

use super::confirming::is_within;
use super::counters::Outcome;
use super::requests::{Caller, Client};
use super::{Effect, Now, Replica};
use crate::constants::REPUBLISH_WITHIN;
use crate::op::{Op, OpKind};
use crate::session::{Seen, Session};
use papo_protocol::UserName;
use papo_protocol::codec::Encoding;
use papo_protocol::publication::{PublicationKind, PublicationMeta, write_publication};
use papo_protocol::reply::{Code, Durable, Receipt, Refusal, Reply, write_reply};
use papo_protocol::worker_link::Cookie;

impl Replica {
    /// Publishes what is shown, unless the channel froze. A twin that stands for it may have been published by its own server, or
    /// that server may have died before: proxies drop what they have sent, so once too often is right and once too few is not.
    /// Always in MessagePack, whatever the author speaks: one reader's encoding must not depend on another's.
    pub(super) fn publish(&mut self, op: &Op, effects: &mut Vec<Effect>) {
        let (topic, kind) = match &op.kind {
            OpKind::Publish { channel, .. } if !self.history.state().is_frozen(channel) => {
                (channel.to_string(), PublicationKind::Channel)
            }
            OpKind::Message { dst, .. } => (dst.to_string(), PublicationKind::Direct),
            OpKind::Publish { .. } | OpKind::Login { .. } | OpKind::CreateChannel { .. } => return,
        };
        if let Some(entry) = op.to_history_entry() {
            let body = write_publication(&entry, self.clock.on_send(), &op.dot.origin, Encoding::MessagePack);
            self.counters.publications += 1;
            let meta = PublicationMeta { kind, identity: op.identity };
            effects.push(Effect::Publish { topic, body, meta });
        }
    }

    /// A retry found what another process wrote: it asks again because the first did not answer, and so may not have published
    /// either. Later than [`REPUBLISH_WITHIN`] a proxy may have forgotten the identity, and would send a double.
    pub(super) fn publish_for_another(&mut self, now: Now, op: &Op, effects: &mut Vec<Effect>) {
        if op.dot.boot != self.settings.boot && is_within(now, op.at, REPUBLISH_WITHIN) {
            self.publish(op, effects);
        }
    }

    /// Says that this operation is durable, to the client that asked for it first or again.
    pub(super) fn answer_write(&mut self, now: Now, mut client: Client, op: &Op, effects: &mut Vec<Effect>) {
        let receipt = Receipt {
            message_id: op.identity,
            position: op.position(),
            durable: Durable {
                fsynced: u32::try_from(self.disks_with(op)).unwrap_or(u32::MAX),
                of: u32::try_from(self.settings.membership.members.len()).unwrap_or(u32::MAX),
            },
        };
        let (user, reply) = match &op.kind {
            OpKind::Login { user } => (Some(user), Reply::Success(Some(receipt))),
            OpKind::CreateChannel { .. } => (None, Reply::Success(Some(receipt))),
            OpKind::Publish { .. } | OpKind::Message { .. } => (None, Reply::Posted(receipt)),
        };
        if let Some(session) = self.session_mut(&mut client.caller) {
            session.wrote(&op.dot);
            session.user = user.cloned().or_else(|| session.user.take());
        }
        self.answer(now, client, &reply, effects);
    }

    /// What a client reads here, another server must show too before it serves this client.
    pub(super) fn note_read(&mut self, client: &mut Client) {
        if let Caller::Broker { session, .. } = &mut client.caller {
            session.read = self.history.latest_shown().map(|(boot, seq)| Seen { boot, seq }).collect();
        }
    }

    /// Nothing was appended: the broker tries another server, a direct client is told to.
    pub(super) fn turn_away(&mut self, now: Now, client: Client, effects: &mut Vec<Effect>) {
        match client.caller {
            Caller::Broker { .. } => {
                self.counters.count_request(client.service, Outcome::Elsewhere);
                effects.push(Effect::Elsewhere { id: client.id });
            }
            Caller::Direct { .. } => {
                let text =
                    "this server cannot take the request now: repeat it, or ask another server".to_owned();
                let refusal = Refusal { code: Code::NoServer, text, retry: true };
                self.answer(now, client, &Reply::Refused(refusal), effects);
            }
        }
    }

    /// Answers, and gives the session along.
    pub(super) fn answer(&mut self, now: Now, mut client: Client, reply: &Reply, effects: &mut Vec<Effect>) {
        let clock = self.clock.on_send();
        let body = write_reply(&client.style, reply, clock, now.unix, self.settings.compat);
        let mut user = client.author.take();
        if let Some(session) = self.session_mut(&mut client.caller) {
            session.lamport = clock;
            user = user.or_else(|| session.user.clone());
        }
        let cookie = match &client.caller {
            Caller::Broker { session, .. } => session.to_cookie(),
            Caller::Direct { .. } => Cookie::default(),
        };
        let refused = if let Reply::Refused(refusal) = reply { Some(refusal.code.as_str()) } else { None };
        let outcome = if refused.is_some() { Outcome::Erro } else { Outcome::Ok };
        self.counters.count_request(client.service, outcome);
        let (service, user) = (client.style.service.as_str(), user.as_ref().map(UserName::as_str));
        tracing::info!(service, user, clock = clock.get(), refused, "request answered");
        effects.push(Effect::Reply { id: client.id, cookie, body });
    }

    fn session_mut<'a>(&'a mut self, caller: &'a mut Caller) -> Option<&'a mut Session> {
        match caller {
            Caller::Broker { session, .. } => Some(session),
            Caller::Direct { session } => session.and_then(|session| self.sessions.get_mut(session)),
        }
    }
}
