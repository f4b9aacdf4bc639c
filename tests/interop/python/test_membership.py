"""A cluster that grows from one server to three and shrinks again, generation by generation, while a client writes.

The settings file of each server changes under it, as a mounted ConfigMap does, and never at the same time as another's.
"""

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from clients import Client
from conftest import EXPORTS, PAPO, START_SECONDS, STOP_SECONDS, kill, texts, wait_until


class Server:
    """One `papo server` on 127.0.0.number, at the ports of the exercise."""

    def __init__(self, number: int, folder: Path):
        self.number, self.folder = number, folder
        self.settings = folder / f"settings-{number}.yaml"
        self.data = folder / f"data-{number}"
        self.host = f"127.0.0.{number}"

    def settle(self, generation: int, members: list[int], joining: list[int] = [], leaving: list[int] = []) -> None:
        names = [[f"server-{number}" for number in numbers] for numbers in (members, joining, leaving)]
        keys = ("members", "joining", "leaving")
        lists = "".join(f"{key}: {json.dumps(value)}\n" for key, value in zip(keys, names, strict=True))
        text = f"clusterId: tests/membership\ngeneration: {generation}\n{lists}spec: {{replicas: {len(members)}}}\n"
        # Never half written: a server may look at any time.
        new = self.settings.with_suffix(".new")
        new.write_text(text)
        new.replace(self.settings)

    def start(self, token: Path) -> None:
        log = (self.folder / f"server-{self.number}.log").open("ab")
        self.process = subprocess.Popen(
            [
                *(PAPO, "server", "--name", f"server-{self.number}", "--data", self.data, "--settings", self.settings),
                *("--token-file", token, "--peer-domain", "127.0.0.{n}", "--listen", f"{self.host}:5555"),
                *("--peer-listen", f"{self.host}:5550", "--http", f"{self.host}:8080"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "RUST_LOG": "info"},
        )
        wait_until(f"server-{self.number} answers", lambda: self.status(), START_SECONDS)

    def status(self) -> dict:
        try:
            with urllib.request.urlopen(f"http://{self.host}:8080/status", timeout=5) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):
            return {}

    def has(self, **expected) -> bool:
        status = self.status()
        return all(status.get(key) == value for key, value in expected.items())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STOP_SECONDS)

    def export(self) -> dict[str, bytes]:
        out = self.folder / f"export-{self.number}"
        command = [PAPO, "export", "--data", self.data, "--out", out]
        subprocess.run(command, check=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
        return {name: (out / name).read_bytes() for name in EXPORTS}


@pytest.fixture
def servers(tmp_path):
    token = tmp_path / "token"
    token.write_text("a token of these tests, which nobody guesses\n")
    servers = [Server(number, tmp_path) for number in (1, 2, 3)]
    started = []

    def start(server: Server) -> None:
        server.start(token)
        started.append(server)

    yield servers, start
    for server in started:
        kill(server.process.pid)
        server.process.wait(STOP_SECONDS)


class Writer(threading.Thread):
    """Publishes without a pause through one server, and keeps what was not acknowledged."""

    def __init__(self, address: str):
        super().__init__(daemon=True)
        self.client = Client(address)
        self.client.must("login", user="alice")
        self.client.must("channel", channel="geral")
        self.acknowledged, self.refused, self.done = [], [], threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.is_set():
            text = f"post {len(self.acknowledged) + len(self.refused)}"
            reply = self.client.ask("publish", user="alice", channel="geral", message=text)
            (self.acknowledged if reply["status"] == "OK" else self.refused).append((text, reply))

    def end(self) -> None:
        self.done.set()
        self.join(STOP_SECONDS)
        assert not self.is_alive(), "a request was not answered"


def step(servers: list[Server], generation: int, members: list[int], joining: list[int] = [], leaving: list[int] = []) -> None:
    """Brings a generation to one running server after the other, and waits until each has it."""
    for server in servers:
        server.settle(generation, members, joining, leaving)
        wait_until(f"server-{server.number} has generation {generation}", lambda: server.has(generation=generation))


def test_a_cluster_grows_from_one_server_to_three_and_shrinks_to_the_newest_while_a_client_writes(servers):
    (first, second, third), start = servers
    first.settle(1, [1])
    start(first)
    wait_until("the first is ready", lambda: first.has(caughtUp=True))
    writer = Writer("tcp://127.0.0.1:5555")

    step([first], 2, [1], joining=[2, 3])
    for joiner in (second, third):
        joiner.settle(2, [1], joining=[2, 3])
        start(joiner)
        wait_until(f"server-{joiner.number} is in sync", lambda: joiner.has(inSync=True, standing="joining"))
    step([second, first, third], 3, [1, 2], joining=[3])
    step([third, first, second], 4, [1, 2, 3])
    # A moment in which every write needs two of three.
    time.sleep(1)
    assert writer.acknowledged[-1][1]["durable"]["of"] == 3
    writer.end()
    assert writer.refused == [], "a write was refused while the cluster grew"

    # Now the old server leaves; what it holds stays.
    step([first, second, third], 5, [2, 3], leaving=[1])
    wait_until("the members have all that the first has", lambda: first.has(standing="leaving", released=True))
    refusal = writer.client.ask("publish", user="alice", channel="geral", message="tarde")
    assert refusal["status"] == "erro" and refusal["code"] == "no_server", refusal
    first.stop()
    after = Client("tcp://127.0.0.2:5555")
    assert after.ask("publish", user="alice", channel="geral", message="depois")["durable"]["of"] == 2
    expected = [text for text, _ in writer.acknowledged] + ["depois"]

    def equal():
        exports = second.export(), third.export()
        found = texts(exports[0], "publications.jsonl")
        return found if exports[0] == exports[1] and found[-1:] == ["depois"] else None

    assert wait_until("both that stay show the same", equal) == expected
