"""What `papo export` writes, from a data folder and with `--server` from a live server: the files of rows I01 and S2:223."""

import json
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

from clients import Client, rep_of
from conftest import EXPORTS, PAPO, SERVERS, texts, wait_until

# What a server lets a reader stall: see `serving.rs`.
STALLED_SECONDS = 10


def papo_export(*options) -> subprocess.CompletedProcess:
    return subprocess.run([PAPO, "export", *map(str, options)], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def http_of(cluster, number: int) -> str:
    return cluster.http()[f"server-{number}"]


def fill(posts: int, size: int) -> None:
    client = Client()
    for name in ("ana", "bia", "ana"):
        client.must("login", user=name)
    for channel in ("geral", "frozen"):
        client.must("channel", channel=channel)
    for number in range(posts):
        text = f'"olá" {number}\n' + "é" * (size // 2)
        client.must("publish", user="ana", channel="geral", message=text, timestamp=1_700_000_000 + number)
    client.must("message", src="ana", dst="bia", message="psiu", timestamp="2025-01-31T12:00:00")
    client.close()


def test_i01_a_live_server_exports_the_bytes_that_its_data_folder_exports(own_cluster, tmp_path):
    fill(100, 20_000)
    from_folder = own_cluster.equal_exports()
    for number in SERVERS:
        out = tmp_path / f"live-{number}"
        done = papo_export("--server", http_of(own_cluster, number), "--out", out)
        assert (done.returncode, done.stderr) == (0, b"")
        assert {file.name: file.read_bytes() for file in out.iterdir()} == from_folder
    for name in EXPORTS:
        assert papo_export("--server", http_of(own_cluster, 2), name).stdout == from_folder[name]
    assert papo_export("--server", http_of(own_cluster, 1)).stdout == from_folder["server_data.json"]
    # Any client of HTTP may ask, too.
    with urllib.request.urlopen(f"http://{http_of(own_cluster, 1)}/export/messages.jsonl") as answer:
        assert answer.read() == from_folder["messages.jsonl"]


def test_a_reader_that_stalls_holds_neither_the_server_nor_for_long_the_next_export(own_cluster):
    fill(16, 500_000)
    host, port = http_of(own_cluster, 1).split(":")
    stalled = socket.socket()
    # Little room, so that most of the file waits in the server.
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect((host, int(port)))
    stalled.sendall(b"GET /export/publications.jsonl HTTP/1.1\r\nHost: papo\r\n\r\n")
    assert stalled.recv(12) == b"HTTP/1.1 200"

    refused = papo_export("--server", http_of(own_cluster, 1), "publications.jsonl")
    assert refused.returncode == 1 and b"another export is under way" in refused.stderr
    client = Client("tcp://127.0.0.1:5601")
    for number in range(20):
        began = time.monotonic()
        client.must("publish", user="ana", channel="geral", message=f"entretanto {number}")
        assert time.monotonic() - began < 3
    client.close()

    def exports():
        return papo_export("--server", http_of(own_cluster, 1), "publications.jsonl")

    done = wait_until("the stalled reader is given up", lambda: (done := exports()).returncode == 0 and done, 2 * STALLED_SECONDS)
    assert b"entretanto 19" in done.stdout
    # It can tell that it has not got all: there is no last chunk.
    stalled.settimeout(20)
    got = b""
    while chunk := stalled.recv(1 << 16):
        got += chunk
    assert not got.endswith(b"0\r\n\r\n")
    stalled.close()


@pytest.fixture
def server_that_dies():
    """Answers over HTTP with the beginning of a file, and is gone."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            link.recv(1 << 16)
            link.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n')
            link.close()

    threading.Thread(target=serve, daemon=True).start()
    yield "127.0.0.1:%d" % listener.getsockname()[1]
    listener.close()


def test_an_export_that_breaks_off_fails_and_leaves_no_file(server_that_dies, tmp_path):
    out = tmp_path / "half"
    done = papo_export("--server", server_that_dies, "--out", out)
    assert done.returncode == 1 and b"did not send all" in done.stderr
    assert list(out.iterdir()) == []


def test_an_export_from_nobody_or_from_no_server_says_what_to_do(own_cluster):
    done = papo_export("--server", "127.0.0.1:1")
    assert done.returncode == 1 and b"name the server's HTTP port" in done.stderr
    # A broker has no history.
    done = papo_export("--server", own_cluster.http()["broker-1"])
    assert done.returncode == 1 and b"404" in done.stderr
    done = papo_export()
    assert done.returncode == 2 and b"--data" in done.stderr


def test_h01_h12_h16_l06_m3_publications_jsonl_is_identical_everywhere_though_all_servers_took_posts_at_once(own_cluster):
    setup = Client()
    for number in range(3):
        setup.must("channel", channel=f"canal-{number}")
    own_cluster.equal_exports()
    posts = 60

    def write(number: int) -> None:
        client = Client(rep_of(number))
        for count in range(posts):
            client.must("publish", user=f"autor-{number}", channel=f"canal-{count % 3}", message=f"{number}/{count}")
        client.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in SERVERS for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    export = own_cluster.equal_exports()
    expected = sorted(f"{number}/{count}" for number in SERVERS for count in range(posts) for _ in range(2))
    assert sorted(texts(export, "publications.jsonl")) == expected
    # The total order: by Lamport, then by origin.
    lines = [json.loads(line) for line in export["publications.jsonl"].splitlines()]
    order = [(line["position"]["lamport"], line["position"]["server"]) for line in lines]
    assert order == sorted(order)


def test_i02_every_login_channel_post_and_direct_message_is_kept_with_its_time(own_cluster):
    client = Client()
    before = int(time.time())
    for name in ("ana", "bia", "ana"):
        client.must("login", user=name)
    client.must("channel", channel="geral")
    client.must("publish", user="ana", channel="geral", message="post", timestamp=1_700_000_000)
    client.must("message", src="ana", dst="bia", message="direct")
    after = int(time.time())
    data = json.loads(own_cluster.equal_exports()["server_data.json"])
    assert sorted(login["username"] for login in data["logins"]) == ["ana", "ana", "bia"], "every login, not only the first"
    assert all(before <= login["timestamp"] <= after for login in data["logins"])
    assert data["channels"] == ["geral"]
    assert data["channel_messages"] == [{"user": "ana", "channel": "geral", "message": "post", "timestamp": 1_700_000_000}]
    [direct] = data["user_messages"]
    assert (direct["src"], direct["dst"], direct["message"]) == ("ana", "bia", "direct") and before <= direct["timestamp"] <= after
