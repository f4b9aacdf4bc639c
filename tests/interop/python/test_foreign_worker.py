"""A broker of ours with servers that are not: plain REP sockets that connect to 5556 and know nothing of papo (row A03)."""

import subprocess
import threading

import msgpack
import pytest
import zmq

from clients import Client
from conftest import PAPO, listening_inodes, wait_until

WORKERS_ADDRESS = "tcp://127.0.0.1:5556"


@pytest.fixture
def broker(tmp_path):
    with (tmp_path / "broker.log").open("wb") as log:
        process = subprocess.Popen([PAPO, "broker"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until("the broker listens", lambda: listening_inodes(5555) and listening_inodes(5556))
        yield process
    finally:
        process.terminate()
        process.wait(20)


class Worker(threading.Thread):
    """Answers every request with its own name, as the seeds' servers do: REP, connected to the broker."""

    def __init__(self, name: str):
        super().__init__(daemon=True)
        self.label = name
        self.stopping = threading.Event()
        self.start()

    def run(self) -> None:
        socket = zmq.Context.instance().socket(zmq.REP)
        socket.linger = 0
        socket.connect(WORKERS_ADDRESS)
        while not self.stopping.is_set():
            if socket.poll(100):
                request = msgpack.unpackb(socket.recv())
                socket.send(msgpack.packb({"service": request["service"], "data": {"status": "sucesso", "by": self.label}}))
        socket.close()

    def stop(self) -> None:
        self.stopping.set()
        self.join(10)


def test_a03_foreign_rep_servers_behind_our_broker_take_turns(broker):
    workers = [Worker("one"), Worker("two")]
    client = Client()
    # Both take part once both are connected, and from then on in turns.
    wait_until("both workers answer", lambda: {client.ask("login", user="x")["by"] for _ in range(4)} == {"one", "two"})
    answers = [client.ask("login", user="x")["by"] for _ in range(8)]
    assert answers in (["one", "two"] * 4, ["two", "one"] * 4)
    for worker in workers:
        worker.stop()


def test_without_any_server_the_request_waits_and_a_late_worker_serves_it(broker):
    client = Client()
    client.send("login", user="early")
    worker = Worker("late")
    assert client.answer()["data"]["by"] == "late"
    worker.stop()


def test_without_any_server_the_answer_is_erro_no_server(broker):
    reply = Client().ask("login", user="x")
    assert reply["status"] == "erro" and reply["code"] == "no_server" and reply["retry"] is True


def test_beside_servers_of_ours_a_foreign_one_gets_nothing(cluster):
    worker = Worker("stranger")
    client = Client()
    replies = [client.ask("login", user="x") for _ in range(12)]
    assert all("by" not in reply for reply in replies)
    worker.stop()
