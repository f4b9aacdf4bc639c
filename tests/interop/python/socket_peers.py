"""Pairs of programs that each play one ZeroMQ socket: one on papo's endpoints, one on another library.

The contract, the same in every language:

    socket_peer TYPE listen|connect HOST:PORT HEARTBEAT_MS

It says `ready` once it listens, or has begun to connect. REQ and DEALER ask, REP and ROUTER say back what they are asked, PUB
publishes under the topic `news`, SUB subscribes to it. On its stdin: `go COUNT BYTES` (ask so many questions, or publish so many
messages, of this size) and `probe` (publish the message `probe`). Message number 7 of 1000 is `7 1000 ` and then one letter up to
its size. Who has all answers, or heard all messages, in order and unchanged, says `ok COUNT`; who hears a probe says `probe`; who finds
anything else ends. Libraries that have heartbeats beat every HEARTBEAT_MS and give a peer up after five silent ones.

Ours, and libzmq where it stands in for ours, also say `up ...` and `down ...` of their links.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conftest import PAPO, kill, wait_until
from conversation import dependencies, java

HERE = Path(__file__).parent
# cargo puts examples beside the program.
EXAMPLES = Path(PAPO).parent / "examples"

# Longer than anything takes on a loaded machine: reached only by what hangs.
PATIENCE_SECONDS = 30
# How long an exclusion is given to prove wrong: ten times what reconnecting takes.
DOUBT_SECONDS = 8
# After which a connection counts as lost that has not come about.
FIRST_CONNECTION_SECONDS = 5
HEARTBEAT_MS = 400
# Five beats and a rest: past the heartbeat timeout of every library.
IDLE_SECONDS = 2.5

# From here on ports are tried; below what the kernel gives to those who connect, so that a port stays free while its owner restarts.
FIRST_PORT = 20_000
LAST_PORT = 30_000

ASKERS = ("REQ", "DEALER")
PUBLISHERS = ("PUB", "XPUB")


def example(name: str) -> list[str]:
    program = EXAMPLES / name
    assert program.exists(), f"{program} is missing: cargo build --package papo-zmtp --examples"
    return [str(program)]


@dataclass(frozen=True)
class Library:
    command: Callable[[], list[str]]
    # What it greets with.
    version: str


OURS = Library(lambda: example("socket_peer"), "3.1")
LIBZMQ = Library(lambda: [sys.executable, str(HERE / "socket_peer.py")], "3.1")
LIBRARIES = {
    "libzmq": LIBZMQ,
    "zeromq.js": Library(lambda: ["node", str(HERE.parent / "node" / "socket_peer.mjs")], "3.1"),
    "go-zeromq": Library(lambda: [str(Path(dependencies()["PAPO_GO"]) / "socket_peer")], "3.0"),
    "JeroMQ": Library(lambda: java("SocketPeer"), "3.0"),
    "zeromq_crate": Library(lambda: example("zeromq_crate_peer"), "3.0"),
}


class Wrong(AssertionError):
    """A program did not say what it should."""


class Program:
    """One process and what it says."""

    def __init__(self, command: list[str]):
        self.patience = PATIENCE_SECONDS
        self.lines: list[str] = []
        self.read = 0
        self.ended = False
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def find(self, start: str, seconds: float) -> int | None:
        """Where the next line is that starts so, if it comes in time."""
        deadline = time.monotonic() + seconds
        with self.news:
            while True:
                for at in range(self.read, len(self.lines)):
                    if self.lines[at].startswith(start):
                        return at
                if self.ended or not self.news.wait(deadline - time.monotonic()):
                    return None

    def hears(self, start: str, seconds: float) -> bool:
        """Whether such a line comes in time; it and what came before it are then passed over."""
        at = self.find(start, seconds)
        if at is not None:
            self.read = at + 1
        return at is not None

    def expect(self, start: str) -> None:
        if self.hears(start, self.patience):
            return
        end = f"ended with {self.process.wait()}" if self.ended else f"goes on after {self.patience} s"
        raise Wrong(f"no `{start}`: it {end}, and has said {self.lines[-30:]}")

    def tell(self, order: str) -> None:
        try:
            self.process.stdin.write(order + "\n")
        except OSError:
            pass  # It has ended; what is expected of it next says so.

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        kill(self.process.pid)
        self.process.wait()


@dataclass(frozen=True)
class Match:
    """Which sockets are to talk, and who of them listens."""

    foreign: str
    we_listen: bool
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.foreign}-we_{'listen' if self.we_listen else 'connect'}-their_{self.theirs}_our_{self.ours}"


class Pair:
    """Two programs that play a match."""

    def __init__(self, match: Match, in_our_place: Library = OURS):
        self.match = match
        self.in_our_place = in_our_place
        self.library = LIBRARIES[match.foreign]
        self.patience = PATIENCE_SECONDS
        self.port = free_port()
        self.ours: Program | None = None
        self.theirs: Program | None = None
        try:
            for start in (self.start_ours, self.start_theirs) if match.we_listen else (self.start_theirs, self.start_ours):
                start()
            self.until_linked()
        except BaseException:
            self.close()
            raise

    def start_ours(self) -> None:
        self.ours = self.start(self.in_our_place, self.match.ours, self.match.we_listen)

    def start_theirs(self) -> None:
        self.theirs = self.start(self.library, self.match.theirs, not self.match.we_listen)
        # In JeroMQ 0.6.0 the first connection of a socket can be lost for ever, whoever listens: its poller drops a channel that is
        # registered twice in one round. Such a program is started again.
        if self.match.foreign == "JeroMQ" and self.match.we_listen:
            for _ in range(5):
                if self.ours.find("up", FIRST_CONNECTION_SECONDS) is not None:
                    break
                self.theirs.kill()
                self.theirs = self.start(self.library, self.match.theirs, listens=False)

    def start(self, library: Library, kind: str, listens: bool) -> Program:
        verb = "listen" if listens else "connect"
        program = Program([*library.command(), kind, verb, f"127.0.0.1:{self.port}", str(HEARTBEAT_MS)])
        try:
            program.expect("ready")
        except BaseException:
            program.kill()
            raise
        return program

    def close(self) -> None:
        for program in (self.ours, self.theirs):
            if program:
                program.kill()

    def said(self) -> str:
        return f"ours: {self.ours.lines[-30:]}\ntheirs: {self.theirs.lines[-30:]}"

    def doubt(self) -> None:
        """From now on waits only as long as an exclusion is given to prove wrong."""
        self.patience = self.ours.patience = self.theirs.patience = DOUBT_SECONDS

    @property
    def active(self) -> Program:
        """Who asks or publishes."""
        return self.ours if self.match.ours in ASKERS + PUBLISHERS else self.theirs

    @property
    def passive(self) -> Program:
        return self.theirs if self.active is self.ours else self.ours

    @property
    def publishes(self) -> bool:
        return "PUB" in self.match.ours + self.match.theirs

    def until_linked(self) -> None:
        """After a start: until ours is up, and a subscription is in force."""
        if self.match.foreign == "go-zeromq" and self.match.theirs == "REQ":
            # It reads its connection only while it waits for an answer, and so connects again only when it asks again.
            self.exchange(1, 20)
        is_ours = self.in_our_place is OURS
        self.ours.expect(f"up {self.match.theirs} {self.library.version}" if is_ours else "up")
        if self.publishes:
            deadline = time.monotonic() + PATIENCE_SECONDS
            self.active.tell("probe")
            while not self.passive.hears("probe", 0.1):
                if time.monotonic() > deadline:
                    self.passive.expect("probe")
                self.active.tell("probe")

    def exchange(self, count: int, size: int) -> None:
        self.active.tell(f"go {count} {size}")
        (self.passive if self.publishes else self.active).expect(f"ok {count}")

    def links(self) -> set[tuple[int, int]]:
        """Both ends of every established connection at this pair's port, as (own port, other port)."""
        # Java opens sockets of IPv6 for addresses of IPv4 too.
        tables = [Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
        rows = [row.split() for table in tables for row in table]
        ends = {(port(row[1]), port(row[2])) for row in rows if row[3] == "01"}
        return {end for end in ends if self.port in end}


def port(address: str) -> int:
    return int(address.split(":")[1], 16)


tried = iter(range(FIRST_PORT, LAST_PORT))


def free_port() -> int:
    for number in tried:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
                return number
            except OSError:
                continue
    raise AssertionError("no free port")


# --- What a pair is put through. Each leaves the pair linked, or fails. ----------------------------------------------------------


def a_thousand_small(pair: Pair) -> None:
    pair.exchange(1000, 20)


def five_of_5_megabytes(pair: Pair) -> None:
    pair.exchange(5, 5_000_000)


def silence_with_heartbeats(pair: Pair) -> None:
    """Nobody gives up a peer that has nothing to say."""
    pair.exchange(10, 20)
    before = pair.links()
    time.sleep(IDLE_SECONDS)
    assert pair.links() == before and len(before) == 2, f"a silent link was replaced: {before}, then {pair.links()}"
    pair.exchange(10, 20)


def their_freeze(pair: Pair) -> None:
    """Ours gives up a peer whose process stands still, and takes it back when it moves."""
    # One that greeted ZMTP 3.0 (JeroMQ) is known to have heartbeats by its first PING.
    time.sleep(3 * HEARTBEAT_MS / 1000)
    pair.theirs.signal(signal.SIGSTOP)
    try:
        pair.ours.expect("down no heartbeat in time")
    finally:
        pair.theirs.signal(signal.SIGCONT)
    pair.until_linked()
    pair.exchange(10, 20)


def our_freeze(pair: Pair) -> None:
    """They give up ours, and take it back."""
    before = pair.links()
    assert len(before) == 2
    pair.ours.signal(signal.SIGSTOP)
    try:
        wait_until("they give up our frozen end", lambda: not before & pair.links(), pair.patience)
    finally:
        pair.ours.signal(signal.SIGCONT)
    pair.ours.expect("down")
    pair.until_linked()
    pair.exchange(10, 20)


def our_freeze_again_and_again(pair: Pair) -> None:
    """For a library that notices only some."""
    for _ in range(20):
        time.sleep(random.uniform(0, 3 * HEARTBEAT_MS / 1000))
        our_freeze(pair)


def their_restart(pair: Pair) -> None:
    pair.theirs.kill()
    pair.ours.expect("down")
    pair.start_theirs()
    pair.until_linked()
    pair.exchange(10, 20)


def our_restart(pair: Pair) -> None:
    pair.ours.kill()
    pair.start_ours()
    pair.until_linked()
    pair.exchange(10, 20)
