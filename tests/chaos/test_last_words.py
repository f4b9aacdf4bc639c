"""A server that is killed in the moment of its reply: what it acknowledged, it has published before."""

import os
import signal
import time

import msgpack
import pytest
import zmq

from cluster import Local, wait_until
from conftest import PAPO

ROUNDS = 6
# Many at once are stored as one, and then answered one by one: the first answers are out while the last are being written.
POSTS = 500
SECONDS = 60


@pytest.fixture
def local(tmp_path):
    local = Local(PAPO, tmp_path)
    local.start()
    yield local
    local.stop()


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def dealer(context: zmq.Context, address: str) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    socket.connect(f"tcp://{address}")
    return socket


def ask(socket: zmq.Socket, service: str, **data) -> None:
    socket.send_multipart([b"", msgpack.packb({"service": service, "data": data})])


def answers(socket: zmq.Socket, milliseconds: int) -> list[dict]:
    """All that come until there is silence for so long."""
    got = []
    while socket.poll(milliseconds):
        got.append(msgpack.unpackb(socket.recv_multipart()[-1])["data"])
    return got


def must(socket: zmq.Socket, service: str, **data) -> None:
    ask(socket, service, **data)
    assert socket.poll(SECONDS * 1000), f"no answer to {service}"
    answer = msgpack.unpackb(socket.recv_multipart()[-1])["data"]
    assert answer["success"], answer


def subscriber(context: zmq.Context, address: str, broker: zmq.Socket, number: int) -> zmq.Socket:
    """One whose subscription is known to be in force."""
    socket = context.socket(zmq.SUB)
    socket.rcvhwm = 0
    socket.connect(f"tcp://{address}")
    socket.subscribe("last")
    socket.subscribe(f"ear-{number}")
    must(broker, "login", user=f"ear-{number}")

    def hears() -> bool:
        must(broker, "message", src=f"ear-{number}", dst=f"ear-{number}", message="probe")
        return socket.poll(200)

    wait_until("a subscription is in force", hears, SECONDS)
    return socket


def test_what_a_server_acknowledged_before_kill_9_is_heard(local, context):
    broker = dealer(context, local.of_kind("broker")[0].requests[0])
    must(broker, "login", user="dying")
    must(broker, "channel", channel="last")
    local.equal_exports(SECONDS)
    proxies = [role.subscriptions[0] for role in local.of_kind("proxy")]
    ears = [subscriber(context, address, broker, number) for number, address in enumerate(proxies)]

    acknowledged = set()
    servers = local.of_kind("server")
    for number in range(ROUNDS):
        server = servers[number % len(servers)]
        wait_until("the cluster is whole", local.is_whole, SECONDS)
        pid = local.pid(server.name)
        direct = dealer(context, server.requests[0])
        for post in range(POSTS):
            ask(direct, "publish", user="dying", channel="last", message=f"{number}/{post}")
        # With the first reply it dies; what it said until then is on its way, and counts.
        assert direct.poll(SECONDS * 1000)
        os.kill(pid, signal.SIGKILL)
        replies = answers(direct, 500)
        assert replies and all(reply["success"] for reply in replies)
        acknowledged |= {reply["message_id"] for reply in replies}
        direct.close(linger=0)

    wait_until("the cluster is whole", local.is_whole, SECONDS)
    time.sleep(1)
    assert len(acknowledged) >= ROUNDS
    for ear in ears:
        heard = set()
        while ear.poll(1000):
            heard.add(msgpack.unpackb(ear.recv_multipart()[1])["message_id"])
        missed = acknowledged - heard
        assert not missed, f"{len(missed)} of {len(acknowledged)} acknowledged posts were not heard"
