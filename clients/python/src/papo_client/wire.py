"""What travels (docs/wire.md): requests are written, replies and publications read. Knows no sockets and no time."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from papo_client.errors import BadReply


class Position(NamedTuple):
    """The place in the total order in which all servers keep all messages; positions compare in that order."""

    lamport: int
    server: str
    boot: str
    seq: int


class Durable(NamedTuple):
    """On how many members' disks a write was known to be when it was answered."""

    fsynced: int
    of: int


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A write that is stored as `durability` of the cluster promises. Every repetition of the same write has the same `message_id`."""

    message_id: bytes
    position: Position
    durable: Durable
    timestamp: int


@dataclass(frozen=True, slots=True)
class Message:
    """A post to a channel, or a direct message: then `to` is its recipient and `channel` is None."""

    message_id: bytes
    author: str
    text: str
    channel: str | None
    to: str | None
    timestamp: int | float | str
    clock: int
    position: Position


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages of a history, oldest first. `cursor` stands after them, and `more` says whether others follow already."""

    messages: list[Message]
    cursor: bytes
    more: bool


def write_request(service: str, fields: Mapping[str, object], clock: int, request_id: bytes | None) -> bytes:
    """Without a timestamp: then a post bears the time on which the servers agree."""
    data = {**fields, "clock": clock} | ({"papo_id": request_id} if request_id else {})
    packed: bytes = msgpack.packb({"service": service, "data": data})
    return packed


class Reply:
    """A reply's `data`, read as it is asked for. What is missing or of another type makes it a `BadReply`."""

    def __init__(self, body: bytes) -> None:
        self._data = _map(_map(_unpack(body)).get("data"))

    @property
    def clock(self) -> int:
        clock = self._data.get("clock")
        return clock if isinstance(clock, int) else 0

    @property
    def is_refusal(self) -> bool:
        return self._data.get("status") == "erro"

    @property
    def code(self) -> str:
        return _text(self._data.get("code", "unknown_service"))

    @property
    def retry(self) -> bool:
        return self._data.get("retry") is True

    @property
    def description(self) -> str:
        return _text(self._data.get("description", ""))

    def names(self, key: str) -> list[str]:
        return [_text(name) for name in _list(self._data.get(key))]

    def acknowledgement(self) -> Acknowledgement:
        durable = _map(self._data.get("durable"))
        return Acknowledgement(
            message_id=_identity(self._data.get("message_id")),
            position=_position(self._data.get("position")),
            durable=Durable(_int(durable.get("fsynced")), _int(durable.get("of"))),
            timestamp=_int(self._data.get("timestamp")),
        )

    def page(self) -> Page:
        cursor = self._data.get("papo_cursor")
        if not isinstance(cursor, bytes):
            raise BadReply("a history without a cursor: no papo, or thousands of starts of servers wrote in it")
        return Page([read_message(entry) for entry in _list(self._data.get("messages"))], cursor, self._data.get("more") is True)


def read_publication(body: bytes) -> Message:
    """The second frame of a publication: MessagePack, or JSON where the cluster's `compat.jsonPublications` says so."""
    return read_message(_read_json(body) if body.startswith(b"{") else _unpack(body))


def read_message(entry: object) -> Message:
    """A publication's body, or an entry of a history."""
    fields = _map(entry)
    channel, to, timestamp = fields.get("channel"), fields.get("dst"), fields.get("timestamp")
    if (channel is None) == (to is None):
        raise BadReply("a message that names not one of channel and recipient")
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float, str)):
        raise BadReply(f"a message's timestamp is {timestamp!r}")
    return Message(
        message_id=_identity(fields.get("message_id")),
        author=_text(fields.get("user")),
        text=_text(fields.get("message")),
        channel=None if channel is None else _text(channel),
        to=None if to is None else _text(to),
        timestamp=timestamp,
        clock=_int(fields.get("clock")),
        position=_position(fields.get("position")),
    )


def _unpack(body: bytes) -> object:
    try:
        unpacked: object = msgpack.unpackb(body, strict_map_key=False)
    except Exception as error:  # MessagePack raises ValueError and its own; a peer's bytes must not raise others.
        raise BadReply(f"no MessagePack: {error}") from error
    return unpacked


def _read_json(body: bytes) -> object:
    """With the identity as bytes, as MessagePack has it."""
    try:
        fields = _map(json.loads(body))
        return {**fields, "message_id": base64.urlsafe_b64decode(_text(fields.get("message_id")) + "==")}
    except (ValueError, RecursionError) as error:
        raise BadReply(f"no JSON of a publication: {error}") from error


def _map(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadReply(f"a map is missing where {_shortened(value)} stands")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadReply(f"a list is missing where {_shortened(value)} stands")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadReply(f"a text is missing where {_shortened(value)} stands")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise BadReply(f"a whole number is missing where {_shortened(value)} stands")
    return value


def _identity(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != 16:
        raise BadReply(f"an identity of 16 bytes is missing where {_shortened(value)} stands")
    return value


def _position(value: object) -> Position:
    fields = _map(value)
    return Position(_int(fields.get("lamport")), _text(fields.get("server")), _text(fields.get("boot")), _int(fields.get("seq")))


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
