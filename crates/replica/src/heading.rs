//! What a history keeps of an operation: who wrote it and when, its identity, and whom it is about; no text.

use crate::op::{Op, OpKind};
use crate::vector::Writer;
use papo_protocol::Identity;
use papo_protocol::lamport::Lamport;
use papo_protocol::time::UnixMillis;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// An operation without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading<'a> {
    /// Who wrote it.
    pub writer: &'a Writer,
    /// Its number among that writer's.
    pub seq: u64,
    /// As in [`Op`].
    pub lamport: Lamport,
    /// As in [`Op`].
    pub identity: Identity,
    /// As in [`Op`].
    pub at: UnixMillis,
    /// Whom it is about.
    pub about: About<'a>,
}

impl<'a> Heading<'a> {
    /// Of this operation, which `writer` wrote.
    #[must_use]
    pub fn of(op: &'a Op, writer: &'a Writer) -> Self {
        let Op { dot, lamport, identity, at, kind } = op;
        let about = match kind {
            OpKind::Login { user } => About::Login { user: user.as_str() },
            OpKind::CreateChannel { channel } => About::CreateChannel { channel: channel.as_str() },
            OpKind::Publish { channel, .. } => About::Publish { channel: channel.as_str() },
            OpKind::Message { src, dst, .. } => About::Message { src: src.as_str(), dst: dst.as_str() },
        };
        Self { writer, seq: dot.seq, lamport: *lamport, identity: *identity, at: *at, about }
    }
}

/// The names by which an operation is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// A login.
    Login {
        /// Who.
        user: &'a str,
    },
    /// The creation of a channel.
    CreateChannel {
        /// Which.
        channel: &'a str,
    },
    /// A post.
    Publish {
        /// Where to.
        channel: &'a str,
    },
    /// A direct message.
    Message {
        /// Its author.
        src: &'a str,
        /// Whom to.
        dst: &'a str,
    },
}

/// [`OpKind`] as it is stored, read past its texts.
#[derive(Deserialize)]
enum Stored<'a> {
    Login {
        user: &'a str,
    },
    CreateChannel {
        channel: &'a str,
    },
    Publish {
        #[serde(rename = "user")]
        _user: IgnoredAny,
        channel: &'a str,
        #[serde(rename = "message")]
        _message: IgnoredAny,
        #[serde(rename = "sent")]
        _sent: IgnoredAny,
    },
    Message {
        src: &'a str,
        dst: &'a str,
        #[serde(rename = "message")]
        _message: IgnoredAny,
        #[serde(rename = "sent")]
        _sent: IgnoredAny,
    },
}

impl<'a> About<'a> {
    /// Of an operation's kind as MessagePack, such as `rmp_serde` writes an [`OpKind`]. Its texts are passed over: a long history
    /// is read so at each start.
    #[must_use]
    pub fn read(kind: &'a [u8]) -> Option<Self> {
        let about = match rmp_serde::from_slice(kind).ok()? {
            Stored::Login { user } => Self::Login { user },
            Stored::CreateChannel { channel } => Self::CreateChannel { channel },
            Stored::Publish { channel, .. } => Self::Publish { channel },
            Stored::Message { src, dst, .. } => Self::Message { src, dst },
        };
        Some(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::time::SentTimestamp;
    use papo_protocol::{Boot, ChannelName, Dot, ServerName, UserName};

    #[test]
    fn what_is_read_of_a_stored_kind_is_what_the_operation_is_about() {
        let (ana, bia) = (UserName::new("ana").unwrap(), UserName::new("bia").unwrap());
        let geral = ChannelName::new("geral").unwrap();
        let sents = [
            None,
            Some(SentTimestamp::Int(-7)),
            Some(SentTimestamp::Float(1.5)),
            Some(SentTimestamp::Text("ontem".into())),
        ];
        let texts = sents.iter().flat_map(|sent| {
            let (message, sent) = ("x".repeat(300), sent.clone());
            let post = OpKind::Publish {
                user: ana.clone(),
                channel: geral.clone(),
                message: message.clone(),
                sent: sent.clone(),
            };
            [post, OpKind::Message { src: ana.clone(), dst: bia.clone(), message, sent }]
        });
        let others = [OpKind::Login { user: ana.clone() }, OpKind::CreateChannel { channel: geral.clone() }];
        for kind in others.into_iter().chain(texts) {
            let bytes = rmp_serde::to_vec(&kind).unwrap();
            let dot = Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(1), seq: 1 };
            let (writer, identity) = (Writer::of(&dot), Identity([0; 16]));
            let op = Op { dot, lamport: Lamport::default(), identity, at: UnixMillis(0), kind };
            assert_eq!(About::read(&bytes), Some(Heading::of(&op, &writer).about));
        }
        assert_eq!(About::read(&[0xc1]), None);
    }
}
