//! `papo export --server`: asks a live server for its files, over HTTP.

use super::ExportFile;
use crate::http_get::{get, next_chunk};
use anyhow::Context as _;
use hyper::StatusCode;
use papo_settings::Address;
use std::io::Write;
use std::time::Duration;

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
        let path = format!("/export/{}", file.name());
        let mut response = get(server, &path, SILENCE_MAX).await.with_context(|| {
            format!("cannot ask {server}: name the server's HTTP port, such as server-1:8080")
        })?;
        if response.status() != StatusCode::OK {
            let mut text = Vec::new();
            while let Some(chunk) =
                next_chunk(&mut response, SILENCE_MAX).await?.filter(|_| text.len() < REFUSAL_BYTES_MAX)
            {
                text.extend_from_slice(&chunk);
            }
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            anyhow::bail!("{server} does not export {}: {}, {text}", file.name(), response.status());
        }
        while let Some(chunk) = next_chunk(&mut response, SILENCE_MAX)
            .await
            .with_context(|| format!("{server} did not send all"))?
        {
            out.write_all(&chunk).context("cannot write")?;
        }
        out.flush().context("cannot write")
    })
}
