"""Requests that are none, at every port: answered with an `erro` that says what is wrong, or closed; nobody else notices.

What comes beside those of test_refusals.py (36 kinds of requests) and test_abuse.py (38 kinds of broken ZMTP at seven sockets, floods and
forgeries). Throughout, an honest client and an honest subscriber go on; at the end no process has died, and none grew by more than
MEMORY_BYTES.
"""

import json
import random
import socket
import struct

import msgpack
import pytest
import zmq

from clients import Client, receive
from conftest import Cluster, alive, wait_until
from dialects import table
from honest import Honest, memory, sockets
from hostile_requests import ENVELOPES, MEANINGLESS, MEANINGLESS_TO_REF, UNREADABLE, pack
from raw import Raw, message
from test_refusals import CODES

MEMORY_BYTES = 64 << 20
# Where requests are answered, by port.
ANY = {"broker": 5555, "server": 5601, "ref": 5559, "ref-alias": 6000}
CHAT = {"broker": 5555, "server": 5601}
REF = {"ref": 5559, "ref-alias": 6000}
# More than this in one request ends the connection (docs/wire.md, section 10): nothing keeps it.
TAKEN_BYTES = {"broker": 2 << 20, "server": 2 << 20, "ref": 16 << 10, "ref-alias": 16 << 10}
# Beside those: workers, publishers, subscribers (two), peers.
OTHERS = (5556, 5557, 5558, 5560, 5701)
HTTP = 8081
# So long a connection may stay silent before the test says that it hangs.
PATIENCE_SECONDS = 15


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """With a subscribers' port for JSON, since what is hostile is rewritten there."""
    folder = tmp_path_factory.mktemp("hostile")
    manifest = folder / "chatcluster.yaml"
    spec = "broker: {replicas: 1}, proxy: {replicas: 1}, compat: {jsonPublications: alias}"
    manifest.write_text(f"apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata: {{name: papo}}\nspec: {{{spec}}}\n")
    cluster = Cluster(folder)
    cluster.start(manifest)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def honest(cluster):
    """Goes on from the first test to the last; then the processes are looked at."""
    honest = Honest(pause_seconds=0.05)
    honest.start()
    honest.go_round()
    ports = (*ANY.values(), *OTHERS)
    before = {pid: memory(pid, "VmRSS") for pid in {cluster.pid_on(port) for port in ports}}
    yield honest
    honest.go_round()
    honest.over.set()
    honest.join()
    assert honest.failure is None
    for pid, resident in before.items():
        assert alive(pid)
        assert memory(pid, "VmHWM") - resident <= MEMORY_BYTES
    cluster.equal_exports()


@pytest.fixture(autouse=True)
def unharmed(honest):
    assert honest.failure is None, "a test before this one did harm"
    yield
    assert honest.failure is None


# --- Requests that nobody can read ------------------------------------------------------------------------------------------


def refused(body: bytes, words: str | None) -> dict:
    """The `erro` of a reply, in whichever encoding."""
    reply = json.loads(body) if body.startswith(b"{") else msgpack.unpackb(body)
    data = reply["data"]
    assert data["status"] == reply["status"] == "erro" and data["success"] is False, reply
    assert data["code"] in CODES and len(data["description"]) > 10, reply
    assert b"OK" not in body and b"sucesso" not in body.lower()
    if words:
        assert words in data["description"], data["description"]
    return data


@pytest.mark.parametrize("port", ANY)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_is_refused_and_the_connection_lives(kind, port):
    body, words = UNREADABLE[kind]
    with Raw.greeted(ANY[port], b"DEALER") as peer:
        peer.say(message(b"", body))
        try:
            data = refused(peer.take_message()[-1], words)
        except (EOFError, ConnectionResetError):
            assert len(body) > TAKEN_BYTES[port], "only what no link takes ends it"
            return
        assert data["code"] in ("bad_request", "too_large", "unknown_service")
        peer.say(message(b"", pack(service="teleport")))
        assert refused(peer.take_message()[-1], "desconhecido")["code"] == "unknown_service"


# --- Requests that can be read, and mean nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("port", CHAT)
@pytest.mark.parametrize("kind", MEANINGLESS)
def test_meaningless_is_refused_with_the_field_that_is_wrong(kind, port):
    refuses(CHAT[port], *MEANINGLESS[kind])


def refuses(port: int, body: bytes, words: str | None) -> None:
    """And goes on to serve the same connection."""
    client = Client(f"tcp://127.0.0.1:{port}")
    refused(client.ask_raw(body), words)
    assert client.ask("clock")["success"] is True
    client.close()


@pytest.mark.parametrize("port", REF)
@pytest.mark.parametrize("kind", MEANINGLESS_TO_REF)
def test_meaningless_to_ref_is_refused(kind, port):
    refuses(REF[port], *MEANINGLESS_TO_REF[kind])


def test_what_is_odd_in_a_field_that_nobody_needs_is_passed_over():
    """An address that would break a terminal, ports that are none, an id that is none, limits that are none."""
    client = Client("tcp://127.0.0.1:5559")
    for addr, port in (("\x1b[2J", 65536), ("x" * 1000, -1), (b"\xff", "http"), ({}, [])):
        assert client.ask("rank", user="server-1", addr=addr, port=port)["rank"] == 1
    client.close()
    client = Client()
    for odd in ({}, [], -1, 1e300, float("nan"), b"\xff" * 1000, "x" * 1000, None, True):
        assert client.ask("history", channel="honest", limit=odd, papo_id=odd, id=odd, clock=odd, timestamp=odd)["success"] is True
        assert client.ask("sync", last_sync=odd)["success"] is True or odd in ([], {})
    client.close()


# --- Frames -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ANY)
@pytest.mark.parametrize("kind", ENVELOPES)
def test_an_odd_envelope_is_answered_once_or_passed_over_or_closed(kind, port):
    with Raw.greeted(ANY[port], b"DEALER") as peer:
        peer.say(message(*ENVELOPES[kind]) + message(b"", pack(service="after-it")))
        replies = []
        try:
            while not replies or replies[-1]["service"] != "after-it":
                replies.append(msgpack.unpackb(peer.take_message()[-1]))
        except (EOFError, ConnectionResetError):
            return
        assert len(replies) <= 2
        assert all("success" in reply for reply in replies)


# --- Mutations: generated from every golden request --------------------------------------------------------------------------


def mutations(seed: int, count: int) -> list[bytes]:
    """Golden requests of dialects.toml with bytes changed, cut, doubled, or put into one another."""
    chance = random.Random(seed)
    golden = [row.bytes("request") for name in ("asked", "ref") for row in table(name)]

    def mutate(body: bytes) -> bytes:
        at, to = sorted(chance.randrange(len(body) + 1) for _ in range(2))
        other = chance.choice(golden)
        return chance.choice(
            (
                lambda: body[:at],
                lambda: body[at:],
                lambda: body[:at] + body[to:],
                lambda: body[:to] + body[at:],
                lambda: body[:at] + chance.randbytes(to - at) + body[to:],
                lambda: body[:at] + bytes([chance.randrange(256)]) + body[at:],
                lambda: body[:at] + other + body[to:],
                lambda: bytes(byte ^ (1 << chance.randrange(8)) if chance.random() < 0.1 else byte for byte in body),
            )
        )()

    made = []
    for _ in range(count):
        body = chance.choice(golden)
        for _ in range(chance.randint(1, 3)):
            body = mutate(body)
        made.append(body)
    return made


@pytest.mark.parametrize("port", ANY)
def test_every_mutation_of_a_golden_request_is_answered_once_and_in_order(port):
    seed = 20261122
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(f"tcp://127.0.0.1:{ANY[port]}")
    made = mutations(seed, 400)
    for number, body in enumerate(made):
        dealer.send_multipart([b"", body])
        empty, reply = receive(dealer)
        assert empty == b"", f"seed {seed}, number {number}"
        answer = json.loads(reply) if reply.startswith(b"{") else msgpack.unpackb(reply)
        assert answer["success"] in (True, False), f"seed {seed}, number {number}: {body!r}"
        if not answer["success"]:
            refused(reply, None)
    dealer.close()


# --- Workers, publishers, subscribers, peers --------------------------------------------------------------------------------


KEY = bytes(16)
FROM_WORKERS = {
    "an answer to nothing": [KEY, b"", b"\x80"],
    "an answer without an envelope": [b"\x80"],
    "no frame at all": [b""],
    "a hundred frames": [b"x"] * 60,
    "a key that is too short": [b"\x01R", b"x", b"", b"\x80"],
    "a leaving": [b"\x01L"],
    "a kind that nobody knows": [b"\x01Z", KEY],
    "another version": [b"\x09H", b"server-1", struct.pack(">I", 1)],
    "a hello of a name that is none": [b"\x01H", b"\xff\xfe", struct.pack(">I", 1)],
    "an elsewhere for everything": [b"\x01E", KEY],
    "a reply of a megabyte to nobody": [KEY, b"", bytes(1 << 20)],
}


@pytest.mark.parametrize("kind", FROM_WORKERS)
def test_what_a_stranger_among_the_workers_says_changes_nothing(honest, kind):
    with Raw.greeted(5556, b"REP") as peer:
        for _ in range(50):
            if not peer.say(message(*FROM_WORKERS[kind])):
                break
        honest.go_round()


BODIES = {
    "nothing": b"",
    "a number": b"\x07",
    "text": b"oi",
    "a list": msgpack.packb(["oi", 1]),
    "a map cut short": msgpack.packb({"message": "oi"})[:-1],
    "maps a thousand deep": b"\x81\xa1x" * 1000,
    "a map that claims 4 billion entries": b"\xdf\xff\xff\xff\xff",
    "twenty thousand values": msgpack.packb({"x": list(range(20_000))}),
    "a map with keys of every type": b"\x83\x01\xa1a\xc3\xa1b\xcb" + bytes(8) + b"\xa1c",
    "a map with nil as key": b"\x81\xc0\xa1a",
    "text that is not UTF-8": msgpack.packb({"message": b"\xff\xfe"}),
    "no numbers": msgpack.packb({"a": float("nan"), "b": float("inf"), "c": -(2**63), "d": 2**64 - 1}),
    "extensions": msgpack.packb({"a": msgpack.ExtType(5, b"x"), "b": msgpack.Timestamp(0)}),
    "a key twice": b"\x82\xa1a\x01\xa1a\x02",
    "quotes, controls and a line separator": msgpack.packb({"message": '"\\\0\x1f\u2028</script>'}),
    "JSON": b'{"message": "oi"}',
    "JSON cut short": b'{"message": "oi',
    "a megabyte of controls": msgpack.packb({"message": "\x01" * 1_000_000}),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_foreign_body_reaches_each_subscriber_as_it_is_or_as_json(kind):
    body = BODIES[kind]
    with Raw.greeted(5557, b"PUB") as publisher, Raw.greeted(5558, b"SUB") as plain, Raw.greeted(5560, b"SUB") as in_json:
        for subscriber in (plain, in_json):
            subscriber.say(b"\x00\x09\x01hostile-")
        until_subscribed(publisher, plain, in_json)
        publisher.say(message(b"hostile-", body))
        assert next_but_fences(plain) == body
        heard = next_but_fences(in_json)
    if heard != body:
        strict = json.loads(heard, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        assert isinstance(strict, dict)
    else:
        assert not is_map(body) or body.startswith(b"{"), "a map of MessagePack becomes JSON"


FENCE = b"\x00fence"


def until_subscribed(publisher: Raw, *subscribers: Raw) -> None:
    for subscriber in subscribers:
        subscriber.socket.settimeout(0.1)

    def heard(subscriber: Raw) -> bool:
        publisher.say(message(b"hostile-", FENCE))
        try:
            return subscriber.take_message() == [b"hostile-", FENCE]
        except TimeoutError:
            return False

    for subscriber in subscribers:
        wait_until("the subscription is in force", lambda: heard(subscriber))
        subscriber.socket.settimeout(PATIENCE_SECONDS)


def next_but_fences(subscriber: Raw) -> bytes:
    while (body := subscriber.take_message()[1]) == FENCE:
        pass
    return body


def is_map(body: bytes) -> bool:
    """Within what a proxy reads, and without what JSON has no key for."""
    try:
        return isinstance(msgpack.unpackb(body, strict_map_key=False), dict) and b"\xc0\xa1" not in body and len(body) < 40_000
    except (ValueError, msgpack.UnpackException, RecursionError):
        return False


PUBLICATIONS = {
    "one frame": [b"honest"],
    "four frames": [b"honest", b"\x80", b"x", b"y"],
    "an empty topic": [b"", b"\x80"],
    "a topic of a megabyte": [bytes(1 << 20), b"\x80"],
    "a reserved topic": [b"replica", b"\x80"],
    "a third frame cut short": [b"hostile-", b"\x80", b"\x01C"],
}


@pytest.mark.parametrize("kind", PUBLICATIONS)
def test_an_odd_publication_reaches_nobody_or_who_named_its_topic(honest, kind):
    with Raw.greeted(5557, b"PUB") as publisher:
        for _ in range(20):
            publisher.say(message(*PUBLICATIONS[kind]))
        honest.go_round()


SUBSCRIPTIONS = {
    "a topic of a kilobyte": b"\x01" + bytes(1024),
    "a cancellation of nothing": b"\x00nothing",
    "nothing": b"",
    "a kind that is none": b"\x02honest",
    "a message": b"honest",
}


@pytest.mark.parametrize("port", (5558, 5560))
@pytest.mark.parametrize("kind", SUBSCRIPTIONS)
def test_an_odd_subscription_changes_nothing(port, kind):
    with Raw.greeted(port, b"SUB") as peer:
        peer.say(message(SUBSCRIPTIONS[kind]) * 10 + message(b"\x01honest"))
        assert peer.take_message()[0] == b"honest"


FROM_PEERS = {
    "nothing": b"",
    "another version": b"\x09\x80",
    "no MessagePack": b"\x01\xc1",
    "a kind that nobody knows": b"\x01" + msgpack.packb({"Surrender": {}}),
    "a list": b"\x01" + msgpack.packb(["Hello"]),
    "a hello cut short": b"\x01" + msgpack.packb({"Hello": {"version": 4}}),
    "vectors of four billion entries": b"\x01\x81\xa4Have\x82\xa4have\xdd\xff\xff\xff\xff",
    "operations that are none": b"\x01" + msgpack.packb({"Push": {"ops": [b"", b"\xff" * 100, bytes(1000)]}}),
    "an answer to nothing": b"\x01" + msgpack.packb({"Checked": {"hashes": {"have": 1, "shown": 2, "digest": 3}, "token": 7}}),
    "an adjustment of a year": b"\x01" + msgpack.packb({"Time": {"Adjust": {"epoch": {"number": 2**60, "boot": 1}, "token": 1, "by": 31_536_000_000_000, "error": 0}}}),
    "maps a thousand deep": b"\x01" + b"\x81\xa1x" * 1000,
}


@pytest.mark.parametrize("kind", FROM_PEERS)
def test_nonsense_of_a_peer_that_has_the_token_changes_nothing(cluster, honest, kind):
    token = (cluster.data / "cluster-token").read_bytes().strip()
    before = status(cluster)
    with Raw.greeted(5701, b"DEALER", (b"X-Papo-Token", token), (b"X-Papo-Role", b"server")) as peer:
        for _ in range(20):
            if not peer.say(message(FROM_PEERS[kind])):
                break
        honest.go_round()
    after = status(cluster)
    assert (after["epoch"], after["peers"]) == (before["epoch"], before["peers"])


def status(cluster) -> dict:
    return json.loads(cluster.get("server-1", "/status")[1])


# --- HTTP -------------------------------------------------------------------------------------------------------------------

HTTP_REQUESTS = {
    "no HTTP": b"\x00\x01\x02\x03\r\n\r\n",
    "ZMTP": b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48),
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(200),
    "HTTP/2 without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "HTTP/0.9": b"GET /status\r\n\r\n",
    "a path of 100 KB": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header of 1 MB": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "ten thousand headers": b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\n: x\r\n\r\n",
    "a line break in a header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    "two lengths": b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a negative length": b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a chunk that claims 2^64 bytes": b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "a method that nobody knows": b"BREW /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a file of the machine": b"GET /export/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a way out of the folder": b"GET /export/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "the server's own file": b"GET /export/papo.sqlite HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a broken escape in a path": b"GET /export/%zz%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "writing to what is read": b"DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}


def test_who_asks_nothing_over_http_is_closed_and_takes_no_place_from_the_others(cluster, honest):
    """More connections than a role takes at once, none of which ever ends its request; each is closed in time."""
    host, port = cluster.http()["broker"].split(":")
    said = (b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    peers = []
    try:
        for number in range(200):
            peers.append(socket.create_connection((host, int(port)), PATIENCE_SECONDS))
            peers[-1].sendall(said[number % len(said)])
        assert len(sockets(cluster.pid_on(5555))) < 170, "the rest waits to be accepted"
        honest.go_round()
        for number, peer in enumerate(peers):
            peer.settimeout(3 * PATIENCE_SECONDS)
            try:
                while peer.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass
            except TimeoutError:
                pytest.fail(f"number {number} is still open")
    finally:
        for peer in peers:
            peer.close()
    assert cluster.get("broker", "/livez")[0] == 200


@pytest.mark.parametrize("role", ("broker", "server-1"))
@pytest.mark.parametrize("kind", HTTP_REQUESTS)
def test_http_that_is_none_is_refused_or_closed(cluster, kind, role):
    host, port = cluster.http()[role].split(":")
    with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as peer:
        answer = b""
        try:
            peer.sendall(HTTP_REQUESTS[kind])
            peer.shutdown(socket.SHUT_WR)
            while more := peer.recv(1 << 16):
                answer += more
        except OSError:
            # It was closed before all of this was said.
            pass
    assert not answer or answer.split()[1][:1] in (b"4", b"5"), answer[:200]
    assert b"root:" not in answer and b"SQLite" not in answer
    assert cluster.get(role, "/livez")[0] == 200
