//! An endpoint: the links of one socket, the owner's stream of events, and the handle that commands it.
//!
//! The owner alone holds [`Endpoint`] and calls [`Endpoint::next`]; any number of [`EndpointHandle`]s send and close. Nothing that a handle does
//! waits. Dropping the `Endpoint` ends everything at once; [`EndpointHandle::shutdown`] ends it in order.

use crate::{
    codec::Encoded,
    command::{CANCEL_BYTE, Command, SUBSCRIBE_BYTE},
    connect,
    event::{Event, LinkId, PeerId},
    handshake::SocketType,
    inbox::Taken,
    limits::Limits,
    listen,
    outlet::Wish,
    queue::{OnFull, Posted, SendError, SendOutcome},
    registry::Shared,
};
use bytes::Bytes;
use std::{collections::VecDeque, future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll};

/// How an endpoint presents itself and behaves.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// What it is to its peers.
    pub socket: SocketType,
    /// What peers may make it hold.
    pub limits: Limits,
    /// What a full queue does.
    pub on_full: OnFull,
    /// Extra READY properties, such as `X-Papo-Token`.
    pub properties: Vec<(String, Bytes)>,
    /// Events that may wait for the owner before links stop being read.
    pub event_capacity: usize,
}

impl EndpointSettings {
    /// Events that may wait for the owner, unless set otherwise.
    pub const EVENT_CAPACITY: usize = 1024;

    /// Default limits, a full queue refuses, no extra properties.
    #[must_use]
    pub fn new(socket: SocketType) -> Self {
        Self {
            socket,
            limits: Limits::default(),
            on_full: OnFull::Refuse,
            properties: Vec::new(),
            event_capacity: Self::EVENT_CAPACITY,
        }
    }
}

/// The receiving half: one owner.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    /// Taken from the inbox, not yet given to the owner.
    batch: VecDeque<Event>,
}

/// The commanding half: cheap to clone.
#[derive(Debug, Clone)]
pub struct EndpointHandle {
    shared: Arc<Shared>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.abort();
    }
}

impl Endpoint {
    /// An endpoint without links. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(settings: EndpointSettings) -> (Self, EndpointHandle) {
        let shared = Shared::new(settings);
        (Self { shared: Arc::clone(&shared), batch: VecDeque::new() }, EndpointHandle { shared })
    }

    /// The next event; `None` after [`EndpointHandle::shutdown`] when every link is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.next_taken() {
            return Some(event);
        }
        let inbox = &self.shared.inbox;
        if poll_fn(|context| inbox.poll_take(context, &mut self.batch)).await == Taken::Batch {
            return self.next_taken();
        }
        // Closing: until the last task is done there may be more.
        let told = poll_fn(|context| match inbox.poll_take(context, &mut self.batch) {
            Poll::Ready(Taken::Closing) => Poll::Pending,
            poll => poll,
        });
        tokio::select! {
            biased;
            _ = told => return self.next_taken(),
            () = self.shared.tasks.wait() => {}
        }
        // What the last task told last.
        poll_fn(|context| inbox.poll_take(context, &mut self.batch)).await;
        self.next_taken()
    }

    /// The next of the events that came together with the last one of [`Self::next`]; `None` when it is time to flush what they
    /// caused and to wait again.
    pub fn next_taken(&mut self) -> Option<Event> {
        self.batch.pop_front()
    }
}

impl EndpointHandle {
    /// Listens on `address` (port 0 = any) and says which it got. May be called for several addresses.
    ///
    /// # Errors
    /// When the address is in use or not ours, or the endpoint was shut down.
    pub async fn bind(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listening = self.shared.listening();
        if listening.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the endpoint was shut down"));
        }
        let listener = listen::open(address)?;
        let bound = listener.local_addr()?;
        self.shared.tasks.spawn(listen::run(Arc::clone(&self.shared), listener, listening));
        Ok(bound)
    }

    /// Connects to `host:port`, resolving the name anew at each try, with backoff and jitter, until [`Self::disconnect`].
    ///
    /// After a shutdown nothing is connected.
    pub fn connect(&self, target: &str) -> LinkId {
        let (link, end) = self.shared.add_link();
        if !self.shared.stop.is_cancelled() {
            self.shared.tasks.spawn(connect::run(Arc::clone(&self.shared), target.to_owned(), link, end));
        }
        link
    }

    /// Ends a link that [`Self::connect`] began, at once; what is queued is lost.
    pub fn disconnect(&self, link: LinkId) {
        self.shared.remove_link(link);
    }

    /// Queues a message for one peer, without waiting.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, peer: PeerId, message: Encoded) -> Result<SendOutcome, SendError> {
        self.shared.send(peer, message)
    }

    /// Queues messages for each of `peers`, to be written at the next [`Self::flush`]: many posts and one flush cost a few
    /// system calls.
    #[must_use]
    pub fn post(&self, peers: impl IntoIterator<Item = PeerId>, messages: &Encoded) -> Posted {
        self.shared.post(peers, messages)
    }

    /// Writes what was posted, without waiting; what the kernel does not take at once goes when it does.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// Subscribes at a peer (XSUB and SUB endpoints; `""` = everything): as a command to peers that greeted 3.1, as a message to others.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn subscribe(&self, peer: PeerId, topic: &[u8]) -> Result<(), SendError> {
        self.shared.send_command(peer, |peer| {
            if peer.knows_commands {
                Command::Subscribe { topic: Bytes::copy_from_slice(topic) }.encode()
            } else {
                subscription_message(SUBSCRIBE_BYTE, topic)
            }
        })
    }

    /// Withdraws [`Self::subscribe`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn cancel(&self, peer: PeerId, topic: &[u8]) -> Result<(), SendError> {
        self.shared.send_command(peer, |peer| {
            if peer.knows_commands {
                Command::Cancel { topic: Bytes::copy_from_slice(topic) }.encode()
            } else {
                subscription_message(CANCEL_BYTE, topic)
            }
        })
    }

    /// Closes one link at once; what is queued is lost.
    pub fn close(&self, peer: PeerId) {
        if let Some(peer) = self.shared.peer(peer) {
            peer.outlet.want(Wish::Close);
        }
    }

    /// Closes one link once what is queued has gone to the kernel (at most a second later). What the peer says from now on
    /// is read but not handed up.
    pub fn close_after_flush(&self, peer: PeerId) {
        if let Some(peer) = self.shared.peer(peer) {
            peer.outlet.want(Wish::Flush);
        }
    }

    /// Bytes queued for one peer; 0 when all went to the kernel, or the peer is gone.
    #[must_use]
    pub fn queued_bytes(&self, peer: PeerId) -> usize {
        self.shared.peer(peer).map_or(0, |peer| peer.outlet.bytes())
    }

    /// Stops listening (existing links live on). The port is free a moment later.
    pub fn stop_listening(&self) {
        self.shared.stop_listening();
    }

    /// Closes everything after flushing (at most a second); [`Endpoint::next`] then ends, once all events are taken.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }
}

fn subscription_message(kind: u8, topic: &[u8]) -> Bytes {
    Encoded::new(&[[&[kind], topic].concat().into()]).into_bytes()
}
