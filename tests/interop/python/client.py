"""A chat client on pyzmq, by the contract in test_languages.py.

ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
"""

import sys
import time

import msgpack
import zmq

READY = "ready"

broker, proxy, name, *sizes = sys.argv[1:]
user, channel = f"{name}-user", f"{name}-channel"
context = zmq.Context.instance()
requests = context.socket(zmq.REQ)
requests.connect(broker)
publications = context.socket(zmq.SUB)
publications.connect(proxy)
for topic in (user, channel):
    publications.subscribe(topic)


def ask(service: str, **data) -> dict:
    requests.send(msgpack.packb({"service": service, "data": {**data, "timestamp": int(time.time())}}))
    return msgpack.unpackb(requests.recv())["data"]


def until_subscribed() -> None:
    """Writes to itself until that is heard: then its subscriptions are in force."""
    ask("message", src=user, dst=user, message=READY)
    while not publications.poll(200):
        ask("message", src=user, dst=user, message=READY)


def hear() -> tuple[str, str, str]:
    while True:
        topic, body = publications.recv_multipart()
        publication = msgpack.unpackb(body)
        if publication["message"] != READY:
            return topic.decode(), publication["user"], publication["message"]


print("login", ask("login", user=user)["status"])
print("channel", ask("channel", channel=channel)["status"])
listed = channel in ask("channels")["channels"], user in ask("users")["users"]
print("listed", *(str(one).lower() for one in listed))
until_subscribed()

for size in sizes:
    text = "x" * int(size)
    reply = ask("publish", user=user, channel=channel, message=text)
    if reply["status"] != "OK":
        print("publish", reply["status"], reply["code"])
        continue
    topic, author, heard = hear()
    print("publish", reply["status"], topic, author, len(heard), str(heard == text).lower())
status = ask("message", src=user, dst=user, message="note")["status"]
print("message", status, *hear())
