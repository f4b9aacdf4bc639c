"""The roles as processes that a test starts by hand, or as a manifest names them (rows A01, A05, A06, A12, A15, A16, C08)."""

import json
import socket
import struct
import subprocess
from pathlib import Path

import msgpack

from clients import Client
from conftest import PAPO, SERVERS, START_SECONDS, descendants, listening_inodes, wait_until
from ears import ear, started  # noqa: F401
from raw import Raw, message

REF = "tcp://127.0.0.1:6000"
# Of one server by itself.
ADDRESSES = ("--listen", "127.0.0.1:5601", "--peer-listen", "127.0.0.1:5701", "--http", "127.0.0.1:8081")


def test_a01_a15_j05_every_part_runs_as_often_as_the_manifest_says(own_cluster):
    """And beside them a bot and a person's client are parts of the same program."""
    rows = own_cluster.http()
    assert set(rows) == {"broker-1", "broker-2", "proxy-1", "proxy-2", "ref", "server-1", "server-2", "server-3"}
    of_process = [open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0") for pid in descendants(own_cluster.process.pid)]
    assert sorted(words[1] for words in of_process) == [b"broker"] * 2 + [b"proxy"] * 2 + [b"ref"] + [b"server"] * 3
    own_cluster.stop()
    own_cluster.output.unlink()
    manifest = own_cluster.folder / "other.yaml"
    bots = "{replicas: 2, channels: [geral], messageMilliseconds: 100}"
    spec = f"{{replicas: 1, broker: {{replicas: 1}}, proxy: {{replicas: 1}}, bots: {bots}}}"
    manifest.write_text(f"apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata: {{name: other}}\nspec: {spec}\n")
    own_cluster.data = own_cluster.folder / "other"
    own_cluster.start(manifest)
    assert set(own_cluster.http()) == {"broker", "proxy", "ref", "server-1"}
    client = Client()
    authors = lambda: {post["user"] for post in client.ask("sync", last_sync=0).get("channel_messages", [])}
    wait_until("both bots write", lambda: len(authors()) == 2)


def test_a05_a12_a_server_connects_a_rep_to_the_broker_a_pub_to_the_proxy_and_a_req_to_ref(ear, started, tmp_path):
    broker, proxy, ref = ear(), ear(), ear()
    targets = ("--broker", broker.address, "--proxy", proxy.address, "--ref", ref.address)
    started("server", "--name", "server-1", "--data", tmp_path / "data", *targets, *ADDRESSES)
    assert (broker.meet(b"DEALER"), proxy.meet(b"XSUB"), ref.meet(b"REP")) == ("REP", "PUB", "REQ")


def test_a16_a_server_reads_its_addresses_under_the_names_of_the_texts(ear, started, tmp_path):
    broker, proxy, ref = ear(), ear(), ear()
    host, port = ref.address.split(":")
    started(
        *("server", *ADDRESSES),
        SERVER_NAME="server-7",
        PERSIST_DIR=str(tmp_path / "kept"),
        BROKER_URL=f"tcp://{broker.address}",
        PROXY_XSUB=f"tcp://{proxy.address}",
        REF_HOST=host,
        REF_PORT=port,
    )
    assert (broker.meet(b"DEALER"), proxy.meet(b"XSUB"), ref.meet(b"REP")) == ("REP", "PUB", "REQ")
    assert b"server-7" in b"".join(ref.peer.take_message()), "it asks ref for the rank of this name"
    assert list((tmp_path / "kept").iterdir())


def logins_in(volume: Path) -> set[str]:
    exported = subprocess.run([PAPO, "export", "--data", volume, "server_data.json"], capture_output=True, timeout=30)
    return {login["username"] for login in json.loads(exported.stdout)["logins"]}


def test_a06_three_servers_answer_on_5555_5556_and_5557_with_ranks_and_volumes_of_their_own(started, tmp_path):
    (tmp_path / "token").write_text("a secret that this cluster alone knows")
    common = ("--token-file", tmp_path / "token")
    started("ref", *common, "--data", tmp_path / "ref-data", "--listen", "127.0.0.1:6000", "--http", "127.0.0.1:8090")
    peers = {number: f"server-{number}=127.0.0.1:{5700 + number}" for number in SERVERS}
    ports = dict(zip(SERVERS, (5555, 5556, 5557)))
    for number, port in ports.items():
        started(
            *("server", *common, "--name", f"server-{number}", "--data", tmp_path / f"server-{number}-data"),
            *("--listen", f"127.0.0.1:{port}", "--peer-listen", f"127.0.0.1:{5700 + number}", "--http", f"127.0.0.1:{8080 + number}"),
            *("--ref", "127.0.0.1:6000", "--peers", ",".join(peer for other, peer in peers.items() if other != number)),
        )
    wait_until("all listen", lambda: all(listening_inodes(port) for port in (6000, *ports.values())), START_SECONDS)
    clients = {number: Client(f"tcp://127.0.0.1:{port}") for number, port in ports.items()}
    for number, client in clients.items():
        wait_until(f"server-{number} takes writes", lambda: client.ask("login", user=f"por-{number}")["status"] == "sucesso")
    everybody = {f"por-{number}" for number in SERVERS}
    for number, client in clients.items():
        wait_until(f"server-{number} lists all", lambda: set(client.ask("users")["users"]) == everybody)
    asker = Client(REF)
    ranks = lambda: {server["name"]: server["rank"] for server in asker.ask("list")["list"]}
    wait_until("all have their ranks", lambda: ranks() == {"server-1": 1, "server-2": 2, "server-3": 3})
    for number in SERVERS:
        wait_until(f"the volume of server-{number} holds all", lambda: logins_in(tmp_path / f"server-{number}-data") == everybody)


# --- The order of a write ------------------------------------------------------------------------------------------------------

# Of socket(7): the kernel's own time of what came.
SO_TIMESTAMPNS = 35


def stamped(peer: Raw) -> int:
    """When the next bytes came, in nanoseconds, whenever this process came to read them."""
    data, ancillary, _, _ = peer.socket.recvmsg(1 << 16, 1024)
    assert data, "closed"
    peer.heard += data
    [(_, _, stamp)] = [part for part in ancillary if part[1] == SO_TIMESTAMPNS]
    seconds, nanoseconds = struct.unpack("qq", stamp[:16])
    return seconds * 10**9 + nanoseconds


def test_c08_a_post_is_published_before_it_is_answered(ear, started, tmp_path):
    proxy = ear()
    started("server", "--name", "server-1", "--data", tmp_path / "data", "--proxy", proxy.address, *ADDRESSES)
    # A peer of ZMTP 3.0 is sent no PING, which would want its answer.
    assert proxy.meet(b"XSUB", minor=0) == "PUB"
    proxy.peer.say(message(b"\x01"))
    wait_until("the server listens", lambda: listening_inodes(5601))
    client = Raw.greeted(5601, b"REQ")
    pack = lambda service, **data: message(b"", msgpack.packb({"service": service, "data": data}))

    def ask(*request) -> dict:
        client.say(request[0])
        return msgpack.unpackb(client.take_message()[1])["data"]

    assert ask(pack("login", user="ana"))["status"] == "sucesso"
    assert ask(pack("channel", channel="sala"))["status"] == "sucesso"
    for peer in (client, proxy.peer):
        peer.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    for number in range(20):
        client.say(pack("publish", user="ana", channel="sala", message=str(number)))
        answered, published = stamped(client), stamped(proxy.peer)
        assert msgpack.unpackb(client.take_message()[1])["data"]["status"] == "OK"
        topic, body, *_ = proxy.peer.take_message()
        assert (topic, msgpack.unpackb(body)["message"]) == (b"sala", str(number))
        assert published < answered
    client.close()
