"""A cluster grows from one server to three and shrinks to two while a client without a timeout writes: nothing is refused or lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import EXEC, wait_until

WRITER = Path(__file__).parent / "writer.py"
# Four memberships, each on its way through the kubelets, which may take a minute where they are not told.
CHANGE_SECONDS = 300
# Longer than any answer takes.
END_SECONDS = 60


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
