//! Asks a role over HTTP, one question a connection. This module must not know what is asked.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use papo_settings::Address;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The head of the answer, which must begin within `silence_max`; [`next_chunk`] reads the rest.
///
/// # Errors
/// When there is no connection or no answer in time.
pub async fn get(server: &Address, path: &str, silence_max: Duration) -> anyhow::Result<Response<Incoming>> {
    let stream =
        timeout(CONNECT_MAX, TcpStream::connect(server.to_string())).await.context("no connection")??;
    let (mut sender, connection) = timeout(CONNECT_MAX, http1::handshake(TokioIo::new(stream))).await??;
    // Ends with the response; what goes wrong on it, the response says.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, server.to_string()).body(Empty::<Bytes>::new())?;
    let response = timeout(silence_max, sender.send_request(request)).await;
    Ok(response.with_context(|| format!("no answer within {} s", silence_max.as_secs()))??)
}

/// The next bytes; `None` after the last.
///
/// # Errors
/// When the connection breaks, or is silent for `silence_max`.
pub async fn next_chunk(
    response: &mut Response<Incoming>,
    silence_max: Duration,
) -> anyhow::Result<Option<Bytes>> {
    loop {
        let frame = timeout(silence_max, response.body_mut().frame())
            .await
            .with_context(|| format!("silence for {} s", silence_max.as_secs()))?;
        match frame.transpose()?.map(hyper::body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(bytes)) => return Ok(Some(bytes)),
            // Trailers.
            Some(Err(_)) => {}
        }
    }
}
