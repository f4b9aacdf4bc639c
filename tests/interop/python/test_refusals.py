"""Whatever a client sends, it gets an `erro` with a code, and its connection lives."""

import json

import msgpack
import pytest

from clients import Client, rep_of

CODES = {
    "bad_request",
    "too_large",
    "unknown_service",
    "unknown_user",
    "unknown_channel",
    "name_taken",
    "reserved_name",
    "frozen_channel",
    "unknown",
    "no_server",
    "cursor_ahead",
    "cursor_invalid",
}


def request(service, **data) -> bytes:
    return msgpack.packb({"service": service, "data": data})


# What is wrong, the bytes, and the code to expect.
REFUSED = {
    "nothing at all": (b"", "bad_request"),
    "a byte that begins nothing": (b"\xc1", "bad_request"),
    "a map cut short": (request("login", user="x")[:-3], "bad_request"),
    "bytes after the end": (request("login", user="x") + b"\x00", "bad_request"),
    "a number": (msgpack.packb(7), "bad_request"),
    "a list": (msgpack.packb(["login"]), "bad_request"),
    "nil": (msgpack.packb(None), "bad_request"),
    "a list that claims 4 billion entries": (b"\xdd\xff\xff\xff\xff", "bad_request"),
    "a text that claims 4 GiB": (b"\x82\xa7service\xdb\xff\xff\xff\xff", "bad_request"),
    "a map that claims 4 billion entries": (b"\xdf\xff\xff\xff\xff", "bad_request"),
    "lists ten thousand deep": (b"\x91" * 10_000, "bad_request"),
    "JSON cut short": (b'{"service": "login", "da', "bad_request"),
    "JSON that is not UTF-8": (b'{"service": "\xff\xfe"}', "bad_request"),
    "JSON ten thousand deep": (b'{"data": ' + b"[" * 10_000, "bad_request"),
    "no service": (msgpack.packb({"data": {"user": "x"}}), "bad_request"),
    "a service that is a map": (msgpack.packb({"service": {}, "data": {}}), "bad_request"),
    "an unknown service": (request("teleport"), "unknown_service"),
    "an unknown service, in JSON": (b'{"service": "teleport", "data": {}}', "unknown_service"),
    "data that is a list": (msgpack.packb({"service": "login", "data": ["x"]}), "bad_request"),
    "a login without a user": (request("login"), "bad_request"),
    "a user that is empty": (request("login", user=""), "bad_request"),
    "a user that is a list": (request("login", user=["x"]), "bad_request"),
    "a user with a line break": (request("login", user="a\nb"), "bad_request"),
    "a user that is not UTF-8": (request("login", user=b"\xff\xfe"), "bad_request"),
    "a user of 10,000 letters": (request("login", user="x" * 10_000), "bad_request"),
    "a user named as a reserved topic": (request("login", user="servers"), "reserved_name"),
    "a channel named as a reserved topic": (request("channel", channel="replica"), "reserved_name"),
    "a channel named as a user": (request("channel", channel="somebody"), "name_taken"),
    "a post without a message": (request("publish", user="somebody", channel="x"), "bad_request"),
    "a post to an unknown channel": (request("publish", user="somebody", channel="nowhere", message="x"), "unknown_channel"),
    "a message to nobody": (request("message", src="somebody", dst="nobody", message="x"), "unknown_user"),
    "a post of 1 MiB": (request("publish", user="somebody", channel="x", message="x" * (1 << 20)), "too_large"),
    "another server's replication": (request("replicate", type="login", content={}), "unknown_service"),
}


@pytest.fixture
def somebody(cluster):
    client = Client()
    client.must("login", user="somebody")
    return client


def check(body: bytes, code: str, in_json: bool) -> None:
    reply = json.loads(body) if in_json else msgpack.unpackb(body)
    data = reply["data"]
    assert data["status"] == "erro" and data["code"] in CODES, data
    assert data["code"] == code, data
    # One client searches a reply for these words, wherever they stand.
    for word in ("ok", "sucesso"):
        assert word not in repr(reply).lower()
    assert data["description"] and data["message"] == data["description"]


@pytest.mark.parametrize("kind", REFUSED)
def test_c15_is_refused_with_a_code_and_the_connection_lives(somebody, kind):
    body, code = REFUSED[kind]
    check(somebody.ask_raw(body), code, body.startswith(b"{"))
    somebody.must("login", user="somebody")


@pytest.mark.parametrize("kind", ["nothing at all", "a map cut short", "lists ten thousand deep", "an unknown service"])
def test_a05_c15_a_server_asked_directly_refuses_alike(cluster, kind):
    client = Client(rep_of(2))
    body, code = REFUSED[kind]
    check(client.ask_raw(body), code, body.startswith(b"{"))
    client.must("login", user="somebody")


def test_a_post_of_nobody_on_a_connection_without_a_login_is_refused(somebody):
    client = Client()
    check(client.ask_raw(request("message", dst="somebody", message="x")), "bad_request", False)
    client.must("message", src="somebody", dst="somebody", message="x")


def test_a_request_in_two_frames_is_refused_and_the_connection_lives(somebody):
    check(somebody.ask_raw(request("login", user="x"), b"more"), "bad_request", False)
    somebody.must("login", user="somebody")
