"""Where the texts contradict each other, one of them is the default and the other a setting: here are the others, all in one cluster."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
import zmq

from clients import PROXY, Client, receive, rep_of
from conftest import SERVERS, Cluster, wait_until

MANIFEST = """\
apiVersion: papo.dev/v1alpha1
kind: ChatCluster
metadata: {name: other}
spec:
  durability: all
  loginPolicy: unique
  election: {order: lowest}
  clockSync: {everyMessages: 15, everySeconds: 3600}
  ref: {heartbeatSeconds: 1, expirySeconds: 3}
  broker: {replicas: 1}
  proxy: {replicas: 1}
  compat: {publishOk: sucesso, listAsMap: true}
"""
REF = "tcp://127.0.0.1:5559"
EVERY_MESSAGES = 15
# A round of Berkeley is at most one a second; what has not begun after so long does not begin by itself.
NO_ROUND_SECONDS = 2.5
ELECTED_SECONDS = 30


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("other"))
    manifest = cluster.folder / "other.yaml"
    manifest.write_text(MANIFEST)
    cluster.start(manifest)
    yield cluster
    cluster.stop()


@pytest.fixture
def client(other):
    client = Client()
    yield client
    client.close()


def status(cluster, number: int) -> dict:
    return json.loads(cluster.get(f"server-{number}", "/status")[1] or "{}")


def leader(cluster) -> str | None:
    """Whom all name."""
    named = {status(cluster, number).get("coordinator") for number in SERVERS}
    return named.pop() if len(named) == 1 else None


def rounds(cluster, name: str) -> int:
    page = cluster.get(name, "/metrics")[1]
    return sum(int(count) for count in re.findall(r"^papo_server_clock_rounds_total\{[^}]*\} (\d+)$", page, re.M))


def test_c02_unique_a_second_login_of_a_name_is_refused(client):
    client.must("login", user="única")
    reply = Client().ask("login", user="única")
    assert (reply["status"], reply["code"]) == ("erro", "name_taken")
    assert client.ask("users")["users"].count("única") == 1


def test_c02_unique_who_comes_back_repeats_the_login_under_its_id_or_writes_without_one(client):
    first = client.must("login", user="voltei", papo_id=bytes(16))
    back = Client()
    again = back.must("login", user="voltei", papo_id=bytes(16))
    assert again["message_id"] == first["message_id"]
    assert back.ask("login", user="voltei", papo_id=bytes(15) + b"1")["code"] == "name_taken"
    back.must("message", src="voltei", dst="voltei", message="oi")


def test_c07_c09_sucesso_is_the_word_where_the_setting_says_so(client):
    client.must("login", user="c07")
    client.must("channel", channel="c07-sala")
    assert client.ask("publish", user="c07", channel="c07-sala", message="oi")["status"] == "sucesso"
    assert client.ask("message", src="c07", dst="c07", message="oi")["status"] == "sucesso"


def test_f02_the_map_is_under_list_where_the_setting_says_so(other):
    asker = Client(REF)
    ranks = lambda: {name: server["rank"] for name, server in asker.ask("list")["list"].items()}
    wait_until("all are listed", lambda: ranks() == {f"server-{number}": number for number in SERVERS})


def test_f03_l09_heartbeats_come_regularly_at_the_interval_of_the_setting(other):
    asker = Client(REF)
    beats = lambda: {name: server["last_beat"] for name, server in asker.ask("list")["servers"].items()}
    wait_until("all are listed", lambda: len(beats()) == len(SERVERS))
    for _ in range(3):
        before = beats()
        # One that expires after three seconds without a beat would be missing.
        wait_until("each has beaten again", lambda: all(beats().get(name, 0) > beat for name, beat in before.items()), 10)


def test_e06_l07_fifteen_operations_make_a_round_where_the_setting_says_so(other, client):
    coordinator = wait_until("a coordinator", lambda: leader(other))
    count = 0

    def write() -> None:
        nonlocal count
        count += 1
        client.must("login", user=f"e06-{count}")

    def settle() -> int:
        """The rounds, once none is under way."""
        while True:
            before = rounds(other, coordinator)
            time.sleep(NO_ROUND_SECONDS)
            if rounds(other, coordinator) == before:
                return before

    # One at a time until a round has come: what is counted begins anew.
    before = settle()
    while rounds(other, coordinator) == before:
        assert count < EVERY_MESSAGES, "no round came"
        write()
        time.sleep(0.3)
    before = settle()
    for _ in range(EVERY_MESSAGES - 1):
        write()
    assert settle() == before, "too early"
    write()
    wait_until("the round after the fifteenth", lambda: rounds(other, coordinator) == before + 1, 10)


def test_h02_all_a_write_is_on_every_disk_when_it_is_acknowledged_and_without_one_disk_it_is_not(other, client):
    client.must("login", user="h02")
    client.must("channel", channel="h02-sala")
    for number in range(5):
        reply = client.must("publish", user="h02", channel="h02-sala", message=f"em todos {number}")
        assert reply["durable"] == {"fsynced": 3, "of": 3}
    frozen = other.server(3)
    os.kill(frozen, signal.SIGSTOP)
    try:
        reply = Client(rep_of(1)).ask("publish", user="h02", channel="h02-sala", message="em dois")
        assert (reply["status"], reply["retry"]) == ("erro", True)
    finally:
        os.kill(frozen, signal.SIGCONT)
    post = lambda: client.ask("publish", user="h02", channel="h02-sala", message="de volta")
    wait_until("writes go on", lambda: post()["status"] == "sucesso")


def test_g01_l08_the_lowest_rank_coordinates_and_its_heir_is_the_next_and_says_so(other):
    """Last, since it stops a server for a while."""
    wait_until("the lowest coordinates", lambda: leader(other) == "server-1", ELECTED_SECONDS)
    subscriber = zmq.Context.instance().socket(zmq.SUB)
    subscriber.linger = 0
    subscriber.connect(PROXY)
    subscriber.subscribe("servers")
    # It is in force once the proxy counts it.
    in_force = "papo_proxy_subscriptions 1"
    wait_until("the subscription is in force", lambda: in_force in other.get("proxy", "/metrics")[1].splitlines())
    first = other.server(1)
    os.kill(first, signal.SIGSTOP)
    try:
        topic, body = receive(subscriber, ELECTED_SECONDS)
    finally:
        os.kill(first, signal.SIGCONT)
    announced = Client().unpack(body)["data"]
    assert (topic, announced["coordinator"], announced["rank"]) == (b"servers", "server-2", 2)
    wait_until("all agree", lambda: leader(other) == "server-2", ELECTED_SECONDS)
    subscriber.close()
