//! HTTP :8080 of every role: `/livez`, `/readyz`, `/metrics`, and a server's `/status`.
//!
//! It must not know what a role does: it is handed a registry, a readiness flag, the latest status, and routes that are its own.
//!
//! Who connects and asks nothing is closed, and connections are bounded: each is one of the files that a role may have open, and those are
//! for clients.

use anyhow::Context;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::{Registry, TextEncoder};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once: well within the files that are left beside clients' connections (`open_files`). More wait to be accepted.
const CONNECTIONS_MAX: usize = 128;
/// A request's head must come within this time of the connection, or of the answer before it.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// After a connection that could not be accepted.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What a role shows of itself; cloning shares it.
#[derive(Clone)]
pub struct Surface {
    registry: Registry,
    ready: Arc<AtomicBool>,
    status: watch::Receiver<serde_json::Value>,
}

/// The role's side of [`Surface`].
pub struct SurfaceOwner {
    /// Where the role registers its metrics.
    pub registry: Registry,
    ready: Arc<AtomicBool>,
    status: watch::Sender<serde_json::Value>,
}

impl SurfaceOwner {
    /// Not ready, no status yet.
    #[must_use]
    pub fn new() -> (Self, Surface) {
        let registry = Registry::new();
        let ready = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = watch::channel(serde_json::Value::Null);
        let surface = Surface { registry: registry.clone(), ready: Arc::clone(&ready), status: receiver };
        (Self { registry, ready, status: sender }, surface)
    }

    /// Says whether traffic may come.
    pub fn set_ready(&self, ready: bool) {
        if self.ready.swap(ready, Ordering::Relaxed) != ready {
            tracing::info!(ready, "readiness changed");
        }
    }

    /// Replaces what `/status` shows.
    pub fn set_status(&self, status: serde_json::Value) {
        self.status.send_replace(status);
    }
}

/// Serves `surface` and a role's own routes, `more`, on `address` until `stop`.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    surface: Surface,
    more: Router,
    stop: CancellationToken,
    tracker: &TaskTracker,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen for HTTP on {address}: choose another address with --http")
    })?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(surface)
        .merge(more);
    let connections = tracker.clone();
    tracker.spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(converse(stream, peer, router.clone(), stop.clone(), place));
                }
                // Too many open files, or a peer that is gone: neither is for ever.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    });
    Ok(())
}

/// One connection, until either side ends it; a request under way is finished also when the role stops.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(peer))));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_WITHIN);
    let mut conversation = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut conversation => ended,
        () = stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}

async fn readyz(State(surface): State<Surface>) -> (StatusCode, &'static str) {
    if surface.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(surface): State<Surface>) -> Response {
    match TextEncoder::new().encode_to_string(&surface.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status(State(surface): State<Surface>) -> Response {
    let status = surface.status.borrow().clone();
    if status.is_null() {
        return (StatusCode::NOT_FOUND, "this role has no status: ask a server\n").into_response();
    }
    axum::Json(status).into_response()
}
