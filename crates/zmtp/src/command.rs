//! Commands (RFC 23, 37): READY, ERROR, SUBSCRIBE, CANCEL, PING and PONG, parsed from and written to command frames.
//!
//! The bodies of unknown commands are skipped, as the RFC asks. This module must not know when a command is allowed.

use crate::{codec, codec::DecodeError, limits};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// First byte of a subscription in message form, as peers of ZMTP 3.0 send it (RFC 29).
pub const SUBSCRIBE_BYTE: u8 = 1;
/// First byte of a withdrawal in message form.
pub const CANCEL_BYTE: u8 = 0;

/// One command, as a peer sends it after or within the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The peer's part of the NULL handshake.
    Ready {
        /// Names as sent, with their values.
        properties: Vec<(String, Bytes)>,
    },
    /// The peer refuses to go on.
    Error {
        /// Its reason, for the log.
        reason: String,
    },
    /// ZMTP 3.1: the peer wants a topic.
    Subscribe {
        /// A prefix; empty = everything.
        topic: Bytes,
    },
    /// ZMTP 3.1: the peer no longer wants a topic.
    Cancel {
        /// As it was subscribed.
        topic: Bytes,
    },
    /// ZMTP 3.1: the peer asks for a PONG.
    Ping {
        /// The peer wants to hear something within so many tenths of a second; 0 = does not mind.
        ttl_deciseconds: u16,
        /// To be echoed; at most 16 bytes.
        context: Bytes,
    },
    /// ZMTP 3.1: the answer to a PING.
    Pong {
        /// Of the PING.
        context: Bytes,
    },
    /// A command that this implementation does not know; ignored.
    Unknown {
        /// Its name, for the log.
        name: String,
    },
}

impl Command {
    /// Parses the body of a command frame.
    ///
    /// # Errors
    /// [`DecodeError::BadCommand`] when the body of a known command is cut short.
    pub fn parse(mut body: Bytes) -> Result<Self, DecodeError> {
        let name = short_string(&mut body).filter(|name| !name.is_empty()).ok_or(bad("without a name"))?;
        match name.as_ref() {
            b"READY" => parse_properties(body).map(|properties| Self::Ready { properties }),
            b"ERROR" => {
                let reason = short_string(&mut body).ok_or(bad("ERROR"))?;
                Ok(Self::Error { reason: String::from_utf8_lossy(&reason).into_owned() })
            }
            b"SUBSCRIBE" => Ok(Self::Subscribe { topic: body }),
            b"CANCEL" => Ok(Self::Cancel { topic: body }),
            b"PING" => {
                let ttl_deciseconds = body.try_get_u16().map_err(|_| bad("PING"))?;
                body.truncate(limits::PING_CONTEXT_BYTES);
                Ok(Self::Ping { ttl_deciseconds, context: body })
            }
            b"PONG" => {
                body.truncate(limits::PING_CONTEXT_BYTES);
                Ok(Self::Pong { context: body })
            }
            other => Ok(Self::Unknown { name: String::from_utf8_lossy(other).into_owned() }),
        }
    }

    /// The whole command frame, header included.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        match self {
            Self::Ready { properties } => {
                put_short(&mut body, b"READY");
                for (name, value) in properties {
                    put_short(&mut body, name.as_bytes());
                    // A value over 4 GiB cannot be said; such a property is our own error and goes out cut.
                    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
                    body.put_u32(length);
                    body.extend(value.iter().take(length as usize));
                }
            }
            Self::Error { reason } => {
                put_short(&mut body, b"ERROR");
                put_short(&mut body, reason.as_bytes());
            }
            Self::Subscribe { topic } => {
                put_short(&mut body, b"SUBSCRIBE");
                body.put_slice(topic);
            }
            Self::Cancel { topic } => {
                put_short(&mut body, b"CANCEL");
                body.put_slice(topic);
            }
            Self::Ping { ttl_deciseconds, context } => {
                put_short(&mut body, b"PING");
                body.put_u16(*ttl_deciseconds);
                body.put_slice(context);
            }
            Self::Pong { context } => {
                put_short(&mut body, b"PONG");
                body.put_slice(context);
            }
            Self::Unknown { name } => put_short(&mut body, name.as_bytes()),
        }
        codec::encode_command(&body)
    }
}

const fn bad(what: &'static str) -> DecodeError {
    DecodeError::BadCommand(what)
}

/// Reads a string with a length of one byte.
fn short_string(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(body.try_get_u8().ok()?);
    (length <= body.len()).then(|| body.split_to(length))
}

/// Writes a string with a length of one byte, cut at 255 bytes.
fn put_short(body: &mut BytesMut, text: &[u8]) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    body.put_u8(length);
    body.extend(text.iter().take(usize::from(length)));
}

fn parse_properties(mut body: Bytes) -> Result<Vec<(String, Bytes)>, DecodeError> {
    let mut properties = Vec::new();
    while body.has_remaining() {
        if properties.len() == limits::READY_PROPERTIES {
            return Err(DecodeError::TooLarge { what: "READY properties", limit: limits::READY_PROPERTIES });
        }
        let name = short_string(&mut body).filter(|name| !name.is_empty()).ok_or(bad("READY"))?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad("READY"))?;
        let length = body.try_get_u32().map_err(|_| bad("READY"))?;
        let length = usize::try_from(length).map_err(|_| bad("READY"))?;
        if length > body.len() {
            return Err(bad("READY"));
        }
        properties.push((name, body.split_to(length)));
    }
    Ok(properties)
}
