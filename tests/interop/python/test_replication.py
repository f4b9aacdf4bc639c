"""What servers do for each other, seen from outside (rows E10, H03 to H14): links between them are papo's own, so what counts is what comes of it."""

import json
import os
import signal
import threading
import time

import pytest

from clients import Client, Listener, rep_of
from conftest import SERVERS, Cluster, kill, texts, wait_until

ELECTED_SECONDS = 30
# Row H13; and what papo promises in its place (row M5), with much room for a busy machine.
WINDOW_SECONDS = 60
PROMISED_SECONDS = 5
LOCAL = """\
apiVersion: papo.dev/v1alpha1
kind: ChatCluster
metadata: {name: local}
spec: {durability: local, broker: {replicas: 1}, proxy: {replicas: 1}}
"""


def status(cluster, number: int) -> dict:
    return json.loads(cluster.get(f"server-{number}", "/status")[1] or "{}")


def of_all(cluster, key: str, numbers=SERVERS) -> list:
    return [status(cluster, number).get(key) for number in numbers]


def coordinator(cluster, numbers=SERVERS) -> str | None:
    """Whom all of these name."""
    named = set(of_all(cluster, "coordinator", numbers))
    return named.pop() if len(named) == 1 else None


def test_e10_every_server_names_one_coordinator_and_all_the_same(own_cluster):
    named = wait_until("all name one", lambda: coordinator(own_cluster), ELECTED_SECONDS)
    assert named in {f"server-{number}" for number in SERVERS}
    leading = "papo_server_is_coordinator 1"
    leads = lambda number: leading in own_cluster.get(f"server-{number}", "/metrics")[1].splitlines()
    wait_until("only that one leads", lambda: [f"server-{number}" for number in SERVERS if leads(number)] == [named])


def test_h03_h05_h06_h12_every_kind_of_operation_of_every_server_is_on_all_disks_with_its_names_texts_and_times(own_cluster):
    servers = {number: Client(rep_of(number)) for number in SERVERS}
    for number, server in servers.items():
        server.must("login", user=f"pessoa-{number}", timestamp=1_700_000_000 + number)
        server.must("channel", channel=f"canal-{number}")
        server.must("publish", user=f"pessoa-{number}", channel=f"canal-{number}", message=f"post {number}", timestamp=1_700_000_100 + number)
        server.must("message", src=f"pessoa-{number}", dst=f"pessoa-{number}", message=f"nota {number}", timestamp=1_700_000_200 + number)
    exported = own_cluster.equal_exports()
    data = json.loads(exported["server_data.json"])
    assert sorted(login["username"] for login in data["logins"]) == [f"pessoa-{number}" for number in SERVERS]
    assert sorted(data["channels"]) == [f"canal-{number}" for number in SERVERS]
    posts = [{"user": f"pessoa-{number}", "channel": f"canal-{number}", "message": f"post {number}", "timestamp": 1_700_000_100 + number} for number in SERVERS]
    notes = [{"src": f"pessoa-{number}", "dst": f"pessoa-{number}", "message": f"nota {number}", "timestamp": 1_700_000_200 + number} for number in SERVERS]
    assert sorted(data["channel_messages"], key=lambda post: post["user"]) == posts
    assert sorted(data["user_messages"], key=lambda note: note["src"]) == notes
    # Each with its Lamport clock and the server of its origin.
    lines = [json.loads(line) for name in ("publications.jsonl", "messages.jsonl") for line in exported[name].splitlines()]
    for line in lines:
        assert line["position"]["server"] == f"server-{line['message'][-1]}" and line["clock"] >= line["position"]["lamport"] > 0


def test_h04_an_operation_names_its_origin_and_goes_round_in_no_circles(own_cluster):
    listener = Listener("h04-sala")
    for number in SERVERS:
        Client(rep_of(number)).must("login", user=f"h04-{number}")
    Client(rep_of(1)).must("channel", channel="h04-sala")
    for number in SERVERS:
        server = Client(rep_of(number))
        wait_until("the channel is known", lambda: "h04-sala" in server.ask("channels")["channels"])
        server.must("publish", user=f"h04-{number}", channel="h04-sala", message=str(number))
    heard = [(body["message"], body["origin"]) for _, body in listener.everything()]
    assert sorted(heard) == [(str(number), f"server-{number}") for number in SERVERS]
    data = json.loads(own_cluster.equal_exports()["server_data.json"])
    written = sum(len(entries) for entries in data.values())
    wait_until("each server holds each once", lambda: of_all(own_cluster, "operations") == [written] * len(SERVERS))
    # Long enough for servers to compare what they hold several times.
    time.sleep(4)
    assert of_all(own_cluster, "operations") == [written] * len(SERVERS)


def test_h06_replicate_from_outside_is_refused_and_changes_nothing(own_cluster):
    """The message that the texts show."""
    for number in SERVERS:
        client = Client(rep_of(number))
        content = {"username": "intruso", "timestamp": 1_234_567_890}
        reply = client.ask("replicate", type="login", content=content, timestamp=1_234_567_890, clock=15)
        assert (reply["status"], reply["code"]) == ("erro", "unknown_service")
        assert "intruso" not in client.ask("users")["users"]


def test_h01_h07_servers_compare_all_that_they_hold_and_find_it_equal(own_cluster):
    client = Client()
    client.must("login", user="h07")
    client.must("channel", channel="h07-sala")
    for number in range(20):
        client.must("publish", user="h07", channel="h07-sala", message=str(number))
    wait_until("all digests are equal", lambda: len(set(of_all(own_cluster, "digest"))) == 1)
    assert len(set(of_all(own_cluster, "operations"))) == 1
    assert not any(of_all(own_cluster, "diverged"))


def test_h11_many_clients_at_once_at_one_server_get_their_own_answers_and_nothing_is_lost_or_doubled(own_cluster):
    setup = Client(rep_of(1))
    setup.must("channel", channel="h11-sala")
    positions, failures = [], []

    def write(number: int) -> None:
        client = Client(rep_of(1))
        try:
            for count in range(10):
                name = f"{number}/{count}"
                client.must("login", user=f"h11-{name}")
                position = client.must("publish", user=f"h11-{name}", channel="h11-sala", message=name)["position"]
                assert position["server"] == "server-1"
                positions.append(position["seq"])
        except AssertionError as error:
            failures.append(error)
        client.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(32)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures
    expected = sorted(f"{number}/{count}" for number in range(32) for count in range(10))
    assert len(set(positions)) == len(expected)
    assert sorted(texts(own_cluster.equal_exports(), "publications.jsonl")) == expected


def test_h13_m5_what_one_server_acknowledged_all_show_within_seconds(own_cluster):
    servers = {number: Client(rep_of(number)) for number in SERVERS}
    servers[1].must("login", user="h13")
    servers[1].must("channel", channel="h13-sala")
    slowest = 0.0
    for count in range(15):
        writer = SERVERS[count % 3]
        wait_until("the channel is known", lambda: "h13-sala" in servers[writer].ask("channels")["channels"])
        servers[writer].must("publish", user="h13", channel="h13-sala", message=str(count))
        began = time.monotonic()
        for number, server in servers.items():
            shown = lambda: str(count) in [entry["message"] for entry in server.ask("history", channel="h13-sala").get("messages", [])]
            wait_until(f"server-{number} shows it", shown, WINDOW_SECONDS)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < PROMISED_SECONDS


def test_h14_what_was_acknowledged_outlives_the_coordinator_and_is_replicated_after_the_election(own_cluster):
    first = wait_until("a coordinator", lambda: coordinator(own_cluster), ELECTED_SECONDS)
    number = int(first.removeprefix("server-"))
    others = [other for other in SERVERS if other != number]
    client = Client()
    client.must("login", user="h14")
    client.must("channel", channel="h14-sala")
    client.must("publish", user="h14", channel="h14-sala", message="antes")
    victim = own_cluster.server(number)
    os.kill(victim, signal.SIGSTOP)
    client.must("publish", user="h14", channel="h14-sala", message="durante")
    changed = lambda: coordinator(own_cluster, others) not in (None, first)
    wait_until("the others elect another", changed, ELECTED_SECONDS)
    client.must("publish", user="h14", channel="h14-sala", message="depois")
    kill(victim)
    wait_until("it is started again", lambda: own_cluster.pid_of_server(number) not in (None, victim))
    assert texts(own_cluster.equal_exports(), "publications.jsonl") == ["antes", "durante", "depois"]


@pytest.fixture
def local(tmp_path):
    manifest = tmp_path / "local.yaml"
    manifest.write_text(LOCAL)
    cluster = Cluster(tmp_path)
    cluster.start(manifest)
    yield cluster
    cluster.stop()


def test_h10_local_a_client_does_not_wait_for_the_other_servers_and_they_have_it_later(local):
    client = Client(rep_of(1))
    client.must("login", user="h10")
    client.must("channel", channel="h10-sala")
    frozen = [local.server(number) for number in (2, 3)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        posts = [f"sozinho {number}" for number in range(10)]
        for post in posts:
            reply = client.must("publish", user="h10", channel="h10-sala", message=post)
            assert reply["durable"] == {"fsynced": 1, "of": 3}
        assert [entry["message"] for entry in client.ask("history", channel="h10-sala")["messages"]] == posts
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert texts(local.equal_exports(), "publications.jsonl") == posts
