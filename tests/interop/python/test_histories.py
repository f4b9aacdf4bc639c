"""Histories and `sync` from any server: complete, in one order, each message once."""

import itertools
import time

import pytest

from clients import Client, rep_of
from conftest import SERVERS, texts, wait_until


@pytest.fixture
def asked(cluster):
    """A client of each server."""
    clients = {number: Client(rep_of(number)) for number in SERVERS}
    yield clients
    for client in clients.values():
        client.close()


def until_all_know(asked, channel: str) -> None:
    for number, client in asked.items():
        wait_until(f"server-{number} knows {channel}", lambda: channel in client.ask("channels")["channels"])


def entries(reply: dict) -> list[str]:
    return [entry["message"] for entry in reply.get("messages", reply.get("publications"))]


def test_c10_direct_messages_to_someone_away_wait_behind_the_cursor_on_every_server(asked):
    asked[1].must("login", user="ausente")
    wait_until("server-2 knows the user", lambda: "ausente" in asked[2].ask("users")["users"])
    asked[1].must("message", src="clio", dst="ausente", message="antes")
    # Two disks are enough for the acknowledgement: they need not include this server's.
    wait_until("server-2 shows it", lambda: entries(asked[2].ask("history", user="ausente")) == ["antes"])
    cursor = asked[2].ask("history", user="ausente", papo_cursor=b"")["papo_cursor"]
    for number in range(3):
        asked[1 + number % 2].must("message", src="clio", dst="ausente", message=f"enquanto {number}")
    for number, client in asked.items():
        expected = [f"enquanto {number}" for number in range(3)]
        wait_until(f"server-{number} has all", lambda: entries(client.ask("history", user="ausente", papo_cursor=cursor)) == expected)


def test_c18_all_four_foreign_services_agree_with_the_history_on_every_server(asked):
    asked[1].must("channel", channel="acordo")
    asked[1].must("login", user="acorda")
    until_all_know(asked, "acordo")
    posts = [f"post {number}" for number in range(30)]
    directs = [f"direct {number}" for number in range(30)]
    servers = itertools.cycle(SERVERS)
    for post, direct in zip(posts, directs):
        asked[next(servers)].must("publish", user="clio", channel="acordo", message=post)
        asked[next(servers)].must("message", src="clio", dst="acorda", message=direct)
    # One after the other over three servers: each has heard of the one before, so the order is known.
    for number, client in asked.items():
        services = [("history", "channel"), ("history_channel", "channel"), ("get_publications", "channel")]
        for service, field in services:
            wait_until(f"{service} of server-{number}", lambda: sorted(entries(client.ask(service, **{field: "acordo"}))) == sorted(posts))
        for service in ("history", "history_messages", "get_messages"):
            wait_until(f"{service} of server-{number}", lambda: sorted(entries(client.ask(service, user="acorda"))) == sorted(directs))
    for services, scope in (
        (("history", "history_channel", "get_publications"), {"channel": "acordo"}),
        (("history", "history_messages", "get_messages"), {"user": "acorda"}),
    ):
        answers = [entries(client.ask(service, **scope)) for client in asked.values() for service in services]
        assert answers == answers[:1] * len(answers), "one order everywhere"


def test_h08_sync_gives_what_is_newer_than_the_time_asked_for(asked):
    client = asked[1]
    client.must("channel", channel="sincronia")
    client.must("login", user="cedo")
    client.must("publish", user="cedo", channel="sincronia", message="cedo")
    client.must("message", src="cedo", dst="cedo", message="só para mim")
    time.sleep(2.1)
    since = int(time.time())
    client.must("login", user="tarde")
    client.must("publish", user="tarde", channel="sincronia", message="tarde")
    synced = client.ask("sync", last_sync=since)
    assert [login["username"] for login in synced["logins"]] == ["tarde"]
    assert [message["message"] for message in synced["channel_messages"]] == ["tarde"]
    assert synced["user_messages"] == []
    # Names are few, and have no time: always all.
    assert "sincronia" in synced["channels"]
    assert isinstance(synced["timestamp"], int) and isinstance(synced["clock"], int)
    whole = client.ask("sync", last_sync=0)
    assert {"cedo", "tarde"} <= {message["message"] for message in whole["channel_messages"]}
    assert {"src", "dst", "message", "timestamp"} <= set(whole["user_messages"][-1])
    assert {"user", "channel", "message", "timestamp"} <= set(whole["channel_messages"][-1])


def test_h09_equal_words_of_one_second_are_two_messages_and_a_repeated_one_is_one(cluster, asked):
    asked[1].must("channel", channel="gémeos")
    until_all_know(asked, "gémeos")
    post = {"user": "clio", "channel": "gémeos", "message": "oi", "timestamp": 1_700_000_000}
    for number in SERVERS:
        asked[number].must("publish", **post)
    for number in SERVERS:
        asked[number].must("publish", **post | {"message": "uma vez", "papo_id": bytes(range(16))})
    exported = texts(cluster.equal_exports(), "publications.jsonl")
    assert exported.count("oi") == 3 and exported.count("uma vez") == 1
    for client in asked.values():
        assert sorted(entries(client.ask("history", channel="gémeos"))) == ["oi", "oi", "oi", "uma vez"]
        of_sync = [message["message"] for message in client.ask("sync", last_sync=0)["channel_messages"]]
        assert of_sync.count("oi") == 3 and of_sync.count("uma vez") == 1
