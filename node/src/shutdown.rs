//! When a role stops: SIGTERM, Ctrl-C, or the end of standard input for a child of `papo local`, which must not outlive it.

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Cancels the returned token on the first SIGTERM or Ctrl-C, and with `stdin_close` when standard input ends.
///
/// # Errors
/// When the process may not listen for signals.
pub fn on_signal(tracker: &TaskTracker, stdin_close: bool) -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stop = token.clone();
    tracker.spawn(async move {
        let reason = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = tokio::signal::ctrl_c() => "interrupt",
            () = stdin_ended(), if stdin_close => "standard input closed",
            () = stop.cancelled() => return,
        };
        tracing::info!(reason, "stopping");
        stop.cancel();
    });
    Ok(token)
}

async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    // Any error means as much as the end: whoever held the other side is gone.
    while matches!(stdin.read(&mut buffer).await, Ok(read) if read > 0) {}
}
