"""Subscribers that write down all they hear: SUB sockets in one process, which reads far faster than the clients write."""

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass, field

import msgpack
import zmq

# After the last word is said: so much silence means that all has come. Above what a link to a proxy needs to come back (3 s).
QUIET_SECONDS = 5


@dataclass
class Ear:
    """One subscriber. It is also a user of its own name, to whom a probe can be sent to see that its subscriptions are in force."""

    name: str
    topics: frozenset[str]
    proxy: str
    heard: Counter = field(default_factory=Counter)
    identities: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def expects(self, service: str, target: str) -> bool:
        """Exactly the topics named; the empty one stands for all channels and no direct message."""
        return target in self.topics or (service == "publish" and "" in self.topics)

    def hear(self, frames: list[bytes]) -> bool:
        """True for a probe."""
        if len(frames) != 2:
            self.problems.append(f"{self.name}: {len(frames)} frames: {frames}")
            return False
        topic, body = frames[0].decode(), msgpack.unpackb(frames[1])
        if topic == self.name:
            return True
        target = body["channel"] if body["service"] == "publish" else body["dst"]
        if target != topic or not self.expects(body["service"], target):
            self.problems.append(f"{self.name} does not want this: {topic} {body}")
        self.heard[body["message"]] += 1
        self.identities[body["message"]] = body["message_id"]
        return False


class Ears:
    """The process in which they listen."""

    def __init__(self, ears: list[Ear]):
        self.waiting = {ear.name for ear in ears}
        self.in_force, self.results, self.stop = multiprocessing.Queue(), multiprocessing.Queue(), multiprocessing.Event()
        arguments = (ears, self.in_force, self.stop, self.results)
        multiprocessing.Process(target=listen, args=arguments, daemon=True).start()

    def not_in_force(self) -> set[str]:
        """Whose probe has not been heard yet."""
        while not self.in_force.empty():
            self.waiting.discard(self.in_force.get())
        return self.waiting

    def end(self, seconds: float) -> list[Ear]:
        """What all have heard, once there is silence."""
        self.stop.set()
        return self.results.get(timeout=seconds)


def listen(ears: list[Ear], in_force, stop, results) -> None:
    """Names each ear on the queue `in_force` at its first probe; after `stop`, waits for silence and puts the ears."""
    context, poller, sockets = zmq.Context(), zmq.Poller(), {}
    for ear in ears:
        socket = context.socket(zmq.SUB)
        socket.linger = 0
        socket.rcvhwm = 0
        socket.connect(f"tcp://{ear.proxy}")
        for topic in (*ear.topics, ear.name):
            socket.subscribe(topic)
        poller.register(socket, zmq.POLLIN)
        sockets[socket] = ear
    waiting = {ear.name for ear in ears}
    heard_last = time.monotonic()
    while True:
        for socket, _ in poller.poll(200):
            ear = sockets[socket]
            if ear.hear(socket.recv_multipart()) and ear.name in waiting:
                waiting.discard(ear.name)
                in_force.put(ear.name)
            heard_last = time.monotonic()
        if not stop.is_set():
            heard_last = time.monotonic()
        elif time.monotonic() - heard_last > QUIET_SECONDS:
            break
    context.destroy(linger=0)
    results.put(ears)
