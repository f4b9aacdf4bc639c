//! A client's side: its frames, and what is remembered for its connection.
//!
//! The envelope is whatever came up to and including the first empty frame; it goes back as it came, unread.

use crate::constants::ENVELOPE_FRAMES_MAX;
use bytes::Bytes;
use papo_protocol::worker_link::Cookie;

/// One client connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Of the last reply.
    pub(super) cookie: Cookie,
    /// Its unanswered requests, by counter; few, since bounded by `in_flight_per_client_max`.
    pub(super) unanswered: Vec<u64>,
}

impl Client {
    /// Takes note that a request is answered.
    pub(super) fn settle(&mut self, counter: u64) {
        self.unanswered.retain(|unanswered| *unanswered != counter);
    }
}

/// A message of a client, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// One body.
    Request {
        /// Goes back before the reply; empty for a client that sent none.
        envelope: Vec<Bytes>,
        /// The client's bytes.
        body: Bytes,
    },
    /// None or several bodies, or an absurd envelope.
    Unreadable {
        /// As far as there is one.
        envelope: Vec<Bytes>,
        /// From which the encoding of the refusal is guessed; empty where there is none.
        body: Bytes,
    },
}

/// Takes a message apart: the envelope ends with its first empty frame, and exactly one frame follows. A single frame without
/// any empty one is a body without an envelope (a DEALER that does not imitate REQ).
pub(super) fn take_apart(mut frames: Vec<Bytes>) -> Received {
    let length = frames.iter().position(Bytes::is_empty).map_or(0, |last| last + 1);
    let one = frames.len() == length + 1 && length <= ENVELOPE_FRAMES_MAX;
    let body = if frames.len() > length { frames.pop().unwrap_or_default() } else { Bytes::new() };
    // What is left of the frames becomes the envelope, and later the reply: no allocation for either.
    frames.truncate(length);
    let envelope = frames;
    if one { Received::Request { envelope, body } } else { Received::Unreadable { envelope, body } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn the_envelope_ends_with_the_first_empty_frame() {
        let request = |envelope, body: &'static str| Received::Request { envelope, body: body.into() };
        assert_eq!(take_apart(frames(&["", "body"])), request(frames(&[""]), "body"));
        assert_eq!(take_apart(frames(&["a", "b", "", "body"])), request(frames(&["a", "b", ""]), "body"));
        assert_eq!(take_apart(frames(&["", ""])), request(frames(&[""]), ""));
        assert_eq!(take_apart(frames(&["body"])), request(vec![], "body"));
    }

    #[test]
    fn none_or_several_bodies_are_unreadable() {
        let unreadable = |envelope, body: &'static str| Received::Unreadable { envelope, body: body.into() };
        assert_eq!(take_apart(frames(&[""])), unreadable(frames(&[""]), ""));
        assert_eq!(take_apart(frames(&["", "one", "two"])), unreadable(frames(&[""]), "two"));
        assert_eq!(take_apart(frames(&["one", "two"])), unreadable(vec![], "two"));
        assert_eq!(take_apart(frames(&["a", "a", "a", "a", "a", "a", "a", "a", "", "b"])), {
            unreadable(frames(&["a", "a", "a", "a", "a", "a", "a", "a", ""]), "b")
        });
    }
}
