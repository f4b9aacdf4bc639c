//! What a server remembers of one client connection: who logged in, the last durable write, the highest Lamport value. For a
//! request through the broker it travels in the cookie, whichever server takes the next one (design, "Broker": read your
//! writes, causal order, requests without a user); for a direct connection it stays in a bounded table here.
//!
//! Cookie, version 2: `version, lamport (8 bytes), flags`, then with flag 1 `boot (8), seq (8)` of the last durable write, then
//! how many more writers it has seen (1) and `boot (8), seq (8)` of each, then with flag 2 the user's name up to the end.
//! Integers are big endian. A boot is 64 random bits, so it stands for its server.
//!
//! What a read rested on is the whole shown vector of the server that served it, which fits no cookie. So it is the writers of whom
//! that server showed something last, as many as fit: in a cluster of that many servers each one that writes. A server that shows
//! all of these lacks at most what older boots wrote, and that was everywhere long before. A write through another server than the
//! last joins them.

use crate::constants::SESSIONS_MAX;
use crate::history::LATEST_WRITERS;
use bytes::{BufMut, Bytes, BytesMut};
use papo_protocol::lamport::Lamport;
use papo_protocol::names::NAME_BYTES_MAX;
use papo_protocol::worker_link::{COOKIE_BYTES_MAX, Cookie};
use papo_protocol::{Boot, Dot, UserName};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

const COOKIE_VERSION: u8 = 2;
const HAS_WRITE: u8 = 1;
const HAS_USER: u8 = 2;
const _: () = assert!(1 + 8 + 1 + 16 + 1 + 16 * LATEST_WRITERS + NAME_BYTES_MAX <= COOKIE_BYTES_MAX);

/// An operation that was shown, named by its boot and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) boot: Boot,
    pub(crate) seq: u64,
}

impl From<&Dot> for Seen {
    fn from(dot: &Dot) -> Self {
        Self { boot: dot.boot, seq: dot.seq }
    }
}

impl Seen {
    fn put(&self, bytes: &mut BytesMut) {
        bytes.put_u64(self.boot.0);
        bytes.put_u64(self.seq);
    }

    fn take(bytes: &[u8]) -> Result<(Self, &[u8]), BadCookie> {
        let (boot, rest) = read_u64(bytes)?;
        let (seq, rest) = read_u64(rest)?;
        Ok((Self { boot: Boot(boot), seq }, rest))
    }
}

/// One connection's session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// Of the last login.
    pub(crate) user: Option<UserName>,
    /// The last durable write: a server that does not show it must not serve this connection.
    pub(crate) written: Option<Seen>,
    /// What the last read rested on, and earlier writes, the latest at the end; the same holds for each.
    pub(crate) read: Vec<Seen>,
    /// The highest Lamport value that the connection was told.
    pub(crate) lamport: Lamport,
}

/// The bytes are no cookie of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session cookie is not readable")]
pub(crate) struct BadCookie;

impl Session {
    /// All that a server must show to serve this connection.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.written.iter().chain(&self.read)
    }

    /// A write of this connection is durable. What it wrote before, through another server, counts on.
    pub(crate) fn wrote(&mut self, dot: &Dot) {
        let Some(before) = self.written.replace(dot.into()) else { return };
        if before.boot == dot.boot {
            // A repetition may be answered with what was written before the last write.
            self.written = Some(Seen { boot: before.boot, seq: before.seq.max(dot.seq) });
            return;
        }
        match self.read.iter_mut().find(|seen| seen.boot == before.boot) {
            Some(seen) => seen.seq = seen.seq.max(before.seq),
            None => self.read.push(before),
        }
        if self.read.len() > LATEST_WRITERS {
            self.read.remove(0);
        }
    }

    /// As a cookie.
    pub(crate) fn to_cookie(&self) -> Cookie {
        let mut bytes = BytesMut::new();
        bytes.put_u8(COOKIE_VERSION);
        bytes.put_u64(self.lamport.get());
        bytes.put_u8(self.written.map_or(0, |_| HAS_WRITE) | self.user.as_ref().map_or(0, |_| HAS_USER));
        let read = self.read.get(..LATEST_WRITERS).unwrap_or(&self.read);
        if let Some(written) = &self.written {
            written.put(&mut bytes);
        }
        bytes.put_u8(u8::try_from(read.len()).unwrap_or(0));
        for seen in read {
            seen.put(&mut bytes);
        }
        if let Some(user) = &self.user {
            bytes.put_slice(user.as_str().as_bytes());
        }
        // A const assertion above shows that it fits.
        Cookie::new(bytes.freeze()).unwrap_or_default()
    }

    /// Reads a cookie; an empty one is a new session.
    pub(crate) fn from_cookie(cookie: &Cookie) -> Result<Self, BadCookie> {
        let bytes: &Bytes = cookie.as_bytes();
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let rest = bytes.strip_prefix(&[COOKIE_VERSION]).ok_or(BadCookie)?;
        let (lamport, rest) = read_u64(rest)?;
        let (&flags, rest) = rest.split_first().ok_or(BadCookie)?;
        let (written, rest) = if flags & HAS_WRITE == 0 {
            (None, rest)
        } else {
            let (written, rest) = Seen::take(rest)?;
            (Some(written), rest)
        };
        let (&reads, mut rest) = rest.split_first().ok_or(BadCookie)?;
        let mut read = Vec::new();
        for _ in 0..reads {
            let (seen, after) = Seen::take(rest)?;
            read.push(seen);
            rest = after;
        }
        let user = if flags & HAS_USER == 0 {
            None
        } else {
            let text = std::str::from_utf8(rest).map_err(|_| BadCookie)?;
            Some(UserName::new(text).map_err(|_| BadCookie)?)
        };
        Ok(Self { user, written, read, lamport: Lamport::new(lamport).ok_or(BadCookie)? })
    }
}

fn read_u64(bytes: &[u8]) -> Result<(u64, &[u8]), BadCookie> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(BadCookie)?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// The sessions of direct connections, at most [`SESSIONS_MAX`]; a connection beyond has none, and says its user each time.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<u64, Session>);

impl Sessions {
    /// The session of this connection, made if there is room.
    pub(crate) fn open(&mut self, id: u64) -> Option<&mut Session> {
        let full = self.0.len() >= SESSIONS_MAX;
        match self.0.entry(id) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(_) if full => None,
            Entry::Vacant(entry) => Some(entry.insert(Session::default())),
        }
    }

    /// The session of this connection while it is open.
    pub(crate) fn get(&self, id: u64) -> Option<&Session> {
        self.0.get(&id)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Session> {
        self.0.get_mut(&id)
    }

    /// Forgets a connection.
    pub(crate) fn close(&mut self, id: u64) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::ServerName;

    fn full() -> Session {
        Session {
            user: Some(UserName::new(&"u".repeat(NAME_BYTES_MAX)).unwrap()),
            written: Some(Seen { boot: Boot(u64::MAX), seq: 7 }),
            read: vec![Seen { boot: Boot(3), seq: u64::MAX }; LATEST_WRITERS],
            lamport: Lamport::new(99).unwrap(),
        }
    }

    #[test]
    fn a_session_survives_its_cookie() {
        for session in [
            full(),
            Session { user: None, ..full() },
            Session { written: None, ..full() },
            Session { read: vec![], ..full() },
            Session { lamport: Lamport::new(3).unwrap(), ..Session::default() },
        ] {
            assert_eq!(Session::from_cookie(&session.to_cookie()), Ok(session));
        }
    }

    #[test]
    fn a_session_remembers_its_last_write_through_each_server_as_far_as_there_is_room() {
        let mut session = Session::default();
        let dot = |boot, seq| Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(boot), seq };
        for (boot, seq) in [(1, 5), (2, 7), (2, 8), (1, 6), (3, 1), (3, 9), (3, 1)] {
            session.wrote(&dot(boot, seq));
        }
        let seen: Vec<_> = session.seen().map(|seen| (seen.boot.0, seen.seq)).collect();
        assert_eq!(seen, [(3, 9), (1, 6), (2, 8)]);
        for boot in 10..30 {
            session.wrote(&dot(boot, 1));
        }
        assert_eq!(session.seen().count(), 1 + LATEST_WRITERS);
        assert_eq!(Session::from_cookie(&session.to_cookie()), Ok(session));
    }

    #[test]
    fn an_empty_cookie_is_a_new_session_and_a_cut_one_is_refused() {
        assert_eq!(Session::from_cookie(&Cookie::default()), Ok(Session::default()));
        let whole = Session { user: None, ..full() }.to_cookie();
        for length in 1..whole.as_bytes().len() {
            let cut = Cookie::new(whole.as_bytes().slice(..length)).unwrap();
            assert_eq!(Session::from_cookie(&cut), Err(BadCookie), "{length}");
        }
        let future = Cookie::new(Bytes::from_static(&[9, 0, 0])).unwrap();
        assert_eq!(Session::from_cookie(&future), Err(BadCookie));
    }

    #[test]
    fn the_table_of_direct_sessions_is_bounded() {
        let mut sessions = Sessions::default();
        for id in 0..SESSIONS_MAX as u64 {
            assert!(sessions.open(id).is_some());
        }
        assert!(sessions.open(u64::MAX).is_none());
        assert!(sessions.open(5).is_some());
        sessions.close(5);
        assert!(sessions.open(u64::MAX).is_some());
    }
}
