"""Servers, brokers and proxies that know nothing of papo, each beside parts of papo that must work with it unchanged."""

import json
import subprocess
import time
from contextlib import ExitStack

import msgpack
import pytest
import zmq

from clients import Client, chat_in_a_dozen_lines, receive
from conftest import PAPO, SERVERS, wait_until
from foreign import ForeignServer, Plain, plain_broker, plain_proxy, running

REF = "tcp://127.0.0.1:5559"


def subscribed(*topics: str, port: int = 5558) -> zmq.Socket:
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.linger = 0
    socket.connect(f"tcp://127.0.0.1:{port}")
    for topic in topics:
        socket.subscribe(topic)
    return socket


# --- Our server behind what libzmq gives everybody --------------------------------------------------------------------------


@pytest.fixture
def among_plain_parts(tmp_path):
    """One server of ours; broker and proxy are libzmq's."""
    addresses = ("--listen", "127.0.0.1:5601", "--peer-listen", "127.0.0.1:5701", "--http", "127.0.0.1:8081")
    with ExitStack() as stack:
        stack.enter_context(plain_broker())
        stack.enter_context(plain_proxy())
        links = ("--broker", "127.0.0.1:5556", "--proxy", "127.0.0.1:5557")
        named = ("--name", "server-1", "--data", str(tmp_path / "data"))
        stack.enter_context(running(tmp_path, "server", *named, *addresses, *links, listens=(5601,)))
        yield


def test_a02_a05_a12_our_server_works_behind_a_plain_router_dealer_broker_and_a_plain_xsub_xpub_proxy(among_plain_parts):
    chat_in_a_dozen_lines()


def test_a02_a_refusal_passes_through_a_plain_broker_and_the_next_request_is_served(among_plain_parts):
    for encoding in ("msgpack", "json"):
        client = Client(encoding=encoding)
        assert client.ask("publish", user="ana", channel="nowhere", message="x")["code"] == "unknown_channel"
        # None of the words that mean something between papo's own parts.
        client.send_raw(b"\x01H" if encoding == "msgpack" else b"{")
        assert client.answer()["data"]["code"] == "bad_request"
        client.must("login", user="ana")
        client.close()


def test_a07_a_plain_proxy_gets_two_frames_each_publication_once(among_plain_parts):
    """A third frame would be an error for most subscribers: it is for proxies of papo only."""
    socket = subscribed("")
    client = Client()
    client.must("channel", channel="plain")
    wait_until("the subscription is in force", lambda: client.must("publish", user="ana", channel="plain", message="x") and socket.poll(50))
    client.must("publish", user="ana", channel="plain", message="last")
    heard = []
    while not heard or heard[-1]["message"] != "last":
        frames = receive(socket)
        assert len(frames) == 2 and frames[0] == b"plain"
        heard.append(msgpack.unpackb(frames[1]))
    assert len({body["message_id"] for body in heard}) == len(heard)
    assert not socket.poll(500)
    socket.close()


# --- Our clients with a server that is not ours -----------------------------------------------------------------------------


def chat(user: str, *lines: str) -> subprocess.Popen:
    process = subprocess.Popen([PAPO, "chat", "--user", user], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    process.stdin.write("".join(line + "\n" for line in lines))
    process.stdin.close()
    return process


@pytest.fixture(params=["our broker and proxy", "plain broker and proxy"])
def exchanges(request, tmp_path):
    with ExitStack() as stack:
        if request.param.startswith("our"):
            stack.enter_context(running(tmp_path, "broker", "--http", "127.0.0.1:8091", listens=(5555, 5556)))
            stack.enter_context(running(tmp_path, "proxy", "--http", "127.0.0.1:8092", listens=(5557, 5558)))
        else:
            stack.enter_context(plain_broker())
            stack.enter_context(plain_proxy())
        yield


@pytest.mark.parametrize("flat", [False, True], ids=["fields in data", "flat replies"])
def test_a11_j03_papo_chat_talks_to_a_foreign_server(exchanges, flat):
    with ForeignServer(flat=flat) as server:
        ana = chat("ana", "/join roda", "/expect 20 pronto", "bom dia", "/expect 20 trago café", "/msg bento obrigada", "/expect 20 de nada")
        bento = chat("bento", "/sleep 2", "/join roda", "/users", "pronto", "/expect 20 bom dia", "/msg ana trago café", "/expect 20 obrigada", "/msg ana de nada")
        said = {}
        for name, process in {"ana": ana, "bento": bento}.items():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            said[name] = (process.wait(), process.stdout.read())
    assert [status for status, _ in said.values()] == [0, 0], said
    assert {"login", "publish", "message"} <= set(server.asked)
    assert "bento" in said["ana"][1] and "ana" in said["bento"][1]


def test_l01_a_dozen_lines_get_the_same_from_a_foreign_server_behind_our_broker_and_proxy(tmp_path):
    """What is passed on is passed on as it is: the same program, the same lines."""
    with ExitStack() as stack:
        stack.enter_context(running(tmp_path, "broker", "--http", "127.0.0.1:8091", listens=(5555, 5556)))
        stack.enter_context(running(tmp_path, "proxy", "--http", "127.0.0.1:8092", listens=(5557, 5558)))
        server = stack.enter_context(ForeignServer())
        # Its direct messages say `from`; these lines read `user`, as S2's channel messages have it.
        server.services["message"] = lambda data: server.tell(data["dst"], user=data["src"], message=data["message"]) or {"status": "OK"}
        chat_in_a_dozen_lines()


@pytest.mark.parametrize(("setting", "in_json"), [("none", ()), ("alias", (5560,)), ("all", (5558, 5560))])
def test_b01_the_settings_say_at_which_of_a_proxys_ports_publications_are_json(tmp_path, setting, in_json):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"clusterId: tests/json\nmembers: [server-1]\nspec: {{replicas: 1, compat: {{jsonPublications: {setting}}}}}\n")
    options = ("--settings", str(settings), "--http", "127.0.0.1:8092")
    published = {"user": "alice", "message": "olá", "id": b"\x01\x02\xff"}
    with running(tmp_path, "proxy", *options, listens=(5557, 5558, 5560)):
        publisher = zmq.Context.instance().socket(zmq.PUB)
        publisher.linger = 0
        publisher.connect("tcp://127.0.0.1:5557")
        for port in (5558, 5560):
            ear = subscribed("geral", port=port)

            def heard():
                publisher.send_multipart([b"geral", msgpack.packb(published)])
                return ear.poll(50)

            wait_until("it is heard", heard)
            _, body = receive(ear)
            if port in in_json:
                assert body == '{"user":"alice","message":"olá","id":"AQL_"}'.encode()
            else:
                assert body == msgpack.packb(published)
            ear.close()
        publisher.close()


# --- A foreign server's PUB through our proxy -------------------------------------------------------------------------------

PUBLISHED = {
    "c16 s2s channel publication": (b"tech", msgpack.packb({"user": "alice", "message": "oi", "timestamp": 1234567890}), True),
    "c17 s2s direct message": (b"bob", msgpack.packb({"from": "alice", "message": "oi", "timestamp": 1234567890}), False),
    "c17 with src and dst in data": (b"bob", msgpack.packb({"service": "message", "data": {"src": "alice", "dst": "bob", "message": "oi"}}), False),
    "b01 a channel publication in JSON": (b"tech", b'{"user": "alice", "message": "oi"}', True),
    "b01 a direct message in JSON": (b"bob", b'{"To": "bob", "message": "oi"}', False),
    "b06 text without any encoding": (b"tech", "alice: olá".encode(), True),
    "d03 a publication of an old encoder": (b"tech", msgpack.packb({"user": "alice", "message": "x" * 40}, use_bin_type=False), True),
}


@pytest.fixture(scope="module")
def publisher(cluster):
    """A foreign PUB, and three subscribers: of the topics, of prefixes of them, and of everything."""
    socket = zmq.Context.instance().socket(zmq.PUB)
    socket.linger = 0
    socket.connect("tcp://127.0.0.1:5557")
    ears = {"named": subscribed("tech", "bob", "fence"), "prefix": subscribed("te", "bo", "fence"), "everything": subscribed("", "fence")}

    def ready():
        socket.send_multipart([b"fence", b"\x80"])
        return all(ear.poll(50) for ear in ears.values())

    wait_until("all subscriptions are in force", ready)
    yield socket, ears
    for one in (socket, *ears.values()):
        one.close()


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a10_d02_a_foreign_publication_comes_byte_for_byte_to_who_named_its_topic(publisher, kind):
    topic, body, public = PUBLISHED[kind]
    socket, ears = publisher
    fence = msgpack.packb({"fence": time.time_ns()})
    socket.send_multipart([topic, body])
    socket.send_multipart([b"fence", fence])
    heard = {name: until(ear, fence) for name, ear in ears.items()}
    assert heard["named"] == [[topic, body]]
    assert heard["prefix"] == []
    assert heard["everything"] == ([[topic, body]] if public else [])


def until(ear: zmq.Socket, fence: bytes) -> list[list[bytes]]:
    """What came before this fence, without other fences and others' posts."""
    heard = []
    while (frames := receive(ear)) != [b"fence", fence]:
        if frames[0] != b"fence":
            heard.append(frames)
    return heard


# --- A foreign server at our ref, and among our servers ---------------------------------------------------------------------


class ForeignMember(Plain):
    """What the seeds' servers do with ref and each other: rank, heartbeats, list, Bully's question, the clocks of all.

    It keeps what it found: its rank, the names listed, who said OK, what the clocks said, and who it takes to lead.
    """

    def __init__(self, name: str, encoding: str):
        super().__init__()
        self.label, self.encoding = name, encoding
        self.rank = 0
        self.listed: dict[str, int] = {}
        self.answered: dict[str, str] = {}
        self.clocks: dict[str, int] = {}
        self.coordinator = ""
        self.rounds = 0

    def work(self) -> None:
        # The exercise's servers know each other's hosts by their names; here, each has a port.
        places = {f"server-{number}": f"tcp://127.0.0.1:{5600 + number}" for number in SERVERS}
        ref = Client(REF, self.encoding)
        self.rank = ref.ask("rank", user=self.label)["rank"]
        while not self.stopping.is_set():
            ref.ask("heartbeat", user=self.label)
            listed = ref.ask("list")["list"]
            self.listed = {server["name"]: server["rank"] for server in listed}
            # Row G01, the lowest rank wins: everybody below is asked.
            lower = [name for name, rank in self.listed.items() if rank < self.rank and name in places]
            for name in lower:
                peer = Client(places[name], self.encoding)
                self.answered[name] = peer.ask("election")["election"]
                self.clocks[name] = peer.ask("clock")["time"]
                mean = sum(self.clocks.values()) // len(self.clocks)
                assert peer.ask("adjust", adjustment=mean - self.clocks[name])["status"] == "OK"
                peer.close()
            self.coordinator = min(self.listed, key=self.listed.get)
            self.rounds += 1
            time.sleep(0.05)
        ref.close()


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_f01_f02_f03_g04_e07_a_foreign_server_takes_part_in_rank_list_heartbeat_election_and_clock(cluster, encoding):
    name = f"foreign-{encoding}"
    before = wait_until("all servers agree on who leads", lambda: settled(cluster))
    with ForeignMember(name, encoding) as member:
        wait_until("it has gone three rounds", lambda: member.rounds >= 3)
        ours = {f"server-{number}": number for number in SERVERS}
        assert ours.items() <= member.listed.items()
        assert member.rank > max(ours.values()), "members keep the ranks of their names"
        assert member.listed[name] == member.rank
        assert member.answered == dict.fromkeys(ours, "OK"), "so it does not lead"
        assert member.coordinator == "server-1"
        assert all(abs(clock - time.time()) < 60 for clock in member.clocks.values())
        # Another foreign server finds it, as it finds ours.
        other = Client(REF)
        assert other.ask("list")["servers"][name]["rank"] == member.rank
        assert other.ask("rank", user=name)["rank"] == member.rank
        other.close()
    assert [status(cluster, number) for number in SERVERS] == before, "nobody was led or adjusted by it"


def settled(cluster) -> list[dict] | None:
    now = [status(cluster, number) for number in SERVERS]
    led = {said["coordinator"] for said in now}
    return now if len(led) == 1 and None not in led and all(said["rank"] for said in now) else None


def status(cluster, number: int) -> dict:
    said = json.loads(cluster.get(f"server-{number}", "/status")[1])
    return {key: said[key] for key in ("rank", "coordinator", "epoch", "digest")}
