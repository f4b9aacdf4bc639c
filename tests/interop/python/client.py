"""The conversation of ../conversation.py on pyzmq: ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo."""

import itertools
import sys
import time

import msgpack
import zmq

READY = "ready"

broker, proxy, *sizes = sys.argv[1:]
numbers = itertools.count(1)


class Person:
    def __init__(self):
        self.requests = zmq.Context.instance().socket(zmq.REQ)
        self.requests.connect(broker)
        self.publications = zmq.Context.instance().socket(zmq.SUB)
        self.publications.connect(proxy)
        self.clock = 0
        self.in_order = True

    def ask(self, service: str, **data) -> dict:
        self.clock += 1
        data |= {"timestamp": int(time.time()), "clock": self.clock}
        self.requests.send(msgpack.packb({"service": service, "data": data}))
        reply = msgpack.unpackb(self.requests.recv())["data"]
        self.in_order &= reply["clock"] > self.clock or reply.get("status") == "erro"
        self.clock = max(self.clock, reply["clock"]) + 1
        return reply

    def subscribe(self, user: str, *topics: str) -> None:
        """Writes to itself until that is heard: then its subscriptions are in force."""
        for topic in (*topics, user):
            self.publications.subscribe(topic)
        while True:
            self.ask("message", src=user, dst=user, message=f"{READY} {user}")
            while self.publications.poll(200):
                if self.receive()["message"] == f"{READY} {user}":
                    return

    def unsubscribe(self, *topics: str) -> None:
        for topic in topics:
            self.publications.unsubscribe(topic)

    def receive(self) -> dict:
        topic, body = self.publications.recv_multipart()
        publication = msgpack.unpackb(body)
        self.clock = max(self.clock, publication["clock"]) + 1
        return {"topic": topic.decode(), "user": publication["user"], "message": publication["message"]}

    def hear(self) -> dict:
        while (heard := self.receive())["message"].startswith(READY):
            pass
        return heard


def yes(*answers: bool) -> list[str]:
    return [str(answer).lower() for answer in answers]


def converse(alice: Person, bob: Person, name: str) -> None:
    her, him, channel = f"{name}-alice", f"{name}-bob", f"{name}-geral"
    print("login", alice.ask("login", user=her)["status"], bob.ask("login", user=him)["status"])
    print("channel", alice.ask("channel", channel=channel)["status"])
    channels, users = alice.ask("channels")["channels"], alice.ask("users")["users"]
    print("listed", *yes(channel in channels, {her, him} <= set(users)))
    alice.subscribe(her)
    bob.subscribe(him, channel)
    for size in sizes:
        text = f"{next(numbers)} ".ljust(int(size), "x")
        reply = alice.ask("publish", user=her, channel=channel, message=text)
        if reply["status"] != "OK":
            print("publish", reply["status"], reply["code"])
            continue
        heard = bob.hear()
        print("publish OK", heard["topic"], heard["user"], len(heard["message"]), *yes(heard["message"] == text))
    status = bob.ask("message", src=him, dst=her, message="note")["status"]
    print("message", status, *alice.hear().values())
    print("clocks", *yes(alice.in_order and bob.in_order), flush=True)
    alice.unsubscribe(her)
    bob.unsubscribe(him, channel)


people = Person(), Person()
for line in sys.stdin:
    converse(*people, line.strip())
