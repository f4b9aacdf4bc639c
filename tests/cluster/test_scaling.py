"""A cluster grows from one server to three and shrinks to two while a client without a timeout writes: nothing is refused or lost."""

import json
import threading

import msgpack
import pytest
import zmq

from conftest import wait_until

# Longer than a broker takes to answer anything.
PATIENCE_MS = 30_000
# Four memberships, each on its way through the kubelets, which may take a minute where they are not told.
CHANGE_SECONDS = 300


class Writer(threading.Thread):
    """One REQ that posts without a pause and never repeats anything."""

    def __init__(self, broker: str):
        super().__init__(daemon=True)
        context = zmq.Context()
        context.linger = 0
        self.socket = context.socket(zmq.REQ)
        self.socket.connect(f"tcp://{broker}:5555")
        self.acknowledged, self.refused, self.done = [], [], threading.Event()
        assert self.ask("login", user="ana")["status"] == "sucesso"
        assert self.ask("channel", channel="geral")["status"] == "sucesso"
        self.start()

    def ask(self, service: str, **data) -> dict:
        self.socket.send(msgpack.packb({"service": service, "data": data}))
        assert self.socket.poll(PATIENCE_MS), f"no answer to {service}"
        return msgpack.unpackb(self.socket.recv())["data"]

    def run(self) -> None:
        while not self.done.is_set():
            text = f"post {len(self.acknowledged) + len(self.refused)}"
            reply = self.ask("publish", user="ana", channel="geral", message=text)
            (self.acknowledged if reply["status"] == "OK" else self.refused).append((text, reply))

    def end(self) -> None:
        self.done.set()
        self.join(PATIENCE_MS / 1000)
        assert not self.is_alive(), "a request was not answered"


@pytest.fixture
def writer(chat):
    chat.apply(replicas=1, broker={"replicas": 1}, proxy={"replicas": 1})
    chat.wait_ready()
    writer = Writer(chat.service("papo-broker"))
    yield writer
    writer.done.set()


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
    change(chat, 3)
    # What was written before is on the new ones as well, and what is written now counts three disks.
    so_far = len(writer.acknowledged)
    wait_until("writes go on", lambda: len(writer.acknowledged) > so_far + 50)
    assert writer.acknowledged[-1][1]["durable"]["of"] == 3
    change(chat, 2)
    writer.end()
    assert writer.refused == [], "a write was refused while servers came or went"
    texts = [text for text, _ in writer.acknowledged]
    wait_until("both have everything, once and in order", lambda: export(chat, 1) == texts == export(chat, 2))
    assert chat.pods("ref")[0]["metadata"]["uid"] == ref, "ref was not restarted"
    assert chat.get("pod", "papo-server-1")["metadata"]["uid"] == first, "nor was the server that was there before"
