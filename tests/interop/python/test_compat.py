"""docs/compat.md: what the texts of the exercise say to type has its counterpart, and that does what it says (rows A15, A16, J04, L03 to L06)."""

import os
import re
import signal
import subprocess
import sys

import pytest

from clients import Client
from conftest import PAPO, Cluster
from conversation import ROOT
from typed import commands

# All of it, with an election and what is waited for, on a busy machine.
SESSION_SECONDS = 110


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """What was written while somebody typed all of it, and in which folder."""
    folder = tmp_path_factory.mktemp("typed")
    for name in ("manifests", "tests"):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "papo").symlink_to(os.path.abspath(PAPO) if os.sep in PAPO else subprocess.check_output(["which", PAPO], text=True).strip())
    environment = os.environ | {"PATH": f"{programs}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    script = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{commands('On this machine')}"
    with (folder / "said").open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        status = shell.wait(SESSION_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGTERM)
        status = shell.wait()
    said = (folder / "said").read_text()
    assert status == 0, said[-5000:]
    return said


def test_j04_a15_every_command_for_this_machine_does_what_the_page_says(session):
    assert "✅ Login realizado: alice" in session and "✅ Mensagem enviada para alice" in session
    assert "message OK turma-alice turma-bob note" in session, "a foreign client chats"


def test_l03_l05_l06_what_is_looked_for_is_found(session):
    assert session.count("\nteste_replicacao\n") == 3, "on the disk of each server"
    assert re.search(r"\n +3 [0-9a-f]{64}  -\n", session), "the posts of all servers are the same"
    assert '"server-1": 1' in session, "ref's own file"


def test_a01_a07_a08_with_an_address_for_each_role_the_ports_are_those_of_the_texts(tmp_path):
    """The names that the page has for /etc/hosts, and the column of its table."""
    page = (ROOT / "docs" / "compat.md").read_text()
    hosts = {name: address for address, names in re.findall(r"^    (127\.0\.0\.\d+) +(.+)$", page, re.M) for name in names.split()}
    assert {"broker", "proxy", "ref", "reference", "referencia", "server-1", "server-2", "server-3"} == set(hosts)
    cluster = Cluster(tmp_path)
    cluster.start(ROOT / "manifests" / "minimal.yaml", "--per-address")
    try:
        for name in ("broker", "server-1", "server-2", "server-3"):
            assert Client(f"tcp://{hosts[name]}:5555").ask("ping")["pong"] == "OK", name
        for name in ("ref", "reference", "referencia"):
            for port in (5559, 6000):
                assert Client(f"tcp://{hosts[name]}:{port}").ask("list")["list"], name
        for port in (5558, 5560, 5556):
            done = subprocess.run(
                [sys.executable, ROOT / "tests" / "interop" / "python" / "client.py", f"tcp://{hosts['broker']}:5555", f"tcp://{hosts['proxy']}:{port}", "12"],
                input=f"porta-{port}\n",
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert done.stdout.splitlines()[-1] == "clocks true", done.stdout + done.stderr
    finally:
        cluster.stop()
