"""Every dialect of docs/wire.md through real sockets, byte by byte: what is sent and what comes back stand in dialects.toml."""

import json
import struct
import time
from datetime import datetime, timezone

import msgpack
import pytest
import zmq

from clients import BROKER, Client, receive
from conftest import Cluster, wait_until
from dialects import table

REF_PORTS = (5559, 6000)
CONCEDING_BROKER = "tcp://127.0.0.2:5555"
CONCEDING_REF = "tcp://127.0.0.4:6000"
# How far a time stamp of the server may be from this machine's calendar.
CLOCK_SECONDS = 300


def manifest(folder, spec: str):
    """One server, so that each write is on one disk of one."""
    path = folder / "chatcluster.yaml"
    one_each = "replicas: 1, broker: {replicas: 1}, proxy: {replicas: 1}"
    path.write_text(f"apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata: {{name: papo}}\nspec: {{{one_each}, {spec}}}\n")
    return path


def started(folder, spec: str, *options: str, broker: str = BROKER):
    cluster = Cluster(folder)
    cluster.start(manifest(folder, spec), *options)
    try:
        client = Client(broker)
        client.must("login", user="alice")
        client.must("channel", channel="geral")
        client.close()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """With the defaults, but for JSON at port 5560."""
    yield from started(tmp_path_factory.mktemp("dialects"), "compat: {jsonPublications: alias}")


def check(row, reply: bytes, field: str = "reply", in_json: bool | None = None):
    """The reply is the golden one."""
    in_json = row.json if in_json is None else in_json
    found = row.pattern(field, in_json).fullmatch(reply)
    assert found, reply
    for name, value in found.groupdict().items():
        if name in MOMENTS:
            assert abs(MOMENTS[name](value, in_json) - time.time()) < CLOCK_SECONDS, name


def whole(value: bytes, in_json: bool) -> int:
    return int(value) if in_json else int.from_bytes(value, "big")


def of_text(value: bytes, in_json: bool) -> float:
    return datetime.fromisoformat(value.decode().removesuffix("Z")).replace(tzinfo=timezone.utc).timestamp()


# What the names of times in dialects.toml mean, in seconds.
MOMENTS = {
    "seconds": whole,
    "millis": lambda value, in_json: whole(value, in_json) / 1000,
    "fraction": lambda value, in_json: float(value) if in_json else struct.unpack(">d", value)[0],
    "iso": of_text,
    "zulu": of_text,
}


@pytest.mark.parametrize("row", table("asked"), ids=str)
def test_requests_and_replies(chat, row):
    ask(row, BROKER)


@pytest.mark.parametrize("port", REF_PORTS)
@pytest.mark.parametrize("row", table("ref"), ids=str)
def test_requests_to_ref_and_replies(chat, row, port):
    ask(row, f"tcp://127.0.0.1:{port}")


def ask(row, address: str) -> None:
    client = Client(address)
    if login := row.fields.get("login"):
        client.must("login", user=login)
    for request in row.fields.get("before", []):
        assert json.loads(client.ask_raw(request.encode()))["success"]
    reply = client.ask_raw(row.bytes("request"))
    client.close()
    check(row, reply)
    if name := row.fields.get("lists"):
        data = (json.loads if row.json else msgpack.unpackb)(reply)["data"]
        assert any(name in value for value in data.values() if isinstance(value, list))


class Ears:
    """Two subscribers: one for MessagePack and one for JSON."""

    def __init__(self):
        self.sockets = [zmq.Context.instance().socket(zmq.SUB) for _ in range(2)]
        for socket, port in zip(self.sockets, (5558, 5560)):
            socket.linger = 0
            socket.connect(f"tcp://127.0.0.1:{port}")
            for topic in ("geral", "alice", "servers"):
                socket.subscribe(topic)
        client = Client()

        def subscribed():
            client.must("message", src="alice", dst="alice", message="ready?")
            return all(socket.poll(50) for socket in self.sockets)

        wait_until("both subscriptions are in force", subscribed)
        # What was said until then.
        client.must("message", src="alice", dst="alice", message="ready")
        for socket, read in zip(self.sockets, (msgpack.unpackb, json.loads)):
            while read(receive(socket)[1])["message"] != "ready":
                pass
        client.close()

    def hear(self, row, topic: str) -> None:
        """What comes next is this row's, in both encodings."""
        for socket, field in zip(self.sockets, ("publication", "in_json")):
            named, body = receive(socket)
            assert named.decode() == topic
            check(row, body, field, in_json=field == "in_json")


@pytest.fixture(scope="module")
def ears(chat):
    ears = Ears()
    yield ears
    for socket in ears.sockets:
        socket.close()


@pytest.mark.parametrize("row", table("heard"), ids=str)
def test_publications_in_both_encodings(ears, row):
    client = Client()
    assert json.loads(client.ask_raw(row.fields["request"].encode()))["success"]
    client.close()
    ears.hear(row, row.fields["topic"])


def test_d03_the_announcement_of_a_coordinator_in_both_encodings(chat, ears):
    [row] = table("announced")
    # Killed, it is started again, and leads anew.
    chat.kill_server(1)
    ears.hear(row, "servers")


@pytest.fixture(scope="module")
def conceding(tmp_path_factory):
    """Beside `chat`: on addresses of its own."""
    spec = "loginPolicy: unique, compat: {publishOk: sucesso, listAsMap: true}"
    yield from started(tmp_path_factory.mktemp("compat"), spec, "--per-address", broker=CONCEDING_BROKER)


@pytest.mark.parametrize("row", table("compat"), ids=str)
def test_concessions(conceding, row):
    ask(row, CONCEDING_REF if row.fields.get("ref") else CONCEDING_BROKER)
