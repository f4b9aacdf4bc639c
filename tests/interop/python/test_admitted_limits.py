"""What the texts admit they cannot do (rows M1 to M9): papo can, or says in its README that it cannot either."""

import os
import re
import signal
from collections import Counter
from pathlib import Path

import zmq

from clients import Client, Listener, rep_of
from conftest import SERVERS, texts, wait_until

README = " ".join((Path(__file__).parents[3] / "README.md").read_text().split())


def readme_says(*words: str) -> None:
    for sentence in words:
        assert sentence in README


def test_m4_anyone_may_speak_under_any_name_as_the_readme_says(own_cluster):
    readme_says("users have no passwords, so anyone may speak under any name")
    client, impostor = Client(), Client()
    for user in ("m4-ana", "m4-bia"):
        client.must("login", user=user)
    client.must("channel", channel="m4-sala")
    impostor.must("publish", user="m4-ana", channel="m4-sala", message="não fui eu")
    [post] = impostor.ask("history", channel="m4-sala")["messages"]
    assert post["user"] == "m4-ana"


def test_m5_the_readme_gives_a_figure_for_how_soon_all_servers_show_a_post():
    assert re.search(r"how soon every server shows what was acknowledged: while 64 clients post, p99 \d+ to \d+ ms", README)


def test_m6_every_server_is_sent_every_write_as_the_readme_says(own_cluster):
    readme_says("every server holds all, so each write is sent to every other one")
    client = Client()
    client.must("login", user="m6")
    client.must("channel", channel="m6-sala")
    assert client.must("publish", user="m6", channel="m6-sala", message="uma vez")["durable"]["of"] == len(SERVERS)
    own_cluster.equal_exports()
    assert [texts(export, "publications.jsonl") for export in own_cluster.exports()] == [["uma vez"]] * len(SERVERS)


def test_m8_each_write_stands_for_itself_as_the_readme_says(own_cluster):
    readme_says("each write stands for itself, for there are no transactions")
    client = Client()
    client.must("login", user="m8")
    client.must("channel", channel="m8-sala")
    client.must("publish", user="m8", channel="m8-sala", message="primeira")
    assert client.ask("publish", user="m8", channel="m8-nenhum", message="segunda")["status"] == "erro"
    assert [post["message"] for post in client.ask("history", channel="m8-sala")["messages"]] == ["primeira"]


# --- Caching, balancing, routing ----------------------------------------------------------------------------------------------

REQUESTS = 60
# Of manifests/minimal.yaml.
PROXIES = 2


def test_m9_requests_go_to_all_servers_alike(own_cluster):
    client = Client()
    client.must("login", user="m9")
    client.must("channel", channel="m9-sala")
    took = Counter(client.must("publish", user="m9", channel="m9-sala", message=str(number))["position"]["server"] for number in range(REQUESTS))
    # In turns, but for a server that is busy at the moment.
    assert len(took) == len(SERVERS) and min(took.values()) >= REQUESTS / len(SERVERS) / 2, took


def test_m9_a_subscriber_is_sent_its_topics_only(own_cluster):
    """What a SUB does not want is not sent and dropped there: a socket that takes everything gets no more than it named."""
    reader = zmq.Context.instance().socket(zmq.XSUB)
    reader.linger = 0
    reader.connect("tcp://127.0.0.1:5558")
    reader.send(b"\x01m9-um")
    client = Client()
    client.must("login", user="m9-dois")
    for channel in ("m9-um", "m9-umbigo"):
        client.must("channel", channel=channel)
    post = lambda channel, text: client.must("publish", user="m9-dois", channel=channel, message=text)

    def in_force():
        post("m9-um", "?")
        return reader.poll(100)

    wait_until("the subscription is in force", in_force)
    for number in range(20):
        post("m9-umbigo", str(number))
    post("m9-um", "fim")
    topics, last = set(), b""
    while b"fim" not in last:
        assert reader.poll(20_000)
        topic, last = reader.recv_multipart()
        topics.add(topic)
    assert topics == {b"m9-um"}
    reader.close()


def test_m9_a_proxy_that_hung_passes_on_what_it_missed_once(own_cluster):
    """Servers keep what they published until the proxy has it."""
    listener = Listener("m9-sala")
    client = Client(rep_of(1))
    client.must("login", user="m9")
    client.must("channel", channel="m9-sala")
    pid = own_cluster.pid_on(5558)
    linked = lambda: f'papo_connections{{endpoint="proxies"}} {PROXIES}' in own_cluster.get("server-1", "/metrics")[1].splitlines()
    wait_until("server-1 is linked to all proxies", linked)
    # Heard before; the server sends it again, since it cannot know.
    client.must("publish", user="m9", channel="m9-sala", message="antes")
    assert [body["message"] for _, body in listener.everything()] == ["antes"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until("server-1 has given the proxy up", lambda: not linked())
        posts = [f"entretanto {number}" for number in range(10)]
        for post in posts:
            client.must("publish", user="m9", channel="m9-sala", message=post)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [body["message"] for _, body in listener.everything()] == ["antes", *posts]
    listener.close()
