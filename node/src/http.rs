//! HTTP :8080 of every role: `/livez`, `/readyz`, `/metrics`, and a server's `/status`.
//!
//! It must not know what a role does: it is handed a registry, a readiness flag, the latest status, and routes that are its own.

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    tracker.spawn(async move {
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "HTTP stopped");
        }
    });
    Ok(())
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
