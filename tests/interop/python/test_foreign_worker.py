"""A broker of ours with servers that are not: plain REP sockets that connect to 5556 and know nothing of papo (row A03)."""

import time

import msgpack
import pytest
import zmq

from clients import Client
from conftest import wait_until
from foreign import Plain, running

WORKERS_ADDRESS = "tcp://127.0.0.1:5556"
# Of `hasty`: what a worker may take over a request, and a client's request in all.
SERVER_SECONDS, ALL_SECONDS = 1, 3
# A loaded machine's share.
SLACK_SECONDS = 10


@pytest.fixture
def broker(tmp_path):
    with running(tmp_path, "broker", listens=(5555, 5556)) as process:
        yield process


@pytest.fixture
def hasty(tmp_path):
    """With short deadlines."""
    settings = tmp_path / "settings.yaml"
    deadlines = f"serverDeadlineSeconds: {SERVER_SECONDS}, deadlineSeconds: {ALL_SECONDS}"
    settings.write_text(f"clusterId: tests/workers\nmembers: [server-1]\nspec: {{replicas: 1, broker: {{{deadlines}}}}}\n")
    with running(tmp_path, "broker", "--settings", str(settings), listens=(5555, 5556)) as process:
        yield process


class Worker(Plain):
    """Answers every request with its own name, as the seeds' servers do: REP, connected to the broker."""

    def __init__(self, name: str):
        super().__init__()
        self.label = name
        self.asked: list[bytes] = []
        self.start()

    def work(self) -> None:
        socket = self.socket(zmq.REP)
        socket.connect(WORKERS_ADDRESS)
        while not self.stopping.is_set():
            if socket.poll(100):
                self.asked.append(socket.recv())
                if not self.answer(socket, self.asked[-1]):
                    return

    def answer(self, socket: zmq.Socket, request: bytes) -> bool:
        """Whether it goes on."""
        service = msgpack.unpackb(request)["service"]
        socket.send(msgpack.packb({"service": service, "data": {"status": "sucesso", "by": self.label}}))
        return True


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


# --- What a worker answers is the client's to read ---------------------------------------------------------------------------

ANSWERS = {
    "b01 JSON to a MessagePack request": b'{"service": "login", "data": {"status": "sucesso"}}',
    "flat": msgpack.packb({"success": True, "message": "ok"}),
    "b01 of an old encoder": msgpack.packb({"service": "login", "data": {"status": "x" * 40}}, use_bin_type=False),
    "nothing": b"",
    "no encoding at all": b"\x00\xff OK",
    "what begins like papo's own words": b"\x01A",
    "a megabyte": bytes(1 << 20),
}


class Parrot(Worker):
    """Says what it was told to."""

    def answer(self, socket: zmq.Socket, request: bytes) -> bool:
        socket.send(self.answers)
        return True


def test_a03_every_answer_of_a_foreign_worker_comes_byte_for_byte_and_so_does_every_request(broker):
    worker, client = Parrot("parrot"), Client()
    for kind, answer in ANSWERS.items():
        worker.answers = answer
        asked = f"what a foreign server reads, the broker need not: {kind}".encode()
        assert client.ask_raw(asked) == answer, kind
        assert worker.asked[-1] == asked
    worker.stop()


# --- Workers that wedge, die, and come back ----------------------------------------------------------------------------------


class Wedging(Worker):
    """Answers until it is asked something odd; then it stays connected, and answers no more."""

    def answer(self, socket: zmq.Socket, request: bytes) -> bool:
        if b"odd" in request:
            while not self.stopping.is_set():
                time.sleep(0.02)
            return False
        return super().answer(socket, request)


def test_a03_a_worker_that_wedges_costs_one_answer_and_gets_no_more_requests(hasty):
    wedging, healthy = Wedging("wedging"), Worker("healthy")
    client = Client()
    wait_until("both answer", lambda: {client.ask("login", user="x")["by"] for _ in range(4)} == {"wedging", "healthy"})
    # One of two goes to each.
    for number in range(2):
        asker, begun = Client(), time.monotonic()
        reply = asker.ask("publish", user="odd", channel="c", message=str(number))
        assert time.monotonic() - begun < ALL_SECONDS + SLACK_SECONDS
        # Who has it may have stored it; so nobody else gets it.
        assert reply.get("by") == "healthy" or (reply["status"], reply["code"], reply["retry"]) == ("erro", "unknown", True), reply
        asker.close()
    had = len(wedging.asked)
    assert {client.ask("login", user="x")["by"] for _ in range(20)} == {"healthy"}
    assert len(wedging.asked) == had
    assert sum(b"odd" in request for request in wedging.asked + healthy.asked) == 2, "each was given to one worker"
    for worker in (wedging, healthy):
        worker.stop()


class Dying(Worker):
    """Closes its socket with a request in its hands."""

    def answer(self, socket: zmq.Socket, request: bytes) -> bool:
        return b"last" not in request and super().answer(socket, request)


@pytest.mark.parametrize("service", ["publish", "users"])
def test_a03_a_worker_that_dies_in_mid_request_leaves_an_answer_and_a_write_is_done_by_nobody_else(hasty, service):
    dying, client = Dying("dying"), Client()
    wait_until("it answers", lambda: client.ask("login", user="x")["by"] == "dying")
    client.send(service, user="last", channel="c", message="x")
    wait_until("it is gone", lambda: not dying.is_alive())
    second = Worker("second")
    reply = client.answer()["data"]
    if service == "publish":
        assert (reply["status"], reply["code"]) == ("erro", "unknown"), reply
        assert not any(b"last" in request for request in second.asked)
    else:
        assert reply.get("by") == "second" or reply["code"] in ("no_server", "unknown"), reply
    assert client.ask("login", user="x")["by"] == "second"
    second.stop()


def test_a03_workers_come_and_go_and_no_reader_notices(broker):
    """What a worker takes with it when it goes, another is asked, since it changes nothing."""
    client, current = Client(), Worker("worker-0")
    for number in range(1, 6):
        following = Worker(f"worker-{number}")
        wait_until("it takes part", lambda: client.ask("users")["by"] == following.label)
        current.stop()
        assert [client.ask("users")["by"] for _ in range(5)] == [following.label] * 5
        current = following
    current.stop()


# --- Beside servers of ours: last, as the cluster has the ports from here on -----------------------------------------------------


def test_beside_servers_of_ours_a_foreign_one_gets_nothing(cluster):
    worker = Worker("stranger")
    client = Client()
    replies = [client.ask("login", user="x") for _ in range(12)]
    assert all("by" not in reply for reply in replies)
    worker.stop()
