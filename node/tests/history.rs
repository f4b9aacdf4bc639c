//! A server and its data folder: what was written before a restart is read from the disk again, and what cannot be read ends the
//! process (docs/adr/0006), with the exit status of a failed disk.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use rusqlite::Connection;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use zeromq::{ReqSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// Far above what an answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    process: Child,
    listen: SocketAddr,
    /// Kept open, so that the server can go on logging.
    _log: BufReader<ChildStdout>,
}

impl Server {
    fn start(data: &Path) -> Self {
        let reserved = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [listen, peers, http] = reserved.map(|listener| listener.local_addr().unwrap());
        let script = format!(
            "exec '{}' server --name server-1 --data '{}' --listen {listen} --peer-listen {peers} --http {http} \
             --exit-on-stdin-close 2>&1",
            env!("CARGO_BIN_EXE_papo"),
            data.display()
        );
        let mut process = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("server listens") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server ended");
        }
        Self { process, listen, _log: log }
    }

    fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }

    /// How it ended by itself.
    fn status(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server goes on");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client(ReqSocket);

impl Client {
    async fn connect(server: &Server) -> Self {
        let mut socket = ReqSocket::new();
        socket.connect(&format!("tcp://{}", server.listen)).await.unwrap();
        Self(socket)
    }

    async fn send(&mut self, request: &serde_json::Value) {
        self.0.send(ZmqMessage::from(request.to_string())).await.unwrap();
    }

    async fn ask(&mut self, service: &str, data: serde_json::Value) -> serde_json::Value {
        self.send(&serde_json::json!({"service": service, "data": data})).await;
        let reply = tokio::time::timeout(PATIENCE, self.0.recv()).await.unwrap().unwrap();
        let mut reply: serde_json::Value = serde_json::from_slice(reply.get(0).unwrap()).unwrap();
        reply.get_mut("data").unwrap().take()
    }
}

/// A folder with a channel and three posts, by a server that has ended.
async fn written(data: &Path) {
    let server = Server::start(data);
    let mut client = Client::connect(&server).await;
    client.ask("channel", serde_json::json!({"channel": "geral"})).await;
    for message in ["um", "dois", "três"] {
        let post = serde_json::json!({"user": "ana", "channel": "geral", "message": message});
        let reply = client.ask("publish", post).await;
        assert_eq!(reply.get("status").unwrap(), "OK");
    }
    drop(client);
    server.stop();
}

#[tokio::test]
async fn what_was_written_before_a_restart_is_read_from_the_disk() {
    let data = tempfile::tempdir().unwrap();
    written(data.path()).await;
    let server = Server::start(data.path());
    let mut client = Client::connect(&server).await;
    let texts = |reply: &serde_json::Value| -> Vec<String> {
        let messages = reply["messages"].as_array().unwrap().iter();
        messages.map(|message| message["message"].as_str().unwrap().to_owned()).collect()
    };
    let newest = client.ask("history", serde_json::json!({"channel": "geral", "limit": 2})).await;
    assert_eq!(texts(&newest), ["dois", "três"]);
    let first = serde_json::json!({"channel": "geral", "limit": 2, "papo_cursor": ""});
    let page = client.ask("history", first).await;
    assert_eq!(texts(&page), ["um", "dois"]);
    let next = serde_json::json!({"channel": "geral", "limit": 2, "papo_cursor": page["papo_cursor"]});
    assert_eq!(texts(&client.ask("history", next).await), ["três"]);
    drop(client);
    server.stop();
}

#[tokio::test]
async fn a_server_that_cannot_read_what_it_showed_ends_and_shows_no_shorter_history() {
    let harms = ["UPDATE operations SET kind = x'c1' WHERE seq = 3", "DELETE FROM operations WHERE seq = 3"];
    for harm in harms {
        let data = tempfile::tempdir().unwrap();
        written(data.path()).await;
        let mut server = Server::start(data.path());
        let disk = Connection::open(data.path().join("history.sqlite")).unwrap();
        assert_eq!(disk.execute(harm, []).unwrap(), 1);
        drop(disk);
        let mut client = Client::connect(&server).await;
        let ask = serde_json::json!({"service": "history", "data": {"channel": "geral"}});
        client.send(&ask).await;
        assert_eq!(server.status(), Some(74), "{harm}");
        let answer = tokio::time::timeout(Duration::from_millis(200), client.0.recv()).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{harm}: {answer:?}");
    }
}
