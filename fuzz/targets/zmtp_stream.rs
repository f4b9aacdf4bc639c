//! A link's bytes, from the greeting on, fed whole and in pieces: the same comes out, bounds hold, nothing panics, and what was read
//! as a message is written and read as the same again.

#![no_main]

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use papo_zmtp::codec::{Decoder, Encoded, Item, encode_greeting};
use papo_zmtp::command::Command;
use papo_zmtp::handshake::{Handshake, Step};
use papo_zmtp::{Limits, SocketType};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    listens_as: Socket,
    roomy: bool,
    greets: bool,
    ready_as: Option<Socket>,
    pieces: Vec<Piece<'a>>,
    cuts: Vec<u16>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Socket {
    Router,
    Dealer,
    Xpub,
    Sub,
}

#[derive(Debug, Arbitrary)]
enum Piece<'a> {
    Raw(&'a [u8]),
    /// A frame of this kind and size, its body of one byte repeated.
    Frame {
        more: bool,
        command: bool,
        long: bool,
        size: u16,
        byte: u8,
    },
    /// A header that announces so much.
    Announced {
        flags: u8,
        size: u64,
    },
    Ping {
        ttl: u16,
        context: &'a [u8],
    },
    Subscribe {
        topic: &'a [u8],
    },
}

impl Socket {
    fn of(self) -> SocketType {
        match self {
            Self::Router => SocketType::Router,
            Self::Dealer => SocketType::Dealer,
            Self::Xpub => SocketType::Xpub,
            Self::Sub => SocketType::Sub,
        }
    }
}

fn stream(input: &Input) -> Vec<u8> {
    let mut bytes = Vec::new();
    if input.greets {
        bytes.extend(encode_greeting());
    }
    if let Some(socket) = input.ready_as {
        let name = Bytes::from_static(socket.of().name().as_bytes());
        bytes.extend(Command::Ready { properties: vec![("Socket-Type".to_owned(), name)] }.encode());
    }
    for piece in &input.pieces {
        match piece {
            Piece::Raw(raw) => bytes.extend_from_slice(raw),
            Piece::Frame { more, command, long, size, byte } => {
                let flags = u8::from(*more) | u8::from(*long) << 1 | u8::from(*command) << 2;
                bytes.push(flags);
                let size = if *long { usize::from(*size) } else { usize::from(*size) % 256 };
                if *long {
                    bytes.extend((size as u64).to_be_bytes());
                } else {
                    bytes.push(size as u8);
                }
                bytes.resize(bytes.len() + size, *byte);
            }
            Piece::Announced { flags, size } => {
                bytes.push(flags | 2);
                bytes.extend(size.to_be_bytes());
            }
            Piece::Ping { ttl, context } => {
                let context = Bytes::copy_from_slice(context);
                bytes.extend(Command::Ping { ttl_deciseconds: *ttl, context }.encode());
            }
            Piece::Subscribe { topic } => {
                bytes.extend(Command::Subscribe { topic: Bytes::copy_from_slice(topic) }.encode());
            }
        }
    }
    bytes
}

/// What came of it, in order; the last may be an error.
#[derive(Debug, PartialEq)]
enum Seen {
    Ready(String),
    Item(Item),
    Error(String),
}

fn read<'a>(input: &Input, limits: &Limits, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut handshake = Some(Handshake::new(input.listens_as.of(), &[], limits));
    let mut decoder = Decoder::new(limits.clone());
    let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
    let frame_max = limits.frame_bytes.max(limits.command_bytes());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        while let Some(opening) = &mut handshake {
            match opening.on_bytes(&mut buffer) {
                Ok(Step::Wait) => break,
                Ok(Step::Send(bytes)) => assert!(!bytes.is_empty()),
                Ok(Step::Done(ready)) => {
                    assert!(input.listens_as.of().may_talk_to(ready.socket));
                    seen.push(Seen::Ready(format!("{ready:?}")));
                    handshake = None;
                }
                Err(error) => {
                    seen.push(Seen::Error(error.to_string()));
                    return seen;
                }
            }
        }
        while handshake.is_none() {
            match decoder.next_item(&mut buffer) {
                Ok(None) => break,
                Ok(Some(item)) => {
                    check(&item, limits);
                    seen.push(Seen::Item(item));
                }
                Err(error) => {
                    seen.push(Seen::Error(error.to_string()));
                    return seen;
                }
            }
        }
        assert!(decoder.held_bytes() <= limits.message_bytes);
        assert!(decoder.missing_bytes(&buffer) <= frame_max);
        assert!(buffer.len() <= frame_max.max(64) + 9, "no more waits than a frame and its header");
    }
    seen
}

fn check(item: &Item, limits: &Limits) {
    let Item::Message(frames) = item else { return };
    assert!((1..=limits.parts).contains(&frames.len()));
    assert!(frames.iter().all(|frame| frame.len() <= limits.frame_bytes));
    assert!(frames.iter().map(Bytes::len).sum::<usize>() <= limits.message_bytes);
    let mut wire = BytesMut::from(&Encoded::new(frames).into_bytes()[..]);
    let again = Decoder::new(limits.clone()).next_item(&mut wire);
    assert_eq!(again.as_ref(), Ok(&Some(item.clone())));
    assert!(wire.is_empty());
}

fuzz_target!(|input: Input| {
    let limits = if input.roomy {
        Limits { frame_bytes: 40_000, message_bytes: 60_000, parts: 4, ..Limits::default() }
    } else {
        Limits { frame_bytes: 300, message_bytes: 500, parts: 4, topic_bytes: 64, ..Limits::default() }
    };
    let bytes = stream(&input);
    let mut cuts = input.cuts.iter().map(|cut| usize::from(*cut) + 1).cycle();
    let (mut rest, mut chunks) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
        chunks.push(chunk);
        rest = later;
    }
    let whole = read(&input, &limits, std::iter::once(&bytes[..]));
    assert_eq!(whole, read(&input, &limits, chunks.into_iter()));
});
