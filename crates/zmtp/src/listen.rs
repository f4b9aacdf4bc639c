//! Listening: opens the socket, lets connections in as long as the bounds allow, and starts a task for each.
//!
//! This module must not know what is said on a connection.

use crate::{
    connection,
    limits::{ACCEPT_PAUSE, LISTEN_BACKLOG},
    registry::Shared,
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Opens a listening socket; a port just left by another process may be taken at once.
pub(crate) fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Accepts until `listening` ends.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, listening: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = listening.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => admit(&shared, stream, address),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    let admission = match shared.admit(address.ip()) {
        Ok(admission) => admission,
        Err(cause) => {
            drop(stream);
            tracing::debug!(%address, %cause, "connection refused");
            shared.tell_failed(None, cause);
            return;
        }
    };
    if let Err(error) = connection::tune(&stream) {
        tracing::debug!(%address, %error, "connection lost before the handshake");
        return;
    }
    let shared = Arc::clone(shared);
    shared.clone().tasks.spawn(async move {
        let end = shared.kill.child_token();
        connection::run(&shared, stream, address, None, &end).await;
        // Only now that the owner was told: a flood of short connections is bounded like one of long ones.
        drop(admission);
    });
}
