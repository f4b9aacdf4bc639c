//! The wire, sans-IO: the greeting, frame headers, and a decoder from whatever bytes have arrived to whole messages and commands.
//!
//! A size is checked against its bound when the header is read, before anything is allocated for the body; the decoder holds
//! no bytes of its own but the finished frames of the message under way. RFC 23 section "Framing", RFC 37.
//! This module must not know sockets, tasks or clocks.

use crate::{
    command::Command,
    limits::{COPY_BYTES, Limits},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of a greeting of ZMTP 3.x.
pub const GREETING_BYTES: usize = 64;
/// The version that we greet with.
pub const VERSION: (u8, u8) = (3, 1);

const SIGNATURE_FIRST: u8 = 0xFF;
const SIGNATURE_LAST: u8 = 0x7F;
const SIGNATURE_LAST_AT: usize = 9;
const MAJOR_AT: usize = 10;
const MINOR_AT: usize = 11;
const MECHANISM_AT: usize = 12;
const MECHANISM_BYTES: usize = 20;
const MECHANISM_NULL: &[u8] = b"NULL";

const FLAG_MORE: u8 = 0b001;
const FLAG_LONG: u8 = 0b010;
const FLAG_COMMAND: u8 = 0b100;
const FLAGS_RESERVED: u8 = !(FLAG_MORE | FLAG_LONG | FLAG_COMMAND);
const SHORT_HEADER_BYTES: usize = 2;
const LONG_HEADER_BYTES: usize = 9;

/// Why bytes from a peer were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are no ZMTP signature; ZMTP 1.0 has none either.
    #[error("no ZMTP signature (not ZeroMQ, or ZMTP 1.0)")]
    BadSignature,
    /// The peer speaks ZMTP 2.x.
    #[error("the peer speaks ZMTP 2.x (revision {0}), this end 3.x")]
    OldVersion(u8),
    /// The peer wants another security mechanism than NULL.
    #[error("the peer wants mechanism {0:?}, this end has NULL")]
    BadMechanism(String),
    /// A frame header with flags that the RFC reserves, or that exclude each other.
    #[error("frame flags {0:#04x}")]
    BadFlags(u8),
    /// A command that cannot be parsed.
    #[error("malformed command {0}")]
    BadCommand(&'static str),
    /// A bound of [`Limits`].
    #[error("{what} over {limit}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// The bound, in bytes or pieces.
        limit: usize,
    },
}

/// What the peer's greeting said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// 0 for ZMTP 3.0, 1 for 3.1; a peer of a later major version speaks down to ours.
    pub minor: u8,
}

/// The greeting that we send: version 3.1, mechanism NULL, not a server.
#[must_use]
pub fn encode_greeting() -> Bytes {
    let mut greeting = BytesMut::with_capacity(GREETING_BYTES);
    greeting.put_u8(SIGNATURE_FIRST);
    greeting.put_bytes(0, SIGNATURE_LAST_AT - 1);
    greeting.put_u8(SIGNATURE_LAST);
    greeting.put_u8(VERSION.0);
    greeting.put_u8(VERSION.1);
    greeting.put_slice(MECHANISM_NULL);
    greeting.put_bytes(0, GREETING_BYTES - MECHANISM_AT - MECHANISM_NULL.len());
    greeting.freeze()
}

/// Takes the peer's greeting off the front of `buffer`; `None` when it has not all arrived.
///
/// A peer that is not of our kind is refused at the first byte that shows it, since it may never send 64.
///
/// # Errors
/// [`DecodeError`]: not ZMTP 3.x, or not NULL.
pub fn decode_greeting(buffer: &mut BytesMut) -> Result<Option<Greeting>, DecodeError> {
    if buffer.first().is_some_and(|first| *first != SIGNATURE_FIRST) {
        return Err(DecodeError::BadSignature);
    }
    if buffer.get(SIGNATURE_LAST_AT).is_some_and(|last| *last != SIGNATURE_LAST) {
        return Err(DecodeError::BadSignature);
    }
    if let Some(major) = buffer.get(MAJOR_AT)
        && *major < VERSION.0
    {
        return Err(DecodeError::OldVersion(*major));
    }
    if buffer.len() < GREETING_BYTES {
        return Ok(None);
    }
    let greeting = buffer.split_to(GREETING_BYTES);
    let mechanism = greeting.get(MECHANISM_AT..MECHANISM_AT + MECHANISM_BYTES).unwrap_or_default();
    let name = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
    if name != MECHANISM_NULL {
        return Err(DecodeError::BadMechanism(String::from_utf8_lossy(name).into_owned()));
    }
    let major = greeting.get(MAJOR_AT).copied().unwrap_or_default();
    let minor = greeting.get(MINOR_AT).copied().unwrap_or_default();
    Ok(Some(Greeting { minor: if major > VERSION.0 { VERSION.1 } else { minor } }))
}

/// One message or several in wire form, encoded once for all their receivers; cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    wire: Bytes,
    messages: usize,
}

impl Encoded {
    /// Encodes the frames of one message. Without frames there is no message, and sending it does nothing.
    #[must_use]
    pub fn new(frames: &[Bytes]) -> Self {
        Self::several([frames])
    }

    /// Encodes several messages for the same receivers. In a queue they stay together: they are written, or dropped for room, as one.
    #[must_use]
    pub fn several<'a>(messages: impl IntoIterator<Item = &'a [Bytes], IntoIter: Clone>) -> Self {
        let messages = messages.into_iter();
        let bytes = messages.clone().flatten().map(|frame| header_bytes(frame.len()) + frame.len()).sum();
        let mut wire = BytesMut::with_capacity(bytes);
        let mut count = 0;
        for frames in messages {
            let last = frames.len().saturating_sub(1);
            for (index, frame) in frames.iter().enumerate() {
                put_frame(&mut wire, if index < last { FLAG_MORE } else { 0 }, frame);
            }
            count += usize::from(!frames.is_empty());
        }
        Self { wire: wire.freeze(), messages: count }
    }

    /// What is in wire form already, as one message.
    pub(crate) fn of_wire(wire: Bytes) -> Self {
        Self { wire, messages: 1 }
    }

    /// How many messages.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes on the wire, headers included.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.wire.len()
    }

    /// The wire form itself.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.wire
    }
}

/// A command frame around `body`.
pub(crate) fn encode_command(body: &[u8]) -> Bytes {
    let mut wire = BytesMut::with_capacity(header_bytes(body.len()) + body.len());
    put_frame(&mut wire, FLAG_COMMAND, body);
    wire.freeze()
}

fn header_bytes(body: usize) -> usize {
    if u8::try_from(body).is_ok() { SHORT_HEADER_BYTES } else { LONG_HEADER_BYTES }
}

fn put_frame(wire: &mut BytesMut, flags: u8, body: &[u8]) {
    if let Ok(short) = u8::try_from(body.len()) {
        wire.put_u8(flags);
        wire.put_u8(short);
    } else {
        wire.put_u8(flags | FLAG_LONG);
        wire.put_u64(body.len() as u64);
    }
    wire.put_slice(body);
}

/// What the decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A whole message; at least one frame.
    Message(Vec<Bytes>),
    /// A command; it may come between the frames of a message, which it leaves alone.
    Command(Command),
}

#[derive(Debug, Clone, Copy)]
struct Header {
    flags: u8,
    body: usize,
}

/// Turns the bytes of one connection, after the greeting, into messages and commands.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    header: Option<Header>,
    frames: Vec<Bytes>,
    message_bytes: usize,
}

impl Decoder {
    /// A decoder at the start of a frame.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, header: None, frames: Vec::new(), message_bytes: 0 }
    }

    /// Bytes of the finished frames of the message under way.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Bytes that the frame under way still lacks in `buffer`; 0 when its header has not arrived.
    #[must_use]
    pub fn missing_bytes(&self, buffer: &BytesMut) -> usize {
        self.header.map_or(0, |header| header.body.saturating_sub(buffer.len()))
    }

    /// Takes the next message or command off the front of `buffer`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError`]; the connection is then of no further use.
    pub fn next_item(&mut self, buffer: &mut BytesMut) -> Result<Option<Item>, DecodeError> {
        loop {
            let header = match self.header {
                Some(header) => header,
                None => match take_header(buffer)? {
                    Some(header) => *self.header.insert(self.check(header)?),
                    None => return Ok(None),
                },
            };
            if buffer.len() < header.body {
                return Ok(None);
            }
            self.header = None;
            let body = take_body(buffer, header.body);
            if header.flags & FLAG_COMMAND != 0 {
                return Command::parse(body).map(|command| Some(Item::Command(command)));
            }
            self.message_bytes += body.len();
            self.frames.push(body);
            if header.flags & FLAG_MORE == 0 {
                self.message_bytes = 0;
                return Ok(Some(Item::Message(std::mem::take(&mut self.frames))));
            }
        }
    }

    fn check(&self, header: Header) -> Result<Header, DecodeError> {
        if header.flags & FLAG_COMMAND != 0 {
            return within("command bytes", header.body, self.limits.command_bytes()).map(|()| header);
        }
        within("frame bytes", header.body, self.limits.frame_bytes)?;
        within("message bytes", self.message_bytes.saturating_add(header.body), self.limits.message_bytes)?;
        within("message parts", self.frames.len() + 1, self.limits.parts)?;
        Ok(header)
    }
}

fn within(what: &'static str, value: usize, limit: usize) -> Result<(), DecodeError> {
    if value > limit { Err(DecodeError::TooLarge { what, limit }) } else { Ok(()) }
}

fn take_header(buffer: &mut BytesMut) -> Result<Option<Header>, DecodeError> {
    let Some(flags) = buffer.first().copied() else { return Ok(None) };
    if flags & FLAGS_RESERVED != 0 || flags & (FLAG_COMMAND | FLAG_MORE) == FLAG_COMMAND | FLAG_MORE {
        return Err(DecodeError::BadFlags(flags));
    }
    let long = flags & FLAG_LONG != 0;
    if buffer.len() < if long { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES } {
        return Ok(None);
    }
    buffer.advance(1);
    // A size that does not fit the machine is over every bound.
    let body =
        if long { usize::try_from(buffer.get_u64()).unwrap_or(usize::MAX) } else { buffer.get_u8().into() };
    Ok(Some(Header { flags, body }))
}

/// Short bodies are copied, so that a kept frame does not pin a read buffer many times its size ([`COPY_BYTES`]).
fn take_body(buffer: &mut BytesMut, bytes: usize) -> Bytes {
    if bytes >= COPY_BYTES {
        return buffer.split_to(bytes).freeze();
    }
    let body = buffer.get(..bytes).map(Bytes::copy_from_slice).unwrap_or_default();
    buffer.advance(bytes);
    body
}
