"""What comes from elsewhere or was made up: a peer of another cluster, a forged cursor, an absurd clock, an id used again, an endless name.

Each gets a clear answer, each is counted, and nothing moves: `unmoved` compares what every server shows before and after.
"""

import hashlib
import json
import socket
import struct
import subprocess
import time
import uuid

import msgpack
import pytest

from clients import PATIENCE_SECONDS, Client, Listener, rep_of
from conftest import PAPO, SERVERS, wait_until
from raw import Raw, message

CHANNEL, ANA = "strange", "strange-ana"
# The wire's own bounds (docs/wire.md, sections 7 and 10).
CLOCK_MAX = 1 << 53
CLOCK_RAISE_PER_SECOND = 1_000_000
CURSOR_WAIT_SECONDS = 2.5


@pytest.fixture(scope="module")
def ana(cluster) -> Client:
    client = Client()
    client.must("login", user=ANA)
    client.must("channel", channel=CHANNEL)
    client.must("publish", user=ANA, channel=CHANNEL, message="before")
    cluster.equal_exports()
    return client


@pytest.fixture
def unmoved(ana, cluster):
    before = cluster.equal_exports()
    yield
    assert cluster.equal_exports() == before
    assert ana.must("publish", user=ANA, channel=CHANNEL, message=f"life goes on {uuid.uuid4()}")["durable"]["of"] == len(SERVERS)


class Count:
    """A figure of the servers, added up, and by how much it rose."""

    def __init__(self, cluster, metric: str):
        self.cluster, self.metric = cluster, metric
        self.before = self.now()

    def now(self) -> float:
        texts = [self.cluster.get(f"server-{number}", "/metrics")[1] for number in SERVERS]
        lines = [line.removeprefix(f"{self.metric} ") for text in texts for line in text.splitlines() if line.startswith(f"{self.metric} ")]
        return sum(map(float, lines))

    def rises(self, by: int = 1) -> None:
        """Servers take over their figures once a second."""
        wait_until(f"{self.metric} rises by {by}", lambda: self.now() >= self.before + by)


@pytest.fixture
def event(cluster):
    return lambda name: Count(cluster, f'papo_server_events_total{{event="{name}"}}')


@pytest.fixture
def refused(cluster):
    """Histories that were refused."""
    return Count(cluster, 'papo_server_requests_total{outcome="erro",service="history"}')


# --- Peers ------------------------------------------------------------------------------------------------------------------


def peer_message(kind: str, **fields) -> bytes:
    return message(b"\x01" + msgpack.packb({kind: fields}))


def hello(cluster_id: str, version: int = 2) -> bytes:
    nothing = {"have": [], "shown": [], "lamport": CLOCK_MAX - 1, "taken_at": None}
    return peer_message("Hello", version=version, name="server-2", cluster_id=cluster_id, boot=1, history=nothing)


def lies() -> bytes:
    """What a server would believe: that all is on disk and shown, and it may be asked for everything."""
    all_of_it = [["server-1", 7, 1 << 40]]
    pull = peer_message("Pull", have=[], shown=all_of_it, limit_bytes=1 << 20, token=1)
    return pull + peer_message("Have", have=all_of_it, shown=all_of_it) + peer_message("Push", ops=[b"\x01not an operation"])


def status(cluster, number: int) -> dict:
    return json.loads(cluster.get(f"server-{number}", "/status")[1])


def test_a_peer_with_a_wrong_token_is_closed_counted_and_not_heard(cluster, unmoved):
    closed = Count(cluster, 'papo_connections_ended_total{cause="closed_here",endpoint="peers"}')
    for token in (b"0" * 64, b"", b"0" * 200):
        with Raw.greeted(5701, b"DEALER", (b"X-Papo-Token", token), (b"X-Papo-Role", b"server")) as peer:
            peer.say(hello("default/papo") + lies())
            assert peer.is_closed() and peer.heard == b""
    closed.rises(3)
    assert "a peer without the cluster token" in (cluster.data / "logs" / "server-1.log").read_text()


@pytest.mark.parametrize("of", ["another cluster", "another version"])
def test_a_peer_is_told_nothing_counted_and_not_believed_if_it_is_of(cluster, unmoved, event, of):
    """With the right token: somebody copied it."""
    greeting = hello("default/another") if of == "another cluster" else hello("default/papo", version=0)
    token = (cluster.data / "cluster-token").read_bytes().strip()
    lamport, foreign = status(cluster, 1)["lamport"], event("peers_foreign")
    with Raw.greeted(5701, b"DEALER", (b"X-Papo-Token", token), (b"X-Papo-Role", b"server")) as peer:
        peer.say(greeting + lies())
        kinds = {kind for [body] in peer.messages_within(3) for kind in msgpack.unpackb(body[1:])}
        foreign.rises()
    # Its own name and cluster may be said, so that the other side can log what is wrong.
    assert kinds <= {"Hello"}
    assert status(cluster, 1)["lamport"] < lamport + CLOCK_RAISE_PER_SECOND
    assert status(cluster, 1)["peers"] == len(SERVERS) - 1
    assert "ignoring a peer of another cluster or version" in (cluster.data / "logs" / "server-1.log").read_text()


# --- Cursors ----------------------------------------------------------------------------------------------------------------


def scope_of(cluster_id: str, kind: str, name: str) -> bytes:
    parts = [part.encode() for part in ("cursor", cluster_id, kind, name)]
    return hashlib.sha256(b"".join(struct.pack(">Q", len(part)) + part for part in parts)).digest()[:16]


def forge(origin: bytes, boots: int, *counts: tuple[int, int], cluster_id: str = "default/papo", version: int = 1) -> bytes:
    entries = b"".join(struct.pack(">QQ", boot, count) for boot, count in counts)
    return bytes([version]) + scope_of(cluster_id, "channel", CHANNEL) + bytes([len(origin)]) + origin + struct.pack(">I", boots) + entries


FORGED = {
    "one byte": b"\x01",
    "text": b"my cursor",
    "only the scope of another channel": b"\x01" + bytes(16),
    "another version": forge(b"server-1", 1, (1, 1), version=9),
    "another cluster": forge(b"server-1", 1, (1, 1), cluster_id="default/another"),
    "a name that is none": forge(b"\xff\xfe", 1, (1, 1)),
    "an empty name": forge(b"", 1, (1, 1)),
    "four billion boots that are not there": forge(b"server-1", 0xFFFFFFFF, (1, 1)),
    "cut short": forge(b"server-1", 1, (1, 1))[:-3],
    "bytes behind it": forge(b"server-1", 1, (1, 1)) + b"\x05",
    "half a megabyte of zeros": bytes(1 << 19),
}


def test_a_forged_cursor_is_refused_for_good_and_counted(ana, unmoved, refused):
    clients = [ana, *(Client(rep_of(number)) for number in SERVERS)]
    for kind, cursor in FORGED.items():
        for client in clients:
            reply = client.ask("history", channel=CHANNEL, papo_cursor=cursor)
            assert (reply["status"], reply["code"], reply["retry"]) == ("erro", "cursor_invalid", False), (kind, reply)
    refused.rises(len(FORGED) * len(clients))
    in_json = Client(encoding="json").ask("history", channel=CHANNEL, papo_cursor="*** no base64 ***")
    assert (in_json["status"], in_json["code"]) == ("erro", "cursor_invalid"), in_json


def test_a_cursor_that_claims_what_nobody_ever_wrote_is_ahead_and_gives_nothing_away(ana, unmoved):
    for cursor in (forge(b"server-1", 1, (1, (1 << 64) - 1)), forge(b"server-99", 2, (1, 1), (2, 1 << 63))):
        for client in (ana, Client(rep_of(2))):
            began = time.monotonic()
            reply = client.ask("history", channel=CHANNEL, papo_cursor=cursor)
            assert (reply["status"], reply["code"], reply["retry"]) == ("erro", "cursor_ahead", True), reply
            assert time.monotonic() - began > CURSOR_WAIT_SECONDS - 0.5, "it was waited for"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def another_cluster(tmp_path):
    """One server, with the same names in it."""
    settings, port = tmp_path / "settings.yaml", free_port()
    settings.write_text("clusterId: tests/another\nmembers: [server-1]\nspec: {replicas: 1}\n")
    addresses = ("--listen", f"127.0.0.1:{port}", "--peer-listen", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{free_port()}")
    command = [PAPO, "server", "--name", "server-1", "--data", tmp_path / "data", "--settings", settings, *addresses]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        client = Client(f"tcp://127.0.0.1:{port}")
        client.must("login", user=ANA)
        client.must("channel", channel=CHANNEL)
        client.must("publish", user=ANA, channel=CHANNEL, message="elsewhere")
        yield client
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def test_a_true_cursor_of_another_cluster_is_refused_both_ways(ana, another_cluster, unmoved, refused):
    here, there = (client.ask("history", channel=CHANNEL)["papo_cursor"] for client in (ana, another_cluster))
    for client, cursor in ((ana, there), (another_cluster, here)):
        reply = client.ask("history", channel=CHANNEL, papo_cursor=cursor)
        assert (reply["status"], reply["code"], reply["retry"]) == ("erro", "cursor_invalid", False), reply
    refused.rises()


# --- Clocks -----------------------------------------------------------------------------------------------------------------

CLOCKS = {
    "above what every client can hold": (CLOCK_MAX + 1, True),
    "the largest of 64 bits": ((1 << 64) - 1, True),
    "a jump": (CLOCK_MAX - 1, True),
    "negative": (-(1 << 62), False),
    "a fraction": (1e300, False),
    "text": ("9" * 30, False),
    "a list": ([1], False),
}


def test_an_absurd_clock_is_ignored_counted_and_its_request_served(ana, cluster, unmoved, event):
    ignored, clients = event("clocks_ignored"), (ana, Client(rep_of(3)))
    lamport = max(status(cluster, number)["lamport"] for number in SERVERS)
    for kind, (clock, _) in CLOCKS.items():
        for client in clients:
            reply = client.ask("users", clock=clock)
            assert ANA in reply["users"], kind
            assert reply["clock"] < lamport + CLOCK_RAISE_PER_SECOND, f"{kind}: the clock was believed"
    ignored.rises(sum(counted for _, counted in CLOCKS.values()) * len(clients))
    assert max(status(cluster, number)["lamport"] for number in SERVERS) < lamport + CLOCK_RAISE_PER_SECOND


TIMESTAMPS = [-1, 0, 1 << 62, -(1 << 63), 1e300, "9999-99-99T99:99:99Z", "soon", [1]]


def test_an_absurd_timestamp_harms_nobody(ana, cluster):
    for timestamp in TIMESTAMPS:
        text = f"at {timestamp}"
        assert ana.must("publish", user=ANA, channel=CHANNEL, message=text, timestamp=timestamp)["message_id"]
        assert ana.ask("history", channel=CHANNEL, limit=1)["messages"][0]["message"] == text
        assert ana.ask("sync", last_sync=0)["success"]
    stored = [json.loads(line)["message"] for line in cluster.equal_exports()["publications.jsonl"].splitlines()]
    assert [stored.count(f"at {timestamp}") for timestamp in TIMESTAMPS] == [1] * len(TIMESTAMPS)


# --- Ids --------------------------------------------------------------------------------------------------------------------


def test_an_id_used_again_for_other_content_hides_nothing_and_the_same_content_is_one(ana, cluster):
    other_user, other_channel, papo_id = "strange-bia", "stranger", uuid.uuid4().bytes
    ana.must("login", user=other_user)
    ana.must("channel", channel=other_channel)
    cluster.equal_exports()
    listener = Listener(CHANNEL, other_channel, other_user)
    posts = [
        ("publish", {"user": ANA, "channel": CHANNEL, "message": "first"}),
        ("publish", {"user": ANA, "channel": CHANNEL, "message": "second"}),
        ("publish", {"user": other_user, "channel": CHANNEL, "message": "first"}),
        ("publish", {"user": ANA, "channel": other_channel, "message": "first"}),
        ("message", {"src": ANA, "dst": other_user, "message": "first"}),
    ]
    clients = [ana, *(Client(rep_of(number)) for number in SERVERS)]
    ids = [{client.must(service, **data, papo_id=papo_id)["message_id"] for client in clients} for service, data in posts]
    assert [len(of_post) for of_post in ids] == [1] * len(posts), "the same write again is the same"
    assert len(set.union(*ids)) == len(posts), "another write is another, whatever its id"
    exports = cluster.equal_exports()
    stored = [json.loads(line)["message_id"] for name in ("publications.jsonl", "messages.jsonl") for line in exports[name].splitlines()]
    heard = [body["message_id"].hex() for _, body in listener.everything()]
    for [message_id] in ids:
        assert stored.count(message_id.hex()) == 1
        assert heard.count(message_id.hex()) == 1


# --- Names ------------------------------------------------------------------------------------------------------------------

NAME = "n" * 10_000
NAMED = [
    ("login", {"user": NAME}),
    ("channel", {"channel": NAME}),
    ("publish", {"user": NAME, "channel": CHANNEL, "message": "x"}),
    ("publish", {"user": ANA, "channel": NAME, "message": "x"}),
    ("message", {"src": NAME, "dst": ANA, "message": "x"}),
    ("message", {"src": ANA, "dst": NAME, "message": "x"}),
    ("history", {"channel": NAME}),
    ("history", {"user": NAME}),
]


def test_a_name_of_ten_thousand_letters_is_refused_and_counted(ana, cluster, unmoved):
    counted = Count(cluster, 'papo_server_requests_total{outcome="erro",service="invalid"}')
    clients = (ana, Client(encoding="json"), Client(rep_of(1)))
    for service, data in NAMED:
        for client in clients:
            reply = client.ask(service, **data)
            assert (reply["status"], reply["code"], reply["retry"]) == ("erro", "bad_request", False), (service, reply)
            assert NAME not in repr(reply), "it is not repeated"
    counted.rises(len(NAMED) * len(clients))


def test_ref_gives_no_rank_to_a_name_of_ten_thousand_letters(cluster):
    reference = Client("tcp://127.0.0.1:5559")
    for service in ("rank", "heartbeat"):
        reply = reference.ask(service, user=NAME)
        assert reply["status"] == "erro" and NAME not in repr(reply), reply
    assert NAME not in repr(reference.ask("list"))
