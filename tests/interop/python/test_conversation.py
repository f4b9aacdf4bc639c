"""What the exercise's clients do, as they do it."""

import msgpack
import pytest

from clients import Client, Listener, chat_in_a_dozen_lines, rep_of

pytestmark = pytest.mark.usefixtures("cluster")


def test_a11_a13_l01_l02_a_client_of_a_dozen_lines_does_login_channel_lists_publish_and_direct_message():
    chat_in_a_dozen_lines()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a05_every_server_answers_clients_itself(number):
    client = Client(rep_of(number))
    client.must("login", user=f"directly-{number}")
    assert f"directly-{number}" in client.ask("users")["users"]


def test_a03_requests_go_round_all_servers():
    client = Client()
    client.must("login", user="walker")
    client.must("channel", channel="rounds")
    servers = {
        client.must("publish", user="walker", channel="rounds", message=str(n))["position"]["server"] for n in range(12)
    }
    assert servers == {"server-1", "server-2", "server-3"}


@pytest.mark.parametrize("encoding", ["json", "messagepack"])
def test_b01_a_request_is_answered_in_its_own_encoding(encoding):
    client = Client(encoding=encoding)
    reply = client.ask_whole("login", user=f"jane-{encoding}", timestamp="2025-01-31T12:00:00Z")
    assert reply["service"] == "login"
    assert reply["data"]["status"] == "sucesso"
    assert f"jane-{encoding}" in client.ask("users")["users"]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [(1_234_567_890, int), (1_234_567_890.5, float), ("2025-01-31T12:00:00.123456", str), ("2025-01-31T12:00:00Z", str)],
)
def test_b03_a_reply_has_the_timestamp_type_of_its_request(sent, kind):
    reply = Client().ask("channels", timestamp=sent)
    assert type(reply["timestamp"]) is kind


def test_b05_the_golden_login_of_47_bytes():
    golden = bytes.fromhex(
        "82a773657276696365a56c6f67696ea46461746182a475736572a5616c696365a974696d657374616d70ce499602d2"
    )
    assert len(golden) == 47
    assert msgpack.unpackb(Client().ask_raw(golden))["data"]["status"] == "sucesso"


def test_b02_clock_and_timestamp_are_read_and_written_inside_and_beside_data():
    client = Client()
    far = 1_000_000
    request = {"service": "login", "data": {"user": "topper"}, "timestamp": "2025-01-31T12:00:00Z", "clock": far}
    reply = client.unpack(client.ask_raw(client.pack(request)))
    assert reply["clock"] > far and reply["data"]["clock"] > far
    assert isinstance(reply["timestamp"], str) and isinstance(reply["data"]["timestamp"], str)


def test_keys_of_untagged_go_structs_are_read():
    client = Client()
    reply = client.unpack(client.ask_raw(client.pack({"Service": "login", "Data": {"User": "gopher"}, "Clock": 3})))
    assert reply["data"]["status"] == "sucesso"


def test_a_flat_request_has_its_fields_beside_the_service():
    client = Client()
    reply = client.unpack(client.ask_raw(client.pack({"service": "login", "user": "flatland", "timestamp": 1_234_567_890})))
    assert reply["success"] is True
    assert "flatland" in client.ask("users")["users"]


def test_flat_replies_carry_the_fields_at_the_top_too():
    client = Client()
    client.must("login", user="flat")
    client.must("channel", channel="plain")
    reply = client.ask_whole("channels")
    assert "plain" in reply["channels"] and reply["channels"] == reply["data"]["channels"] == reply["data"]["users"]
    refused = client.ask_whole("publish", user="flat", channel="nowhere", message="oi")
    assert refused["success"] is False and refused["data"]["status"] == "erro"


def test_c07_c09_a_client_that_names_no_author_is_known_by_its_login():
    listener = Listener("anonymous", "friend")
    for name in ("friend", "shy"):
        client = Client()
        client.must("login", user=name)
    client.must("channel", channel="anonymous")
    client.must("publish", channel="anonymous", msg="quem sou?")
    client.must("message", dst="friend", msg="eu")
    heard = [(topic, body["user"], body["message"]) for topic, body in listener.everything()]
    assert sorted(heard) == [("anonymous", "shy", "quem sou?"), ("friend", "shy", "eu")]


def test_c16_c17_publications_carry_the_superset_of_all_dialects():
    listener = Listener("superset", "superb")
    client = Client()
    client.must("login", user="superb")
    client.must("channel", channel="superset")
    client.must("publish", user="superb", channel="superset", message="oi", timestamp=1_234_567_890)
    client.must("message", src="superb", dst="superb", message="eco", timestamp=1_234_567_890)
    bodies = dict(listener.everything())
    for body in bodies.values():
        assert {body["user"], body["src"], body["from"], body["data"]["user"]} == {"superb"}
        assert body["timestamp"] == 1_234_567_890 and isinstance(body["clock"], int)
        assert len(body["message_id"]) == 16
    assert bodies["superset"]["channel"] == "superset" and bodies["superset"]["service"] == "publish"
    assert bodies["superb"]["dst"] == bodies["superb"]["to"] == "superb" and bodies["superb"]["type"] == "message"


def test_d02_topics_are_exact_and_the_empty_one_is_every_channel_but_no_direct_message():
    exact, everything = Listener("ana"), Listener("")
    client = Client()
    for user in ("ana", "anabela"):
        client.must("login", user=user)
    client.must("channel", channel="anaconda")
    client.must("publish", user="ana", channel="anaconda", message="public")
    client.must("message", src="ana", dst="anabela", message="for anabela")
    client.must("message", src="anabela", dst="ana", message="for ana")
    assert [body["message"] for _, body in exact.everything()] == ["for ana"]
    assert [body["message"] for _, body in everything.everything()] == ["public"]


def test_e03_the_reply_to_a_clock_is_later_than_it():
    client = Client()
    clocks = [client.ask("channels", clock=0)["clock"]]
    for _ in range(6):
        clocks.append(client.ask("channels", clock=clocks[-1])["clock"])
    assert clocks == sorted(set(clocks))


def test_h08_sync_and_the_history_services_show_what_was_said():
    client = Client()
    for user in ("clio", "thalia"):
        client.must("login", user=user)
    client.must("channel", channel="muses")
    client.must("publish", user="clio", channel="muses", message="said")
    client.must("message", src="clio", dst="thalia", message="whispered")
    said = {"history_channel": "publications", "get_publications": "publications", "history": "messages"}
    for service, key in said.items():
        assert [entry["message"] for entry in client.ask(service, channel="muses")[key]] == ["said"], service
    for service, field in {"history_messages": "user", "get_messages": "username"}.items():
        assert [entry["message"] for entry in client.ask(service, **{field: "thalia"})["messages"]] == ["whispered"], service
    synced = client.ask("sync", last_sync=0)
    assert "clio" in [login["username"] for login in synced["logins"]] and "muses" in synced["channels"]
    assert "said" in [message["message"] for message in synced["channel_messages"]]
    assert "whispered" in [message["message"] for message in synced["user_messages"]]


def test_the_small_services_answer():
    client = Client()
    client.must("login", user="small")
    assert client.ask("ping")["pong"] == "OK"
    assert client.ask("heartbeat", user="small")["status"] == "ok"
    assert client.ask("subscribe", user="small", topic="geral")["status"] == "sucesso"
    assert client.ask("unsubscribe", user="small", topic="geral")["status"] == "sucesso"
    assert client.ask("election")["election"] == "OK"
    assert isinstance(client.ask("clock")["time"], int)


def test_m7_a_post_repeated_with_its_own_id_through_another_server_is_stored_and_heard_once(cluster):
    listener = Listener("once")
    first, second = Client(rep_of(1)), Client(rep_of(1))
    first.must("login", user="twice")
    first.must("channel", channel="once")
    post = {"user": "twice", "channel": "once", "message": "just once", "papo_id": bytes(range(16))}
    receipts = [asker.must("publish", **post)["message_id"] for asker in (first, second)]
    assert receipts[0] == receipts[1]
    assert [body["message"] for _, body in listener.everything()] == ["just once"]
    assert cluster.equal_exports()["publications.jsonl"].count(b"just once") == 1
