//! `papo export --server`: asks a live server for its files, over HTTP.

use super::ExportFile;
use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use papo_settings::Address;
use std::io::Write;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the server may be silent: it reads its history before the first byte.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Of a refusal, what is shown.
const REFUSAL_BYTES_MAX: usize = 1000;

/// Writes one file of a live server to `out`, which has all of it when this succeeds.
///
/// # Errors
/// When the server cannot be asked, refuses, or does not send all; and those of `out`.
pub fn fetch(server: &Address, file: ExportFile, out: &mut dyn Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut response = ask(server, file).await.with_context(|| {
            format!("cannot ask {server}: name the server's HTTP port, such as server-1:8080")
        })?;
        if response.status() != StatusCode::OK {
            let mut text = Vec::new();
            while let Some(chunk) = next(&mut response).await?.filter(|_| text.len() < REFUSAL_BYTES_MAX) {
                text.extend_from_slice(&chunk);
            }
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            anyhow::bail!("{server} does not export {}: {}, {text}", file.name(), response.status());
        }
        while let Some(chunk) =
            next(&mut response).await.with_context(|| format!("{server} did not send all"))?
        {
            out.write_all(&chunk).context("cannot write")?;
        }
        out.flush().context("cannot write")
    })
}

async fn ask(server: &Address, file: ExportFile) -> anyhow::Result<Response<Incoming>> {
    let stream =
        timeout(CONNECT_MAX, TcpStream::connect(server.to_string())).await.context("no connection")??;
    let (mut sender, connection) = timeout(CONNECT_MAX, http1::handshake(TokioIo::new(stream))).await??;
    // Ends with the response; what goes wrong on it, the response says.
    tokio::spawn(connection);
    let request = Request::get(format!("/export/{}", file.name()))
        .header(HOST, server.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = timeout(SILENCE_MAX, sender.send_request(request)).await;
    Ok(response.with_context(|| format!("no answer within {} s", SILENCE_MAX.as_secs()))??)
}

/// The next bytes; `None` after the last.
async fn next(response: &mut Response<Incoming>) -> anyhow::Result<Option<Bytes>> {
    loop {
        let frame = timeout(SILENCE_MAX, response.body_mut().frame())
            .await
            .with_context(|| format!("silence for {} s", SILENCE_MAX.as_secs()))?;
        match frame.transpose()?.map(hyper::body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(bytes)) => return Ok(Some(bytes)),
            // Trailers.
            Some(Err(_)) => {}
        }
    }
}
