//! The role `ref`: ranks, list, heartbeats and a clock for servers (wire.md section 2), on both of the seeds' ports.
//!
//! The table is in [`registry`]; this module moves frames and keeps the file. A rank is on disk before it is answered.

mod file;
mod registry;

use crate::envelope::split_envelope;
use crate::http::{self, SurfaceOwner};
use crate::membership;
use crate::metrics::ReferenceMetrics;
use crate::role::{self, Context, now};
use bytes::Bytes;
use papo_protocol::codec::Limits;
use papo_protocol::lamport::LamportClock;
use papo_protocol::reference::{
    ReferenceCall, ReferenceReply, read_reference_request, write_reference_reply,
};
use papo_protocol::reply::{Code, Compat, Refusal, Reply, write_reply};
use papo_replica::Membership;
use papo_zmtp::{Encoded, Endpoint, Event, SocketType};
use registry::{Registry, RegistryFull};
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
    let ranks = file::RankFile::open(&options.data)?;
    let first = options.membership.clone();
    let mut membership = match options.settings {
        Some(settings) => membership::follow(&context, first, settings, |_| ()),
        None => watch::channel(first).1,
    };
    let mut service = Service {
        registry: Registry::new(options.membership.all(), ranks.ranks().clone(), options.expiry),
        ranks,
        clock: LamportClock::default(),
        list_as_map: options.list_as_map,
    };

    let (mut servers, handle) =
        Endpoint::new(context.plain_endpoint(SocketType::Rep, role::request_receives(REQUEST_LIMITS.bytes)));
    role::listen(&handle, &options.listen, "servers (REP)").await?;
    tracing::info!(listen = ?options.listen, "reference service started");
    owner.set_ready(true);
    loop {
        let event = tokio::select! {
            event = servers.next() => event,
            Ok(()) = membership.changed() => {
                service.registry.set_members(membership.borrow_and_update().all());
                continue;
            }
            () = context.stop.cancelled() => break,
        };
        let Some(event) = event else { break };
        metrics.clients.observe(&event);
        if let Event::Message { peer, frames } = event {
            let Some((mut envelope, body)) = split_envelope(frames) else {
                handle.close(peer);
                continue;
            };
            envelope.push(service.answer(&body)?);
            if handle.send(peer, Encoded::new(&envelope)).is_err() {
                handle.close(peer);
            }
            metrics.requests.inc();
            metrics.servers.set(i64::try_from(service.registry.list(now().unix).len()).unwrap_or(i64::MAX));
        }
    }
    owner.set_ready(false);
    handle.shutdown();
    while servers.next().await.is_some() {}
    Ok(())
}

struct Service {
    registry: Registry,
    ranks: file::RankFile,
    clock: LamportClock,
    list_as_map: bool,
}

impl Service {
    /// The reply's bytes. An error is the disk's: a rank that is not stored must not be given.
    fn answer(&mut self, body: &[u8]) -> anyhow::Result<Bytes> {
        let at = now().unix;
        let request = match read_reference_request(body, &REQUEST_LIMITS) {
            Ok(request) => request,
            Err(bad) => {
                self.clock.on_receive(bad.clock);
                let clock = self.clock.on_send();
                return Ok(write_reply(
                    &bad.style,
                    &Reply::Refused(bad.refusal),
                    clock,
                    at,
                    Compat::default(),
                ));
            }
        };
        self.clock.on_receive(request.clock);
        let outcome = match request.call {
            ReferenceCall::Rank(registration) => {
                self.registry.beat(registration, at).map(ReferenceReply::Rank)
            }
            ReferenceCall::Heartbeat(registration) => {
                self.registry.beat(registration, at).map(|_| ReferenceReply::Alive)
            }
            ReferenceCall::List => {
                Ok(ReferenceReply::List { servers: self.registry.list(at), as_map: self.list_as_map })
            }
            ReferenceCall::Clock => Ok(ReferenceReply::Time),
            // Nobody asks these before servers hold elections.
            ReferenceCall::Claim(_) | ReferenceCall::Report(_) | ReferenceCall::Resign(_) => {
                Err(RegistryFull)
            }
        };
        self.ranks.store_if_changed(self.registry.ranks())?;
        let clock = self.clock.on_send();
        Ok(match outcome {
            Ok(reply) => write_reference_reply(&request.style, &reply, clock, at),
            Err(full @ RegistryFull) => {
                let refusal = Refusal { code: Code::TooLarge, text: full.to_string(), retry: false };
                write_reply(&request.style, &Reply::Refused(refusal), clock, at, Compat::default())
            }
        })
    }
}
