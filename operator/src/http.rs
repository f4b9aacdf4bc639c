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
use tokio::{net::TcpListener, sync::watch};

/// How far the operator is.
#[derive(Clone)]
pub enum Standing {
    /// It asks for the Lease.
    Starting,
    /// Another one has the Lease: this one is ready to follow it.
    StandingBy,
    /// It has the Lease; not every watch has brought its first list.
    Listing(Store<ChatCluster>),
    /// It works.
    Working(Store<ChatCluster>),
}

/// What the operator shows of itself; cloning shares it.
#[derive(Clone)]
pub struct Surface {
    /// What it counts.
    pub metrics: Metrics,
    /// How far it is.
    pub standing: watch::Receiver<Standing>,
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
    match *surface.standing.borrow() {
        Standing::Working(_) => (StatusCode::OK, "ready\n"),
        Standing::StandingBy => (StatusCode::OK, "ready: another operator has the Lease\n"),
        Standing::Starting => (StatusCode::SERVICE_UNAVAILABLE, "asking for the Lease\n"),
        Standing::Listing(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists of the watches\n")
        }
    }
}

async fn metrics(State(surface): State<Surface>) -> Response {
    let (holds_lease, clusters) = match &*surface.standing.borrow() {
        Standing::Starting | Standing::StandingBy => (false, None),
        Standing::Listing(clusters) | Standing::Working(clusters) => (true, Some(clusters.clone())),
    };
    match surface.metrics.render(holds_lease, clusters.as_ref()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
