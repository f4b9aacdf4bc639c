"""Clients that ask as fast as they are answered, and look at every answer: libzmq through pyzmq, some sockets to a process.

A client has one request open at a time. Half of them are REQ; the others are DEALER and speak as a REQ does, since libzmq's REQ would
swallow a second answer to the same request, which is what must not happen.
"""

import hashlib
import itertools
import multiprocessing
import random
import struct
import time
from dataclasses import dataclass, field

import msgpack
import zmq

CHANNELS = [f"channel-{number}" for number in range(8)]
# The broker answers within ten seconds whatever happens. Longer than that is a hang.
PATIENCE_SECONDS = 20
# A client that repeats asks another broker after so long; and after so long when it was asked to.
REPEAT_SECONDS = 2
ASKED_TO_REPEAT_SECONDS = 0.3
# What is asked, and how often: half writes, as a lively chat that is read too. New channels are few, for each makes every list longer.
MIX = {"publish": 35, "message": 20, "history": 20, "users": 6, "channels": 6, "login": 8, "channel": 0.3, "ping": 4.7}
HISTORY_ENTRIES = 10
SLOWEST = 5
# After the last answers, until a process has handed over what it saw.
RESULTS_SECONDS = 300
PROCESSES = 4


def user(number: int) -> str:
    return f"user-{number:03}"


def is_user(name: str) -> bool:
    """Not one of the subscribers, which are users too."""
    return name.startswith("user-")


def identity(service: str, author: str, target: str, text: str, papo_id: bytes) -> bytes:
    """The `message_id` of a write that carries a `papo_id` (docs/wire.md, section 8)."""
    parts = [b"content", service.encode(), author.encode(), target.encode(), text.encode(), papo_id]
    return hashlib.sha256(b"".join(struct.pack(">Q", len(part)) + part for part in parts)).digest()[:16]


@dataclass(frozen=True)
class Clients:
    """Who asks, and whom."""

    count: int
    # Those that repeat what has no answer, each time to the next broker.
    repeating: frozenset[int]
    users: list[str]
    brokers: list[str]
    # For those that do not repeat.
    steady_brokers: list[str]
    seed: int
    # Whether servers may say for a while that a request has to be repeated: too few of them see each other.
    may_be_put_off: bool = False


@dataclass
class Asked:
    """A request without an answer."""

    service: str
    data: dict
    body: bytes
    at: float
    clock: int
    deadline: float | None


@dataclass
class Outcome:
    """What the clients of one process saw."""

    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MIX, 0))
    # Each post by its text, which is unique: service, target, and its identity once it is acknowledged.
    posts: dict[str, tuple[str, str, bytes | None]] = field(default_factory=dict)
    # Channels made in passing, and acknowledged.
    channels: set[str] = field(default_factory=set)
    # What was wrong, and when that was asked.
    problems: list[tuple[float, str]] = field(default_factory=list)
    # Requests of clients without a timeout that were never answered, and when they were asked.
    hung: list[tuple[float, str]] = field(default_factory=list)
    repeats: int = 0
    # Answers that say to repeat: when it was asked first, when answered, and what.
    put_off: list[tuple[float, float, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slowest: list[tuple[float, float, str]] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        for service, count in other.requests.items():
            self.requests[service] += count
        self.posts |= other.posts
        self.channels |= other.channels
        self.problems += other.problems
        self.hung += other.hung
        self.repeats += other.repeats
        self.put_off += other.put_off
        self.seconds += other.seconds
        for slow in other.slowest:
            self.is_slow(slow)

    def took(self, seconds: float, at: float, what: str) -> None:
        self.seconds.append(seconds)
        if len(self.slowest) < SLOWEST or seconds > self.slowest[-1][0]:
            self.is_slow((seconds, at, what))

    def is_slow(self, slow: tuple[float, float, str]) -> None:
        self.slowest = sorted([*self.slowest, slow], reverse=True)[:SLOWEST]


class Client:
    """One socket and the request that is open on it."""

    def __init__(self, number: int, clients: Clients, outcome: Outcome):
        self.name, self.users, self.outcome = user(number), set(clients.users), outcome
        self.repeats, self.may_be_put_off = number in clients.repeating, clients.may_be_put_off
        self.others = list(filter(is_user, clients.users))
        self.kind = zmq.DEALER if number % 2 else zmq.REQ
        self.chance = random.Random(f"{clients.seed} {number}")
        brokers = clients.brokers if self.repeats else clients.steady_brokers
        # By fours, so that every broker has clients of every kind.
        first = number // 4 % len(brokers)
        self.brokers = itertools.cycle(brokers[first:] + brokers[:first])
        self.posts = itertools.count()
        self.clock = 0
        self.asked: Asked | None = None
        self.socket = self.connect()

    def connect(self) -> zmq.Socket:
        socket = zmq.Context.instance().socket(self.kind)
        socket.linger = 0
        socket.connect(f"tcp://{next(self.brokers)}")
        return socket

    # --- Asking ---

    def ask(self) -> None:
        [service] = self.chance.choices(list(MIX), MIX.values())
        data = self.data_for(service)
        self.clock += 1
        body = msgpack.packb({"service": service, "data": {**data, "timestamp": int(time.time()), "clock": self.clock}})
        if service in ("publish", "message"):
            self.outcome.posts[data["message"]] = (service, data.get("channel") or data["dst"], None)
        self.outcome.requests[service] += 1
        now = time.monotonic()
        self.asked = Asked(service, data, body, now, self.clock, now + REPEAT_SECONDS if self.repeats else None)
        self.send()

    def data_for(self, service: str) -> dict:
        text = f"{self.name}/{next(self.posts)} "
        # Who repeats needs an id of its own; of the others, half send one.
        with_id = self.repeats or self.chance.random() < 0.5
        own_id = {"papo_id": self.chance.randbytes(16)} if with_id else {}
        long = text + "x" * self.chance.randrange(200)
        channel, other = self.chance.choice(CHANNELS), self.chance.choice(self.others)
        match service:
            case "publish":
                return {"user": self.name, "channel": channel, "message": long, **own_id}
            case "message":
                return {"src": self.name, "dst": other, "message": long, **own_id}
            case "history":
                whose = {"channel": channel} if self.chance.random() < 0.7 else {"user": other}
                return {**whose, "limit": HISTORY_ENTRIES}
            case "login":
                return {"user": self.name, **own_id}
            case "channel":
                return {"channel": f"made-by-{text.strip().replace('/', '-')}", **own_id}
            case _:
                return {}

    def send(self) -> None:
        self.socket.send_multipart([self.asked.body] if self.kind == zmq.REQ else [b"", self.asked.body])

    def repeat_elsewhere(self) -> None:
        """The same bytes, with the same id, on a new connection to the next broker."""
        self.socket.close()
        self.socket = self.connect()
        self.asked.deadline = time.monotonic() + REPEAT_SECONDS
        self.outcome.repeats += 1
        self.send()

    # --- Answers ---

    def receive(self) -> None:
        frames = self.socket.recv_multipart()
        now = time.monotonic()
        if self.asked is None:
            self.problem(now, f"{self.name}: an answer that nobody asked for: {frames}")
            return
        asked, self.asked = self.asked, None
        if self.kind == zmq.DEALER:
            if frames[0] != b"":
                self.problem(asked.at, f"{self.describe(asked)}: no empty frame: {frames}")
                return
            frames = frames[1:]
        self.outcome.took(now - asked.at, asked.at, self.describe(asked))
        try:
            if self.may_be_put_off and (code := code_to_repeat(frames)):
                self.outcome.put_off.append((asked.at, now, f"{self.describe(asked)}: {code}"))
                if self.repeats:
                    asked.deadline = now + ASKED_TO_REPEAT_SECONDS
                    self.asked = asked
                return
            if wrong := self.wrong_with(asked, frames):
                self.problem(asked.at, f"{self.describe(asked)}, answered after {now - asked.at:.3f} s: {wrong}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.problem(asked.at, f"{self.describe(asked)}: unreadable answer ({error!r}): {frames}")

    def wrong_with(self, asked: Asked, frames: list[bytes]) -> str | None:
        if len(frames) != 1:
            return f"{len(frames)} frames"
        reply = msgpack.unpackb(frames[0])
        data = reply["data"]
        if data.get("status") == "erro" or data["success"] is not True:
            return f"erro: {data}"
        if reply["service"] != asked.service:
            return f"the answer is to {reply['service']}"
        if data["clock"] <= asked.clock:
            return f"clock {data['clock']} does not come after {asked.clock}"
        self.clock = max(self.clock, data["clock"])
        match asked.service:
            case "publish" | "message":
                return self.wrong_with_post(asked.data, asked.service, data["message_id"])
            case "history":
                return wrong_with_history(asked.data, data["messages"])
            case "users":
                return None if set(data["users"]) == self.users else f"not the users: {data['users']}"
            case "channels":
                return None if set(CHANNELS) <= set(data["channels"]) else f"not the channels: {data['channels']}"
            case "login" | "channel":
                self.outcome.channels |= {asked.data["channel"]} if asked.service == "channel" else set()
                return None if len(data["message_id"]) == 16 else f"no identity: {data}"
            case "ping":
                return None if data["pong"] == "OK" else f"no pong: {data}"
            case other:
                raise ValueError(f"no check for {other}")

    def wrong_with_post(self, data: dict, service: str, message_id: bytes) -> str | None:
        text, target = data["message"], data.get("channel") or data["dst"]
        self.outcome.posts[text] = (service, target, message_id)
        if "papo_id" not in data:
            return None if len(message_id) == 16 else f"no identity: {message_id}"
        expected = identity(service, self.name, target, text, data["papo_id"])
        return None if message_id == expected else f"message_id {message_id.hex()} is of another request, not {expected.hex()}"

    def describe(self, asked: Asked) -> str:
        what = asked.data.get("message", "").split(" ")[0] or {key: value for key, value in asked.data.items() if key != "papo_id"} or ""
        return f"{self.name} ({'DEALER' if self.kind == zmq.DEALER else 'REQ'}) {asked.service} {what}".rstrip()

    def problem(self, at: float, text: str) -> None:
        self.outcome.problems.append((at, text))


def code_to_repeat(frames: list[bytes]) -> str | None:
    """Of an answer that says so."""
    data = msgpack.unpackb(frames[0])["data"]
    return data["code"] if data.get("status") == "erro" and data["retry"] is True else None


def wrong_with_history(asked: dict, entries: list[dict]) -> str | None:
    ids = [entry["message_id"] for entry in entries]
    if len(ids) > HISTORY_ENTRIES or len(ids) != len(set(ids)):
        return f"{len(ids)} entries, {len(set(ids))} different"
    for entry in entries:
        if "channel" in asked and entry.get("channel") != asked["channel"]:
            return f"an entry of another channel: {entry}"
        if "user" in asked and asked["user"] not in (entry["src"], entry["dst"]):
            return f"an entry of other users: {entry}"
    return None


class Load:
    """The processes in which the clients ask."""

    def __init__(self, clients: Clients):
        self.stop, self.results = multiprocessing.Event(), multiprocessing.Queue()
        # Neighbours together: so every process has clients of every kind.
        size = -(-clients.count // PROCESSES)
        shares = [list(range(first, min(first + size, clients.count))) for first in range(0, clients.count, size)]
        self.processes = [
            multiprocessing.Process(target=ask, args=(share, clients, self.stop, self.results), daemon=True) for share in shares
        ]
        for process in self.processes:
            process.start()

    def end(self) -> Outcome:
        """Waits for the last answers."""
        self.stop.set()
        whole = Outcome()
        for _ in self.processes:
            whole.add(self.results.get(timeout=RESULTS_SECONDS))
        return whole


def ask(numbers: list[int], all_clients: Clients, stop, results) -> None:
    """Keeps the clients of these numbers busy until `stop`, then waits for the last answers; puts an Outcome."""
    outcome = Outcome()
    poller = zmq.Poller()
    clients: dict[zmq.Socket, Client] = {}

    def watch(client: Client) -> None:
        poller.register(client.socket, zmq.POLLIN)
        clients[client.socket] = client

    for number in numbers:
        client = Client(number, all_clients, outcome)
        watch(client)
        client.ask()
    give_up = None
    look_at_deadlines = time.monotonic()
    while give_up is None or (time.monotonic() < give_up and any(client.asked for client in clients.values())):
        for socket, _ in poller.poll(100):
            client = clients[socket]
            client.receive()
            if give_up is None and client.asked is None:
                client.ask()
        now = time.monotonic()
        if now > look_at_deadlines:
            look_at_deadlines = now + 0.1
            for socket, client in list(clients.items()):
                if client.asked and client.asked.deadline and client.asked.deadline < now:
                    poller.unregister(socket)
                    del clients[socket]
                    client.repeat_elsewhere()
                    watch(client)
        if give_up is None and stop.is_set():
            give_up = now + PATIENCE_SECONDS
    for client in clients.values():
        if client.asked and client.repeats:
            client.problem(client.asked.at, f"{client.describe(client.asked)}: never answered, however often it was repeated")
        elif client.asked:
            outcome.hung.append((client.asked.at, client.describe(client.asked)))
    # A second answer would come soon after the first.
    for socket, _ in poller.poll(1000):
        if clients[socket].asked is None:
            clients[socket].receive()
    zmq.Context.instance().destroy(linger=0)
    results.put(outcome)
