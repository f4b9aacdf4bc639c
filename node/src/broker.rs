//! The role `broker`: ROUTER for clients, DEALER for workers, and between them the mind of `papo_exchange::dispatch`.
//!
//! A request: client link -> [`Dispatch`] -> worker link -> server -> worker link -> [`Dispatch`] -> client link. This module
//! moves frames and time; it must not know what a request asks.

use crate::drain::{Activity, Drain, DrainSettings, Stage};
use crate::draining;
use crate::http::{self, SurfaceOwner};
use crate::metrics::{BrokerMetrics, METRICS_INTERVAL};
use crate::readiness::Readiness;
use crate::role::{self, Alarm, Context, now};
use papo_exchange::{ConnectionId, Dispatch, DispatchEffect, DispatchInput, DispatchSettings};
use papo_protocol::time::Now;
use papo_zmtp::{Endpoint, EndpointHandle, Event, PeerId, SocketType};
use std::net::SocketAddr;

/// What a broker is told.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// ROUTER, for clients.
    pub listen: Vec<SocketAddr>,
    /// DEALER, for workers.
    pub worker_listen: Vec<SocketAddr>,
    /// HTTP.
    pub http: SocketAddr,
    /// Deadlines and bounds.
    pub dispatch: DispatchSettings,
    /// Servers of the settings.
    pub servers: usize,
    /// How it leaves.
    pub drain: DrainSettings,
}

/// Runs until stopped.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn run(context: Context, options: BrokerOptions) -> anyhow::Result<()> {
    let (owner, surface) = SurfaceOwner::new();
    let routes = draining::routes(context.stop.clone());
    http::serve(options.http, surface, routes, context.http_stop.clone(), &context.tracker).await?;
    let metrics = BrokerMetrics::register(&owner.registry)?;

    let requests = role::request_receives(options.dispatch.request_bytes_max);
    let (mut clients, client_handle) = Endpoint::new(context.plain_endpoint(SocketType::Router, requests));
    let mut worker_settings = context.papo_endpoint(SocketType::Dealer, role::REPLY_RECEIVES, "broker");
    // Whatever the mind gives one worker fits its link: a burst must not end it.
    let limits = &mut worker_settings.limits;
    limits.queue_bytes_per_peer = limits.queue_bytes_per_peer.max(options.dispatch.worker_queue_bytes());
    limits.queue_messages_per_peer =
        limits.queue_messages_per_peer.max(options.dispatch.worker_queue_messages());
    let (mut workers, worker_handle) = Endpoint::new(worker_settings);
    role::listen(&client_handle, &options.listen, "clients (ROUTER)").await?;
    role::listen(&worker_handle, &options.worker_listen, "workers (DEALER)").await?;
    tracing::info!(clients = ?options.listen, workers = ?options.worker_listen, "broker listens");

    let mut dispatch = Dispatch::new(options.dispatch, context.boot);
    let mut effects = Vec::new();
    let mut readiness = Readiness::new(now().monotonic, options.servers);
    let mut drain = Drain::new(options.drain);
    let mut ending = false;
    let mut second = tokio::time::interval(METRICS_INTERVAL);
    let mut alarm = Alarm::new();
    loop {
        let mut next = dispatch.next_tick();
        let now_is = now();
        if next <= now_is.monotonic {
            // Not left to `select!`, which under load may never come to its timer.
            dispatch.tick(now_is, &mut effects);
            next = dispatch.next_tick();
        }
        alarm.set(next.min(now_is.monotonic.saturating_add(drain.patience())));
        tokio::select! {
            event = clients.next() => {
                let Some(event) = event else { break };
                let now = now();
                let mut event = Some(event);
                while let Some(next) = event {
                    metrics.clients.observe(&next);
                    on_client(&mut dispatch, now, next, &mut effects);
                    event = clients.next_taken();
                }
            },
            event = workers.next() => {
                let Some(event) = event else { break };
                let now = now();
                let mut event = Some(event);
                while let Some(next) = event {
                    metrics.workers.observe(&next);
                    on_worker(&context, &mut dispatch, now, next, &mut effects);
                    event = workers.next_taken();
                }
            },
            () = alarm.rings() => dispatch.tick(now(), &mut effects),
            _ = second.tick() => metrics.update(&dispatch),
            () = context.stop.cancelled(), if !drain.has_begun() => drain.begin(now().monotonic),
        }
        let now = now();
        let ready = readiness.is_ready(now.monotonic, dispatch.ready_workers());
        owner.set_ready(ready && !drain.has_begun());
        if drain.has_begun() {
            let activity = Activity { owes: !dispatch.idle(), heard: dispatch.counters().requests };
            match drain.stage(now.monotonic, activity) {
                Stage::Serving | Stage::ServingOn => {}
                Stage::Ending if ending => {}
                Stage::Ending => {
                    ending = true;
                    // Who is told to go comes back elsewhere, or to this broker's successor.
                    client_handle.stop_listening();
                    dispatch.handle(now, DispatchInput::Drain, &mut effects);
                }
                Stage::Gone => break,
            }
        }
        apply(&client_handle, &worker_handle, &metrics, &mut effects);
    }
    // Said again: the idle ones too are closed now.
    dispatch.handle(now(), DispatchInput::Drain, &mut effects);
    apply(&client_handle, &worker_handle, &metrics, &mut effects);
    client_handle.shutdown();
    worker_handle.shutdown();
    while clients.next().await.is_some() {}
    Ok(())
}

fn on_client(dispatch: &mut Dispatch, now: Now, event: Event, effects: &mut Vec<DispatchEffect>) {
    let input = match event {
        Event::Up { peer, .. } => DispatchInput::ClientUp(connection(peer)),
        Event::Message { peer, frames } => DispatchInput::ClientMessage { client: connection(peer), frames },
        Event::Down { peer, cause } => {
            tracing::debug!(peer = peer.0, %cause, "client gone");
            DispatchInput::ClientDown(connection(peer))
        }
        Event::Failed { cause, .. } => {
            tracing::debug!(%cause, "client handshake failed");
            return;
        }
        // ROUTER peers do not subscribe.
        Event::Subscribe { .. } | Event::Cancel { .. } => return,
    };
    dispatch.handle(now, input, effects);
}

fn on_worker(
    context: &Context,
    dispatch: &mut Dispatch,
    now: Now,
    event: Event,
    effects: &mut Vec<DispatchEffect>,
) {
    let input = match event {
        Event::Up { peer, info } => {
            let papo = context.is_papo(&info);
            tracing::info!(worker = peer.0, address = %info.address, papo, "worker connected");
            DispatchInput::WorkerUp { worker: connection(peer), papo }
        }
        Event::Message { peer, frames } => DispatchInput::WorkerMessage { worker: connection(peer), frames },
        Event::Down { peer, cause } => {
            tracing::info!(worker = peer.0, %cause, "worker gone");
            DispatchInput::WorkerDown(connection(peer))
        }
        Event::Failed { cause, .. } => {
            tracing::warn!(%cause, "worker handshake failed");
            return;
        }
        Event::Subscribe { .. } | Event::Cancel { .. } => return,
    };
    dispatch.handle(now, input, effects);
}

/// Carries out effects, all that one turn of the loop brought with as few system calls as it takes.
fn apply(
    clients: &EndpointHandle,
    workers: &EndpointHandle,
    metrics: &BrokerMetrics,
    effects: &mut Vec<DispatchEffect>,
) {
    for effect in effects.drain(..) {
        match effect {
            DispatchEffect::ToClient { client, frames, after } => {
                metrics.answered(after);
                role::post_or_close(clients, peer(client), &frames);
            }
            DispatchEffect::ToWorker { worker, frames } => {
                role::post_or_close(workers, peer(worker), &frames);
            }
            DispatchEffect::CloseClient { client } => clients.close_after_flush(peer(client)),
            DispatchEffect::CloseWorker { worker } => workers.close(peer(worker)),
        }
    }
    clients.flush();
    workers.flush();
}

fn connection(peer: PeerId) -> ConnectionId {
    ConnectionId(peer.0)
}

fn peer(connection: ConnectionId) -> PeerId {
    PeerId(connection.0)
}
