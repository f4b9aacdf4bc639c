"""Readers that walk through histories by cursor, on and on, each page at another server or broker: threads in one process."""

import itertools
import multiprocessing
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import msgpack
import zmq

PAGE_ENTRIES = 50
# A reader asks the next one after so long without an answer.
PAGE_SECONDS = 4
# At the end of what there is, or when asked to repeat.
PAUSE_SECONDS = 0.1
# After the last word is said, until a walker must have read it.
END_SECONDS = 60
RESULTS_SECONDS = 600


@dataclass
class Walk:
    """What one reader was given: of a channel, or of a user's direct messages."""

    scope: dict[str, str]
    messages: list[bytes] = field(default_factory=list)
    pages: int = 0
    # Pages that had to be asked for again, by cause.
    repeated: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"walk through {' '.join(self.scope.values())}"


class Walker:
    """One reader, who remembers nothing but the cursor."""

    def __init__(self, scope: dict[str, str], addresses: list[str]):
        self.walk = Walk(scope)
        self.context = zmq.Context.instance()
        self.sockets: dict[str, zmq.Socket] = {}
        self.addresses = itertools.cycle(addresses)
        self.cursor = b""

    def page(self) -> bool | None:
        """Reads on, and says whether there is more; None when it has to be asked again."""
        address = next(self.addresses)
        socket = self.sockets.get(address)
        if socket is None:
            socket = self.sockets[address] = self.context.socket(zmq.REQ)
            socket.linger = 0
            socket.connect(f"tcp://{address}")
        socket.send(msgpack.packb({"service": "history", "data": {**self.walk.scope, "papo_cursor": self.cursor, "limit": PAGE_ENTRIES}}))
        if not socket.poll(PAGE_SECONDS * 1000):
            self.sockets.pop(address).close()
            self.walk.repeated["no answer"] += 1
            return None
        data = msgpack.unpackb(socket.recv())["data"]
        if data.get("status") == "erro":
            if data["retry"] is not True:
                self.walk.problems.append(f"{self.walk} at {address}: {data}")
            self.walk.repeated[data["code"]] += 1
            return None
        entries = data["messages"]
        places = [tuple(entry["position"].values()) for entry in entries]
        if places != sorted(places):
            self.walk.problems.append(f"{self.walk} at {address}: a page out of order: {places}")
        self.walk.messages += [entry["message_id"] for entry in entries]
        self.walk.pages += 1
        self.cursor = data["papo_cursor"]
        return data["more"]

    def until(self, stop) -> Walk:
        """Walks on; after `stop` until two pages at different addresses have nothing new."""
        ends, give_up = 0, None
        while ends < 2:
            read = len(self.walk.messages)
            more = self.page()
            if more is False:
                ends = ends + 1 if stop.is_set() and len(self.walk.messages) == read else 0
            if stop.is_set():
                give_up = give_up or time.monotonic() + END_SECONDS
                if time.monotonic() > give_up:
                    self.walk.problems.append(f"{self.walk} did not come to its end")
                    break
            if not more:
                time.sleep(PAUSE_SECONDS)
        for socket in self.sockets.values():
            socket.close()
        return self.walk


class Walkers:
    """The process in which they read."""

    def __init__(self, scopes: list[dict[str, str]], addresses: list[str]):
        self.stop, self.results = multiprocessing.Event(), multiprocessing.Queue()
        # Each begins with another.
        turns = [addresses[number % len(addresses) :] + addresses[: number % len(addresses)] for number in range(len(scopes))]
        multiprocessing.Process(target=walk_all, args=(list(zip(scopes, turns)), self.stop, self.results), daemon=True).start()

    def end(self) -> list[Walk]:
        """To be called when all is said and shown everywhere."""
        self.stop.set()
        return self.results.get(timeout=RESULTS_SECONDS)


def walk_all(of: list[tuple[dict[str, str], list[str]]], stop, results) -> None:
    walkers = [Walker(scope, addresses) for scope, addresses in of]
    threads = [threading.Thread(target=walker.until, args=(stop,)) for walker in walkers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put([walker.walk for walker in walkers])


def walk_now(scope: dict[str, str], address: str) -> Walk:
    """From the beginning to the end, at one server."""
    stop = threading.Event()
    stop.set()
    return Walker(scope, [address]).until(stop)
