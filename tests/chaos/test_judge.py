"""The judge sees each thing that can go wrong: a check that never fails shows nothing."""

import json
from collections import Counter

import judge
from ears import Ear
from walkers import Walk

ID, OTHER = bytes(16), b"\1" * 16
POSTS = {"a": ("publish", "c", ID), "b": ("message", "u", OTHER), "open": ("publish", "c", None)}


def export(*lines: tuple[str, str, str, bytes], users=("u",), channels=("c",)) -> dict[str, bytes]:
    files = {"publications.jsonl": b"", "messages.jsonl": b""}
    for file, target, text, message_id in lines:
        key = "channel" if file == "publications" else "dst"
        files[f"{file}.jsonl"] += json.dumps({key: target, "message": text, "message_id": message_id.hex()}).encode() + b"\n"
    registry = {"users": [{"username": name} for name in users], "channels": [{"channel": name} for name in channels]}
    return files | {"registry.json": json.dumps(registry).encode()}


A, B = ("publications", "c", "a", ID), ("messages", "u", "b", OTHER)


def storage(*lines, **registry) -> list[str]:
    return judge.wrong_with_storage(POSTS, {"c"}, export(*lines, **registry), ["u"])[0]


def test_all_that_was_acknowledged_is_stored_and_what_was_not_may_be():
    assert storage(A, B) == []
    assert storage(A, B, ("publications", "c", "open", ID)) == []


def test_what_is_wrong_with_storage_is_found():
    assert storage(A) == ["acknowledged and not stored: b"]
    assert storage(A, A, B) == ["stored twice: a"]
    assert storage(A, B, ("messages", "u", "z", ID)) == ["stored and never sent: z"]
    assert storage(("publications", "c", "a", OTHER), B)[0].startswith("stored otherwise than acknowledged: a")
    assert storage(("publications", "d", "a", ID), B)[0].startswith("stored otherwise than acknowledged: a")
    assert storage(A, B, users=()) == ["a user that is not stored: u"]
    assert storage(A, B, channels=()) == ["a channel that is not stored: c"]


def ear(*topics: str, heard=(), identities=None) -> Ear:
    return Ear("e", frozenset(topics), "", Counter(heard), dict(POSTS_IDS if identities is None else identities))


POSTS_IDS = {"a": ID, "b": OTHER}
STORED = {"a": POSTS["a"], "b": POSTS["b"]}


def hearing(listener: Ear, was_connected: bool = True) -> list[str]:
    return judge.wrong_with_ear(listener, POSTS, STORED, was_connected)


def test_an_ear_hears_its_topics_once_each():
    assert hearing(ear("c", "u", heard="ab")) == []
    assert hearing(ear("", heard="a")) == [], "no direct messages for the empty topic"


def test_what_is_wrong_with_an_ear_is_found():
    assert hearing(ear("c", "u", heard="a")) == ["e did not hear: b"]
    assert hearing(ear("c", heard="aa")) == ["e heard more than once: a (2 times)"]
    assert hearing(ear("c", heard="az")) == ["e heard what is not stored: z"]
    assert hearing(ear("c", heard="a", identities={"a": OTHER})) == ["e heard another identity than is stored: a"]
    assert hearing(ear("c", heard="")) == ["e did not hear: a"]
    assert hearing(ear("c", heard=""), was_connected=False) == []
    assert judge.wrong_with_ear(ear("c", heard=""), POSTS, STORED, was_connected=True, may_miss=True) == []


def test_an_ear_notices_what_it_did_not_ask_for():
    import msgpack

    listener = ear("c")
    listener.hear([b"d", msgpack.packb({"service": "publish", "channel": "d", "message": "a", "message_id": ID})])
    listener.hear([b"c", b"", b"third"])
    assert len(hearing(listener)) >= 2 and "does not want this" in listener.problems[0] and "3 frames" in listener.problems[1]


def test_the_books_must_agree():
    assert judge.wrong_with_counts(3, 3, 3) == []
    assert judge.wrong_with_counts(3, 4, 3) and judge.wrong_with_counts(3, 3, 2)


def lines(*lines: dict) -> bytes:
    return b"".join(json.dumps(line | {"message_id": line["message_id"].hex()}).encode() + b"\n" for line in lines)


HISTORIES = {
    "publications.jsonl": lines({"channel": "c", "message_id": ID}, {"channel": "d", "message_id": b"d"}, {"channel": "c", "message_id": OTHER}),
    "messages.jsonl": lines({"src": "u", "dst": "v", "message_id": b"m"}, {"src": "w", "dst": "v", "message_id": b"n"}),
}


def walking(*messages: bytes, in_order: bool = False, problems=(), **scope: str) -> list[str]:
    walk = Walk(scope or {"channel": "c"}, list(messages), problems=list(problems))
    return judge.wrong_with_walk(walk, judge.histories(HISTORIES), in_order)


def test_a_walk_reads_each_message_of_its_scope_once():
    assert walking(ID, OTHER, in_order=True) == []
    assert walking(OTHER, ID) == [], "what came late is read late"
    assert walking(b"m", user="u", in_order=True) == []
    assert walking(b"m", b"n", user="v", in_order=True) == []


def test_what_is_wrong_with_a_walk_is_found():
    assert walking(ID) == [f"walk through c missed: {OTHER.hex()}"]
    assert walking(ID, OTHER, ID) == [f"walk through c was given more than once: {ID.hex()}"]
    assert walking(ID, OTHER, b"d") == [f"walk through c was given what is not stored: {b'd'.hex()}"]
    assert walking(OTHER, ID, in_order=True) == ["walk through c was given another order than is exported"]
    assert walking(ID, OTHER, problems=["a page out of order"]) == ["wrong page: a page out of order"]


def test_who_was_put_off_while_enough_servers_were_there_is_found():
    put_off = [(1.0, 2.0, "a"), (4.0, 7.0, "b"), (8.0, 9.0, "c")]
    assert judge.put_off_without_need(put_off, [(0.0, 1.5), (6.0, 8.5)]) == []
    assert judge.put_off_without_need(put_off, [(0.0, 3.0), (7.5, 8.5)]) == ["put off without need: b"]
