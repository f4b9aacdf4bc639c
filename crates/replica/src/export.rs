//! The files that `papo export` writes: functions of the visible operations alone, so that servers which hold the same
//! operations write the same bytes (row H16, invariant 3). In total order, or by name. It must not know who asks.
//!
//! `publications.jsonl`, `messages.jsonl` and `registry.json` are named by row I01; `server_data.json` has the shape of S2.

use crate::history::History;
use crate::op::{Op, OpKind};
use papo_protocol::time::{SentTimestamp, UnixMillis};
use papo_protocol::{ChannelName, UserName};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use std::io::{self, Write};

/// `publications.jsonl`: one post to a channel a line.
///
/// # Errors
/// Those of `out`.
pub fn publications(history: &History, out: &mut impl Write) -> io::Result<()> {
    history.visible().filter_map(|op| publication_line(&op).map(|line| write_line(out, &line))).collect()
}

/// `messages.jsonl`: one direct message a line.
///
/// # Errors
/// Those of `out`.
pub fn messages(history: &History, out: &mut impl Write) -> io::Result<()> {
    history.visible().filter_map(|op| message_line(&op).map(|line| write_line(out, &line))).collect()
}

/// `registry.json`: users with their first login, channels with their creation.
///
/// # Errors
/// Those of `out`.
pub fn registry(history: &History, out: &mut impl Write) -> io::Result<()> {
    write_json(out, &Registry::of(history))
}

/// `server_data.json`: everything, in the exercise's own shape.
///
/// # Errors
/// Those of `out`.
pub fn server_data(history: &History, out: &mut impl Write) -> io::Result<()> {
    write_json(out, &ServerData::of(history))
}

/// The sender's own timestamp, or the server's in seconds, as in a publication.
#[derive(Serialize)]
#[serde(untagged)]
enum Timestamp<'a> {
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl<'a> Timestamp<'a> {
    fn of(sent: Option<&'a SentTimestamp>, at: UnixMillis) -> Self {
        match sent {
            Some(SentTimestamp::Int(number)) => Self::Int(*number),
            Some(SentTimestamp::Float(number)) => Self::Float(*number),
            Some(SentTimestamp::Text(text)) => Self::Text(text),
            None => Self::Int(seconds(at)),
        }
    }
}

fn seconds(at: UnixMillis) -> i64 {
    at.0.div_euclid(1000)
}

#[derive(Serialize)]
struct Place<'a> {
    lamport: u64,
    server: &'a str,
    /// As text: it does not fit a double.
    boot: String,
    seq: u64,
}

/// What a line says beside the message: enough to dedupe and to order.
#[derive(Serialize)]
struct Stamp<'a> {
    timestamp: Timestamp<'a>,
    at: i64,
    clock: u64,
    message_id: String,
    position: Place<'a>,
}

impl<'a> Stamp<'a> {
    fn of(op: &'a Op, sent: Option<&'a SentTimestamp>) -> Self {
        Self {
            timestamp: Timestamp::of(sent, op.at),
            at: op.at.0,
            clock: op.lamport.get(),
            message_id: op.identity.to_string(),
            position: Place {
                lamport: op.lamport.get(),
                server: op.dot.origin.as_str(),
                boot: format!("{:016x}", op.dot.boot.0),
                seq: op.dot.seq,
            },
        }
    }
}

#[derive(Serialize)]
struct PublicationLine<'a> {
    user: &'a str,
    channel: &'a str,
    message: &'a str,
    #[serde(flatten)]
    stamp: Stamp<'a>,
}

#[derive(Serialize)]
struct MessageLine<'a> {
    src: &'a str,
    dst: &'a str,
    message: &'a str,
    #[serde(flatten)]
    stamp: Stamp<'a>,
}

fn publication_line(op: &Op) -> Option<PublicationLine<'_>> {
    match &op.kind {
        OpKind::Publish { user, channel, message, sent } => Some(PublicationLine {
            user: user.as_str(),
            channel: channel.as_str(),
            message,
            stamp: Stamp::of(op, sent.as_ref()),
        }),
        OpKind::Login { .. } | OpKind::CreateChannel { .. } | OpKind::Message { .. } => None,
    }
}

fn message_line(op: &Op) -> Option<MessageLine<'_>> {
    match &op.kind {
        OpKind::Message { src, dst, message, sent } => Some(MessageLine {
            src: src.as_str(),
            dst: dst.as_str(),
            message,
            stamp: Stamp::of(op, sent.as_ref()),
        }),
        OpKind::Login { .. } | OpKind::CreateChannel { .. } | OpKind::Publish { .. } => None,
    }
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Registry<'a> {
    users: Vec<RegisteredUser<'a>>,
    channels: Vec<RegisteredChannel<'a>>,
}

#[derive(Serialize)]
struct RegisteredUser<'a> {
    username: &'a str,
    timestamp: i64,
}

#[derive(Serialize)]
struct RegisteredChannel<'a> {
    channel: &'a str,
    timestamp: i64,
    frozen: bool,
}

impl<'a> Registry<'a> {
    fn of(history: &'a History) -> Self {
        let state = history.state();
        let user = |name: &'a UserName| {
            let timestamp = seconds(history.registered_at(name)?);
            Some(RegisteredUser { username: name.as_str(), timestamp })
        };
        let channel = |name: &'a ChannelName| {
            let timestamp = seconds(history.created_at(name)?);
            Some(RegisteredChannel { channel: name.as_str(), timestamp, frozen: state.is_frozen(name) })
        };
        Self {
            users: state.users().filter_map(user).collect(),
            channels: state.channels().filter_map(channel).collect(),
        }
    }
}

/// The shape of S2, lines 225 to 250. The lists of messages are as long as the history, so they are written as they are read.
#[derive(Serialize)]
struct ServerData<'a> {
    logins: Listed<'a>,
    channels: Vec<&'a str>,
    channel_messages: Listed<'a>,
    user_messages: Listed<'a>,
}

/// What the visible operations are in a list; those that do not belong there are `None`.
struct Listed<'a>(&'a History, fn(&Op) -> Option<Element<'_>>);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(history, element) = self;
        let mut list = serializer.serialize_seq(None)?;
        for op in history.visible() {
            if let Some(element) = element(&op) {
                list.serialize_element(&element)?;
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Element<'a> {
    Login(RegisteredUser<'a>),
    Post(ChannelMessage<'a>),
    Direct(UserMessage<'a>),
}

fn login(op: &Op) -> Option<Element<'_>> {
    let OpKind::Login { user } = &op.kind else { return None };
    Some(Element::Login(RegisteredUser { username: user.as_str(), timestamp: seconds(op.at) }))
}

fn channel_message(op: &Op) -> Option<Element<'_>> {
    let OpKind::Publish { user, channel, message, sent } = &op.kind else { return None };
    let timestamp = Timestamp::of(sent.as_ref(), op.at);
    Some(Element::Post(ChannelMessage { user: user.as_str(), channel: channel.as_str(), message, timestamp }))
}

fn user_message(op: &Op) -> Option<Element<'_>> {
    let OpKind::Message { src, dst, message, sent } = &op.kind else { return None };
    let timestamp = Timestamp::of(sent.as_ref(), op.at);
    Some(Element::Direct(UserMessage { src: src.as_str(), dst: dst.as_str(), message, timestamp }))
}

#[derive(Serialize)]
struct ChannelMessage<'a> {
    user: &'a str,
    channel: &'a str,
    message: &'a str,
    timestamp: Timestamp<'a>,
}

#[derive(Serialize)]
struct UserMessage<'a> {
    src: &'a str,
    dst: &'a str,
    message: &'a str,
    timestamp: Timestamp<'a>,
}

impl<'a> ServerData<'a> {
    fn of(history: &'a History) -> Self {
        Self {
            logins: Listed(history, login),
            channels: history.state().channels().map(ChannelName::as_str).collect(),
            channel_messages: Listed(history, channel_message),
            user_messages: Listed(history, user_message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::{Boot, Dot, Identity, Lamport, ServerName};

    fn history() -> History {
        let (ana, bia) = (UserName::new("ana").unwrap(), UserName::new("bia").unwrap());
        let geral = ChannelName::new("geral").unwrap();
        let sent = Some(SentTimestamp::Float(1_234_567_890.5));
        let kinds = [
            OpKind::Login { user: ana.clone() },
            OpKind::Login { user: bia.clone() },
            OpKind::CreateChannel { channel: geral.clone() },
            OpKind::Publish {
                user: ana.clone(),
                channel: geral.clone(),
                message: "Olá, \"gente\"".into(),
                sent,
            },
            OpKind::Publish { user: bia.clone(), channel: geral, message: "oi".into(), sent: None },
            OpKind::Message {
                src: ana.clone(),
                dst: bia,
                message: "psiu".into(),
                sent: Some(SentTimestamp::Int(7)),
            },
            OpKind::Login { user: ana },
        ];
        let op = |(index, kind): (u64, _)| Op {
            dot: Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(255), seq: index + 1 },
            lamport: Lamport::new(index * 3 + 2).unwrap(),
            identity: Identity([u8::try_from(index).unwrap(); 16]),
            at: UnixMillis(1_700_000_000_999 + i64::try_from(index).unwrap() * 1000),
            kind,
        };
        History::from_operations((0..).zip(kinds).map(op)).unwrap()
    }

    fn text(write: impl Fn(&History, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&history(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn i01_publications_and_messages_are_a_line_each_in_total_order() {
        assert_eq!(
            text(publications),
            r#"{"user":"ana","channel":"geral","message":"Olá, \"gente\"","timestamp":1234567890.5,"at":1700000003999,"clock":11,"message_id":"03030303030303030303030303030303","position":{"lamport":11,"server":"server-1","boot":"00000000000000ff","seq":4}}
{"user":"bia","channel":"geral","message":"oi","timestamp":1700000004,"at":1700000004999,"clock":14,"message_id":"04040404040404040404040404040404","position":{"lamport":14,"server":"server-1","boot":"00000000000000ff","seq":5}}
"#
        );
        assert_eq!(
            text(messages),
            r#"{"src":"ana","dst":"bia","message":"psiu","timestamp":7,"at":1700000005999,"clock":17,"message_id":"05050505050505050505050505050505","position":{"lamport":17,"server":"server-1","boot":"00000000000000ff","seq":6}}
"#
        );
    }

    #[test]
    fn i01_the_registry_holds_users_and_channels() {
        let expected = serde_json::json!({
            "users": [{"username": "ana", "timestamp": 1_700_000_000}, {"username": "bia", "timestamp": 1_700_000_001}],
            "channels": [{"channel": "geral", "timestamp": 1_700_000_002, "frozen": false}],
        });
        let text = text(registry);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }

    #[test]
    fn i01_server_data_has_the_shape_of_the_exercise() {
        let expected = serde_json::json!({
            "logins": [
                {"username": "ana", "timestamp": 1_700_000_000},
                {"username": "bia", "timestamp": 1_700_000_001},
                {"username": "ana", "timestamp": 1_700_000_006},
            ],
            "channels": ["geral"],
            "channel_messages": [
                {"user": "ana", "channel": "geral", "message": "Olá, \"gente\"", "timestamp": 1_234_567_890.5},
                {"user": "bia", "channel": "geral", "message": "oi", "timestamp": 1_700_000_004},
            ],
            "user_messages": [{"src": "ana", "dst": "bia", "message": "psiu", "timestamp": 7}],
        });
        let text = text(server_data);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }
}
