"""Hears what passes the router between the hosts, and names each message: ZMTP's own, papo's by their protocol, and others by port.

Messages are small and TCP loses nothing here, so that a segment begins where a message does; what does not is counted as `unread`.
"""

import socket
import struct
import threading
from collections import Counter

import msgpack

from apart import HTTP, PEERS, PUBLISHERS, REFERENCE, REQUESTS, SUBSCRIPTIONS, WORKERS

ALL_PROTOCOLS = 3
FRAME_BYTES_MAX = 65536
GREETING_BYTES = 64
IPV4, TCP, ETHERNET_BYTES = 0x0800, 6, 14
MORE, LONG, COMMAND = 1, 2, 4
LINKS = {
    REQUESTS: "clients",
    WORKERS: "broker-server",
    PUBLISHERS: "server-proxy",
    SUBSCRIPTIONS: "subscribers",
    REFERENCE: "server-ref",
    PEERS: "server-server",
}
# papo_protocol::worker_link.
WORKER_KINDS = {"R": "request", "H": "hello", "B": "beat", "A": "answer", "E": "elsewhere", "U": "unknown", "L": "leaving"}


def frames(payload: bytes):
    """(flags, body) of each ZMTP frame; raises ValueError where it does not fit."""
    while payload:
        if payload[0] & LONG:
            (length,) = struct.unpack_from(">Q", payload, 1)
            start = 9
        else:
            length, start = payload[1], 2
        if payload[0] & ~(MORE | LONG | COMMAND) or start + length > len(payload):
            raise ValueError
        yield payload[0], payload[start : start + length]
        payload = payload[start + length :]


def variant(value) -> str:
    """The names of a Rust enum's variants, from the outermost to the innermost."""
    if isinstance(value, dict) and len(value) == 1:
        [(name, inner)] = value.items()
        if isinstance(name, str) and name[:1].isupper():
            return f"{name} {variant(inner)}".strip()
    return ""


def named(link: str, parts: list[bytes]) -> str:
    """What a whole message is."""
    last = parts[-1]
    match link:
        case "server-server":
            return variant(msgpack.unpackb(last[1:], strict_map_key=False)) or "peers"
        case "broker-server":
            return WORKER_KINDS.get(chr(parts[0][1]), "?") if len(parts[0]) == 2 else "?"
        case "server-ref":
            body = msgpack.unpackb(last)
            return str(body.get("service", "?"))
        case _:
            return "message"


class Wiretap(threading.Thread):
    """Counts until it is told to end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.bytes = 0
        self.ending = threading.Event()
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self.socket.settimeout(0.2)

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                packet, (_, protocol, kind, *_) = self.socket.recvfrom(FRAME_BYTES_MAX)
            except TimeoutError:
                continue
            # Each packet comes by one cable and leaves by another.
            if protocol == IPV4 and kind == socket.PACKET_OUTGOING:
                self.hear(packet[ETHERNET_BYTES:])

    def hear(self, packet: bytes) -> None:
        header = 4 * (packet[0] & 15)
        if packet[9] != TCP:
            return
        (total,) = struct.unpack_from(">H", packet, 2)
        source, target = struct.unpack_from(">HH", packet, header)
        offset = 4 * (packet[header + 12] >> 4)
        payload = packet[header + offset : total]
        port = next((port for port in (source, target) if port in LINKS), None)
        if not payload or HTTP in (source, target) or port is None:
            return
        self.bytes += len(payload)
        try:
            self.count(LINKS[port], payload)
        except (ValueError, IndexError, struct.error, msgpack.UnpackException):
            self.counts[LINKS[port], "unread"] += 1

    def count(self, link: str, payload: bytes) -> None:
        parts = []
        for flags, body in frames(payload):
            if flags & COMMAND:
                name = body[1 : 1 + body[0]].decode("ascii")
                self.counts[link, name] += 1
                continue
            parts.append(body)
            if not flags & MORE:
                self.counts[link, named(link, parts)] += 1
                parts = []
        if parts:
            raise ValueError

    def end(self) -> Counter:
        self.ending.set()
        self.join()
        return self.counts
