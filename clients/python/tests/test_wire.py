"""What is written and read, byte by byte, as docs/wire.md has it."""

import json
import random

import msgpack
import pytest

from papo_client import BadReply, Position
from papo_client.rotation import Rotation, address_of
from papo_client.clock import LamportClock
from papo_client.wire import Reply, read_publication, write_request

POSITION = {"lamport": 1, "server": "server-1", "boot": "d1002eb77affaefe", "seq": 1}
BODY = {"user": "ana", "message": "oi", "channel": "geral", "timestamp": 7, "clock": 3, "message_id": bytes(16), "position": POSITION}


def packed(value: object) -> bytes:
    body: bytes = msgpack.packb(value)
    return body


def test_a_request_is_service_and_data_with_clock_and_id() -> None:
    body = write_request("login", {"user": "alice"}, 1, bytes(range(16)))
    assert body.hex() == (
        "82a773657276696365a56c6f67696ea464617461" + "83a475736572a5616c696365" + "a5636c6f636b01" + "a77061706f5f6964c410" + bytes(range(16)).hex()
    )
    assert b"papo_id" not in write_request("users", {}, 2, None)


def test_an_acknowledgement_says_what_where_and_how_durable() -> None:
    data = {"status": "OK", "message_id": bytes(16), "position": POSITION, "durable": {"fsynced": 2, "of": 3}, "timestamp": 5, "clock": 2}
    acknowledged = Reply(packed({"data": data})).acknowledgement()
    assert acknowledged.position == Position(1, "server-1", "d1002eb77affaefe", 1)
    assert (acknowledged.durable.fsynced, acknowledged.durable.of) == (2, 3)


def test_a_publication_is_a_post_or_a_direct_message() -> None:
    post = read_publication(packed(BODY))
    assert (post.author, post.text, post.channel, post.to, post.timestamp) == ("ana", "oi", "geral", None, 7)
    direct = read_publication(packed({**BODY, "channel": None, "dst": "bento", "timestamp": "2026-01-01T00:00:00Z"}))
    assert (direct.channel, direct.to, direct.timestamp) == (None, "bento", "2026-01-01T00:00:00Z")


def test_b01_a_publication_in_json_is_the_same_message() -> None:
    identity = bytes(range(240, 256))
    in_json = {**BODY, "message": "olá", "message_id": "8PHy8_T19vf4-fr7_P3-_w"}
    assert read_publication(json.dumps(in_json).encode()) == read_publication(packed({**BODY, "message": "olá", "message_id": identity}))
    for bad in (b"{", b'{"a": \xff}', b"{}", json.dumps({**BODY, "message_id": "é"}).encode(), b'{"a":' * 100_000):
        with pytest.raises(BadReply):
            read_publication(bad)


@pytest.mark.parametrize(
    "change",
    [{"user": 7}, {"message": None}, {"channel": None}, {"dst": "b"}, {"timestamp": None}, {"message_id": b"short"}, {"position": 1}, {"clock": "1"}],
    ids=str,
)
def test_a_publication_that_lacks_something_is_told(change: dict[str, object]) -> None:
    with pytest.raises(BadReply):
        read_publication(packed({**BODY, **change}))


def test_no_bytes_of_a_peer_raise_anything_but_a_bad_reply() -> None:
    chance = random.Random(1)
    whole = packed({"data": {"messages": [BODY], "papo_cursor": b"c", "more": False}})
    for _ in range(3000):
        body = bytearray(whole if chance.random() < 0.8 else chance.randbytes(chance.randrange(60)))
        for _ in range(chance.randrange(4)):
            if body:
                body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            Reply(bytes(body)).page()
        except BadReply:
            pass
    for deep in (b"\x91" * 100_000, b"\x81\xa1a" * 100_000):
        with pytest.raises(BadReply):
            Reply(deep)


def test_an_address_that_fails_gives_way_to_the_next_and_pauses_grow_when_all_failed() -> None:
    rotation = Rotation(["a:1", "tcp://b:2"])
    pauses = []
    for expected in ["tcp://b:2", "tcp://a:1"] * 10:
        pauses.append(rotation.failed())
        assert rotation.current == expected
    assert pauses[0] < 0.1 and 1 <= pauses[-1] <= 3
    rotation.served()
    assert rotation.failed() < 0.1


@pytest.mark.parametrize("text", ["", "127.0.0.1", "host:", "host:0", "host:65536", "http://a:1 b"])
def test_what_is_no_address_is_told_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="127.0.0.1:5555"):
        address_of(text)


def test_e01_e03_the_clock_counts_sends_and_rises_above_what_it_receives() -> None:
    clock = LamportClock()
    assert clock.on_send() == 1
    for received in (3, -1, 1 << 60):
        clock.on_receive(received)
    assert clock.now == 4
