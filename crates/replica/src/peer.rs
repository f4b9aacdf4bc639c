//! What servers say to each other, on links that either opened.
//!
//! ```text
//! Hello -->  <-- Hello          first on a link, both ways: another cluster's messages are ignored
//! Check {hashes} -->            every second
//!            <-- Checked {hashes}
//! Pull {have} -->               when these differ, on connecting, and at once while there is more
//!            <-- Ops {more}
//! Push {ops} -->                after a write; what does not fit is pulled
//!            <-- Have           when a batch is on disk or more is shown: what changed
//! Coordination -->              who leads: see the module `coordination`
//! Time -->                      what time it is: see the module `timekeeping`
//! ```
//!
//! A message is the version byte and MessagePack with named fields, so that fields can be added. Operations travel as the bytes
//! of their own encoding, so that a message's size is counted exactly.
//!
//! Version 2 added `Have`, `shown`, and what a `Hello` says of the sender's history. A server of version 1 reads past the new
//! fields, is sent no `Have`, and is pulled from only on links that this server opened; its own messages lack the fields, which
//! then count as empty. Version 3 added `Check`; a server that does not speak it is sent a `Pull` every second. Version 4 added
//! `Coordination`, `Time` and the epoch in a `Hello`; a server that does not speak it is not reached in the matter of who leads.

use crate::constants::PEER_MESSAGE_BYTES_MAX;
use crate::coordination;
use crate::op::Op;
use crate::timekeeping;
use crate::vector::VersionVector;
use bytes::{BufMut, Bytes, BytesMut};
use papo_protocol::epoch::Epoch;
use papo_protocol::lamport::Lamport;
use papo_protocol::time::UnixMillis;
use papo_protocol::{Boot, ServerName};
use serde::{Deserialize, Serialize};

/// The first byte of each message: how it is encoded.
const ENCODING: u8 = 1;
/// The newest version of these messages, which a `Hello` tells.
pub(crate) const PEER_VERSION: u8 = 4;
/// The oldest version that is understood.
pub(crate) const PEER_VERSION_MIN: u8 = 1;
/// From this version on a peer reads `Have`, and answers whoever opened the link.
pub(crate) const PEER_VERSION_HAVE: u8 = 2;
/// From this version on a peer reads `Check`.
pub(crate) const PEER_VERSION_CHECK: u8 = 3;
/// From this version on a peer reads `Coordination` and `Time`.
pub(crate) const PEER_VERSION_COORDINATION: u8 = 4;

/// The first message on a link, both ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The newest version that the sender speaks.
    pub(crate) version: u8,
    /// Who speaks.
    pub(crate) name: ServerName,
    /// Of which cluster.
    pub(crate) cluster_id: String,
    /// In which boot.
    pub(crate) boot: Boot,
    /// What the sender's history is; a server of version 1 does not say.
    #[serde(default)]
    pub(crate) history: Option<Facts>,
    /// The highest epoch on the sender's disk; a server of version 3 does not say.
    #[serde(default)]
    pub(crate) epoch: Option<Epoch>,
}

/// What a server that starts must know of the others' histories before it writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// What the sender has on disk.
    pub(crate) have: VersionVector,
    /// What it shows.
    pub(crate) shown: VersionVector,
    /// The highest Lamport value of all that.
    pub(crate) lamport: Lamport,
    /// When the addressed server took its newest operation that the sender holds, where the sender knows whom it addresses.
    pub(crate) taken_at: Option<UnixMillis>,
}

/// What a server has, in so few bytes that it can be told every second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashes {
    /// Of the vector of what is on disk.
    pub(crate) have: u64,
    /// Of the vector of what is shown.
    pub(crate) shown: u64,
    /// Of the operations that are shown.
    pub(crate) digest: u64,
}

/// One message between servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum PeerMessage {
    /// The first on a link.
    Hello(Hello),
    /// Asks for what the sender does not hold.
    Pull {
        /// What the sender has on disk.
        have: VersionVector,
        /// What it shows.
        #[serde(default)]
        shown: VersionVector,
        /// At most so many bytes of operations, save a single larger one.
        limit_bytes: u64,
        /// Comes back with the answer.
        token: u64,
    },
    /// The answer to a pull.
    Ops {
        /// Operations, gapless after what was asked from.
        ops: Vec<Bytes>,
        /// Whether the sender holds more of what was asked for.
        more: bool,
        /// Of the pull.
        token: u64,
        /// What the sender has on disk.
        have: VersionVector,
        /// What it shows.
        #[serde(default)]
        shown: VersionVector,
    },
    /// Asks whether the other has the same.
    Check {
        /// What the sender has.
        hashes: Hashes,
        /// Comes back with the answer.
        token: u64,
    },
    /// The answer to a check.
    Checked {
        /// What the sender has.
        hashes: Hashes,
        /// Of the check.
        token: u64,
    },
    /// New operations of the sender's, which are on its disk.
    Push {
        /// Gapless among themselves.
        ops: Vec<Bytes>,
    },
    /// What changed since the `Hello`, or the last of these.
    Have {
        /// What the sender has on disk.
        have: VersionVector,
        /// What it shows.
        shown: VersionVector,
    },
    /// About who leads.
    Coordination(coordination::Message),
    /// About the time.
    Time(timekeeping::Message),
}

/// Why bytes are no peer message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// Over the limit.
    #[error("a peer message has {0} bytes, at most {PEER_MESSAGE_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Another version of the protocol, or no message at all.
    #[error("a peer message starts with {0:?}, not with {ENCODING}")]
    Version(Option<u8>),
    /// Not readable.
    #[error("a peer message is malformed")]
    Malformed(#[source] rmp_serde::decode::Error),
    /// An operation that no server of ours writes.
    #[error("an operation has the Lamport value {0}, over the largest")]
    Lamport(Lamport),
}

impl PeerMessage {
    /// As bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = BytesMut::from(&[ENCODING][..]).writer();
        #[expect(clippy::expect_used, reason = "writing to memory cannot fail, and all keys are texts")]
        rmp_serde::encode::write_named(&mut writer, self).expect("a peer message encodes");
        writer.into_inner().freeze()
    }

    /// Reads bytes from a peer.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PeerError> {
        if bytes.len() > PEER_MESSAGE_BYTES_MAX {
            return Err(PeerError::TooLarge(bytes.len()));
        }
        match bytes.split_first() {
            Some((&ENCODING, rest)) => rmp_serde::from_slice(rest).map_err(PeerError::Malformed),
            other => Err(PeerError::Version(other.map(|(version, _)| *version))),
        }
    }
}

/// An operation as it travels.
pub(crate) fn encode_op(op: &Op) -> Bytes {
    #[expect(clippy::expect_used, reason = "writing to memory cannot fail, and an operation has no maps")]
    rmp_serde::to_vec(op).expect("an operation encodes").into()
}

/// Reads an operation from a peer.
pub(crate) fn decode_op(bytes: &[u8]) -> Result<Op, PeerError> {
    let op: Op = rmp_serde::from_slice(bytes).map_err(PeerError::Malformed)?;
    if op.lamport > Lamport::MAX {
        return Err(PeerError::Lamport(op.lamport));
    }
    Ok(op)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::OpKind;
    use papo_protocol::time::SentTimestamp;
    use papo_protocol::{ChannelName, Dot, Identity, UserName};
    use proptest::prelude::*;

    fn op() -> Op {
        Op {
            dot: Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(u64::MAX), seq: 3 },
            lamport: Lamport::new(12).unwrap(),
            identity: Identity([255; 16]),
            at: UnixMillis(1_700_000_000_123),
            kind: OpKind::Publish {
                user: UserName::new("ana").unwrap(),
                channel: ChannelName::new("geral").unwrap(),
                message: "olá".into(),
                sent: Some(SentTimestamp::Float(1.5)),
            },
        }
    }

    #[test]
    fn messages_and_operations_survive_the_way() {
        let have = VersionVector::from(vec![(ServerName::new("server-2").unwrap(), Boot(9), 4)]);
        for message in [
            PeerMessage::Hello(Hello {
                version: PEER_VERSION,
                name: ServerName::new("server-1").unwrap(),
                cluster_id: "default/papo".into(),
                boot: Boot(u64::MAX),
                history: Some(Facts {
                    have: have.clone(),
                    shown: have.clone(),
                    lamport: Lamport::new(9).unwrap(),
                    taken_at: Some(UnixMillis(5)),
                }),
                epoch: Some(Epoch { number: 7, boot: Boot(u64::MAX) }),
            }),
            PeerMessage::Coordination(coordination::Message::Follows {
                epoch: Epoch { number: 7, boot: Boot(u64::MAX) },
                coordinator: Some(ServerName::new("server-3").unwrap()),
            }),
            PeerMessage::Time(timekeeping::Message::Adjust {
                epoch: Epoch { number: 7, boot: Boot(u64::MAX) },
                token: 8,
                by: timekeeping::Offset::from_micros(-5_000_000),
                error: 60,
            }),
            PeerMessage::Pull { have: have.clone(), shown: have.clone(), limit_bytes: 5, token: 6 },
            PeerMessage::Ops {
                ops: vec![encode_op(&op())],
                more: true,
                token: 6,
                have: have.clone(),
                shown: have.clone(),
            },
            PeerMessage::Push { ops: vec![] },
            PeerMessage::Have { have: have.clone(), shown: have },
        ] {
            assert_eq!(PeerMessage::decode(&message.encode()).unwrap(), message);
        }
        assert_eq!(decode_op(&encode_op(&op())).unwrap(), op());
    }

    #[test]
    fn other_versions_oversized_messages_and_absurd_clocks_are_errors() {
        assert!(matches!(PeerMessage::decode(&[]), Err(PeerError::Version(None))));
        assert!(matches!(PeerMessage::decode(&[9, 0x80]), Err(PeerError::Version(Some(9)))));
        let large = vec![ENCODING; PEER_MESSAGE_BYTES_MAX + 1];
        assert!(matches!(PeerMessage::decode(&large), Err(PeerError::TooLarge(_))));
        let mut absurd = op();
        absurd.lamport = rmp_serde::from_slice(&rmp_serde::to_vec(&u64::MAX).unwrap()).unwrap();
        assert!(matches!(decode_op(&encode_op(&absurd)), Err(PeerError::Lamport(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_bytes_from_a_peer_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<(usize, u8)>()) {
            let _ = decode_op(&bytes);
            bytes.insert(0, ENCODING);
            let _ = PeerMessage::decode(&bytes);
            let mut real = PeerMessage::Push { ops: vec![encode_op(&op())] }.encode().to_vec();
            let place = flip.0 % real.len();
            real[place] ^= flip.1;
            if let Ok(PeerMessage::Push { ops }) = PeerMessage::decode(&real) {
                ops.iter().for_each(|op| drop(decode_op(op)));
            }
        }
    }
}
