"""Ordinary ZeroMQ clients for the tests: libzmq through pyzmq, MessagePack or JSON, and nothing of papo's own code."""

import itertools
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import msgpack
import zmq

BROKER = "tcp://127.0.0.1:5555"
PROXY = "tcp://127.0.0.1:5558"

# Longer than any answer may take (the broker gives up after 10 s), so that a hang is a failure and not a wait.
PATIENCE_SECONDS = 20


def rep_of(number: int) -> str:
    """The REP that server-`number` offers to clients itself (row A05)."""
    return f"tcp://127.0.0.1:{5600 + number}"


def chat_in_a_dozen_lines() -> None:
    """The shortest client there is, a program of its own, at the usual broker and proxy."""
    script = Path(__file__).parent / "dozen_lines.py"
    done = subprocess.run([sys.executable, script, BROKER, PROXY], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "sucesso sucesso",
        "['geral'] ['alice'] sucesso",
        "OK geral alice oi",
        "OK geral alice oi alice bob tudo bem?",
    ], done.stderr


class Silence(AssertionError):
    """Nothing came where something was promised."""


def receive(socket: zmq.Socket, seconds: float = PATIENCE_SECONDS) -> list[bytes]:
    if not socket.poll(seconds * 1000):
        raise Silence(f"nothing came within {seconds} s")
    return socket.recv_multipart()


class Client:
    """A REQ that keeps its socket: an answer that does not come is a failed test."""

    def __init__(self, address: str = BROKER, encoding: str = "msgpack"):
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.connect(address)
        self.encoding = encoding

    def ask_raw(self, *frames: bytes) -> bytes:
        self.send_raw(*frames)
        return self.answer_raw()

    def send_raw(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def answer_raw(self) -> bytes:
        frames = receive(self.socket)
        assert len(frames) == 1, f"a reply has one frame, not {len(frames)}"
        return frames[0]

    def send(self, service: str, **data) -> None:
        self.send_raw(self.pack({"service": service, "data": {"timestamp": int(time.time()), **data}}))

    def answer(self) -> dict:
        return self.unpack(self.answer_raw())

    def ask_whole(self, service: str, **data) -> dict:
        """The reply's envelope."""
        self.send(service, **data)
        return self.answer()

    def ask(self, service: str, **data) -> dict:
        """The reply's `data`."""
        return self.ask_whole(service, **data)["data"]

    def must(self, service: str, **data) -> dict:
        """The reply's `data`; a refusal fails the test."""
        reply = self.ask(service, **data)
        assert reply.get("status") in ("OK", "sucesso"), f"{service} {data}: {reply}"
        return reply

    def pack(self, value) -> bytes:
        return json.dumps(value).encode() if self.encoding == "json" else msgpack.packb(value)

    def unpack(self, body: bytes):
        return json.loads(body) if self.encoding == "json" else msgpack.unpackb(body)

    def close(self) -> None:
        self.socket.close()


class Listener:
    """A SUB whose subscriptions are known to be in force, and that can tell when everything sent so far has come.

    Both by direct messages to a user of its own: subscriptions travel in order, and so does what one server publishes.
    """

    def __init__(self, *topics: str, address: str = PROXY):
        self.me = f"listener-{uuid.uuid4().hex[:8]}"
        self.numbers = itertools.count()
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.rcvhwm = 0
        self.socket.connect(address)
        for topic in (*topics, self.me):
            self.socket.subscribe(topic)
        self.heard: list[tuple[str, dict]] = []
        asker = Client()
        asker.must("login", user=self.me)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.socket.poll(200):
            assert time.monotonic() < deadline, "a subscription never came into force"
            asker.must("message", src=self.me, dst=self.me, message=f"ready {next(self.numbers)}")
        asker.close()

    def everything(self, servers=(1, 2, 3)) -> list[tuple[str, dict]]:
        """All that came, up to what each of these servers had published before this call."""
        fences = {f"fence {number} {next(self.numbers)}": number for number in servers}
        for fence, number in fences.items():
            self.send_fence(number, fence)
        while fences:
            topic, body = self.next()
            if topic != self.me:
                self.heard.append((topic, body))
            else:
                fences.pop(body["message"], None)
        return self.heard

    def send_fence(self, number: int, text: str) -> None:
        asker = Client(rep_of(number))
        deadline = time.monotonic() + PATIENCE_SECONDS
        # A server that has not heard of the listener yet refuses, and may be asked again.
        while asker.ask("message", src=self.me, dst=self.me, message=text)["status"] != "OK":
            assert time.monotonic() < deadline, f"server-{number} never learnt of {self.me}"
            time.sleep(0.1)
        asker.close()

    def next(self) -> tuple[str, dict]:
        frames = receive(self.socket)
        assert len(frames) == 2, f"a publication has two frames, not {len(frames)}"
        return frames[0].decode(), msgpack.unpackb(frames[1])

    def close(self) -> None:
        self.socket.close()
