"""kill -9, and nobody notices but the process table."""

import json
import os
import random
import signal
import threading
import time

from clients import PROXY, Client, Listener, Silence, rep_of
from conftest import SERVERS, texts, wait_until

# Row L05 and the first part's acceptance: seconds until every server has it.
REPLICATED_SECONDS = 5
LOAD_CLIENTS = 4
KILLS = 6


def users(export: dict[str, bytes]) -> list[str]:
    return [login["username"] for login in json.loads(export["server_data.json"])["logins"]]


def test_i03_l05_a_login_through_server_1_reaches_every_disk_and_outlives_kill_9_of_all(own_cluster):
    client = Client(rep_of(1))
    client.must("login", user="teste_replicacao")
    wait_until(
        "the login is in every export",
        lambda: all("teste_replicacao" in users(export) for export in own_cluster.exports()),
        REPLICATED_SECONDS,
    )
    before = own_cluster.equal_exports()
    own_cluster.kill_all()
    own_cluster.start()
    assert own_cluster.equal_exports() == before
    for number in SERVERS:
        assert "teste_replicacao" in Client(rep_of(number)).ask("users")["users"]


def test_kill_9_of_the_server_that_holds_a_request_still_answers_the_blocking_client_once(own_cluster):
    listener = Listener("geral")
    writers = [Client() for _ in range(6)]
    writers[0].must("login", user="alice")
    writers[0].must("channel", channel="geral")
    own_cluster.equal_exports()

    victim = own_cluster.server(2)
    os.kill(victim, signal.SIGSTOP)
    for number, writer in enumerate(writers):
        writer.send("publish", user="alice", channel="geral", message=f"post {number}")
    # The others answer at once; who is left without a reply is held by the stopped one.
    held = [writer for writer in writers if not writer.socket.poll(500)]
    assert held, "round robin gave the stopped server nothing"
    os.kill(victim, signal.SIGKILL)

    for writer in writers:
        assert writer.answer()["data"]["status"] == "OK"
    posts = [f"post {number}" for number in range(len(writers))]
    assert sorted(body["message"] for _, body in listener.everything()) == posts
    assert sorted(texts(own_cluster.equal_exports(), "publications.jsonl")) == posts


def test_h14_m2_kill_9_again_and_again_under_load_loses_and_doubles_nothing(own_cluster):
    listener = Listener("load")
    first = Client()
    for number in range(LOAD_CLIENTS):
        first.must("login", user=f"writer-{number}")
    first.must("channel", channel="load")
    own_cluster.equal_exports()

    finished = threading.Event()
    sent: list[str] = []
    acknowledged: list[str] = []
    failures: list[str] = []

    def write(number: int) -> None:
        client = Client()
        count = 0
        while not finished.is_set():
            text = f"{number}/{count}"
            count += 1
            sent.append(text)
            try:
                reply = client.ask("publish", user=f"writer-{number}", channel="load", message=text)
            except Silence:
                failures.append(f"{text} was never answered")
                return
            if reply["status"] == "OK":
                acknowledged.append(text)
            elif not reply["retry"]:
                failures.append(f"{text}: {reply}")
            # A person's pace: the point is the kills, not the rate.
            time.sleep(0.005)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(LOAD_CLIENTS)]
    for writer in writers:
        writer.start()
    # The seed makes a failure repeatable as far as processes are.
    chance = random.Random(5)
    try:
        for _ in range(KILLS):
            before = len(acknowledged)
            wait_until("posts go on", lambda: len(acknowledged) > before + 20 or failures)
            number = chance.choice(SERVERS)
            killed = own_cluster.kill_server(number)
            wait_until(f"server-{number} is back", lambda: own_cluster.pid_of_server(number) not in (None, killed))
    finally:
        finished.set()
        for writer in writers:
            writer.join()

    assert not failures
    stored = texts(own_cluster.equal_exports(), "publications.jsonl")
    assert len(stored) == len(set(stored)), "a post was stored twice"
    assert set(acknowledged) <= set(stored) <= set(sent), "an acknowledged post is not stored"
    heard = [body["message"] for _, body in listener.everything()]
    assert len(heard) == len(set(heard)), "a post was delivered twice"
    assert set(heard) <= set(stored), "a post was delivered and not stored"
    missed = set(acknowledged) - set(heard)
    assert not missed, f"{len(missed)} of {len(acknowledged)} acknowledged posts were not delivered"


def test_a_frozen_subscriber_stops_nobody(own_cluster):
    """The proxy's queues are bounded: one reader that never reads does not hold up another."""
    frozen, healthy = Listener("busy"), Listener("busy")
    client = Client()
    client.must("login", user="talker")
    client.must("channel", channel="busy")
    posts = [f"{number} " + "x" * 10_000 for number in range(300)]
    for post in posts:
        client.must("publish", user="talker", channel="busy", message=post)
    assert sorted(body["message"] for _, body in healthy.everything()) == sorted(posts)
    frozen.close()


def test_stopping_ends_every_process(own_cluster):
    from conftest import alive, descendants

    pids = descendants(own_cluster.process.pid)
    assert pids
    own_cluster.stop()
    assert not any(map(alive, pids))
