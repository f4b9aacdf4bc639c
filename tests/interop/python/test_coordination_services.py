"""What servers of the exercise say to each other, on the ports where anyone may (rows E07, E08, G04, G05): answered, and nothing moves.

papo's own servers elect and adjust over links of their own, with epochs; so nobody can make a coordinator or move a clock from here.
"""

import json
import time

import msgpack
import pytest
import zmq

from clients import BROKER, Client, rep_of
from conftest import SERVERS, wait_until

HUGE = 2**62
# Of /status: what a forger would want to move.
KEPT = ("rank", "epoch", "coordinator", "operations", "users", "channels", "digest", "generation")


def kept(cluster) -> list[dict]:
    return [{key: status(cluster, number).get(key) for key in KEPT} for number in SERVERS]


def status(cluster, number: int) -> dict:
    return json.loads(cluster.get(f"server-{number}", "/status")[1])


@pytest.fixture(params=[(BROKER, "msgpack"), (BROKER, "json"), (rep_of(1), "msgpack"), (rep_of(3), "json")], ids=lambda p: f"{p[0]}-{p[1]}")
def asker(cluster, request):
    address, encoding = request.param
    client = Client(address, encoding)
    yield client
    client.close()


def test_e07_clock_gives_the_time(asker):
    before = int(time.time())
    reply = asker.ask("clock")
    assert isinstance(reply["time"], int) and before - 5 <= reply["time"] <= time.time() + 5
    assert reply["time"] == reply["timestamp"]


def test_g04_g05_election_is_answered_and_elects_nobody(cluster, asker):
    before = settled(cluster)
    for data in ({}, {"server": "server-9", "rank": 9}, {"coordinator": "evil", "epoch": HUGE}, {"epoch": {"number": HUGE, "boot": "f" * 16}}):
        reply = asker.ask("election", **data)
        assert (reply["election"], reply["status"], reply["success"]) == ("OK", "OK", True), reply
    assert kept(cluster) == before


@pytest.mark.parametrize("service", ["adjust", "adjust_clock"])
@pytest.mark.parametrize("by", [5, -3600, 10**9, 2**62, "5", None])
def test_e08_adjust_is_answered_and_moves_no_clock(cluster, asker, service, by):
    before = settled(cluster)
    reply = asker.ask(service, adjustment=by, adjust=by, offset=by, time=by, epoch=HUGE, coordinator="server-3")
    assert reply["status"] == "OK", reply
    for number in SERVERS:
        there = Client(rep_of(number))
        assert abs(there.ask("clock")["time"] - time.time()) < 5
        there.close()
    assert kept(cluster) == before


@pytest.mark.parametrize("service", ["coordinator", "claim", "report", "resign", "rank", "register"])
def test_what_only_ref_or_a_foreign_server_serves_is_unknown_here(cluster, asker, service):
    before = settled(cluster)
    reply = asker.ask(service, user="server-1", coordinator="server-1", epoch={"number": HUGE, "boot": "f" * 16}, reached=9)
    assert (reply["status"], reply["code"]) == ("erro", "unknown_service")
    assert kept(cluster) == before


def test_an_announcement_that_a_stranger_publishes_reaches_and_moves_nobody(cluster):
    before = settled(cluster)
    publisher = zmq.Context.instance().socket(zmq.PUB)
    listener = zmq.Context.instance().socket(zmq.SUB)
    for socket, address in ((publisher, "tcp://127.0.0.1:5557"), (listener, "tcp://127.0.0.1:5558")):
        socket.linger = 0
        socket.connect(address)
    for topic in (b"servers", b"afterwards"):
        listener.subscribe(topic)
    data = {"coordinator": "server-1", "rank": 1, "epoch": HUGE, "clock": 1}
    body = msgpack.packb({"service": "election", "data": data, **data})

    def heard():
        """What comes on the same way, after the announcement."""
        publisher.send_multipart([b"servers", body])
        publisher.send_multipart([b"afterwards", body])
        return listener.poll(50)

    wait_until("who names another topic hears it", heard)
    topics = {listener.recv_multipart()[0]}
    while listener.poll(500):
        topics.add(listener.recv_multipart()[0])
    assert topics == {b"afterwards"}
    assert kept(cluster) == before
    publisher.close()
    listener.close()


def settled(cluster) -> list[dict]:
    """What is kept, once all servers say the same of who leads."""

    def agreed():
        now = kept(cluster)
        agree = len({str((status["epoch"], status["coordinator"])) for status in now}) == 1
        return now if agree and all(status["rank"] for status in now) else None

    return wait_until("all servers agree on who leads", agreed)
