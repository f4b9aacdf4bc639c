"""Bots (rows J01, J02, J05): `papo bot` as a program of its own, and as the bots of a ChatCluster."""

import os
import re
import subprocess
import time
from contextlib import contextmanager
from itertools import groupby

import pytest

from clients import BROKER, PROXY, Client, Listener
from conftest import MANIFEST, PAPO, Cluster, wait_until

AT_ONCE = ("--interval-ms", "0", "--pause-ms", "0")
# `bots.pauseSeconds`, by default; the longest is for a busy machine.
PAUSE_SECONDS = 5
PAUSE_SECONDS_MAX = 40


def bot(*options: str, **environment: str) -> str:
    """Runs one to its end; its log."""
    done = subprocess.run(
        [PAPO, "bot", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@contextmanager
def running(log, *command: str, **environment: str):
    """One that writes until it is told to stop."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [PAPO, *command], stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=os.environ | environment
        )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()


def everything() -> dict:
    return Client().ask("sync", last_sync=0)


def once(holds) -> dict:
    """Everything, from a server for which that holds: each shows what is new a moment sooner or later than the others."""

    def look():
        said = everything()
        return said if holds(said) else None

    return wait_until("a server shows what is looked for", look)


def posts_of(user: str) -> list[dict]:
    return [post for post in everything()["channel_messages"] if post["user"] == user]


def start(tmp_path, spec: str) -> Cluster:
    manifest = tmp_path / "chatcluster.yaml"
    manifest.write_text(MANIFEST.read_text().rstrip() + f"\nspec: {spec}\n")
    cluster = Cluster(tmp_path)
    cluster.start(manifest, "--log-style", "seeds")
    return cluster


def test_j01_a_bot_with_a_random_name_makes_the_first_channels_and_posts_rounds_of_ten(own_cluster):
    bot(*AT_ONCE, "--messages", "45")
    said = once(lambda said: len(said["channel_messages"]) == 45)
    [user] = [login["username"] for login in said["logins"]]
    assert re.fullmatch(r"user\d{4}", user)
    assert {"geral", "tech", "random"} <= set(said["channels"])
    posts = sorted(said["channel_messages"], key=lambda post: int(post["message"].split()[1]))
    assert [post["message"] for post in posts] == [f"auto-msg {number} de {user}" for number in range(1, 46)]
    for _, ten in groupby(enumerate(posts), lambda numbered: numbered[0] // 10):
        assert len({post["channel"] for _, post in ten}) == 1, "a round stays in one channel"


def test_j01_a_bot_adds_a_channel_a_round_while_there_are_fewer_than_five(own_cluster):
    for number in range(2):
        Client().must("channel", channel=f"there-{number}")
    bot(*AT_ONCE, "--messages", "15")
    wait_until("two rounds have made two channels", lambda: len(Client().ask("channels")["channels"]) == 4)
    bot(*AT_ONCE, "--messages", "45")
    channels = once(lambda said: len(said["channel_messages"]) == 60)["channels"]
    assert len(channels) == 5 and {"there-0", "there-1"} <= set(channels), "five rounds more, and only one channel"


def test_j01_between_two_rounds_a_bot_rests_for_five_to_ten_seconds(own_cluster):
    Client().must("channel", channel="resting")
    listener = Listener("")
    came = []
    process = subprocess.Popen([PAPO, "bot", "--interval-ms", "0", "--messages", "11"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len(came) < 11:
            assert listener.socket.poll(PAUSE_SECONDS_MAX * 1000), f"only {len(came)} came"
            topic, _ = listener.next()
            if topic != listener.me:
                came.append(time.monotonic())
        assert process.wait(20) == 0
    finally:
        process.kill()
    pause = came[10] - came[9]
    # What comes may come late, by a little; what is sent never early.
    assert PAUSE_SECONDS - 1 < pause < PAUSE_SECONDS_MAX, pause
    assert max(after - before for before, after in zip(came[:9], came[1:10])) < pause


def test_j01_a_bot_takes_part_in_three_channels_and_hears_them(own_cluster, tmp_path):
    client = Client()
    client.must("login", user="speaker")
    channels = [f"room-{number}" for number in range(6)]
    for channel in channels:
        client.must("channel", channel=channel)
    log = tmp_path / "bot.log"

    def heard() -> set[str]:
        for channel in channels:
            client.must("publish", user="speaker", channel=channel, message="anybody?")
        return set(re.findall(r"\[user\d+\] <- \(#(room-\d)\) anybody\?", log.read_text()))

    with running(log, "bot", "--log-style", "seeds", "--interval-ms", "1000"):
        wait_until("it hears three channels", lambda: len(heard()) == 3)
        time.sleep(1)
        assert len(heard()) == 3


def test_j01_bots_talk_in_private_too(own_cluster, tmp_path):
    """S0:18: public and private conversations."""
    with running(tmp_path / "one.log", "bot", "--user", "user1001", "--log-style", "seeds", "--interval-ms", "10", "--pause-ms", "200"):
        with running(tmp_path / "two.log", "bot", "--user", "user1002", "--log-style", "seeds", "--interval-ms", "10", "--pause-ms", "200"):
            whispers = lambda: {(message["src"], message["dst"]) for message in everything()["user_messages"]}
            wait_until("each writes to the other", lambda: {("user1001", "user1002"), ("user1002", "user1001")} <= whispers())
            wait_until("and is heard", lambda: re.search(r"\[user1002\] <- \(@user1001\) auto-msg \d+ de user1001", (tmp_path / "two.log").read_text()))


def test_j01_the_settings_say_which_channels_how_many_messages_and_how_long_a_rest(tmp_path):
    """S1's names of channels, and rounds of three."""
    spec = "{bots: {replicas: 1, channels: [general, random, dev], messages: 3, messageMilliseconds: 1, pauseSeconds: {min: 1, max: 1}}}"
    cluster = start(tmp_path, spec)
    try:
        said = once(lambda said: len(said["channel_messages"]) >= 6)
        assert {"general", "random", "dev"} <= set(said["channels"])
        posts = sorted(said["channel_messages"], key=lambda post: int(post["message"].split()[1]))
        for first in (0, 3):
            assert len({post["channel"] for post in posts[first : first + 3]}) == 1
    finally:
        cluster.stop()


def test_j02_a_bot_is_told_in_the_very_words_of_the_exercise(own_cluster, tmp_path):
    Client().must("channel", channel="general")
    log = tmp_path / "bot.log"
    with running(log, "bot", "--user", "user4821", "--log-style", "seeds", "--interval-ms", "10", "--pause-ms", "100"):
        wait_until("it has begun", lambda: "[BOT] user4821 iniciado e enviando mensagens automáticas..." in log.read_text())
        wait_until("it hears itself", lambda: re.search(r"\[user4821\] <- \(#general\) auto-msg \d+ de user4821", log.read_text()))


def test_j05_a_cluster_has_as_many_bots_as_its_manifest_says(tmp_path):
    cluster = start(tmp_path, "{loginPolicy: unique, bots: {replicas: 2, messageMilliseconds: 100, pauseSeconds: {min: 1, max: 1}}}")
    try:
        assert {"bot-1", "bot-2"} == set(re.findall(r"^bot-\d+", cluster.output.read_text(), re.M))
        authors = lambda said: {post["user"] for post in said["channel_messages"]}
        both = authors(once(lambda said: len(authors(said)) == 2))
        assert all(re.fullmatch(r"user\d{4}", user) for user in both)
    finally:
        cluster.stop()


def test_b01_all_where_all_publications_are_json_papos_own_clients_hear_them(tmp_path):
    """A bot has no history: what it hears came live."""
    cluster = start(tmp_path, "{compat: {jsonPublications: all}}")
    try:
        Client().must("channel", channel="sala")
        log = tmp_path / "bot.log"
        with running(log, "bot", "--user", "user4821", "--log-style", "seeds", "--interval-ms", "100", "--pause-ms", "100"):
            wait_until("a bot hears itself", lambda: re.search(r"\[user4821\] <- \(#\w+\) auto-msg \d+ de user4821", log.read_text()))
        said = subprocess.run(
            [PAPO, "chat", "--user", "ana", "/join sala", "olá", "/expect 30 #sala ana: olá", "/msg ana oi", "/expect 30 @ana -> ana: oi", "/sleep 3"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert said.returncode == 0, said.stdout
        assert (said.stdout.count("ana: olá"), said.stdout.count("ana: oi")) == (1, 1), "live and in the history it is one message"
    finally:
        cluster.stop()


def test_a16_auto_client_makes_a_client_write_by_itself(own_cluster, tmp_path):
    names = {"AUTO_CLIENT": "1", "BROKER_URL": BROKER, "PROXY_XPUB": PROXY}
    with running(tmp_path / "client.log", "chat", "--user", "user7777", **names):
        wait_until("it has posted", lambda: posts_of("user7777"))
