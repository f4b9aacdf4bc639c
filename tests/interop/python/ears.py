"""Where a process of papo's connects to, a test may listen, and read from ZMTP's handshake what socket came."""

import os
import re
import socket
import subprocess

import pytest

from conftest import PAPO, START_SECONDS
from raw import COMMAND, PATIENCE_SECONDS, Raw, greeting, ready


def kind_in(body: bytes) -> str:
    """The Socket-Type that a READY states."""
    return re.search(rb"Socket-Type\0\0\0.([A-Z]+)", body)[1].decode()


class Ear:
    """Listens for one connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(START_SECONDS)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def meet(self, ours: bytes, minor: int = 1) -> str:
        """Shakes hands as such a socket; the socket that it was with."""
        accepted, _ = self.listener.accept()
        accepted.settimeout(PATIENCE_SECONDS)
        self.peer = Raw.over(accepted)
        self.peer.say(greeting(minor=minor) + ready(ours))
        self.peer.take(64)
        return kind_in(self.peer.take_frame()[1])

    def subscriptions(self, *expected: tuple[bool, str]) -> None:
        """What a SUB asks for next, in any order: whether a topic is wanted, and the topic."""
        heard = set()
        while len(heard) < len(expected):
            flags, body = self.peer.take_frame()
            if flags & COMMAND and body.startswith((b"\x09SUBSCRIBE", b"\x06CANCEL")):
                heard.add((body.startswith(b"\x09"), body[1 + body[0] :].decode()))
            elif not flags & COMMAND:
                heard.add((body[0] == 1, body[1:].decode()))
        assert heard == set(expected)

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def ear():
    """Makes places to listen."""
    ears: list[Ear] = []

    def new() -> Ear:
        ears.append(Ear())
        return ears[-1]

    yield new
    for one in ears:
        one.close()


@pytest.fixture
def started(tmp_path):
    """Starts processes of papo's, which write to one log, and ends them."""
    processes = []

    def start(*command, **environment) -> subprocess.Popen:
        with (tmp_path / "processes.log").open("ab") as log:
            processes.append(
                subprocess.Popen([PAPO, *command], stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ | environment)
            )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
