"""Which sockets are where, what passes through them, and what papo's own clients ask for (rows A02 to A16, C10, C14, D01, D05)."""

import os
import subprocess

import pytest
import zmq

from clients import PROXY, Client, Listener, receive, rep_of
from conftest import PAPO, wait_until
from ears import ear, kind_in, started  # noqa: F401
from raw import Raw, command, greeting, message, ready

pytestmark = pytest.mark.usefixtures("cluster")

PORTS = {
    "a02_a04_router_5555": (5555, b"REQ", "ROUTER"),
    "a02_a04_dealer_5556": (5556, b"REP", "DEALER"),
    "a07_xsub_5557": (5557, b"PUB", "XSUB"),
    "a07_xpub_5558": (5558, b"SUB", "XPUB"),
    "a07_xpub_5560": (5560, b"SUB", "XPUB"),
    "a08_rep_5559": (5559, b"REQ", "REP"),
    "a08_rep_6000": (6000, b"REQ", "REP"),
    "a05_a12_rep_5601": (5601, b"REQ", "REP"),
}


@pytest.mark.parametrize("which", PORTS)
def test_a_port_is_the_socket_that_the_texts_name(which):
    port, ours, theirs = PORTS[which]
    peer = Raw(port, greeting() + ready(ours))
    peer.take(64)
    assert kind_in(peer.take_frame()[1]) == theirs
    peer.close()


def test_a02_a_dealer_is_served_like_a_req_and_out_of_turn():
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect("tcp://127.0.0.1:5555")
    packer = Client()
    for number in range(20):
        dealer.send_multipart([b"", packer.pack({"service": "login", "data": {"user": f"dealer-{number}"}})])
    for _ in range(20):
        empty, body = receive(dealer)
        assert empty == b"" and packer.unpack(body)["data"]["status"] == "sucesso"
    everybody = {f"dealer-{number}" for number in range(20)}
    wait_until("all are listed", lambda: everybody <= set(packer.ask("users")["users"]))
    dealer.close()
    packer.close()


def test_a16_the_names_of_the_texts_lead_a_client_to_one_server_and_papos_own_win(cluster):
    client = Client()
    client.must("login", user="ambiente")
    for number, environment in (
        (2, {"SERVER_URL": "tcp://127.0.0.1:5602"}),
        (3, {"SERVER_URL": "tcp://127.0.0.1:5602", "PAPO_SERVER": "127.0.0.1:5603"}),
    ):
        text = f"por {number}"
        chat = subprocess.run(
            [PAPO, "chat", "--user", "ambiente"], input=f"/join ambiente-{number}\n{text}\n", env=os.environ | environment, text=True, timeout=60, capture_output=True
        )
        assert chat.returncode == 0, chat.stdout + chat.stderr
        posts = lambda: client.ask("history", channel=f"ambiente-{number}").get("messages")
        [post] = wait_until("the post is shown", posts)
        assert (post["message"], post["position"]["server"]) == (text, f"server-{number}")


def test_a16_auto_client_and_username_make_a_bot_of_a_client(started):
    started("chat", AUTO_CLIENT="true", USERNAME="automata", BROKER_ENDPOINT="tcp://127.0.0.1:5555", PROXY_XPUB=PROXY)
    client = Client()
    wait_until("it has logged in", lambda: "automata" in client.ask("users")["users"])

    def posts():
        channels = client.ask("channels")["channels"]
        return [post for channel in channels for post in client.ask("history", channel=channel)["messages"] if post["user"] == "automata"]

    wait_until("it writes by itself", posts)


# --- What passes through the proxy --------------------------------------------------------------------------------------------


def test_a07_a10_b06_c10_d01_posts_and_direct_messages_come_under_bare_names_at_either_port():
    listeners = [Listener("geral", "alice", address=address) for address in (PROXY, "tcp://127.0.0.1:5560")]
    client = Client()
    for user in ("alice", "bob"):
        client.must("login", user=user)
    # A bot may have made it.
    client.ask("channel", channel="geral")
    client.must("publish", user="bob", channel="geral", message="a todos")
    client.must("message", src="bob", dst="alice", message="só a ti")
    client.must("message", src="alice", dst="bob", message="e a ti")
    for listener in listeners:
        heard = sorted((topic, body["message"]) for topic, body in listener.everything())
        assert heard == [("alice", "só a ti"), ("geral", "a todos")]
        listener.close()


def test_d05_a07_a_publisher_is_told_of_the_subscription_and_what_it_publishes_is_passed_on():
    context = zmq.Context.instance()
    publisher, subscriber = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    for one, address in ((publisher, "tcp://127.0.0.1:5557"), (subscriber, PROXY)):
        one.linger = 0
        one.connect(address)
    assert receive(publisher)[0][:1] == b"\x01", "the XSUB subscribes, as libzmq's publishers expect"
    subscriber.subscribe("alheio")

    def heard():
        publisher.send_multipart([b"alheio", b"\x80"])
        return subscriber.poll(50)

    wait_until("what a stranger publishes is heard", heard)
    assert receive(subscriber) == [b"alheio", b"\x80"]
    publisher.close()
    subscriber.close()


@pytest.mark.parametrize("minor", [0, 1])
def test_d05_a_subscription_is_in_force_until_it_is_taken_back_in_zmtp_3(minor):
    """As a message of 3.0, and as a command of 3.1."""
    wanted, after = f"canal-{minor}", f"depois-{minor}"
    subscribe = lambda topic: message(b"\x01" + topic.encode()) if minor == 0 else command(b"SUBSCRIBE", topic.encode())
    cancel = lambda topic: message(b"\x00" + topic.encode()) if minor == 0 else command(b"CANCEL", topic.encode())
    client = Client()
    client.must("login", user="d05")
    for channel in (wanted, after):
        client.must("channel", channel=channel)
    post = lambda channel, text: client.must("publish", user="d05", channel=channel, message=text)
    subscriber = Raw.greeted(5558, b"SUB", minor=minor)

    def heard(channel: str) -> set[bytes]:
        """Topics that come after a post to this channel."""
        post(channel, "?")
        return {frames[0] for frames in subscriber.messages_within(0.3)}

    subscriber.say(subscribe(wanted))
    wait_until("the subscription is in force", lambda: heard(wanted) == {wanted.encode()})
    subscriber.say(cancel(wanted) + subscribe(after))
    wait_until("the other one is in force", lambda: after.encode() in heard(after))
    post(wanted, "unheard")
    assert heard(after) == {after.encode()}
    subscriber.close()


# --- Clients ------------------------------------------------------------------------------------------------------------------


def test_a11_c14_papos_own_client_is_a_req_and_a_sub_for_its_name_and_its_channels(ear, started):
    broker, proxy = ear(), ear()
    started("chat", "--user", "calada", "--broker", broker.address, "--proxy", proxy.address)
    assert broker.meet(b"ROUTER") in ("REQ", "DEALER")

    # Its requests are answered by a real server from here on.
    chat = started("chat", "--user", "ouvinte", "--server", rep_of(1), "--proxy", proxy.address)
    chat.stdin.write(b"/join sala\n")
    chat.stdin.flush()
    assert proxy.meet(b"XPUB") == "SUB"
    proxy.subscriptions((True, "ouvinte"), (True, "geral"), (True, "sala"))
    chat.stdin.write(b"/leave sala\n")
    chat.stdin.flush()
    proxy.subscriptions((False, "sala"))
