"""Clocks, logical and of the wall, through real processes (rows E01 to E08, L03, L07)."""

import json
import re
import subprocess
import threading
import time

import msgpack
import pytest
import zmq

from clients import Client, rep_of
from conftest import PAPO, SERVERS, listening_inodes, wait_until

REF = "tcp://127.0.0.1:5559"
# A message that a process receives and one that it sends are an event each.
RECEIVE_AND_SEND = 2
# `clockSync.everyMessages`, by default; the manifest says nothing.
EVERY_MESSAGES = 10
ROUNDS_SECONDS = 20
# Half of a round trip on loopback, on a busy machine.
ERROR_MICROS_MAX = 50_000


# --- Lamport ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path):
    """A fresh server without peers, broker or ref; its address."""
    address = "127.0.0.1:5601"
    command = [PAPO, "server", "--name", "server-1", "--listen", address, "--peer-listen", "127.0.0.1:5701", "--http", "127.0.0.1:8081", "--data", tmp_path / "data"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until("the server listens", lambda: listening_inodes(5601))
        yield f"tcp://{address}"
    finally:
        process.terminate()
        process.wait(20)


def test_e04_a_login_goes_1_2_3_4(alone):
    clock = 0
    socket = Client(alone)
    clock += 1
    sent = clock
    reply = socket.ask("login", user="alice", clock=sent)
    # The server received it at 2.
    assert (sent, reply["position"]["lamport"], reply["clock"]) == (1, 2, 3)
    clock = max(clock, reply["clock"]) + 1
    assert clock == 4


@pytest.fixture
def stranger(tmp_path):
    """A broker of ours with a server that is not: it notes the clock of each request, and answers with one far ahead."""
    with (tmp_path / "broker.log").open("wb") as log:
        broker = subprocess.Popen([PAPO, "broker"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    wait_until("the broker listens", lambda: listening_inodes(5555) and listening_inodes(5556))
    received, told, stopping = [], [], threading.Event()

    def answer() -> None:
        socket = zmq.Context.instance().socket(zmq.REP)
        socket.linger = 0
        socket.connect("tcp://127.0.0.1:5556")
        while not stopping.is_set():
            if not socket.poll(100):
                continue
            request = msgpack.unpackb(socket.recv())
            received.append(request["data"].get("clock", request.get("clock")))
            told.append(received[-1] + 1000)
            data = {"status": "sucesso", "channels": ["roda"], "users": [], "clock": told[-1]}
            socket.send(msgpack.packb({"service": request["service"], "data": data}))
        socket.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield received, told
    finally:
        stopping.set()
        thread.join(10)
        broker.terminate()
        broker.wait(20)


@pytest.mark.parametrize("kind", ["chat", "bot"])
def test_e01_e02_e03_a_client_counts_what_it_sends_and_receives(stranger, tmp_path, kind):
    received, told = stranger
    command = [PAPO, "bot"] if kind == "bot" else [PAPO, "chat", "--user", "alice"]
    with (tmp_path / "client.log").open("wb") as log:
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
    try:
        client.stdin.write(b"/channels\n/users\n")
        client.stdin.flush()
        wait_until(f"the {kind} asks twice", lambda: len(received) >= 2)
    finally:
        client.kill()
        client.wait()
    assert received[0] >= 1
    for heard, sent in zip(told, received[1:]):
        assert sent >= heard + RECEIVE_AND_SEND, (received, told)


@pytest.mark.usefixtures("cluster")
def test_e01_e03_servers_and_ref_answer_later_than_they_are_asked():
    for address, service in ((REF, "clock"), *((rep_of(number), "channels") for number in SERVERS)):
        client, clock = Client(address), 1000
        for _ in range(3):
            reply = client.ask_whole(service, clock=clock)
            later = reply["data"].get("clock", reply.get("clock"))
            assert later >= clock + RECEIVE_AND_SEND, address
            clock = later


@pytest.mark.usefixtures("cluster")
def test_e01_the_clock_of_one_server_comes_to_the_others():
    """What they replicate carries it."""
    far = Client(rep_of(1)).must("login", user="ahead", clock=100_000)["clock"]
    assert far > 100_000
    for number in (2, 3):
        client = Client(rep_of(number))
        wait_until(f"server-{number} has heard of it", lambda client=client: client.ask("users", clock=0)["clock"] > 100_000)


def test_e05_l03_the_clock_is_in_the_logs_and_in_metrics(cluster):
    clock = Client(rep_of(2)).must("login", user="logged")["clock"]
    log = cluster.data / "logs" / "server-2.log"

    def answered():
        lines = (json.loads(line) for line in log.read_text().splitlines() if '"login"' in line)
        return [line["clock"] for line in lines if line.get("user") == "logged"]

    assert wait_until("the log says so", answered) == [clock]
    value = re.compile(r"^papo_server_lamport (\d+)$", re.M)
    wait_until("so does the metric", lambda: int(value.search(cluster.get("server-2", "/metrics")[1])[1]) >= clock)


# --- The wall's -------------------------------------------------------------------------------------------------------------


def status(cluster, number: int) -> dict:
    return json.loads(cluster.get(f"server-{number}", "/status")[1] or "{}")


def coordinator(cluster) -> int:
    """Whom all follow."""

    def followed():
        named = {status(cluster, number).get("coordinator") for number in SERVERS}
        return named.pop() if len(named) == 1 else None

    return int(wait_until("all servers follow one coordinator", followed).removeprefix("server-"))


def rounds(cluster, number: int) -> int:
    page = cluster.get(f"server-{number}", "/metrics")[1]
    return int(re.search(r'^papo_server_clock_rounds_total\{outcome="adjusted"\} (\d+)$', page, re.M)[1])


def test_e06_l07_ten_operations_make_a_round(cluster):
    """Three times: nothing else makes three in so short a time."""
    leader = coordinator(cluster)
    began = time.monotonic()
    client = Client()
    for turn in range(3):
        before = rounds(cluster, leader)
        for number in range(EVERY_MESSAGES):
            client.must("login", user=f"round-{turn}-{number}")
        wait_until("a round", lambda: rounds(cluster, leader) > before, ROUNDS_SECONDS)
    assert time.monotonic() - began < 3 * ROUNDS_SECONDS
    assert all(rounds(cluster, number) == 0 for number in SERVERS if number != leader)


def test_e07_e08_each_server_is_told_its_own_difference_from_the_mean(cluster):
    leader = coordinator(cluster)
    round = wait_until("a round", lambda: (status(cluster, leader).get("clock") or {}).get("lastRound"), 60)
    readings, mean = round["readingsMicros"], round["meanMicros"]
    assert round["outcome"] == "adjusted" and set(readings) == {f"server-{number}" for number in SERVERS}
    # Of the same machine's clock; whole microseconds.
    assert abs(mean - sum(readings.values()) / len(readings)) <= len(readings)
    assert set(round["adjustmentsMicros"]) == set(readings)
    for number in SERVERS:
        clock = status(cluster, number)["clock"]
        assert clock["adjusted"]["errorMicros"] <= ERROR_MICROS_MAX
        assert abs(clock["offsetMicros"]) <= ERROR_MICROS_MAX, "the system's clock was right"
        assert abs(Client(rep_of(number)).ask("clock")["time"] - time.time()) < 5
