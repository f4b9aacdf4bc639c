//! `/livez`, `/readyz` and `/metrics` of the operator itself.

use crate::{metrics::Metrics, resource::ChatCluster};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use kube::runtime::reflector::Store;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::net::TcpListener;

/// What the operator shows of itself; cloning shares it.
#[derive(Clone)]
pub struct Surface {
    /// What it counts.
    pub metrics: Metrics,
    /// The clusters that it knows.
    pub clusters: Store<ChatCluster>,
    /// Whether every watch has brought its first list.
    pub ready: Arc<AtomicBool>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, surface: Surface) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(surface);
    axum::serve(listener, router).await
}

async fn readyz(State(surface): State<Surface>) -> (StatusCode, &'static str) {
    if surface.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists of the watches\n")
    }
}

async fn metrics(State(surface): State<Surface>) -> Response {
    match surface.metrics.render(&surface.clusters) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
