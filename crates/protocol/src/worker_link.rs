//! The link between papo's broker (DEALER 5556) and papo's servers. Foreign REP workers never see it: they get
//! `[key, "", body]` and echo the envelope.
//!
//! Frames, both ways: `[version+kind, ...]`, the first frame two bytes: [`LINK_VERSION`] and a kind.

use crate::identity::RequestKey;
use crate::names::ServerName;
use bytes::Bytes;

/// First byte of every message of this link.
pub const LINK_VERSION: u8 = 1;
/// Largest session cookie, in bytes.
pub const COOKIE_BYTES_MAX: usize = 256;

/// READY property by which papo's own processes know each other; its value is the cluster token.
pub const TOKEN_PROPERTY: &str = "X-Papo-Token";
/// READY property that says which role speaks: `server`, `broker`, `proxy`.
pub const ROLE_PROPERTY: &str = "X-Papo-Role";

/// What a server wants remembered for one client connection; opaque to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cookie(Bytes);

impl Cookie {
    /// `None` over [`COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn new(bytes: Bytes) -> Option<Self> {
        (bytes.len() <= COOKIE_BYTES_MAX).then_some(Self(bytes))
    }

    /// The bytes; empty for a connection that has no session yet.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Broker to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// Serve this.
    Request {
        /// Same in every redispatch.
        key: RequestKey,
        /// Of the client's connection.
        cookie: Cookie,
        /// Every ready worker has said `elsewhere` for this key: serve it as things stand, and let the dot leave the cookie.
        last_resort: bool,
        /// The client's bytes.
        body: Bytes,
    },
}

/// Server to broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// First message on the link: papo's server, and how many requests it takes at once.
    Hello {
        /// Its name, for logs.
        name: ServerName,
        /// At most so many in flight.
        capacity: u32,
    },
    /// Sent every half second.
    Beat,
    /// The answer.
    Reply {
        /// Of the request.
        key: RequestKey,
        /// For the connection's next request.
        cookie: Cookie,
        /// For the client.
        body: Bytes,
    },
    /// Not here (full disk, draining, behind): nothing was appended; try another worker.
    Elsewhere {
        /// Of the request.
        key: RequestKey,
    },
    /// It may be done here, and cannot be told to be (too few disks in time): ask another, who knows it by its key.
    Unknown {
        /// Of the request.
        key: RequestKey,
    },
    /// No new requests, please: those in flight are still answered.
    Leaving,
}

/// The first frame of every message: the version, and a kind.
mod head {
    use super::LINK_VERSION;

    pub(super) const REQUEST: &[u8] = &[LINK_VERSION, b'R'];
    pub(super) const HELLO: &[u8] = &[LINK_VERSION, b'H'];
    pub(super) const BEAT: &[u8] = &[LINK_VERSION, b'B'];
    pub(super) const REPLY: &[u8] = &[LINK_VERSION, b'A'];
    pub(super) const ELSEWHERE: &[u8] = &[LINK_VERSION, b'E'];
    pub(super) const UNKNOWN: &[u8] = &[LINK_VERSION, b'U'];
    pub(super) const LEAVING: &[u8] = &[LINK_VERSION, b'L'];
}

fn key_frame(key: RequestKey) -> Bytes {
    Bytes::copy_from_slice(&key.to_bytes())
}

impl ToWorker {
    /// As frames.
    #[must_use]
    pub fn to_frames(&self) -> Vec<Bytes> {
        match self {
            Self::Request { key, cookie, last_resort, body } => {
                let flags = Bytes::from_static(if *last_resort { &[1] } else { &[0] });
                vec![
                    Bytes::from_static(head::REQUEST),
                    key_frame(*key),
                    cookie.0.clone(),
                    flags,
                    body.clone(),
                ]
            }
        }
    }

    /// `None` when the frames are none of ours.
    #[must_use]
    pub fn from_frames(frames: &[Bytes]) -> Option<Self> {
        match frames {
            [first, key, cookie, flags, body] if **first == *head::REQUEST => Some(Self::Request {
                key: RequestKey::from_bytes(key)?,
                cookie: Cookie::new(cookie.clone())?,
                last_resort: match **flags {
                    [0] => false,
                    [1] => true,
                    _ => return None,
                },
                body: body.clone(),
            }),
            _ => None,
        }
    }
}

impl FromWorker {
    /// As frames.
    #[must_use]
    pub fn to_frames(&self) -> Vec<Bytes> {
        match self {
            Self::Hello { name, capacity } => vec![
                Bytes::from_static(head::HELLO),
                Bytes::copy_from_slice(name.as_str().as_bytes()),
                Bytes::copy_from_slice(&capacity.to_be_bytes()),
            ],
            Self::Beat => vec![Bytes::from_static(head::BEAT)],
            Self::Reply { key, cookie, body } => {
                vec![Bytes::from_static(head::REPLY), key_frame(*key), cookie.0.clone(), body.clone()]
            }
            Self::Elsewhere { key } => vec![Bytes::from_static(head::ELSEWHERE), key_frame(*key)],
            Self::Unknown { key } => vec![Bytes::from_static(head::UNKNOWN), key_frame(*key)],
            Self::Leaving => vec![Bytes::from_static(head::LEAVING)],
        }
    }

    /// `None` when the frames are none of ours.
    #[must_use]
    pub fn from_frames(frames: &[Bytes]) -> Option<Self> {
        let (first, rest) = frames.split_first()?;
        match (first.as_ref(), rest) {
            (head::HELLO, [name, capacity]) => Some(Self::Hello {
                name: ServerName::new(std::str::from_utf8(name).ok()?).ok()?,
                capacity: u32::from_be_bytes(capacity.as_ref().try_into().ok()?),
            }),
            (head::BEAT, []) => Some(Self::Beat),
            (head::REPLY, [key, cookie, body]) => Some(Self::Reply {
                key: RequestKey::from_bytes(key)?,
                cookie: Cookie::new(cookie.clone())?,
                body: body.clone(),
            }),
            (head::ELSEWHERE, [key]) => Some(Self::Elsewhere { key: RequestKey::from_bytes(key)? }),
            (head::UNKNOWN, [key]) => Some(Self::Unknown { key: RequestKey::from_bytes(key)? }),
            (head::LEAVING, []) => Some(Self::Leaving),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Boot;
    use proptest::prelude::*;

    const KEY: RequestKey = RequestKey { boot: Boot(1), counter: 2 };

    fn cookie(bytes: &'static [u8]) -> Cookie {
        Cookie::new(Bytes::from_static(bytes)).unwrap()
    }

    #[test]
    fn requests_round_trip_and_have_golden_frames() {
        for last_resort in [false, true] {
            let body = Bytes::from_static(b"body");
            let request = ToWorker::Request { key: KEY, cookie: cookie(b"ana"), last_resort, body };
            assert_eq!(ToWorker::from_frames(&request.to_frames()), Some(request.clone()));
            let frames: Vec<_> = request.to_frames().iter().map(|frame| frame.to_vec()).collect();
            let key = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
            assert_eq!(frames, [&b"\x01R"[..], &key, b"ana", &[u8::from(last_resort)], b"body"]);
        }
    }

    #[test]
    fn what_a_server_says_round_trips() {
        for message in [
            FromWorker::Hello { name: ServerName::new("server-1").unwrap(), capacity: 512 },
            FromWorker::Beat,
            FromWorker::Reply { key: KEY, cookie: Cookie::default(), body: Bytes::from_static(b"body") },
            FromWorker::Elsewhere { key: KEY },
            FromWorker::Unknown { key: KEY },
            FromWorker::Leaving,
        ] {
            let mut frames = message.to_frames();
            assert_eq!(FromWorker::from_frames(&frames), Some(message));
            assert_eq!(ToWorker::from_frames(&frames), None);
            frames.push(Bytes::new());
            assert_eq!(FromWorker::from_frames(&frames), None, "a frame too many");
        }
    }

    #[test]
    fn another_version_and_a_large_cookie_are_none_of_ours() {
        assert_eq!(FromWorker::from_frames(&[Bytes::from_static(b"\x02B")]), None);
        let large = Bytes::from(vec![0; COOKIE_BYTES_MAX + 1]);
        assert_eq!(Cookie::new(large.clone()), None);
        assert_eq!(
            FromWorker::from_frames(&[Bytes::from_static(head::REPLY), key_frame(KEY), large, Bytes::new()]),
            None
        );
    }

    proptest! {
        #[test]
        fn no_frames_panic(
            kind in prop::sample::select(b"RHBAEUL?".to_vec()),
            rest in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
        ) {
            let frames: Vec<_> = std::iter::once(Bytes::from(vec![LINK_VERSION, kind])).chain(rest.into_iter().map(Bytes::from)).collect();
            let _ = FromWorker::from_frames(&frames);
            let _ = ToWorker::from_frames(&frames);
            let _ = FromWorker::from_frames(frames.get(1..).unwrap_or_default());
        }
    }
}
