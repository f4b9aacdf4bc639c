"""A write is acknowledged once most servers have it on disk: with one of three away it is, with two away nobody says so."""

import os
import signal
import time

import pytest
from clients import Client, Listener, rep_of
from conftest import SERVERS, texts, wait_until

# Longer than a server waits for its peers, and for a dead link to be noticed.
NOTICED_SECONDS = 4


@pytest.fixture
def frozen(own_cluster):
    """Freezes servers, and thaws them at the end."""
    pids = []

    def freeze(number: int) -> None:
        pid = own_cluster.server(number)
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)

    def thaw() -> None:
        while pids:
            os.kill(pids.pop(), signal.SIGCONT)

    freeze.thaw = thaw
    yield freeze
    thaw()


def publish(client: Client, text: str) -> dict:
    return client.ask("publish", user="alice", channel="geral", message=text)


def prepared(cluster) -> Client:
    client = Client()
    client.must("login", user="alice")
    client.must("channel", channel="geral")
    cluster.equal_exports()
    return client


def test_h02_majority_a_write_is_on_two_of_three_disks_when_it_is_acknowledged(own_cluster):
    client = prepared(own_cluster)
    reply = publish(client, "dois discos")
    assert reply["status"] == "OK" and reply["durable"]["of"] == 3
    assert reply["durable"]["fsynced"] >= 2


def test_writes_go_on_with_one_of_three_servers_frozen(own_cluster, frozen):
    client = prepared(own_cluster)
    frozen(3)
    for number in range(20):
        assert publish(client, f"post {number}")["status"] == "OK"
    time.sleep(NOTICED_SECONDS)
    direct = Client(rep_of(1))
    assert publish(direct, "direto")["status"] == "OK"
    frozen.thaw()
    own_cluster.equal_exports()


def test_h02_with_two_of_three_frozen_nothing_is_acknowledged_and_nothing_is_lost_or_doubled(own_cluster, frozen):
    client = prepared(own_cluster)
    listener = Listener("geral")
    own_cluster.equal_exports()
    frozen(2)
    frozen(3)
    direct = Client(rep_of(1))
    reply = publish(direct, "sozinho")
    assert (reply["status"], reply["retry"]) == ("erro", True)
    # Held here, and shown to nobody.
    assert reply["code"] == "unknown"
    assert direct.ask("history", channel="geral")["messages"] == []
    time.sleep(NOTICED_SECONDS)
    reply = publish(direct, "recusado")
    assert (reply["status"], reply["code"], reply["retry"]) == ("erro", "no_server", True)
    reply = publish(client, "pelo broker")
    assert (reply["status"], reply["retry"]) == ("erro", True)
    assert reply["code"] in ("unknown", "no_server")
    assert direct.ask("users")["users"], "reads go on"
    frozen.thaw()
    wait_until("writes go on", lambda: publish(direct, "de volta")["status"] == "OK")
    stored = texts(own_cluster.equal_exports(), "publications.jsonl")
    assert "sozinho" in stored and "recusado" not in stored
    assert len(stored) == len(set(stored))
    heard = [body["message"] for _, body in listener.everything()]
    assert sorted(heard) == sorted(stored), "what became durable late was published late, and once"


def test_a_cursor_from_one_server_goes_on_at_the_others(own_cluster):
    client = prepared(own_cluster)
    posts = [f"post {number}" for number in range(30)]
    for post in posts:
        assert publish(client, post)["status"] == "OK"
    read, cursor, more = [], b"", True
    servers = [Client(rep_of(number)) for number in SERVERS]
    page = 0
    while more:
        reply = servers[page % 3].ask("history", channel="geral", papo_cursor=cursor, limit=7)
        read += [message["message"] for message in reply["messages"]]
        cursor, more = reply["papo_cursor"], reply["more"]
        page += 1
    assert read == posts
    as_json = Client(rep_of(2), encoding="json")
    reply = as_json.ask("history", channel="geral", papo_cursor="", limit=29)
    assert [message["message"] for message in reply["messages"]] == posts[:29] and reply["more"]
    reply = as_json.ask("history", channel="geral", papo_cursor=reply["papo_cursor"])
    assert [message["message"] for message in reply["messages"]] == posts[29:] and not reply["more"]
    publish(client, "depois")
    for server in servers:
        # Written through another server, it is here in a moment.
        new = wait_until("the new post is read", lambda: server.ask("history", channel="geral", papo_cursor=cursor)["messages"])
        assert [message["message"] for message in new] == ["depois"]
    reply = servers[0].ask("history", user="alice", papo_cursor=cursor)
    assert (reply["status"], reply["code"]) == ("erro", "cursor_invalid")
