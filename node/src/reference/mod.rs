//! The role `ref`: ranks, list, heartbeats, epochs and a clock for servers (wire.md section 2), on both of the seeds' ports.
//!
//! The body around the mind of [`papo_exchange::registry`]: this module moves frames, knows by the cluster token who is a server of
//! ours, and keeps the files. What is told is on disk before.

mod file;

use crate::envelope::split_envelope;
use crate::http::{self, SurfaceOwner};
use crate::logging::{self, Happening};
use crate::membership;
use crate::metrics::{METRICS_INTERVAL, ReferenceMetrics};
use crate::role::{self, Context, now};
use bytes::Bytes;
use file::Files;
use papo_exchange::{Asker, Registry, RegistrySettings, Stored};
use papo_protocol::codec::Limits;
use papo_protocol::lamport::LamportClock;
use papo_protocol::reference::{read_reference_request, write_reference_reply};
use papo_protocol::reply::{Compat, Refusal, Reply, write_reply};
use papo_protocol::request::ReplyStyle;
use papo_replica::Membership;
use papo_zmtp::{Encoded, Endpoint, EndpointHandle, Event, PeerId, SocketType};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// What a reference service is told.
#[derive(Debug, Clone)]
pub struct ReferenceOptions {
    /// REP, for servers: 5559 and 6000.
    pub listen: Vec<SocketAddr>,
    /// HTTP.
    pub http: SocketAddr,
    /// Where the ranks are kept.
    pub data: PathBuf,
    /// Servers that have their rank by name.
    pub membership: Membership,
    /// The file that says who they are from now on.
    pub settings: Option<PathBuf>,
    /// After so long without a heartbeat a server leaves the list.
    pub expiry: Duration,
    /// `compat.listAsMap`.
    pub list_as_map: bool,
}

/// Bounds of a request: a registration is a few short fields.
const REQUEST_LIMITS: Limits = Limits { bytes: 16 << 10, depth: 8, values: 256 };

/// Runs until stopped.
///
/// # Errors
/// When an address cannot be listened on, or the data folder cannot be used.
pub async fn run(context: Context, options: ReferenceOptions) -> anyhow::Result<()> {
    let (owner, surface) = SurfaceOwner::new();
    http::serve(options.http, surface, axum::Router::new(), context.http_stop.clone(), &context.tracker)
        .await?;
    let metrics = ReferenceMetrics::register(&owner.registry)?;
    let mut files = Files::open(&options.data)?;
    let first = options.membership.clone();
    let mut membership = match options.settings {
        Some(settings) => membership::follow(&context, first, settings, |_| ()),
        None => watch::channel(first).1,
    };
    let settings = RegistrySettings { expiry: options.expiry, list_as_map: options.list_as_map };
    let registry = Registry::new(settings, options.membership.all(), files.stored().clone(), now());

    let (mut servers, handle) =
        Endpoint::new(context.plain_endpoint(SocketType::Rep, role::request_receives(REQUEST_LIMITS.bytes)));
    role::listen(&handle, &options.listen, "servers (REP)").await?;
    logging::tell(&Happening::ReferenceListens { servers: &options.listen });
    owner.set_ready(true);
    let mut service = Service {
        registry,
        clock: LamportClock::default(),
        papo: HashSet::new(),
        handle: handle.clone(),
        to_store: None,
        replies: Vec::new(),
    };
    let mut second = tokio::time::interval(METRICS_INTERVAL);
    loop {
        let event = tokio::select! {
            event = servers.next() => event,
            Ok(()) = membership.changed() => {
                service.registry.set_members(membership.borrow_and_update().all(), now());
                continue;
            }
            _ = second.tick() => {
                metrics.update(&service.registry, now());
                continue;
            }
            () = context.stop.cancelled() => break,
        };
        // What came together is stored together: a flood of new names costs one fsync, and not one each.
        let mut next = event;
        if next.is_none() {
            break;
        }
        while let Some(event) = next {
            metrics.clients.observe(&event);
            service.on_event(&context, event);
            next = servers.next_taken();
        }
        if let Some(stored) = service.to_store.take() {
            files.store(stored)?;
        }
        metrics.requests.inc_by(service.send_replies());
    }
    owner.set_ready(false);
    handle.shutdown();
    while servers.next().await.is_some() {}
    Ok(())
}

/// What one turn of the loop has in hand.
struct Service {
    registry: Registry,
    clock: LamportClock,
    /// Links that presented the cluster token.
    papo: HashSet<PeerId>,
    handle: EndpointHandle,
    to_store: Option<Stored>,
    /// They go when all is stored.
    replies: Vec<(PeerId, Vec<Bytes>)>,
}

impl Service {
    fn on_event(&mut self, context: &Context, event: Event) {
        match event {
            Event::Up { peer, info } => {
                if context.is_papo(&info) {
                    self.papo.insert(peer);
                }
            }
            Event::Down { peer, .. } => {
                self.papo.remove(&peer);
            }
            Event::Message { peer, frames } => {
                let Some((mut envelope, body)) = split_envelope(frames) else {
                    self.handle.close(peer);
                    return;
                };
                let asker = if self.papo.contains(&peer) { Asker::Papo } else { Asker::Foreign };
                envelope.push(self.answer(&body, asker));
                self.replies.push((peer, envelope));
            }
            Event::Failed { .. } | Event::Subscribe { .. } | Event::Cancel { .. } => {}
        }
    }

    /// The reply's bytes.
    fn answer(&mut self, body: &[u8], asker: Asker) -> Bytes {
        let request = match read_reference_request(body, &REQUEST_LIMITS) {
            Ok(request) => request,
            Err(bad) => {
                self.clock.on_receive(bad.clock);
                return self.refuse(&bad.style, bad.refusal);
            }
        };
        self.clock.on_receive(request.clock);
        let answer = self.registry.answer(request.call, asker, now());
        // The later holds all that the earlier did.
        self.to_store = answer.store.or(self.to_store.take());
        match answer.reply {
            Ok(reply) => write_reference_reply(&request.style, &reply, self.clock.on_send(), now().unix),
            Err(refusal) => self.refuse(&request.style, refusal),
        }
    }

    fn refuse(&mut self, style: &ReplyStyle, refusal: Refusal) -> Bytes {
        write_reply(style, &Reply::Refused(refusal), self.clock.on_send(), now().unix, Compat::default())
    }

    /// Says how many there were.
    fn send_replies(&mut self) -> u64 {
        let mut count = 0;
        for (peer, frames) in self.replies.drain(..) {
            count += 1;
            if self.handle.send(peer, Encoded::new(&frames)).is_err() {
                self.handle.close(peer);
            }
        }
        count
    }
}
