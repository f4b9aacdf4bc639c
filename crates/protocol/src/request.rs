//! A client's request, read leniently (wire.md sections 1, 3 and 4): either encoding, keys in any case, the aliases of every field.

use crate::codec::{Base64Url, Encoding, Limits};
use crate::envelope::{Envelope, Fields, bad};
use crate::identity::Identity;
use crate::lamport::Lamport;
use crate::names::{ChannelName, UserName};
use crate::reply::{Code, Refusal};
use crate::time::{SentTimestamp, TimestampStyle, UnixMillis};
use crate::value::Value;
use bytes::Bytes;

/// How the reply must look so that this client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyStyle {
    /// The request's encoding.
    pub encoding: Encoding,
    /// The request's timestamp type.
    pub timestamp: TimestampStyle,
    /// The service as the client named it, echoed (cut to 128 bytes).
    pub service: String,
}

/// A request whose envelope and fields were understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// How to answer.
    pub style: ReplyStyle,
    /// The sender's Lamport value: the largest of the places where dialects put it; 0 where absent, no number, or absurd.
    pub clock: Lamport,
    /// Whether a clock over 2^53 was ignored (counted by the server).
    pub absurd_clock: bool,
    /// The sender's timestamp.
    pub timestamp: Option<SentTimestamp>,
    /// `papo_id`: 16 bytes or UUID text; anything else is ignored.
    pub client_id: Option<[u8; 16]>,
    /// What is asked.
    pub call: Call,
}

/// What is asked. Services with several names have one variant and a shape for the reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `login`.
    Login {
        /// Who.
        user: UserName,
    },
    /// `users`, `register_user` is [`Call::Login`].
    Users,
    /// `channel`.
    CreateChannel {
        /// Which.
        channel: ChannelName,
    },
    /// `channels`, `list_channels`.
    Channels,
    /// `publish`.
    Publish {
        /// The author; absent in S0's dialect, where the session knows it.
        user: Option<UserName>,
        /// Where to.
        channel: ChannelName,
        /// What.
        message: String,
    },
    /// `message`: a direct message.
    Message {
        /// The author; absent in S0's dialect.
        src: Option<UserName>,
        /// Whom to.
        dst: UserName,
        /// What.
        message: String,
    },
    /// `subscribe` (row C11): answered; the subscription itself is the SUB socket's.
    Subscribe {
        /// The topic named.
        topic: String,
    },
    /// `unsubscribe` (row C11).
    Unsubscribe {
        /// The topic named.
        topic: String,
    },
    /// `heartbeat` of a client (row C12): a reply, no presence.
    Heartbeat,
    /// `history`, `history_channel`, `history_messages`, `get_publications`, `get_messages`.
    History {
        /// Of what.
        scope: HistoryScope,
        /// Which reply is expected.
        shape: HistoryShape,
        /// `papo_cursor` or `cursor`, opaque; the empty one stands before the first message.
        cursor: Option<Bytes>,
        /// At most so many of the newest; `None` = as many as fit.
        limit: Option<usize>,
    },
    /// `sync` (row H08): everything, in the exercise's shape.
    Sync {
        /// Unix seconds; only newer entries are wanted. 0 = all.
        last_sync: i64,
    },
    /// `ping` → `{pong: "OK"}`.
    Ping,
    /// `clock` → `{time}`.
    Clock,
    /// `election` → `{election: "OK"}`; changes nothing.
    Election,
    /// `adjust`, `adjust_clock` of foreign servers: answered, changes nothing.
    Adjust,
}

/// Of what a history is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryScope {
    /// A channel's publications.
    Channel(ChannelName),
    /// The direct messages from or to a user.
    User(UserName),
}

/// The reply that a history service promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryShape {
    /// `history`: `{messages: [...], papo_cursor, more}`.
    Papo,
    /// `history_channel`, `get_publications`: `{publications: [...]}`.
    Publications,
    /// `history_messages`, `get_messages`: `{messages: [...]}`.
    Messages,
}

/// A request that cannot be served, with all that is needed to say so in the client's own dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRequest {
    /// How to answer.
    pub style: ReplyStyle,
    /// The sender's Lamport value, where it could be read.
    pub clock: Lamport,
    /// Why.
    pub refusal: Refusal,
}

/// The names under which dialects send each field, ours first (wire.md section 4).
mod names {
    pub(super) const USER: &[&str] = &["user", "username", "from", "src"];
    /// In a login `name` can only be the user's.
    pub(super) const LOGIN_USER: &[&str] = &["user", "username", "from", "src", "name"];
    pub(super) const SRC: &[&str] = &["src", "from", "user", "username"];
    pub(super) const DST: &[&str] = &["dst", "to"];
    pub(super) const CHANNEL: &[&str] = &["channel", "name", "topic"];
    pub(super) const TOPIC: &[&str] = &["topic", "channel", "name"];
    pub(super) const MESSAGE: &[&str] = &["message", "msg", "content"];
}

/// Reads one request.
///
/// # Errors
/// [`BadRequest`]: malformed bytes, a missing or wrong field, a bad name, an unknown or internal service.
pub fn read_request(bytes: &[u8], limits: &Limits) -> Result<Request, Box<BadRequest>> {
    let envelope = Envelope::open(bytes, limits)?;
    let client_id = envelope.fields().find(&["papo_id"]).and_then(read_id);
    match read_call(&envelope) {
        Ok(call) => Ok(Request {
            clock: envelope.clock,
            absurd_clock: envelope.absurd_clock,
            timestamp: envelope.timestamp,
            style: envelope.style,
            client_id,
            call,
        }),
        Err(refusal) => Err(envelope.refuse(refusal)),
    }
}

fn read_call(envelope: &Envelope) -> Result<Call, Refusal> {
    let fields = envelope.fields();
    let channel = || fields.required_name(names::CHANNEL, ChannelName::new);
    let user = || fields.required_name(names::USER, UserName::new);
    Ok(match envelope.service().as_str() {
        "login" | "register_user" => {
            Call::Login { user: fields.required_name(names::LOGIN_USER, UserName::new)? }
        }
        "users" => Call::Users,
        "channel" => Call::CreateChannel { channel: channel()? },
        "channels" | "list_channels" => Call::Channels,
        "publish" => Call::Publish {
            user: fields.name(names::USER, UserName::new)?,
            channel: channel()?,
            message: fields.required_text(names::MESSAGE)?.into_owned(),
        },
        "message" => Call::Message {
            src: fields.name(names::SRC, UserName::new)?,
            dst: fields.required_name(names::DST, UserName::new)?,
            message: fields.required_text(names::MESSAGE)?.into_owned(),
        },
        "subscribe" => Call::Subscribe { topic: fields.required_text(names::TOPIC)?.into_owned() },
        "unsubscribe" => Call::Unsubscribe { topic: fields.required_text(names::TOPIC)?.into_owned() },
        "heartbeat" => Call::Heartbeat,
        "history" => read_history(&fields, either_scope(&fields)?, HistoryShape::Papo)?,
        "history_channel" | "get_publications" => {
            read_history(&fields, HistoryScope::Channel(channel()?), HistoryShape::Publications)?
        }
        "history_messages" | "get_messages" => {
            read_history(&fields, HistoryScope::User(user()?), HistoryShape::Messages)?
        }
        "sync" => Call::Sync { last_sync: read_last_sync(&fields) },
        "ping" => Call::Ping,
        "clock" => Call::Clock,
        "election" => Call::Election,
        "adjust" | "adjust_clock" => Call::Adjust,
        // Among them what foreign servers say to each other: coordinator, replicate, register, list_servers, sync_request.
        _ => return Err(envelope.unknown_service()),
    })
}

/// `history` takes either; a client that names both asks for the channel, and says who it is.
fn either_scope(fields: &Fields<'_>) -> Result<HistoryScope, Refusal> {
    if let Some(channel) = fields.name(&["channel", "topic"], ChannelName::new)? {
        return Ok(HistoryScope::Channel(channel));
    }
    let user = fields.name(names::USER, UserName::new)?.map(HistoryScope::User);
    user.ok_or_else(|| bad("the field `channel` or `user` is missing: send one of them in `data`".to_owned()))
}

fn read_history(fields: &Fields<'_>, scope: HistoryScope, shape: HistoryShape) -> Result<Call, Refusal> {
    let cursor = fields.find(&["papo_cursor", "cursor"]).map(read_cursor).transpose()?;
    let limit = fields.find(&["limit"]).and_then(Value::to_u64).and_then(|limit| usize::try_from(limit).ok());
    Ok(Call::History { scope, shape, cursor, limit })
}

fn read_cursor(value: &Value) -> Result<Bytes, Refusal> {
    let bytes = match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::Text(text) => Base64Url::read(text).map(Bytes::from),
        _ => None,
    };
    let text = "the field `papo_cursor` is no cursor: send it as it came, or leave it out to start anew";
    bytes.ok_or_else(|| Refusal { code: Code::CursorInvalid, text: text.to_owned(), retry: false })
}

/// Seconds, from any type of timestamp; 0 asks for everything, and so does what cannot be read.
fn read_last_sync(fields: &Fields<'_>) -> i64 {
    let moment = fields.find(&["last_sync"]).and_then(SentTimestamp::read).and_then(|sent| sent.to_millis());
    moment.map_or(0, UnixMillis::seconds)
}

/// Sixteen bytes (old encoders send them as text), or a UUID as text, with or without hyphens.
fn read_id(value: &Value) -> Option<[u8; 16]> {
    let bytes: &[u8] = match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) => text.as_bytes(),
        _ => return None,
    };
    bytes.try_into().ok().or_else(|| Identity::parse(std::str::from_utf8(bytes).ok()?).map(|id| id.0))
}

#[cfg(test)]
mod tests;
