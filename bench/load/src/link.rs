//! One TCP connection that speaks ZMTP: opened and greeted in turn, before anything is measured; then non-blocking.
//!
//! A read goes to one buffer that all links share, and is looked through there; a link keeps only the beginning of a message
//! whose end has not come. What is to be sent gathers in `outgoing` and goes out in one write.

use crate::wire::{Message, Piece, next_piece};
use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use mio::{Interest, Registry, Token, net::TcpStream};
use papo_zmtp::command::Command;
use papo_zmtp::handshake::{Handshake, Step};
use papo_zmtp::{Limits, SocketType, codec};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What is measured may still be starting.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Of the shared read buffer: more than the window of a subscriber, so that one read takes all that has come.
const READ_BYTES: usize = 256 << 10;

/// The read buffer that all links of a thread share.
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// Of the size that every read may fill.
    pub fn new() -> Self {
        Self(vec![0; READ_BYTES])
    }
}

/// One connection.
pub struct Link {
    stream: TcpStream,
    /// The beginning of a piece whose end has not arrived.
    partial: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Link {
    /// Connects, shakes hands, and hands the link to the poll, edge-triggered.
    ///
    /// # Errors
    /// When nobody listens within [`CONNECT_PATIENCE`], or who listens is no such ZeroMQ socket.
    pub fn connect(
        address: SocketAddr,
        socket: SocketType,
        registry: &Registry,
        token: usize,
    ) -> anyhow::Result<Self> {
        let mut stream = connect(address).with_context(|| format!("cannot connect to {address}"))?;
        let partial =
            shake_hands(&mut stream, socket).with_context(|| format!("handshake with {address}"))?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, partial, outgoing: Vec::new(), sent: 0 })
    }

    /// Takes in all that has arrived. `on_message` gets each message and may add to what goes out, which is then sent.
    ///
    /// # Errors
    /// When the connection is closed, or says what is no ZMTP.
    pub fn receive(
        &mut self,
        scratch: &mut Scratch,
        mut on_message: impl FnMut(&Message<'_>, &mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let mut drained = false;
        while !drained {
            let kept = self.partial.len();
            if scratch.0.len() < 2 * kept {
                scratch.0.resize(2 * kept, 0);
            }
            let (front, space) = scratch.0.split_at_mut(kept);
            front.copy_from_slice(&self.partial);
            let read = match self.stream.read(space) {
                Ok(0) => bail!("the peer closed the connection"),
                // Less than asked for: a stream socket has no more, and will say so when it has.
                Ok(read) => {
                    drained = read < space.len();
                    read
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut bytes = scratch.0.get(..kept + read).unwrap_or_default();
            while let Some((piece, rest)) = next_piece(bytes)? {
                match piece {
                    Piece::Message(message) => on_message(&message, &mut self.outgoing),
                    Piece::Command(body) => answer(body, &mut self.outgoing)?,
                }
                bytes = rest;
            }
            self.partial.clear();
            self.partial.extend_from_slice(bytes);
        }
        self.flush()
    }

    /// What is to be sent; [`Self::flush`] sends it.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Sends what the connection takes now; the rest when the poll says that it takes more.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }
}

/// A PING gets its PONG; subscriptions and the rest are not for a load.
fn answer(body: &[u8], outgoing: &mut Vec<u8>) -> anyhow::Result<()> {
    match Command::parse(Bytes::copy_from_slice(body))? {
        Command::Ping { context, .. } => outgoing.extend_from_slice(&Command::Pong { context }.encode()),
        Command::Error { reason } => bail!("the peer refused: {reason}"),
        _ => {}
    }
    Ok(())
}

fn connect(address: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    let begun = Instant::now();
    loop {
        match std::net::TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if begun.elapsed() > CONNECT_PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(CONNECT_PAUSE),
        }
    }
}

/// Gives what the peer has sent behind its READY.
pub(crate) fn shake_hands(stream: &mut std::net::TcpStream, socket: SocketType) -> anyhow::Result<Vec<u8>> {
    stream.set_read_timeout(Some(HANDSHAKE_PATIENCE))?;
    stream.write_all(&codec::encode_greeting())?;
    let mut handshake = Handshake::new(socket, &[], &Limits::default());
    let mut buffer = BytesMut::new();
    let mut read = [0; 512];
    loop {
        match handshake.on_bytes(&mut buffer)? {
            Step::Send(bytes) => stream.write_all(&bytes)?,
            Step::Done(_) => return Ok(buffer.to_vec()),
            Step::Wait => match stream.read(&mut read)? {
                0 => bail!("the peer closed the connection"),
                count => buffer.extend_from_slice(read.get(..count).unwrap_or_default()),
            },
        }
    }
}
