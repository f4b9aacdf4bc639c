"""Who leads is announced on topic `servers` (rows D03, G02, G04, G06), as any subscriber of a proxy hears it."""

import json
import os
import signal
import time

import msgpack
import zmq

from clients import PROXY, Listener
from conftest import SERVERS, wait_until

# The second proxy of manifests/minimal.yaml.
PROXIES = (PROXY, "tcp://127.0.0.1:5862")
# Beyond it, a failure is one and no slow machine.
ELECTED_SECONDS = 30


def leadership(cluster) -> tuple[str, str] | None:
    """Coordinator and epoch, once all servers say the same."""
    said = [json.loads(cluster.get(f"server-{number}", "/status")[1]) for number in SERVERS]
    named = {(status["coordinator"], status["epoch"]) for status in said}
    return named.pop() if len(named) == 1 and said[0]["coordinator"] else None


def subscriber(address: str, topic: bytes) -> zmq.Socket:
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.linger = 0
    socket.connect(address)
    socket.subscribe(topic)
    return socket


def test_d03_e10_g02_g03_g04_g06_a_new_coordinator_is_announced_once_by_each_proxy_to_who_names_the_topic(own_cluster):
    coordinator, before = wait_until("a coordinator", lambda: leadership(own_cluster), ELECTED_SECONDS)
    assert coordinator == "server-3", "the highest rank leads at the start (rows G01, G02)"
    named = [subscriber(address, b"servers") for address in PROXIES]
    prefix, everything = subscriber(PROXY, b"serv"), Listener("")

    # It stays down for as long as others need to notice, and then its links are closed: it is no quick restart.
    victim = own_cluster.server(3)
    os.kill(victim, signal.SIGSTOP)
    try:
        bodies = []
        for socket in named:
            assert socket.poll(1000 * ELECTED_SECONDS), "nothing was announced"
            topic, body = socket.recv_multipart()
            assert topic == b"servers"
            bodies.append(body)
    finally:
        os.kill(victim, signal.SIGCONT)
    assert bodies[0] == bodies[1]
    body = msgpack.unpackb(bodies[0])
    for fields in (body, body["data"]):
        assert (fields["type"], fields["coordinator"], fields["rank"]) == ("coordinator", "server-2", 2)
        assert fields["epoch"] > int(before.split("-")[0])
        assert isinstance(fields["clock"], int) and fields["clock"] > 0
    assert body["service"] == "election"

    # The old coordinator hears of it, and agrees.
    coordinator, after = wait_until("all agree", lambda: leadership(own_cluster), ELECTED_SECONDS)
    assert (coordinator, int(after.split("-")[0])) == ("server-2", body["epoch"])
    time.sleep(1)
    assert not any(socket.poll(0) for socket in named), "announced twice"
    assert not prefix.poll(0), "who names another topic"
    assert [topic for topic, _ in everything.everything() if topic == "servers"] == [], "and who names none"
    for socket in (*named, prefix):
        socket.close()
