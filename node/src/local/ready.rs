//! Asks the roles for their readiness over HTTP until each has said yes.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Between two questions to one role: short, because a person waits, and a loopback connection costs next to nothing.
const INTERVAL: Duration = Duration::from_millis(20);
/// One question and its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The question: HTTP/1.1 (RFC 9112) at its smallest.
const QUESTION: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// How a yes begins.
const YES: &[u8] = b"HTTP/1.1 200 ";

/// Returns when the role at this address is ready. Cancel-safe.
pub async fn ready(address: SocketAddr) {
    loop {
        if let Ok(Ok(true)) = tokio::time::timeout(ANSWER_TIMEOUT, ask(address)).await {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = [0; YES.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == YES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_role_is_ready_once_it_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let role = tokio::spawn(async move {
            for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = [0; QUESTION.len()];
                stream.read_exact(&mut question).await.unwrap();
                assert_eq!(question, QUESTION);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        ready(address).await;
        role.await.unwrap();
    }
}
