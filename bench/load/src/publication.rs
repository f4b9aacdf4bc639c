//! The message that is published again and again: `[topic, kind, number, time of sending, filler]`.

use crate::wire::Message;
use bytes::Bytes;
use papo_zmtp::Encoded;
use std::time::Duration;

/// What everybody subscribes to.
pub const TOPIC: &[u8] = b"bench";
/// Kind, number and time.
pub const BODY_BYTES_MIN: usize = 1 + 8 + 8;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Shows a subscriber that its subscription stands; sent before anything is counted.
    Probe,
    /// Counted.
    Numbered,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Probe => b'P',
            Self::Numbered => b'N',
        }
    }
}

/// One message in wire form, of which only kind, number and time change.
pub struct Publication {
    wire: Vec<u8>,
    body_at: usize,
}

impl Publication {
    /// With a body of so many bytes, or of as many as it needs.
    pub fn new(bytes: usize) -> Self {
        let body = vec![b'.'; bytes.max(BODY_BYTES_MIN)];
        let body_bytes = body.len();
        let wire = Encoded::new(&[Bytes::from_static(TOPIC), Bytes::from(body)]).into_bytes().to_vec();
        Self { body_at: wire.len() - body_bytes, wire }
    }

    /// The message with these.
    pub fn wire(&mut self, kind: Kind, number: u64, sent: Duration) -> &[u8] {
        let nanoseconds = u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX);
        if let Some((kind_at, rest)) = self.wire.get_mut(self.body_at..).and_then(<[u8]>::split_first_mut)
            && let Some((number_at, rest)) = rest.split_first_chunk_mut()
            && let Some((sent_at, _)) = rest.split_first_chunk_mut()
        {
            *kind_at = kind.byte();
            *number_at = number.to_be_bytes();
            *sent_at = nanoseconds.to_be_bytes();
        }
        &self.wire
    }

    /// Kind, number and time of a message that arrived; `None` when it is none of ours.
    pub fn read(&self, message: &Message<'_>) -> Option<(Kind, u64, Duration)> {
        let (kind, rest) = message.body.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sent, filler) = rest.split_first_chunk()?;
        let ours = self.wire.get(self.body_at + BODY_BYTES_MIN..)?;
        let kind = [Kind::Probe, Kind::Numbered].into_iter().find(|known| known.byte() == *kind)?;
        (message.frames == 2 && message.first == TOPIC && filler == ours)
            .then(|| (kind, u64::from_be_bytes(*number), Duration::from_nanos(u64::from_be_bytes(*sent))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Piece, next_piece};

    fn message(wire: &[u8]) -> Message<'_> {
        match next_piece(wire).unwrap().unwrap() {
            (Piece::Message(message), []) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_written_is_read_and_what_was_changed_is_not() {
        for bytes in [0, 200, 300] {
            let mut publication = Publication::new(bytes);
            let mut wire = publication.wire(Kind::Numbered, 7, Duration::from_nanos(9)).to_vec();
            assert_eq!(message(&wire).body.len(), bytes.max(BODY_BYTES_MIN));
            assert_eq!(publication.read(&message(&wire)), Some((Kind::Numbered, 7, Duration::from_nanos(9))));
            wire[2] = b'B';
            assert_eq!(publication.read(&message(&wire)), None, "another topic");
        }
        let mut publication = Publication::new(200);
        let mut wire = publication.wire(Kind::Probe, 0, Duration::ZERO).to_vec();
        *wire.last_mut().unwrap() = b',';
        assert_eq!(publication.read(&message(&wire)), None, "another body");
    }
}
