//! What the tests share: endpoints on loopback, waiting for events, and a scripted raw peer.

use bytes::{Bytes, BytesMut};
use papo_zmtp::{
    Encoded, Endpoint, EndpointHandle, EndpointSettings, Event, PeerId, PeerInfo, SocketType,
    codec::{Decoder, GREETING_BYTES, Item, encode_greeting},
    command::Command,
};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Long enough for a loaded machine; reached only by a hang.
const HANG: Duration = Duration::from_secs(60);

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Fails the test when `future` hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("the test hangs")
}

/// An endpoint that listens on loopback.
pub(crate) async fn listening(settings: EndpointSettings) -> (Endpoint, EndpointHandle, SocketAddr) {
    let (endpoint, handle) = Endpoint::new(settings);
    let address = handle.bind(LOOPBACK).await.unwrap();
    (endpoint, handle, address)
}

/// An endpoint that connects.
pub(crate) fn connecting(settings: EndpointSettings, address: SocketAddr) -> (Endpoint, EndpointHandle) {
    let (endpoint, handle) = Endpoint::new(settings);
    handle.connect(&address.to_string());
    (endpoint, handle)
}

pub(crate) fn message(frames: &[&[u8]]) -> Encoded {
    let frames: Vec<_> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
    Encoded::new(&frames)
}

pub(crate) async fn next(endpoint: &mut Endpoint) -> Event {
    within(endpoint.next()).await.expect("the endpoint ended")
}

/// The next event but failures to connect, which precede the other end's listening.
pub(crate) async fn next_of_peer(endpoint: &mut Endpoint) -> Event {
    loop {
        match next(endpoint).await {
            Event::Failed { .. } => {}
            event => return event,
        }
    }
}

pub(crate) async fn next_up(endpoint: &mut Endpoint) -> (PeerId, PeerInfo) {
    match next_of_peer(endpoint).await {
        Event::Up { peer, info } => (peer, info),
        event => panic!("not up: {event:?}"),
    }
}

pub(crate) async fn next_message(endpoint: &mut Endpoint) -> (PeerId, Vec<Bytes>) {
    match next_of_peer(endpoint).await {
        Event::Message { peer, frames } => (peer, frames),
        event => panic!("no message: {event:?}"),
    }
}

pub(crate) async fn next_down(endpoint: &mut Endpoint) -> (PeerId, papo_zmtp::DownCause) {
    match next_of_peer(endpoint).await {
        Event::Down { peer, cause } => (peer, cause),
        event => panic!("not down: {event:?}"),
    }
}

pub(crate) async fn next_failed(endpoint: &mut Endpoint) -> papo_zmtp::DownCause {
    match next(endpoint).await {
        Event::Failed { cause, .. } => cause,
        event => panic!("not failed: {event:?}"),
    }
}

/// A greeting of the given version with mechanism NULL.
pub(crate) fn greeting(major: u8, minor: u8) -> Vec<u8> {
    let mut greeting = encode_greeting().to_vec();
    greeting[10] = major;
    greeting[11] = minor;
    greeting
}

pub(crate) fn ready(socket: SocketType) -> Bytes {
    let properties = vec![("Socket-Type".to_owned(), Bytes::from_static(socket.name().as_bytes()))];
    Command::Ready { properties }.encode()
}

/// A peer that says exactly the bytes it is told to.
pub(crate) struct RawPeer {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
    decoder: Decoder,
}

impl RawPeer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new(), decoder: Decoder::new(papo_zmtp::Limits::default()) }
    }

    /// Connects and finishes the handshake as a peer of ZMTP 3.`minor`.
    pub(crate) async fn greeted(address: SocketAddr, minor: u8, socket: SocketType) -> Self {
        let mut peer = Self::connect(address).await;
        peer.shake_hands(minor, socket).await;
        peer
    }

    pub(crate) async fn shake_hands(&mut self, minor: u8, socket: SocketType) {
        self.say(&greeting(3, minor)).await;
        self.say(&ready(socket)).await;
        let mut theirs = [0; GREETING_BYTES];
        within(self.stream.read_exact(&mut theirs)).await.unwrap();
        assert!(matches!(self.hear().await, Some(Item::Command(Command::Ready { .. }))));
    }

    /// Writes; that the other end has closed meanwhile is for the test to find by reading.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// The next message or command; `None` at the end of the stream.
    pub(crate) async fn hear(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.decoder.next_item(&mut self.buffer).unwrap() {
                return Some(item);
            }
            if within(self.stream.read_buf(&mut self.buffer)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn hear_message(&mut self) -> Vec<Bytes> {
        loop {
            match self.hear().await {
                Some(Item::Message(frames)) => return frames,
                Some(Item::Command(_)) => {}
                None => panic!("the link ended"),
            }
        }
    }
}
