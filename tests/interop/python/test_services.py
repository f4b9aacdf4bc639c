"""Each service as the exercise describes it, in every form that its texts give (rows C01 to C14, D06)."""

import subprocess
import time

import pytest

from clients import Client, Listener, rep_of
from conftest import PAPO, SERVERS, wait_until

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def client():
    client = Client()
    yield client
    client.close()


def listed(client: Client, service: str) -> list[str]:
    return client.ask(service)[service]


# --- Users and channels -------------------------------------------------------------------------------------------------------


def test_c01_a_login_is_answered_with_status_and_time_and_is_kept(client):
    before = int(time.time())
    reply = client.ask("login", user="c01", timestamp=before)
    assert reply["status"] == "sucesso" and reply["timestamp"] >= before
    kept = {login["username"]: login["timestamp"] for login in client.ask("sync", last_sync=0)["logins"]}
    assert before <= kept["c01"] <= time.time() + 1


def test_c02_idempotent_by_default_a_second_login_succeeds_and_the_name_is_listed_once(client):
    for _ in range(2):
        assert client.ask("login", user="c02")["status"] == "sucesso"
    assert Client(rep_of(2)).ask("login", user="c02")["status"] == "sucesso"
    assert listed(client, "users").count("c02") == 1


def test_c03_no_password_is_asked_for_and_none_is_checked(client):
    client.must("login", user="c03")
    for password in ("segredo", "outro", ""):
        client.must("login", user="c03", password=password)


def test_c04_users_lists_who_has_logged_in_at_every_server(client):
    names = {f"c04-{number}" for number in range(3)}
    for name in names:
        client.must("login", user=name)
    assert names <= set(listed(client, "users"))
    for number in SERVERS:
        server = Client(rep_of(number))
        wait_until(f"server-{number} lists them", lambda: names <= set(listed(server, "users")))


@pytest.mark.parametrize("field", ["channel", "name"])
def test_c05_a_channel_is_created_by_either_field(client, field):
    created = f"c05-{field}"
    assert client.ask("channel", **{field: created})["status"] == "sucesso"
    assert created in listed(client, "channels")
    again = client.ask("channel", **{field: created})
    assert (again["status"], again["code"]) == ("erro", "name_taken")


def test_c06_channels_are_listed_under_both_keys_and_users_are_not_among_them(client):
    client.must("login", user="c06-user")
    client.must("channel", channel="c06")
    reply = client.ask("channels")
    assert "c06" in reply["channels"] and reply["users"] == reply["channels"]
    assert "c06-user" not in reply["channels"] and "c06" not in listed(client, "users")


RESERVED = ("servers", "replica", "replication", "replicate")


@pytest.mark.parametrize("name", RESERVED)
def test_d06_a_reserved_topic_is_nobodys_name(client, name):
    for service, field in (("login", "user"), ("channel", "channel")):
        reply = client.ask(service, **{field: name})
        assert (reply["status"], reply["code"]) == ("erro", "reserved_name")
        assert name not in listed(client, "users") + listed(client, "channels")


def test_d06_a_name_is_a_users_or_a_channels(client):
    client.must("login", user="d06-user")
    client.must("channel", channel="d06-channel")
    for service, data in (("channel", {"channel": "d06-user"}), ("login", {"user": "d06-channel"})):
        reply = client.ask(service, **data)
        assert (reply["status"], reply["code"]) == ("erro", "name_taken"), reply
    assert "d06-channel" not in listed(client, "users") and "d06-user" not in listed(client, "channels")


# --- Posts and direct messages ------------------------------------------------------------------------------------------------

FORMS = {
    "user channel message": ("publish", {"user": "c07", "channel": "c07-sala", "message": "texto"}),
    "user channel msg": ("publish", {"user": "c07", "channel": "c07-sala", "msg": "texto"}),
    "channel msg": ("publish", {"channel": "c07-sala", "msg": "texto"}),
    "src dst message": ("message", {"src": "c07", "dst": "c09", "message": "texto"}),
    "from to content": ("message", {"from": "c07", "to": "c09", "content": "texto"}),
    "dst msg": ("message", {"dst": "c09", "msg": "texto"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_c07_c09_a_post_and_a_direct_message_are_ok_in_every_form_and_are_heard(client, form):
    service, data = FORMS[form]
    client.ask("channel", channel="c07-sala")
    for user in ("c09", "c07"):
        client.must("login", user=user)
    listener = Listener("c07-sala", "c09")
    before = int(time.time())
    reply = client.ask(service, **data)
    assert reply["status"] == "OK" and reply["timestamp"] >= before
    [(topic, body)] = listener.everything()
    assert (topic, body["user"], body["message"]) == (data.get("channel", "c09"), "c07", "texto")
    listener.close()


# --- Services that only some texts know ---------------------------------------------------------------------------------------


def test_c11_subscribe_and_unsubscribe_are_answered_and_the_sub_socket_alone_decides(client):
    client.must("login", user="c11")
    for channel in ("c11-ouvido", "c11-calado"):
        client.must("channel", channel=channel)
    listener = Listener("c11-ouvido")
    assert client.ask("subscribe", user="c11", topic="c11-calado")["status"] == "sucesso"
    assert client.ask("unsubscribe", user="c11", topic="c11-ouvido")["status"] == "sucesso"
    for channel in ("c11-ouvido", "c11-calado"):
        client.must("publish", user="c11", channel=channel, message="?")
    assert [topic for topic, _ in listener.everything()] == ["c11-ouvido"]
    listener.close()


def test_c12_a_heartbeat_is_answered_ok_and_nothing_is_kept_of_it(client):
    for data in ({"user": "c12"}, {"username": "c12"}):
        assert client.ask("heartbeat", **data)["status"] == "ok"
    assert "c12" not in listed(client, "users")


def test_c13_every_server_lists_a_channel_by_which_a_client_can_see_that_it_exists(client):
    assert "c13" not in listed(client, "channels")
    client.must("channel", channel="c13")
    for number in SERVERS:
        server = Client(rep_of(number))
        wait_until(f"server-{number} lists it", lambda: "c13" in listed(server, "channels"))


def test_c13_papos_client_looks_whether_a_channel_exists_before_it_subscribes(client):
    client.must("login", user="c13-pessoa")
    client.must("channel", channel="c13-sala")

    def joins(channel: str) -> tuple[int, str]:
        done = subprocess.run(
            [PAPO, "chat", "--user", "c13-cliente"], input=f"/join {channel}\n", capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout

    code, said = joins("c13-sala")
    assert code == 0 and "joined #c13-sala" in said and "created #c13-sala" not in said
    code, said = joins("c13-nova")
    assert code == 0 and said.index("created #c13-nova") < said.index("joined #c13-nova")
    code, said = joins("c13-pessoa")
    assert code == 1 and "joined #c13-pessoa" not in said
