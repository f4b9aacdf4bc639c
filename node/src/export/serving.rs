//! A live server's side of `papo export --server`: `/export/FILE` on its HTTP port, as many bytes as there are.
//!
//! It reads the data folder, as `papo export --data` does, on a thread of its own: the server's task never waits for it, and the
//! files are the same. One at a time, since each makes an index of its own; who reads too slowly loses its connection.

use super::ExportFile;
use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use papo_replica::VersionVector;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Bytes written before they are sent.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for the reader.
const CHUNKS: usize = 4;
/// How long the next chunk may wait for a reader that takes none.
const STALLED_MAX: Duration = Duration::from_secs(10);
/// How long one export may take: until then the database keeps what it would otherwise clean up.
const EXPORT_MAX: Duration = Duration::from_secs(600);

/// Asks the server what it shows. The disk has all of that, and is told a little later that it is shown.
pub type ShownAsked = oneshot::Sender<VersionVector>;

/// The routes, for [`crate::http::serve`], and what they ask of the server, which is to answer soon.
pub fn routes(data: PathBuf) -> (Router, mpsc::Receiver<ShownAsked>) {
    let (ask, asked) = mpsc::channel(1);
    let exports = Exports { data: Arc::new(data), turn: Arc::new(Semaphore::new(1)), ask };
    (Router::new().route("/export/{file}", get(export)).with_state(exports), asked)
}

#[derive(Clone)]
struct Exports {
    data: Arc<PathBuf>,
    turn: Arc<Semaphore>,
    ask: mpsc::Sender<ShownAsked>,
}

impl Exports {
    async fn shown(&self) -> Option<VersionVector> {
        let (answer, answered) = oneshot::channel();
        self.ask.send(answer).await.ok()?;
        answered.await.ok()
    }
}

async fn export(State(exports): State<Exports>, Path(name): Path<String>) -> Response {
    let Some(file) = ExportFile::of_name(&name) else {
        return (StatusCode::NOT_FOUND, format!("no file {name}: there are {}\n", ExportFile::names()))
            .into_response();
    };
    let Ok(permit) = Arc::clone(&exports.turn).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "another export is under way: ask again later\n")
            .into_response();
    };
    let Some(shown) = exports.shown().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "this server starts or stops: ask again later\n")
            .into_response();
    };
    let (chunks, mut body) = mpsc::channel(CHUNKS);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let until = Instant::now() + EXPORT_MAX;
        let mut out = Chunks { runtime, chunks, buffer: Vec::with_capacity(CHUNK_BYTES), until };
        let written = super::write(&exports.data, &shown, file, &mut out);
        finish(out, permit, written);
    });
    // An error before the first byte is an answer; a later one cuts the connection.
    let mut first = match body.recv().await {
        Some(Err(error)) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
        }
        first => Some(first),
    };
    let rest = futures::stream::poll_fn(move |context| {
        let chunk = match first.take() {
            Some(first) => first,
            None => std::task::ready!(body.poll_recv(context)),
        };
        Poll::Ready(match chunk {
            Some(Ok(end)) if end.is_empty() => None,
            None => Some(Err(io::Error::other("the export broke off"))),
            more => more,
        })
    });
    ([(header::CONTENT_TYPE, file.content_type())], Body::from_stream(rest)).into_response()
}

/// An empty chunk is the end; without it, the reader learns that it has not got all.
fn finish(mut out: Chunks, permit: OwnedSemaphorePermit, written: anyhow::Result<()>) {
    let written = written.and_then(|()| out.flush().context("cannot send the rest"));
    // Before the reader hears of the end: it may ask for the next file at once.
    drop(permit);
    let ended = written.and_then(|()| out.send(Bytes::new()).context("cannot send the end"));
    if let Err(error) = ended {
        tracing::warn!("an export failed: {error:#}");
        // A reader that takes nothing is not told why.
        let _ = out.chunks.try_send(Err(io::Error::other(format!("{error:#}"))));
    }
}

/// Takes what is written, and waits for the reader, but not for ever.
struct Chunks {
    runtime: Handle,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    until: Instant,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.send(chunk)
    }
}

impl Chunks {
    fn send(&self, chunk: Bytes) -> io::Result<()> {
        let patience = STALLED_MAX.min(self.until.saturating_duration_since(Instant::now()));
        let sent = self.runtime.block_on(async {
            // Made here: a timer belongs to the runtime.
            tokio::time::timeout(patience, self.chunks.send(Ok(chunk))).await
        });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader is too slow")),
        }
    }
}
