"""A server on a disk that fails: what it acknowledged is there, whatever the disk did, and whatever Linux forgot to write."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import http, wait_until
from disk import Server, Writer, build_shim

PAPO = os.environ.get("PAPO_BIN", "papo")
EXIT_STORAGE_FAILED = 74
LOG = "history.sqlite-wal"
MAIN = "/history.sqlite"
ROUNDS = 20
SEED = 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the disk is an LD_PRELOAD library for Linux")


@pytest.fixture(scope="session")
def shim(tmp_path_factory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def server(tmp_path, shim):
    server = Server(PAPO, tmp_path, shim)
    server.start()
    yield server
    server.kill()


def test_a_failed_fsync_ends_the_server_and_what_was_acknowledged_survives_even_a_power_cut(server):
    assert [server.post(f"before-{number}") for number in range(5)] == ["stored"] * 5
    log_file = server.data / LOG
    old_inode = log_file.stat().st_ino

    server.fault("fail-sync", LOG)
    assert server.post("in doubt") == "silence", "nobody says OK for it"
    assert server.wait_for_end() == EXIT_STORAGE_FAILED
    assert "the disk failed: stopping" in server.log.read_text()
    assert not (server.control / "fail-sync").exists(), "the fsync did fail"

    server.start()
    copied = log_file.stat().st_ino != old_inode and "the write-ahead log was copied" in server.log.read_text()
    # What the kernel shows and had forgotten to write is on disk now: later posts stand behind it in the same log.
    seen = server.posts()
    assert [server.post(f"after-{number}") for number in range(5)] == ["stored"] * 5
    server.lose_power()
    server.start()
    assert not server.lost()
    assert set(seen) <= set(server.posts()), "what was seen once is there for good"
    assert copied, "the log is another file"


def test_a_failed_fsync_of_the_main_file_is_no_secret_and_loses_nothing(server):
    server.fault("fail-sync", MAIN)
    large = "x" * 40_000
    for number in range(400):
        if server.post(f"{number}-{large}") != "stored":
            break
    assert server.wait_for_end() == EXIT_STORAGE_FAILED, "when the log was moved into it"
    assert server.acknowledged

    server.start()
    assert not server.lost()
    for number in range(200):
        server.post(f"again-{number}-{large}")
    server.lose_power()
    server.start()
    assert not server.lost()


def test_a_full_disk_refuses_writes_serves_reads_and_recovers_by_itself(server):
    assert server.post("before") == "stored"
    server.fault("full")
    assert server.post("no room for this") == "refused"
    assert server.post("nor for this") == "refused"
    assert "ana" in server.must("users")["data"]["users"]
    assert http(server.http, "/livez") is not None
    process = server.process.pid
    server.heal("full")
    assert server.post("after") == "stored"
    assert server.process.pid == process and server.process.poll() is None
    text = server.log.read_text()
    assert text.count("the disk is full: writes go elsewhere") == 1 and text.count("the disk has room again") == 1
    server.lose_power()
    server.start()
    assert not server.lost()
    assert sorted(server.posts()) == ["after", "before"], "all of what was acknowledged, nothing of what was refused"


def test_a_full_disk_does_not_keep_a_server_from_starting(server):
    assert [server.post(f"before-{number}") for number in range(3)] == ["stored"] * 3
    server.fault("full")
    server.lose_power()
    server.start()
    assert server.post("no room for this") == "refused"
    assert len(server.must("history", channel="geral")["data"]["messages"]) == 3
    with pytest.raises(subprocess.CalledProcessError) as refused:
        server.export()
    assert b"keeps its history to itself while its disk is full" in refused.value.stderr
    server.heal("full")
    assert server.post("after") == "stored"
    assert not server.lost(), "others may read again"


def test_a_real_file_system_without_room_is_survived_too(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    server = Server(PAPO, tmp_path, shim=None, data=mount / "data")
    try:
        server.start()
        ballast = mount / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)
        outcomes = [server.post(f"{number}-" + "x" * 4000) for number in range(60)]
        assert "refused" in outcomes and "silence" not in outcomes
        assert "ana" in server.must("users")["data"]["users"]
        ballast.unlink()
        assert server.post("there is room") == "stored"
        server.kill()
        server.start()
        assert not server.lost()
    finally:
        server.kill()
        subprocess.run(["umount", mount], check=True)


def test_a_disk_that_hangs_makes_the_server_not_ready_while_reads_go_on(server):
    assert server.post("before") == "stored"
    server.fault("hang", LOG)
    writer = Writer(server, "waits")
    try:
        wait_until("the server is not ready", lambda: http(server.http, "/readyz") is None, 60)
        assert http(server.http, "/livez") is not None
        assert "ana" in server.must("users")["data"]["users"]
    finally:
        server.heal("hang")
        writer.stop()
    wait_until("the server is ready again", lambda: http(server.http, "/readyz") is not None, 60)
    assert server.post("after") == "stored"
    assert not server.lost()


def test_what_was_acknowledged_survives_ends_at_any_point(server):
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        # What is in the kernel's cache after a kill is gone with the power later, unless a start made sure of it.
        end = chance.choice([server.kill, server.lose_power])
        writers = [Writer(server, f"{number}-{lane}") for lane in range(3)]
        # Now and then something larger, so that the log is moved into the main file while this goes on.
        for _ in range(chance.randrange(4)):
            server.post("x" * chance.randrange(60_000) + f"-{number}-{chance.random()}")
        time.sleep(chance.uniform(0.01, 0.4))
        end()
        for writer in writers:
            writer.stop()
        server.start()
        assert not server.lost(), f"round {number}, seed {SEED}"
    posts = server.posts()
    assert len(posts) == len(set(posts)), "none is there twice"
    assert len(server.acknowledged) > ROUNDS
    before = server.settled_export()
    server.stop()
    server.start()
    assert server.settled_export() == before
