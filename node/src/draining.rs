//! `papo drain`: has the broker or proxy of this machine (in Kubernetes: of this container) leave as at SIGTERM, and returns once it
//! takes no new clients. Kubernetes runs it before it tells the role to stop.
//!
//! This module must not know how a role leaves: see [`crate::drain`].

use crate::cli::DrainArgs;
use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode as Status};
use hyper_util::rt::TokioIo;
use papo_settings::{Environment, ListenAddress, ports};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Where a role is told to leave.
const PATH: &str = "/drain";
/// How long a role may take to hear of it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The route of a role that leaves in stages.
pub fn routes(stop: CancellationToken) -> Router {
    Router::new().route(PATH, post(drain)).with_state(stop)
}

/// Only who is on this machine may end a role: the port itself is open to whoever scrapes metrics.
async fn drain(
    State(stop): State<CancellationToken>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> (StatusCode, &'static str) {
    if !from.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from the machine itself: run `papo drain` there\n");
    }
    if !stop.is_cancelled() {
        tracing::info!(reason = "drain", "stopping");
        stop.cancel();
    }
    (StatusCode::OK, "draining\n")
}

/// Runs the command.
///
/// # Errors
/// When the role cannot be told.
pub async fn run(args: DrainArgs, environment: Environment) -> anyhow::Result<ExitCode> {
    let listen = args.http.or(environment.http).unwrap_or(ListenAddress::everywhere(ports::HTTP)).socket();
    let host = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    let address = SocketAddr::new(host, listen.port());
    let status = timeout(ANSWER_MAX, tell(address))
        .await
        .with_context(|| format!("{address} does not answer"))?
        .with_context(|| {
            format!("cannot tell {address}: is a broker or a proxy there? (--http names another)")
        })?;
    anyhow::ensure!(status == Status::OK, "{address} does not drain: {status} (only brokers and proxies do)");
    let serves_on = args.drain_seconds.or(environment.drain_seconds).unwrap_or(0);
    tokio::time::sleep(Duration::from_secs(u64::from(serves_on))).await;
    Ok(ExitCode::SUCCESS)
}

async fn tell(address: SocketAddr) -> anyhow::Result<Status> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer; what goes wrong on it, the answer says.
    tokio::spawn(connection);
    let request = Request::post(PATH).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::serve;

    /// A role's HTTP, and the token that stops it.
    async fn role() -> (SocketAddr, CancellationToken) {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = routes(stop.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { serve(listener, router).await });
        (address, stop)
    }

    fn arguments(address: SocketAddr) -> DrainArgs {
        DrainArgs { http: Some(address.to_string().parse().unwrap()), drain_seconds: None }
    }

    #[tokio::test]
    async fn a_role_of_this_machine_is_told_to_leave_and_twice_does_no_harm() {
        let (address, stop) = role().await;
        for _ in 0..2 {
            let code = run(arguments(address), Environment::default()).await.unwrap();
            assert_eq!(code, ExitCode::SUCCESS);
            assert!(stop.is_cancelled());
        }
    }

    #[tokio::test]
    async fn nobody_else_may_end_a_role() {
        let stop = CancellationToken::new();
        let from = ConnectInfo(SocketAddr::from(([10, 0, 0, 7], 1)));
        assert_eq!(drain(State(stop.clone()), from).await.0, StatusCode::FORBIDDEN);
        assert!(!stop.is_cancelled());
    }

    #[tokio::test]
    async fn where_nobody_listens_the_command_says_so() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = run(arguments(address), Environment::default()).await.unwrap_err();
        assert!(format!("{error:#}").contains("--http names another"), "{error:#}");
    }
}
