"""`papo export` and `papo import`: what one cluster wrote, another has, once (row I01 and S2's server_data.json)."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from clients import Client
from conftest import PAPO, Cluster, start_cluster

IMPORT_SECONDS = 120
# The file that S2 shows.
OF_THE_EXERCISE = {
    "logins": [{"username": "alice", "timestamp": 1234567890}, {"username": "bob", "timestamp": 1234567890}],
    "channels": ["geral", "tech", "random"],
    "channel_messages": [{"user": "alice", "channel": "geral", "message": "Olá!", "timestamp": 1234567890}],
    "user_messages": [{"src": "alice", "dst": "bob", "message": "Oi Bob!", "timestamp": 1234567890}],
}


def papo_import(file: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PAPO, "import", file, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=IMPORT_SECONDS
    )


def imported(file: Path) -> str:
    done = papo_import(file)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(folder: Path, data) -> Path:
    file = folder / "server_data.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def conversations(data: dict) -> dict[tuple, list[tuple]]:
    """The messages of each channel, and between each two people, in order."""
    found: dict[tuple, list[tuple]] = {}
    for post in data["channel_messages"]:
        found.setdefault((post["channel"],), []).append((post["user"], post["message"], post["timestamp"]))
    for direct in data["user_messages"]:
        both = tuple(sorted((direct["src"], direct["dst"])))
        found.setdefault(both, []).append((direct["src"], direct["message"], direct["timestamp"]))
    return found


def users(data: dict) -> Counter:
    return Counter(login["username"] for login in data["logins"])


def server_data(cluster: Cluster) -> dict:
    return json.loads(cluster.equal_exports()["server_data.json"])


def test_i01_what_one_cluster_exports_another_imports_once_and_exports_the_same(tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    for first in start_cluster(tmp_path / "first"):
        client = Client()
        for name in ("ana", "bia", "caio", "ana"):
            client.must("login", user=name)
        for name in ("geral", "tech"):
            client.must("channel", channel=name)
        for number in range(150):
            user, channel = ("ana", "bia")[number % 2], ("geral", "tech")[number % 3 == 0]
            client.must("publish", user=user, channel=channel, message=f'"olá" {number}\n', timestamp=1_700_000_000 + number)
        # The same words at the same time, twice: both were said.
        for _ in range(2):
            client.must("publish", user="ana", channel="geral", message="oi", timestamp=1_700_000_500.25)
        for number in range(20):
            client.must("message", src="ana", dst="caio", message=f"psiu {number}", timestamp="2025-01-31T12:00:00")
        client.close()
        backup = first.equal_exports()["server_data.json"]
    before = json.loads(backup)
    file = written(tmp_path, backup.decode())

    for second in start_cluster(tmp_path / "second"):
        done = papo_import(file, "--dry-run")
        assert done.returncode == 0 and "nothing was written" in done.stdout
        assert server_data(second)["channel_messages"] == []

        assert "178 of 178 entries are in the cluster, 0 were refused" in imported(file)
        after = server_data(second)
        assert conversations(after) == conversations(before)
        assert users(after) == users(before)
        assert sorted(after["channels"]) == sorted(before["channels"])

        exports = second.equal_exports()
        imported(file)
        assert second.equal_exports() == exports, "a second time adds nothing"


def test_an_import_that_is_killed_half_way_and_begun_again_adds_nothing_twice(own_cluster, tmp_path):
    posts = [
        {"user": "ana", "channel": f"canal-{number % 5}", "message": f"{number}", "timestamp": number} for number in range(3000)
    ]
    channels = [f"canal-{number}" for number in range(5)]
    file = written(tmp_path, {"logins": [{"username": "ana", "timestamp": 1}], "channels": channels, "channel_messages": posts})
    process = subprocess.Popen([PAPO, "import", file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not own_cluster.export(1)["publications.jsonl"]:
        assert time.monotonic() < deadline and process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(server_data(own_cluster)["channel_messages"]) < len(posts), "it was half-way"

    imported(file)
    after = server_data(own_cluster)
    expected = conversations({"channel_messages": posts, "user_messages": []})
    assert conversations(after) == expected


def test_i01_the_file_of_the_exercise_is_imported_into_a_cluster_that_has_some_of_its_names(own_cluster, tmp_path):
    client = Client()
    client.must("channel", channel="tech")
    client.must("login", user="alice")
    imported(written(tmp_path, OF_THE_EXERCISE))
    data = server_data(own_cluster)
    assert sorted(data["channels"]) == sorted(OF_THE_EXERCISE["channels"])
    assert data["channel_messages"] == OF_THE_EXERCISE["channel_messages"]
    assert data["user_messages"] == OF_THE_EXERCISE["user_messages"]

    # What cannot be imported is said with its place and what to do, before anything is written.
    lost = OF_THE_EXERCISE | {"user_messages": [{"src": "alice", "dst": "eva", "message": "oi", "timestamp": 1}]}
    done = papo_import(written(tmp_path, lost))
    assert done.returncode == 1
    assert "user_messages[0]: there is no user `eva`: add a login to `logins`" in done.stderr
    assert server_data(own_cluster) == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", ["server_data.json", "line 1"]),
        ('{"channel_messages": [{"user": "ana", "message": "oi"}]}', ["missing field `channel`", "line 1"]),
        ('{"channels": ["geral", ""]}', ["channels[1]", "change it in the file"]),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_says_where(tmp_path, text, words):
    done = papo_import(written(tmp_path, text))
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_an_import_without_a_cluster_says_so_and_how_to_go_on(tmp_path):
    done = papo_import(written(tmp_path, OF_THE_EXERCISE), "--broker", "127.0.0.1:1")
    assert done.returncode == 1
    assert "cannot ask the cluster what it has: no answer from 127.0.0.1:1" in done.stderr
