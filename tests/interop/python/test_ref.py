"""The reference service as a real process (rows A08, A09, E07, F01 to F07): ranks, list, heartbeats, clock; and the epochs that it
grants to papo's own servers and to nobody else."""

import itertools
import json
import os
import random
import shutil
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import msgpack
import pytest
import zmq

from clients import Client
from conftest import PAPO, START_SECONDS, STOP_SECONDS, alive, kill, wait_until
from raw import Raw, message

PORTS = (5559, 6000)
HTTP = "127.0.0.1:8080"
TOKEN = b"a secret that this cluster alone knows"
# Nothing is granted for so long after a start.
QUIET_SECONDS = 2
# A row of F04, faster: the default of 60 s is tested in the mind's own tests.
EXPIRY_SECONDS = 2
FOREIGN_NAMES_MAX = 1000
NONE = {"number": 0, "boot": "0" * 16}


class Ref:
    """One `papo ref` for the members server-1 to server-3, with its heartbeats expiring fast."""

    def __init__(self, folder: Path):
        self.folder, self.data, self.log = folder, folder / "data", folder / "ref.log"
        (folder / "token").write_bytes(TOKEN)
        members = ["server-1", "server-2", "server-3"]
        spec = {"replicas": 3, "ref": {"heartbeatSeconds": 1, "expirySeconds": EXPIRY_SECONDS}}
        settings = {"clusterId": "tests/ref", "generation": 1, "members": members, "spec": spec}
        (folder / "settings.yaml").write_text(json.dumps(settings))
        self.common = ["--settings", folder / "settings.yaml", "--token-file", folder / "token"]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PAPO, "ref", *self.common, "--data", self.data, "--http", HTTP],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "RUST_LOG": "info"},
            )
        wait_until("ref is ready", self.is_ready, START_SECONDS)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{HTTP}{path}", timeout=10) as answer:
            return answer.read().decode()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/readyz") is not None
        except OSError:
            return False

    def kill(self) -> None:
        kill(self.process.pid)
        self.process.wait(STOP_SECONDS)

    def event(self, name: str) -> int:
        """What ref counted so far."""
        label = f'papo_ref_events_total{{event="{name}"}} '
        return int(next(line for line in self.get("/metrics").splitlines() if line.startswith(label)).split()[-1])

    def counts(self, name: str, total: int) -> None:
        wait_until(f"{name} is {total}", lambda: self.event(name) == total)


@pytest.fixture
def ref(tmp_path):
    ref = Ref(tmp_path)
    ref.start()
    yield ref
    ref.kill()


def client(port: int = PORTS[0], encoding: str = "msgpack") -> Client:
    return Client(f"tcp://127.0.0.1:{port}", encoding)


class Server:
    """One of papo's own servers, as far as ref can tell: its link shows the cluster token."""

    def __init__(self, name: str, boot: int, token: bytes = TOKEN, encoding: str = "msgpack"):
        properties = [(b"X-Papo-Token", token)] if token else []
        self.link = Raw.greeted(PORTS[0], b"REQ", *properties)
        self.name, self.boot, self.json = name, f"{boot:016x}", encoding == "json"

    def ask(self, service: str, **data) -> dict:
        request = {"service": service, "data": {"user": self.name, **data}}
        self.link.say(message(b"", json.dumps(request).encode() if self.json else msgpack.packb(request)))
        empty, body = self.link.take_message()
        assert empty == b""
        return (json.loads if self.json else msgpack.unpackb)(body)["data"]

    def claim(self, seen: dict, reached: int = 3) -> dict:
        return self.ask("claim", boot=self.boot, seen=seen, reached=reached)

    def must_claim(self, seen: dict) -> dict:
        """An epoch; the quiet after a start and a holder that says no more are waited for."""

        def settled():
            answer = self.claim(seen)
            return answer["claim"] not in ("too_soon", "held") and answer

        answer = wait_until("a claim need not wait", settled, 10)
        assert answer["claim"] == "granted", answer
        assert answer["epoch"] == {"number": seen["number"] + 1, "boot": self.boot}
        return answer["epoch"]

    def epoch(self) -> dict:
        """The highest that ref knows."""
        return self.ask("report", epoch=NONE, reached=1)["epoch"]


# --- What the exercise prescribes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_a08_ref_answers_on_both_ports_in_both_encodings(ref, port, encoding):
    asker = client(port, encoding)
    assert asker.ask("rank", user="server-2")["rank"] == 2
    assert asker.ask("heartbeat", user="server-2")["status"] == "OK"
    assert {"name": "server-2", "rank": 2}.items() <= asker.ask("list")["list"][0].items()


def test_a09_ref_talks_to_servers_only(ref):
    for service, data in [("login", {"user": "ana"}), ("publish", {"user": "ana", "channel": "c", "message": "m"}), ("users", {})]:
        reply = client().ask(service, **data)
        assert (reply["status"], reply["code"]) == ("erro", "unknown_service"), reply


def test_e07_f06_ref_has_a_clock(ref):
    before = int(time.time())
    reply = client().ask("clock")
    assert before <= reply["time"] <= time.time() + 1 and isinstance(reply["time"], int)


def test_e03_the_lamport_clock_of_ref_goes_past_the_askers(ref):
    asker = client()
    first = asker.ask("list", clock=1000)["clock"]
    assert first >= 1002
    assert asker.ask("list")["clock"] > first


def test_f01_a_rank_is_unique_from_1_and_the_same_at_every_asking(ref):
    asker = client()
    names = ["server-1", "server-2", "server-3", "alfa", "beta"]
    assert [asker.ask("rank", user=name)["rank"] for name in names] == [1, 2, 3, 4, 5]
    assert [asker.ask("rank", name=name)["rank"] for name in reversed(names)] == [5, 4, 3, 2, 1]


def test_f02_the_list_is_of_the_servers_alive_as_an_array_and_as_a_map(ref):
    asker = client()
    asker.ask("rank", user="server-1", addr="10.0.0.1", port=5555)
    asker.ask("heartbeat", server="server-3")
    reply = asker.ask("list")
    assert [(server["name"], server["rank"]) for server in reply["list"]] == [("server-1", 1), ("server-3", 3)]
    assert (reply["list"][0]["addr"], reply["list"][0]["port"]) == ("10.0.0.1", 5555)
    assert {name: server["rank"] for name, server in reply["servers"].items()} == {"server-1": 1, "server-3": 3}


def start_server(folder: Path, common: list) -> subprocess.Popen:
    """server-2, which asks ref on port 6000."""
    log = (folder / "server.log").open("ab")
    return subprocess.Popen(
        [
            *(PAPO, "server", *common, "--name", "server-2", "--data", folder / "server"),
            *("--peers", "server-1=127.0.0.1:1", "--ref", "127.0.0.1:6000", "--http", "127.0.0.1:8081"),
            *("--listen", "127.0.0.1:5602", "--peer-listen", "127.0.0.1:5702"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "RUST_LOG": "info"},
    )


def test_f03_l09_a_server_beats_by_itself_and_registers_again_with_a_new_ref(ref, tmp_path):
    server = start_server(tmp_path, ref.common)

    def beat():
        listed = client().ask("list")["servers"].get("server-2")
        return listed and listed["last_beat"]

    try:
        first = wait_until("server-2 is listed", beat)
        wait_until("it beats on", lambda: (beat() or 0) > first + EXPIRY_SECONDS)
        ref.kill()
        shutil.rmtree(ref.data)
        ref.start()
        wait_until("it is listed by a ref that knew nothing of it", beat)
    finally:
        kill(server.pid)
        server.wait(STOP_SECONDS)


def test_a_server_asks_one_thing_at_a_time_and_takes_no_late_answer_for_anothers(tmp_path):
    ref = Ref(tmp_path)
    socket = zmq.Context.instance().socket(zmq.ROUTER)
    socket.linger = 0
    socket.bind("tcp://127.0.0.1:6000")

    def asked(seconds: float = 20):
        """Who asks what next, and whether the link shows the cluster token."""
        assert socket.poll(seconds * 1000), "server-2 asks nothing"
        who, empty, body = socket.recv_multipart(copy=False)
        request = msgpack.unpackb(body.bytes)
        assert (empty.bytes, request["data"]["user"]) == (b"", "server-2")
        assert body.get("X-Papo-Token") == TOKEN.decode()
        return who.bytes, request["service"]

    def answer(who: bytes, **data) -> None:
        socket.send_multipart([who, b"", msgpack.packb({"service": "any", "data": data})])

    def rank():
        with urllib.request.urlopen("http://127.0.0.1:8081/status", timeout=10) as status:
            return json.loads(status.read())["rank"]

    server = start_server(tmp_path, ref.common)
    try:
        first, service = asked()
        assert service == "rank"
        assert not socket.poll(1500), "the next question waits for the answer"
        # None comes: another link, and everything from the start.
        second, service = asked()
        assert second != first and service == "rank"
        try:
            answer(first, rank=66)
        except zmq.ZMQError:
            pass
        answer(second, rank=2)
        # What is asked next was answered before: a heartbeat's answer may hold a rank, and it does not count.
        third, service = asked()
        assert (third, service) == (second, "heartbeat")
        answer(second, rank=77)
        wait_until("server-2 has its rank", lambda: rank() == 2)
        # An answer to nothing.
        who, _ = asked()
        answer(who, status="OK")
        answer(who, rank=88)
        asked()
        assert rank() == 2
    finally:
        kill(server.pid)
        server.wait(STOP_SECONDS)
        socket.close()


def test_f04_a_server_without_heartbeat_leaves_the_list_and_keeps_its_rank(ref):
    asker = client()
    rank = asker.ask("rank", user="gama")["rank"]
    listed = lambda: "gama" in asker.ask("list")["servers"]
    assert listed()
    wait_until("it has left the list", lambda: not listed())
    assert asker.ask("heartbeat", user="gama")["status"] == "OK"
    assert listed()
    assert asker.ask("rank", user="gama")["rank"] == rank


def test_f05_i04_ranks_are_on_disk_before_they_are_told(ref):
    asker = client()
    ranks = {name: asker.ask("rank", user=name)["rank"] for name in ("alfa", "beta", "server-1")}
    ref.kill()
    stored = json.loads((ref.data / "reference_data.json").read_text())
    assert ranks.items() <= stored.items()
    ref.start()
    assert {name: client().ask("rank", user=name)["rank"] for name in ranks} == ranks


# --- Epochs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_an_epoch_is_granted_once_kept_and_passed_on(ref, encoding):
    # A boot that JSON's numbers would not carry.
    three, two = Server("server-3", 2**64 - 1, encoding=encoding), Server("server-2", 2, encoding=encoding)
    assert three.claim(NONE)["claim"] == "too_soon"
    first = three.must_claim(NONE)
    assert three.claim(NONE) | {"clock": 0, "timestamp": 0} == {
        **{"success": True, "claim": "granted", "epoch": first},
        **{"clock": 0, "timestamp": 0},
    }
    refused = two.claim(NONE)
    assert (refused["claim"], refused["epoch"], refused["holder"]) == ("superseded", first, "server-3")
    assert three.ask("report", epoch=first, reached=3)["epoch"] == first
    refused = two.claim(first)
    assert (refused["claim"], refused["holder"]) == ("held", "server-3")
    assert three.ask("resign", epoch=first)["epoch"] == first
    assert two.must_claim(first)["number"] == 2
    assert two.claim({"number": 2**63, "boot": "0" * 16})["claim"] == "jump"
    assert three.ask("report", epoch=first, reached=3)["epoch"]["number"] == 2
    ref.counts("holder_changes", 2)
    ref.counts("claims_held", 1)
    assert "papo_ref_epoch 2" in ref.get("/metrics")


def test_a_granted_epoch_survives_kill_9(ref):
    three = Server("server-3", 3)
    epoch = three.must_claim(NONE)
    ref.kill()
    ref.start()
    two = Server("server-2", 2)
    refused = two.claim(NONE)
    assert (refused["claim"], refused["epoch"], refused["holder"]) == ("superseded", epoch, "server-3")
    assert two.claim(epoch)["claim"] == "too_soon", "the holder must have the time to report"
    assert Server("server-3", 3).ask("report", epoch=epoch, reached=3)["epoch"] == epoch
    assert two.must_claim(epoch)["number"] == 2, "the holder reported no more"


def test_a_ref_restored_from_an_old_volume_neither_blocks_nor_doubles_an_epoch(ref):
    servers = [Server("server-1", 1), Server("server-2", 2), Server("server-3", 3)]
    one, two, three = servers
    first = one.must_claim(NONE)
    one.ask("resign", epoch=first)
    shutil.copytree(ref.data, ref.folder / "backup")
    second = two.must_claim(first)
    two.ask("resign", epoch=second)
    third = three.must_claim(second)

    def restore():
        ref.kill()
        shutil.rmtree(ref.data)
        shutil.copytree(ref.folder / "backup", ref.data)
        ref.start()
        assert json.loads((ref.data / "reference_epoch.json").read_text())["number"] == 1
        return [Server(server.name, int(server.boot, 16)) for server in servers]

    # Its holder is still there: ref learns of it, and keeps it.
    one, two, three = restore()
    assert three.ask("report", epoch=third, reached=3)["epoch"] == third
    assert json.loads((ref.data / "reference_epoch.json").read_text())["number"] == 3
    assert one.claim(first)["claim"] == "superseded"
    # Its holder is not: who has seen most gets the next.
    one, two, three = restore()
    fourth = two.must_claim(third)
    assert fourth["number"] == 4
    # Who has seen less gets an epoch of its ref, and none that was granted before.
    one, two, three = restore()
    granted = one.must_claim(first)
    assert granted not in (second, third, fourth)


@pytest.mark.parametrize("token", [b"", b"0" * len(TOKEN), TOKEN[:-1], TOKEN + b"0"])
def test_without_the_cluster_token_nothing_moves_and_it_is_counted(ref, token):
    honest = Server("server-3", 3)
    epoch = honest.must_claim(NONE)
    stranger = Server("server-3", 4, token=token)
    huge = {"number": 2**40, "boot": "f" * 16}
    asked = [("claim", {"boot": stranger.boot, "seen": epoch, "reached": 9}), ("claim", {"boot": stranger.boot, "seen": huge, "reached": 9})]
    asked += [("report", {"epoch": huge, "reached": 9}), ("resign", {"epoch": epoch})]
    for service, data in asked:
        reply = stranger.ask(service, **data)
        assert (reply["status"], reply["code"], "epoch" in reply) == ("erro", "unknown_service", False), reply
    ref.counts("without_token", len(asked))
    assert honest.epoch() == epoch
    assert honest.claim(NONE)["claim"] == "granted", "it is still the holder"


def test_pyzmq_has_no_token(ref):
    reply = client().ask("claim", user="server-1", boot="0" * 16, seen=NONE, reached=3)
    assert (reply["status"], reply["code"]) == ("erro", "unknown_service")
    ref.counts("without_token", 1)


# --- Floods -----------------------------------------------------------------------------------------------------------------


def memory(pid: int) -> int:
    """The most that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def flood(requests: int, seed: int) -> None:
    """Random names and epochs, as fast as ref takes them, with at most 100 answers outstanding."""
    chance = random.Random(seed)
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect("tcp://127.0.0.1:5559")
    epoch = lambda: {"number": chance.getrandbits(63), "boot": f"{chance.getrandbits(64):016x}"}
    outstanding = 0
    for number in range(requests):
        data = {"user": f"flood-{chance.getrandbits(60):x}", "addr": "x" * 250, "boot": "0" * 16, "seen": epoch(), "epoch": epoch(), "reached": 9}
        service = ("rank", "heartbeat", "claim", "report", "resign")[number % 5]
        socket.send_multipart([b"", msgpack.packb({"service": service, "data": data})])
        outstanding += 1
        while outstanding > 100 or (number == requests - 1 and outstanding):
            assert socket.poll(20_000), "ref answers no more"
            socket.recv_multipart()
            outstanding -= 1
    socket.close()


def test_a_flood_of_100000_names_and_epochs_moves_nothing_and_members_are_served(ref):
    leader = Server("server-3", 3)
    epoch = leader.must_claim(NONE)
    before = memory(ref.process.pid)
    floods = [threading.Thread(target=flood, args=(25_000, seed), daemon=True) for seed in range(4)]
    for thread in floods:
        thread.start()
    slowest, rounds = 0.0, 0
    for rounds in itertools.count(1):
        begun = time.monotonic()
        assert leader.ask("report", epoch=epoch, reached=3)["epoch"] == epoch
        assert leader.ask("rank")["rank"] == 3
        slowest = max(slowest, time.monotonic() - begun)
        if not any(thread.is_alive() for thread in floods):
            break
        time.sleep(0.02)
    grown = memory(ref.process.pid) - before
    stored = json.loads((ref.data / "reference_data.json").read_text())
    print(f"{rounds} rounds of a member, the slowest took {slowest:.3f} s; {grown >> 10} KiB more; {len(stored)} names")
    assert slowest < 10
    assert grown < 32 << 20
    assert len(stored) <= FOREIGN_NAMES_MAX + 3
    assert alive(ref.process.pid)
    # Three in five of them.
    ref.counts("without_token", 60_000)
    assert ref.event("claims_granted") == 1
    assert leader.claim(NONE)["epoch"] == epoch
    # Once the flood is over, its names make room.
    wait_until("a new server is ranked", lambda: "rank" in client().ask("rank", user="delta"), 30)
