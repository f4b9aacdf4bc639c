//! Links between servers: each server dials every other one and asks on that link; it answers on the links that others dial.
//! Without the cluster token a link is closed before anything is read from it.

use crate::role::{self, Context};
use crate::targets;
use bytes::Bytes;
use papo_replica::{Input, PEER_MESSAGE_BYTES_MAX, PeerLink};
use papo_settings::Address;
use papo_zmtp::{Endpoint, EndpointHandle, Event, PeerId, SocketType};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;

/// Which of the two endpoints a link belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Dialer,
    Listener,
}

/// A link between servers is silent for so long before one end beats. Servers that have the same say so every two seconds, each on the
/// link that it opened, and a beat is for what hangs.
const BEAT_INTERVAL: Duration = Duration::from_millis(2200);
/// A link not heard for so long is dead. Whom a write waits for must be known: with too few, it is refused before it is begun. (Who
/// coordinates does not hang on this: that has beats of its own.)
const DEAD_AFTER: Duration = Duration::from_secs(4);

/// Both endpoints of the peer protocol.
pub struct Peers {
    dialer: EndpointHandle,
    listener: EndpointHandle,
    /// Links that presented the token.
    known: HashSet<PeerLink>,
}

impl Peers {
    /// Listens for the other servers and dials them, for ever.
    pub async fn open(
        context: &Context,
        listen: &[SocketAddr],
        addresses: watch::Receiver<Vec<Address>>,
    ) -> anyhow::Result<(Endpoint, Endpoint, Self)> {
        let endpoint = |socket| {
            let mut settings = context.papo_endpoint(socket, PEER_MESSAGE_BYTES_MAX, "server");
            settings.limits.heartbeat_interval = BEAT_INTERVAL;
            settings.limits.heartbeat_timeout = DEAD_AFTER;
            Endpoint::new(settings)
        };
        let (listener_events, listener) = endpoint(SocketType::Router);
        let (dialer_events, dialer) = endpoint(SocketType::Dealer);
        role::listen(&listener, listen, "the other servers").await?;
        targets::follow(context, dialer.clone(), addresses);
        Ok((listener_events, dialer_events, Self { dialer, listener, known: HashSet::new() }))
    }

    /// Hands what was sent in this turn to the kernel.
    pub fn flush(&self) {
        for handle in self.handles() {
            handle.flush();
        }
    }

    /// For shutting down.
    pub fn handles(&self) -> [&EndpointHandle; 2] {
        [&self.dialer, &self.listener]
    }

    /// Servers that this one has reached.
    pub fn connected(&self) -> usize {
        self.known.iter().filter(|link| side(**link) == Side::Dialer).count()
    }

    /// From the links that this server dialled.
    pub fn on_dialer(&mut self, context: &Context, event: Event) -> Option<Input> {
        self.on_event(context, Side::Dialer, event)
    }

    /// From the links that others dialled.
    pub fn on_listener(&mut self, context: &Context, event: Event) -> Option<Input> {
        self.on_event(context, Side::Listener, event)
    }

    fn on_event(&mut self, context: &Context, on: Side, event: Event) -> Option<Input> {
        match event {
            Event::Up { peer, info } if context.is_papo(&info) => {
                tracing::info!(peer = peer.0, address = %info.address, dialled = on == Side::Dialer, "server connected");
                let link = link(on, peer);
                self.known.insert(link);
                (on == Side::Dialer).then_some(Input::PeerUp { link })
            }
            Event::Up { peer, info } => {
                tracing::warn!(address = %info.address, "a peer without the cluster token: closed");
                self.handle(on).close(peer);
                None
            }
            Event::Message { peer, frames } => {
                let link = link(on, peer);
                let bytes = frames.into_iter().next()?;
                self.known.contains(&link).then_some(Input::PeerMessage { link, bytes })
            }
            Event::Down { peer, cause } => {
                let link = link(on, peer);
                if !self.known.remove(&link) {
                    return None;
                }
                tracing::info!(peer = peer.0, %cause, dialled = on == Side::Dialer, "server gone");
                Some(Input::PeerDown { link })
            }
            Event::Failed { cause, .. } => {
                tracing::debug!(%cause, "server not reached");
                None
            }
            Event::Subscribe { .. } | Event::Cancel { .. } => None,
        }
    }

    /// Sends one message of the peer protocol.
    pub fn send(&self, to: PeerLink, bytes: Bytes) {
        // The mind pushes little ahead of what a peer has stored, so only a link that carries nothing any more fills its queue. A
        // peer that is dropped pulls what it missed when it is back.
        role::post_or_close(self.handle(side(to)), PeerId(to.0 >> 1), &[bytes]);
    }

    fn handle(&self, side: Side) -> &EndpointHandle {
        match side {
            Side::Dialer => &self.dialer,
            Side::Listener => &self.listener,
        }
    }
}

/// The mind sees one space of links: dialled ones are even, others odd.
fn link(side: Side, peer: PeerId) -> PeerLink {
    PeerLink((peer.0 << 1) | u64::from(side == Side::Listener))
}

fn side(link: PeerLink) -> Side {
    if link.0 & 1 == 0 { Side::Dialer } else { Side::Listener }
}
