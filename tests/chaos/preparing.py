"""What a run begins with: everybody is known, every channel made, every subscriber listens."""

import time

import msgpack
import zmq

import judge
import load
from cluster import Cluster, Trouble, wait_until
from ears import Ear, Ears

SETUP_SECONDS = 60


class Asker:
    """One patient client, for the preparations."""

    def __init__(self, broker: str):
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.connect(f"tcp://{broker}")

    def must(self, service: str, **data) -> None:
        self.socket.send(msgpack.packb({"service": service, "data": data}))
        if not self.socket.poll(load.PATIENCE_SECONDS * 1000):
            raise Trouble(f"{service} {data} was never answered")
        reply = msgpack.unpackb(self.socket.recv())["data"]
        if reply["success"] is not True:
            raise Trouble(f"{service} {data}: {reply}")

    def close(self) -> None:
        self.socket.close()


def make_ears(proxies: list[str], users: list[str]) -> list[Ear]:
    """On everything, on channels, on names, and on both; each at one proxy."""
    topics = [{""}, {""}, set(load.CHANNELS[:4]), set(load.CHANNELS[2:]), set(users[::2]), set(users[1:]) | {load.CHANNELS[0]}]
    return [Ear(f"ear-{number}", frozenset(of), proxies[number % len(proxies)]) for number, of in enumerate(topics)]


def prepare(cluster: Cluster, users: list[str], ears: Ears) -> None:
    """Everybody is known and every channel made, on every server; every subscription is in force."""
    asker = Asker(cluster.of_kind("broker")[0].requests[0])
    for name in users:
        asker.must("login", user=name)
    for channel in load.CHANNELS:
        asker.must("channel", channel=channel)
    cluster.equal_exports(SETUP_SECONDS)

    def all_in_force() -> bool:
        for name in ears.not_in_force():
            asker.must("message", src=name, dst=name, message=judge.PROBE)
        time.sleep(0.2)
        return not ears.not_in_force()

    wait_until("every subscription is in force", all_in_force, SETUP_SECONDS)
    asker.close()
