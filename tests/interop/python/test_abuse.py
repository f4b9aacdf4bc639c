"""Peers that mean harm, at every socket of a cluster: while they do, and afterwards, honest ones are served as ever.

Each test is followed by the same checks, in `unharmed`: an honest client and an honest subscriber have gone on throughout, no process
died, the memory of none grew by more than MEMORY_BYTES at its highest, and the connections are as many as before.
"""

import hashlib
import resource
import struct
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgpack
import pytest

from clients import Client, Listener
from conftest import alive, wait_until
from honest import Honest, memory, sockets
from raw import COMMAND, MORE, Raw, command, frame, greeting, header, message, properties, ready

# Resident memory that one abuse may cost a process at its highest: two queues of one peer (`limits.queueBytes`, 16 MiB), and as much
# again that the allocator keeps. 2,000 connections with 32 KiB each come to the same.
MEMORY_BYTES = 64 << 20
# Sockets that honest clients may have opened or not yet closed when they are counted.
SOCKETS_SLACK = 4
FILES = 8192
TEBIBYTE = 1 << 40


class Target(NamedTuple):
    """A socket of the cluster: where, and which type of peer it takes."""

    port: int
    peer: bytes


TARGETS = {
    "broker, clients": Target(5555, b"DEALER"),
    "broker, workers": Target(5556, b"REP"),
    "proxy, publishers": Target(5557, b"PUB"),
    "proxy, subscribers": Target(5558, b"SUB"),
    "reference": Target(5559, b"REQ"),
    "server, clients": Target(5601, b"REQ"),
    "server, servers": Target(5701, b"DEALER"),
}
# Those that answer requests.
ANSWERING = {5555: b"DEALER", 5601: b"DEALER", 5559: b"DEALER"}


# --- What honest peers notice: nothing --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def files():
    """Room for thousands of connections, here and in the processes started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def honest(files, cluster):
    honest = Honest()
    honest.start()
    honest.go_round()
    yield honest
    honest.over.set()
    honest.join()
    assert honest.failure is None
    cluster.equal_exports()


@pytest.fixture(scope="module")
def processes(honest, cluster) -> dict[int, str]:
    """Whose sockets are abused: name by process id."""
    found = {}
    for name, target in TARGETS.items():
        found[cluster.pid_on(target.port)] = name.split(",")[0]
    return found


@pytest.fixture(autouse=True)
def unharmed(honest, processes):
    assert honest.failure is None, "a test before this one did harm"
    before = {pid: (memory(pid, "VmRSS"), len(sockets(pid))) for pid in processes}
    for pid in processes:
        # From here on, VmHWM is the highest since now.
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    yield
    honest.go_round()
    for pid, name in processes.items():
        resident, count = before[pid]
        assert alive(pid), f"{name} died"
        grown = memory(pid, "VmHWM") - resident
        assert grown <= MEMORY_BYTES, f"{name} grew by {grown / 2**20:.0f} MiB"
        wait_until(f"{name} has as many sockets as before, {count}", lambda: len(sockets(pid)) <= count + SOCKETS_SLACK, 20)


@pytest.fixture
def count(cluster):
    """A figure of the first broker or the first proxy: `count("broker", event)`."""

    def read(role: str, event: str) -> float:
        status, text = cluster.get(f"{role}-1", "/metrics")
        assert status == 200
        metric = f'papo_{role}_events_total{{event="{event}"}} '
        return next(float(line.removeprefix(metric)) for line in text.splitlines() if line.startswith(metric))

    return read


# --- Before the handshake is done -------------------------------------------------------------------------------------------

MALFORMED = {
    "another protocol": lambda peer: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a signature with a wrong end": lambda peer: b"\xff" + bytes(9) + greeting()[10:],
    "ZMTP 1.0": lambda peer: b"\x01\x00",
    "ZMTP 2.0": lambda peer: b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00",
    "PLAIN": lambda peer: greeting(mechanism=b"PLAIN") + command(b"HELLO", b"\x04user\x04pass"),
    "CURVE": lambda peer: greeting(mechanism=b"CURVE") + command(b"HELLO", bytes(194)),
    "a mechanism of garbage": lambda peer: greeting(mechanism=b"\xff" * 20),
    "a command of 1 TiB instead of READY": lambda peer: greeting() + header(TEBIBYTE, COMMAND) + bytes(1000),
    "a frame of 1 TiB instead of READY": lambda peer: greeting() + header(TEBIBYTE) + bytes(1000),
    "a message before READY": lambda peer: greeting() + message(b"", b"too early"),
    "PING before READY": lambda peer: greeting() + command(b"PING", b"\x00\x00"),
    "ERROR instead of READY": lambda peer: greeting() + command(b"ERROR", b"\x03why"),
    "garbage instead of READY": lambda peer: greeting() + b"\xa5" * 1000,
    "READY without a socket type": lambda peer: greeting() + command(b"READY"),
    "READY of a socket that has no business here": lambda peer: greeting() + ready(b"PAIR"),
    "READY of a socket that does not exist": lambda peer: greeting() + ready(b"WHATEVER"),
    "READY with more properties than anybody has": lambda peer: greeting() + ready(peer, *((b"X-%d" % number, b"") for number in range(200))),
    "READY longer than a command may be": lambda peer: greeting() + ready(peer, (b"X-Long", bytes(1 << 20))),
    "READY whose property claims 4 GiB": lambda peer: greeting() + command(b"READY", b"\x01X\xff\xff\xff\xff" + b"some"),
    "READY whose property name claims too much": lambda peer: greeting() + command(b"READY", b"\xffX"),
    "a command whose name claims too much": lambda peer: greeting() + frame(b"\xffREADY", COMMAND),
    "a command without a name": lambda peer: greeting() + frame(b"", COMMAND),
    "a command with MORE": lambda peer: greeting() + frame(b"\x05READY", COMMAND | MORE),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_handshake_that_is_none_is_closed_at_once(kind):
    with ExitStack() as stack:
        peers = {name: stack.enter_context(Raw(port, MALFORMED[kind](peer))) for name, (port, peer) in TARGETS.items()}
        for name, peer in peers.items():
            # Well before the time that a handshake may take is over.
            assert peer.is_closed(4), name


def test_who_does_not_finish_the_handshake_is_closed():
    """Silence, half a greeting, no READY, and a byte a second; all at once, since each takes its time."""
    with ExitStack() as stack:
        peers = []
        for name, (port, peer) in TARGETS.items():
            for said in (b"", greeting()[:32], greeting(), greeting() + ready(peer)[:10]):
                peers.append((f"{name} after {len(said)} bytes", stack.enter_context(Raw(port, said))))
        slow = [(name, stack.enter_context(Raw(target.port)), greeting()) for name, target in TARGETS.items()]
        for second in range(10):
            for name, peer, said in slow:
                peer.say(said[second : second + 1])
            time.sleep(1)
        for name, peer in peers + [(f"{name}, a byte a second", peer) for name, peer, _ in slow]:
            assert peer.is_closed(), name


# --- After the handshake ----------------------------------------------------------------------------------------------------

BROKEN = {
    "a frame of 1 TiB": header(TEBIBYTE) + bytes(1000),
    "a frame of 2^64 - 1 bytes": header((1 << 64) - 1) + bytes(1000),
    "a command of 1 TiB": header(TEBIBYTE, COMMAND) + bytes(1000),
    "a frame larger than any socket takes": header(64 << 20) + bytes(1000),
    "a last frame that makes the message too large": frame(b"", MORE) + header(64 << 20) + bytes(1000),
    "reserved flags": b"\xf8\x01x",
    "garbage": b"\xa5" * 1000,
    "a command with MORE": frame(b"\x04PING\x00\x00", COMMAND | MORE),
    "a command without a name": frame(b"", COMMAND),
    "a command whose name claims too much": frame(b"\xffPING", COMMAND),
    "PING that is cut short": command(b"PING", b"\x00"),
    "READY again": command(b"READY", properties((b"Socket-Type", b"DEALER"))),
    "ERROR": command(b"ERROR", b"\x03why"),
    "an endless message of empty frames": frame(b"", MORE) * 100_000,
    "an endless message of large frames": frame(bytes(60_000), MORE) * 500,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_breaks_the_protocol_after_the_handshake_is_closed(kind):
    with ExitStack() as stack:
        peers = {name: stack.enter_context(Raw.greeted(*target)) for name, target in TARGETS.items()}
        for name, peer in peers.items():
            peer.say_without_waiting(BROKEN[kind], 10)
        for name, peer in peers.items():
            assert peer.is_closed(), name


def test_resets_in_mid_frame_leave_nothing_behind():
    for _ in range(100):
        for port, kind in TARGETS.values():
            peer = Raw.greeted(port, kind)
            peer.say(frame(b"", MORE) + header(1 << 20) + bytes(5_000))
            peer.reset()


@pytest.mark.parametrize("port", ANSWERING)
def test_a_request_that_comes_a_byte_at_a_time_is_answered(port):
    with Raw.greeted(port, ANSWERING[port]) as peer:
        for byte in message(b"", msgpack.packb({"service": "list" if port == 5559 else "users", "data": {}})):
            peer.say(bytes([byte]))
            time.sleep(0.02)
        assert b"erro" not in peer.take_message()[-1]


# --- Too much of what is allowed --------------------------------------------------------------------------------------------


def test_a_hundred_thousand_subscriptions_end_their_own_connection():
    for form in (lambda topic: command(b"SUBSCRIBE", topic), lambda topic: frame(b"\x01" + topic)):
        with Raw.greeted(5558, b"SUB") as peer:
            for batch in range(100):
                if not peer.say(b"".join(form(b"topic-%d" % (batch * 1000 + number)) for number in range(1000))):
                    break
            assert peer.is_closed()


def test_the_same_subscription_a_hundred_thousand_times_is_one(honest):
    with Raw.greeted(5558, b"SUB") as peer:
        peer.say(command(b"SUBSCRIBE", b"honest") * 100_000)
        messages = [body for _, body in map(tuple, peer.messages_within(2))]
        assert messages and len(messages) == len(set(messages))


@pytest.mark.parametrize("port", [5555, 5556, 5558, 5559, 5601])
def test_each_ping_of_a_flood_is_answered(port):
    [kind] = [kind for at, kind in TARGETS.values() if at == port]
    with Raw.greeted(port, kind) as peer:
        for batch in range(20):
            peer.say(b"".join(command(b"PING", b"\x00\x00" + struct.pack(">Q", batch * 500 + number)) for number in range(500)))
            for number in range(500):
                assert next_pong(peer) == struct.pack(">Q", batch * 500 + number)


def next_pong(peer: Raw) -> bytes:
    while True:
        flags, body = peer.take_frame()
        # The far side beats its own heart meanwhile.
        if body.startswith(b"\x04PONG"):
            return body[5:]


@pytest.mark.parametrize("port", [5555, 5556, 5557, 5558, 5559, 5601])
def test_a_flood_of_pings_whose_answers_nobody_reads_fills_nothing(port):
    [kind] = [kind for at, kind in TARGETS.values() if at == port]
    with Raw.greeted(port, kind, receive_buffer=4096) as peer:
        peer.say_without_waiting(command(b"PING", b"\x00\x00" + bytes(16)) * 200_000, 2)


@pytest.mark.parametrize("port", [5555, 5558, 5601])
def test_two_thousand_connections_again_and_again(port):
    [kind] = [kind for at, kind in TARGETS.values() if at == port]
    for _ in range(3):
        peers = [Raw(port, greeting() + ready(kind)) for _ in range(2000)]
        # All of them are served, to the last.
        peers[-1].take(64)
        for peer in peers:
            peer.close()


def request(service: str, **data) -> bytes:
    return message(b"", msgpack.packb({"service": service, "data": data}))


@pytest.mark.parametrize("port", ANSWERING)
def test_who_asks_on_and_on_and_never_reads_is_closed(port):
    asked = request("list" if port == 5559 else "users")
    with Raw.greeted(port, ANSWERING[port], receive_buffer=4096) as peer:
        assert not peer.say_without_waiting(asked * 200_000, 20) or peer.is_closed()


@pytest.mark.parametrize("port", [5555, 5601])
def test_large_posts_on_and_on_that_cannot_be_decided_at_once_fill_nothing(port):
    """Each is refused only after the other servers were asked for the channel."""
    post = request("publish", user="honest-user", channel="nowhere", message="x" * 200_000)
    with Raw.greeted(port, ANSWERING[port], receive_buffer=4096) as peer:
        peer.say_without_waiting(post * 500, 4)


# --- Forgeries --------------------------------------------------------------------------------------------------------------

TOKENS = {"no token": (), "a wrong token": ((b"X-Papo-Token", b"0" * 32), (b"X-Papo-Role", b"server"))}


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("kind", [b"REP", b"DEALER"])
def test_a_forged_hello_of_a_worker_gets_no_requests(token, kind, honest, count):
    before = count("broker", "ignored_hellos")
    with Raw.greeted(5556, kind, *TOKENS[token]) as peer:
        peer.say(message(b"\x01H", b"server-9", struct.pack(">I", 4096)) + message(b"\x01B"))
        rounds = honest.rounds
        # A request would be a message; the broker's heartbeats are commands.
        assert peer.messages_within(1) == []
        assert honest.rounds > rounds
    wait_until("the forged hello is counted", lambda: count("broker", "ignored_hellos") > before)


def test_forged_answers_of_a_foreign_worker_reach_nobody(count):
    before = count("broker", "malformed_worker_messages")
    with Raw.greeted(5556, b"REP") as peer:
        for counter in range(2000):
            peer.say(message(bytes(8) + struct.pack(">Q", counter), b"", msgpack.packb({"data": {"status": "OK"}})))
            peer.say(message(b"\x01A", bytes(16), b"", b"forged"))
        wait_until("all are counted", lambda: count("broker", "malformed_worker_messages") >= before + 4000)


@pytest.mark.parametrize("token", TOKENS)
def test_a_forged_third_frame_is_taken_off_and_hides_no_publication(token, count):
    """Were its identity believed, the true publication would count as seen."""
    listener, client = Listener("forged"), Client()
    client.must("login", user="honest-user")
    channel = client.ask("channel", channel="forged")
    assert channel["success"] or channel["code"] == "name_taken"
    text, papo_id = f"true with {token}", bytes(16)
    identity = content_identity("publish", "honest-user", "forged", text, papo_id)
    before = count("proxy", "ignored_third_frames")
    with Raw.greeted(5557, b"PUB", *TOKENS[token]) as peer:
        peer.say(message(b"forged", msgpack.packb({"message": "forged"}), b"\x01\x01" + identity))
        peer.say(message(b"forged", msgpack.packb({"message": "forged"}), b"\x01\x02" + identity))
        wait_until("both are counted", lambda: count("proxy", "ignored_third_frames") >= before + 2)
        reply = client.must("publish", user="honest-user", channel="forged", message=text, papo_id=papo_id)
        assert reply["message_id"] == identity
    assert [body["message"] for _, body in listener.everything()] == ["forged", "forged", text]


def content_identity(*parts) -> bytes:
    """docs/wire.md, section 8."""
    whole = [b"content", *(part.encode() if isinstance(part, str) else part for part in parts)]
    return hashlib.sha256(b"".join(struct.pack(">Q", len(part)) + part for part in whole)).digest()[:16]


SERVER_NAMES = ("server-1", "server-2", "server-3")


@pytest.mark.parametrize("topic", [b"servers", b"replica", b"replication", b"replicate", b""])
def test_d04_a_foreign_publication_on_a_reserved_topic_reaches_nobody(topic):
    listener = Listener("", "servers", "replica", "replication", "replicate")
    with Raw.greeted(5557, b"PUB") as peer:
        for third in ((), (b"\x01\x01" + bytes(16),)):
            peer.say(message(topic, msgpack.packb({"service": "election", "data": {"coordinator": "evil"}}), *third))
        # Once this has come, the others would have.
        peer.say(message(listener.me.encode(), msgpack.packb({"message": "fence"})))
        topics = set()
        while (heard := listener.next())[1].get("message") != "fence":
            # On a busy machine there is an election, which is announced.
            if heard[1].get("coordinator") not in SERVER_NAMES:
                topics.add(heard[0])
    listener.close()
    # The empty subscription hears the honest ones, who go on.
    assert topics <= {"honest", listener.me}


@pytest.mark.parametrize("token", TOKENS)
def test_a_peer_of_servers_without_the_token_is_closed_before_it_is_heard(token):
    with Raw.greeted(5701, b"DEALER", *TOKENS[token]) as peer:
        hello = {"Hello": {"version": 1, "name": "server-2", "cluster_id": "default/papo", "boot": 1}}
        peer.say(message(b"\x01" + msgpack.packb(hello)))
        assert peer.is_closed()
        assert peer.heard == b""


def test_a_subscription_at_a_broker_is_passed_over():
    with Raw.greeted(5555, b"DEALER") as peer:
        peer.say(command(b"SUBSCRIBE", b"") + command(b"CANCEL", b"never") + command(b"SUBSCRIBE", b"x" * 1000))
        peer.say(request("users"))
        empty, reply = peer.take_message()
        assert empty == b"" and msgpack.unpackb(reply)["data"]["success"]


def test_a_subscriber_that_talks_is_passed_over(honest):
    """Messages up a SUB link, and the cancelling of what was never subscribed."""
    with Raw.greeted(5558, b"SUB") as peer:
        peer.say(b"".join(message(b"\x07up") + command(b"CANCEL", b"n%d" % number) for number in range(5000)))
        peer.say(command(b"SUBSCRIBE", b"honest"))
        assert peer.take_message()[0] == b"honest"
