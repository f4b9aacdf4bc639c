"""Acceptance of part 6, line 2: servers come and go while people write. Nothing is refused or lost, and none goes that has what another
one lacks."""

import json
import subprocess
import sys
import time
from pathlib import Path

import audit
import pytest

from conftest import EXEC, wait_until
from rolling import Crowd, events, unharmed

WRITER = Path(__file__).parent / "writer.py"
# Four memberships, each on its way through the kubelets, which may take a minute where they are not told.
CHANGE_SECONDS = 300
# Longer than any answer takes.
END_SECONDS = 60
# How long a server that may not go is watched: several looks of the operator.
BLOCKED_SECONDS = 15
# Where servers speak with each other.
PEER_PORT = 5550


class Writer:
    """One client that posts without a pause; what it was answered is in a file."""

    def __init__(self, broker: str, folder: Path):
        self.replies, self.errors = folder / "replies", folder / "errors"
        with self.replies.open("w") as replies, self.errors.open("w") as errors:
            command = [EXEC, sys.executable, WRITER, broker]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=replies, stderr=errors)

    def lines(self) -> list[str]:
        assert self.process.poll() is None, self.errors.read_text()
        return self.replies.read_text().splitlines()

    def end(self) -> list[str]:
        self.process.stdin.close()
        status = self.process.wait(END_SECONDS)
        assert status == 0, self.errors.read_text()
        return self.replies.read_text().splitlines()


@pytest.fixture
def writer(chat, tmp_path):
    chat.apply(replicas=1, broker={"replicas": 1}, proxy={"replicas": 1})
    chat.wait_ready()
    writer = Writer(chat.service("papo-broker"), tmp_path)
    yield writer
    writer.process.kill()
    writer.process.wait(END_SECONDS)


def change(chat, servers: int) -> None:
    chat.patch(replicas=servers)

    def is_done():
        settled = chat.is_ready() and chat.condition("Progressing")["reason"] == "Complete"
        return settled and chat.status()["replicas"] == servers and len(chat.pods("server")) == servers

    try:
        wait_until(f"{servers} servers", is_done, CHANGE_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(chat.status(), indent=1)}\n{chat.kubectl('get', 'pods', '-o', 'wide')}") from None


def export(chat, number: int) -> list[str]:
    lines = chat.kubectl("exec", f"papo-server-{number}", "--", "/papo", "export", "--data", "/data", "publications.jsonl")
    return [json.loads(line)["message"] for line in lines.splitlines()]


def test_servers_come_and_go_while_a_client_writes(chat, writer):
    ref = chat.pods("ref")[0]["metadata"]["uid"]
    first = chat.get("pod", "papo-server-1")["metadata"]["uid"]
    wait_until("it writes", writer.lines)
    change(chat, 3)
    # What is written now counts three disks.
    wait_until("writes count three disks", lambda: writer.lines()[-1].endswith(" 3"))
    change(chat, 2)
    lines = writer.end()
    assert [line for line in lines if not line.startswith("OK ")] == [], "a write was refused while servers came or went"
    texts = [line.split()[1] for line in lines]
    wait_until("both have everything, once and in order", lambda: export(chat, 1) == texts == export(chat, 2))
    assert chat.pods("ref")[0]["metadata"]["uid"] == ref, "ref was not restarted"
    assert chat.get("pod", "papo-server-1")["metadata"]["uid"] == first, "nor was the server that was there before"


class CutOff:
    """Cuts a server off from its peers, both ways; everybody else still reaches it."""

    TABLE = "papo-test"

    def __init__(self, chat, number: int):
        self.kube, self.address = chat.kube, chat.get("pod", f"papo-server-{number}")["status"]["podIP"]

    def __enter__(self):
        both_ways = [f"ip {way} {self.address} tcp {port} {PEER_PORT} drop" for way in ("saddr", "daddr") for port in ("sport", "dport")]
        chain = ["type filter hook forward priority filter - 10; policy accept", *both_ways]
        self.kube.run("nft", "-f", "-", input="\n".join([f"table inet {self.TABLE} {{", "chain forward {", *chain, "}", "}", ""]))
        return self

    def __exit__(self, *_) -> None:
        self.kube.run("nft", "delete", "table", "inet", self.TABLE)


def states(chat) -> dict[str, str]:
    return {member["name"]: member["state"] for member in chat.status().get("members", [])}


@pytest.mark.timeout(900)
@pytest.mark.skipif(audit.own_state() is None, reason="links of another cluster are not ours to cut")
def test_no_server_goes_while_another_one_lacks_what_it_has(chat, tmp_path):
    chat.apply(replicas=3)
    chat.wait_ready()
    crowd = Crowd(chat, tmp_path)
    try:
        change(chat, 5)
        with CutOff(chat, 1):
            wait_until("its status says that it lags", lambda: states(chat)["server-1"] == "catchingUp")
            chat.patch(replicas=3)
            waiting = "server-5, which leaves, until every other server has all that it has"
            wait_until("it says why", lambda: waiting in chat.condition("Progressing").get("message", ""), CHANGE_SECONDS)
            until = time.monotonic() + BLOCKED_SECONDS
            while time.monotonic() < until:
                condition = chat.condition("Progressing")
                assert condition["reason"] == "ChangingServers" and waiting in condition["message"], condition
                assert len(chat.pods("server")) == 5, "a server went that has what another one lacks"
                time.sleep(1)
            assert "ChangingServers" in {event["reason"] for event in events(chat)}
        change(chat, 3)
        result = crowd.end()
        print(json.dumps(result))
        unharmed(result)
    finally:
        crowd.kill()
    wait_until("all have the same", lambda: export(chat, 1) == export(chat, 2) == export(chat, 3))
