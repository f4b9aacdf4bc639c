//! Frames found in place: no copy and no allocation, since the load must cost far less than what it measures.
//!
//! The proxies under test are trusted to speak ZMTP, so this is no place for bounds; `papo_zmtp::codec` is what faces strangers.
//! This module must not know sockets.

const FLAG_MORE: u8 = 0b001;
const FLAG_LONG: u8 = 0b010;
const FLAG_COMMAND: u8 = 0b100;

/// What a link said that no ZeroMQ peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Commands go between messages (RFC 23).
    #[error("a command within a message")]
    CommandWithinMessage,
    /// A length that no memory holds.
    #[error("a frame of {0} bytes")]
    TooLarge(u64),
}

/// One message as it lies in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// All of it, frame headers included.
    pub wire: &'a [u8],
    /// The first frame: a topic, or the empty frame of a REQ.
    pub first: &'a [u8],
    /// The last frame.
    pub body: &'a [u8],
    /// Number of frames.
    pub frames: usize,
}

/// What lies at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// The body of a command frame.
    Command(&'a [u8]),
}

struct Frame<'a> {
    flags: u8,
    body: &'a [u8],
    rest: &'a [u8],
}

/// The piece at the front, and what follows it; `None` when it has not all arrived.
///
/// # Errors
/// [`WireError`]
pub fn next_piece(bytes: &[u8]) -> Result<Option<(Piece<'_>, &[u8])>, WireError> {
    let Some(front) = next_frame(bytes)? else { return Ok(None) };
    if front.flags & FLAG_COMMAND != 0 {
        return Ok(Some((Piece::Command(front.body), front.rest)));
    }
    let (mut last, mut frames) = (front, 1);
    let first = last.body;
    while last.flags & FLAG_MORE != 0 {
        let Some(next) = next_frame(last.rest)? else { return Ok(None) };
        if next.flags & FLAG_COMMAND != 0 {
            return Err(WireError::CommandWithinMessage);
        }
        last = next;
        frames += 1;
    }
    let wire = bytes.get(..bytes.len() - last.rest.len()).unwrap_or_default();
    Ok(Some((Piece::Message(Message { wire, first, body: last.body, frames }), last.rest)))
}

fn next_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some((&flags, after)) = bytes.split_first() else { return Ok(None) };
    let (length, after) = if flags & FLAG_LONG == 0 {
        let Some((&length, after)) = after.split_first() else { return Ok(None) };
        (usize::from(length), after)
    } else {
        let Some((length, after)) = after.split_first_chunk() else { return Ok(None) };
        let length = u64::from_be_bytes(*length);
        (usize::try_from(length).map_err(|_| WireError::TooLarge(length))?, after)
    };
    Ok(after.split_at_checked(length).map(|(body, rest)| Frame { flags, body, rest }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use papo_zmtp::Encoded;

    fn encoded(frames: &[&'static [u8]]) -> Vec<u8> {
        let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::from_static(frame)).collect();
        Encoded::new(&frames).into_bytes().to_vec()
    }

    #[test]
    fn a_message_is_found_whole_wherever_its_bytes_were_cut() {
        static LONG: [u8; 300] = [7; 300];
        let mut bytes = encoded(&[b"", b"key", &LONG]);
        let whole = bytes.len();
        for cut in 0..whole {
            assert_eq!(next_piece(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        bytes.extend(encoded(&[b"next"]));
        let (piece, rest) = next_piece(&bytes).unwrap().unwrap();
        assert_eq!(
            piece,
            Piece::Message(Message { wire: &bytes[..whole], first: b"", body: &LONG, frames: 3 })
        );
        let (piece, rest) = next_piece(rest).unwrap().unwrap();
        assert!(
            matches!(piece, Piece::Message(Message { first: b"next", body: b"next", frames: 1, .. })),
            "{piece:?}"
        );
        assert!(rest.is_empty());
    }

    #[test]
    fn a_command_is_found_between_messages_and_refused_within_one() {
        assert_eq!(next_piece(&[4, 2, 1, b'X', 9]), Ok(Some((Piece::Command(b"\x01X"), &[9][..]))));
        assert_eq!(next_piece(&[1, 1, 0, 4, 1, 0]), Err(WireError::CommandWithinMessage));
    }
}
