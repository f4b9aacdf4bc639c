//! A role that a shell starts with the usual soft limit serves as many connections as its settings say.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

#[test]
fn a_role_raises_its_limit_of_open_files() {
    let reserved = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [clients, workers, http] = reserved.map(|listener| listener.local_addr().unwrap());
    let script = format!(
        "ulimit -Sn 1024; exec '{}' broker --listen {clients} --worker-listen {workers} --http {http} \
         --exit-on-stdin-close 2>&1",
        env!("CARGO_BIN_EXE_papo")
    );
    let mut broker = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(broker.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("broker listens") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the broker ended");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.id())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "soft and hard: {files:?}");
    drop(broker.stdin.take());
    assert!(broker.wait().unwrap().success());
    let _ = log.read_to_string(&mut line);
}
