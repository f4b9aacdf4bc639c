//! Two people and a bot, through the binary: `papo local`, `papo chat` and `papo bot` (acceptance 1 of part 1, rows L02, J01).

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/minimal.yaml");

/// A running cluster, stopped with the test.
struct Cluster {
    process: Child,
    broker: String,
    proxy: String,
}

impl Cluster {
    /// On addresses of its own, so that it does not meet a cluster that somebody runs beside the tests.
    fn start(data: &Path) -> Self {
        let mut process = papo()
            .args(["local", "-f", MANIFEST, "--per-address", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        for line in lines {
            if let Some(rest) = line.strip_prefix("requests to tcp://") {
                let (broker, rest) = rest.split_once(", subscriptions at tcp://").unwrap();
                let (proxy, _) = rest.split_once(';').unwrap();
                let list = |addresses: &str| addresses.replace(" or tcp://", ",");
                return Self { process, broker: list(broker), proxy: list(proxy) };
            }
            said.push(line);
        }
        panic!("papo local ended ({:?}) after saying {said:#?}", process.wait());
    }

    fn client(&self, role: &str, options: &[&str]) -> Child {
        papo()
            .args([role, "--broker", &self.broker, "--proxy", &self.proxy])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A person whose script is `lines`.
    fn person(&self, name: &str, lines: &[&str]) -> Child {
        let mut chat = self.client("chat", &["--user", name]);
        // Closed at once: what the script waits for, it waits for by itself.
        chat.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        chat
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGTERM, which stops its roles too; a plain kill would leave that to the end of their standard input.
        let stopped = Command::new("kill").arg(self.process.id().to_string()).status();
        if stopped.is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn papo() -> Command {
    let mut papo = Command::new(env!("CARGO_BIN_EXE_papo"));
    for name in ["SERVER_URL", "PAPO_SERVER", "PAPO_USER", "PAPO_SETTINGS"] {
        papo.env_remove(name);
    }
    papo
}

/// Its output, after a good end.
fn finish(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{status}: {text}{}", String::from_utf8_lossy(&stderr));
    text
}

#[test]
fn l02_two_scripts_exchange_a_post_and_a_direct_message_and_a_bot_joins_in() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&data.path().join("data"));

    let ana = cluster.person(
        "ana",
        &["/expect 30 #geral bia: oi ana", "/msg bia segredo", "/expect 30 @bia -> ana: guardado", "/users"],
    );
    let bia = cluster.person("bia", &["oi ana", "/expect 30 @ana -> bia: segredo", "/msg ana guardado"]);
    let page = finish(bia);
    assert_eq!(page.matches("@ana -> bia: segredo").count(), 1, "{page}");
    let page = finish(ana);
    assert_eq!(page.matches("#geral bia: oi ana").count(), 1, "{page}");
    assert!(page.contains("* 2 users: ana, bia"), "{page}");

    finish(cluster.client("bot", &["--user", "user4821", "--messages", "3", "--interval-ms", "0"]));
    let page = finish(cluster.person("ana", &["/channels", "/users"]));
    assert!(page.contains("* 3 users: ana, bia, user4821"), "{page}");
}

#[test]
fn a_chat_that_is_used_wrongly_exits_with_2() {
    for arguments in [["--user", "servers"], ["--broker", "nowhere"]] {
        let status = papo().arg("chat").args(arguments).stdin(Stdio::null()).output().unwrap().status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
