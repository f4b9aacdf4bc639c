"""`papo status`: a running cluster at a glance, and exit statuses that a script can rely on."""

import json
import os
import signal
import subprocess

from clients import Client
from conftest import MANIFEST, PAPO, SERVERS, wait_until

WELL, DEGRADED, USED_WRONGLY, UNREACHABLE = 0, 1, 2, 3


def status(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([PAPO, "status", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def overview(*arguments) -> dict:
    return json.loads(status("--json", *arguments).stdout)


def well(cluster) -> dict:
    """Once the servers have agreed on who leads, and on the time."""

    def is_well():
        now = overview("--data", cluster.data)
        return now if now["health"] == "well" and all(member["adjusted"] for member in now["members"]) else None

    return wait_until("all is well", is_well, 90)


def test_a_cluster_is_shown_by_folder_by_manifest_and_by_addresses(cluster):
    Client().must("login", user="shown")
    now = well(cluster)
    assert [(member["name"], member["rank"]) for member in now["members"]] == [(f"server-{n}", n) for n in SERVERS]
    assert [member["role"] for member in now["members"]].count("leading") == 1
    assert {member["coordinator"] for member in now["members"]} == {now["coordinator"]}
    addresses = [cluster.http()[f"server-{number}"] for number in SERVERS]
    for how in (["--data", cluster.data], ["-f", MANIFEST], addresses):
        shown = status(*how)
        assert shown.returncode == WELL, shown
        assert shown.stdout.startswith(f"well: 3 of 3 servers answer, {now['coordinator']} leads in epoch {now['epoch'].split('-')[0]}\n")
        assert "\x1b" not in shown.stdout, "colour is for terminals"
        table = shown.stdout.splitlines()[2:]
        assert table[0].split()[:5] == ["NAME", "RANK", "ROLE", "EPOCH", "OPERATIONS"]
        assert len([row for row in table if "in sync" in row]) == 3 and len([row for row in table if "coordinator" in row]) == 1


def test_a_server_that_does_not_answer_is_named(cluster):
    well(cluster)
    stopped = cluster.server(1)
    os.kill(stopped, signal.SIGSTOP)
    try:
        shown = status("--data", cluster.data)
        assert shown.returncode == DEGRADED
        assert "server-1 does not answer: no answer within 2 s" in shown.stdout and "2 of 3 servers answer" in shown.stdout
    finally:
        os.kill(stopped, signal.SIGCONT)
    well(cluster)


def test_watching_goes_on_until_ctrl_c(cluster):
    well(cluster)
    watching = subprocess.Popen([PAPO, "status", "--json", "--watch", "--data", cluster.data], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    looks = [json.loads(watching.stdout.readline()) for _ in range(3)]
    assert all(len(look["members"]) == 3 for look in looks)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20) in (WELL, DEGRADED)
    watching.stdout.close()


def test_nobody_there_is_another_status_than_something_wrong(tmp_path):
    shown = status("127.0.0.1:9", "127.0.0.2:9")
    assert shown.returncode == UNREACHABLE
    assert shown.stdout.startswith("unreachable: 0 of 2 servers answer")
    nowhere = status("--data", tmp_path)
    assert nowhere.returncode == 1 and "name its folder with --data" in nowhere.stderr
    assert status("--data", tmp_path, "127.0.0.1:9").returncode == USED_WRONGLY


def test_what_is_no_server_is_no_member(cluster):
    shown = status(cluster.http()["ref"])
    assert shown.returncode == UNREACHABLE and "does not answer" in shown.stdout


def test_completions_know_it():
    done = subprocess.run([PAPO, "completions", "bash"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert "papo__subcmd__status" in done.stdout or "papo__status" in done.stdout
    assert "--watch" in done.stdout
