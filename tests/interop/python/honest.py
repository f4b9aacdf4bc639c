"""What honest peers notice while others mean harm (nothing), and what it costs a process."""

import itertools
import os
import threading
import time
from pathlib import Path

from clients import Client, Listener, rep_of
from conftest import wait_until


class Honest(threading.Thread):
    """Goes round and round: posts through the broker, hears the post, asks a server and the reference service directly."""

    def __init__(self, pause_seconds: float = 0.005):
        super().__init__(daemon=True)
        self.pause_seconds = pause_seconds
        self.listener = Listener("honest")
        self.rounds = 0
        self.failure: str | None = None
        self.over = threading.Event()
        first = Client()
        first.must("login", user="honest-user")
        first.must("channel", channel="honest")
        first.close()

    def run(self) -> None:
        broker, server, reference = Client(), Client(rep_of(1)), Client("tcp://127.0.0.1:5559")
        try:
            for number in itertools.count():
                if self.over.is_set():
                    return
                # Sometimes as one who comes only now.
                if number % 5 == 4:
                    broker.close()
                    broker = Client()
                broker.must("publish", user="honest-user", channel="honest", message=f"round {number}")
                while (heard := self.listener.next())[0] == self.listener.me:
                    pass
                assert heard[1]["message"] == f"round {number}", heard
                assert "honest-user" in server.ask("users")["users"]
                assert "list" in reference.ask("list")
                self.rounds += 1
                time.sleep(self.pause_seconds)
        except Exception as error:
            self.failure = f"round {self.rounds}: {error!r}"

    def go_round(self) -> None:
        """A whole round, begun from now on."""
        before = self.rounds
        wait_until("an honest client is served", lambda: self.failure or self.rounds >= before + 2, 60)
        assert self.failure is None


def sockets(pid: int) -> set[str]:
    def target(link: Path) -> str:
        try:
            return os.readlink(link)
        except FileNotFoundError:
            # Closed since it was listed.
            return ""

    return {name for link in Path(f"/proc/{pid}/fd").iterdir() if (name := target(link)).startswith("socket:")}


def memory(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))
