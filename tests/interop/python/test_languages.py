"""A whole cluster and a small chat client in each language: the same conversation, with messages up to the limits and beyond.

The clients' contract:

    client BROKER PROXY NAME LETTERS...

It logs NAME-user in, makes NAME-channel, looks both up in the lists, subscribes to both, and publishes a text of each of these
lengths; it hears each that was accepted, before it goes on. In the end it writes to itself. Each step gives a line.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import conftest
from clients import BROKER, PROXY
from socket_peers import dependencies, java

HERE = Path(__file__).parent
CLIENTS = {
    "python": lambda: [sys.executable, HERE / "client.py"],
    "node": lambda: ["node", HERE.parent / "node" / "client.mjs"],
    "go": lambda: [Path(dependencies()["PAPO_GO"]) / "client"],
    "java": lambda: java("Client"),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that takes requests of 6 MB."""
    folder = tmp_path_factory.mktemp("roomy")
    manifest = folder / "manifest.yaml"
    limits = "spec:\n  limits:\n    requestBytes: 6000000\n    queueBytes: 67108864\n"
    manifest.write_text(conftest.MANIFEST.read_text().rstrip() + "\n" + limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "MANIFEST", manifest)
        yield from conftest.start_cluster(folder)


def converse(language: str, *sizes: int) -> list[str]:
    command = [*CLIENTS[language](), BROKER, PROXY, language, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("language", CLIENTS)
def test_l01_l02_a_client_in_each_language_chats_in_5_MB_and_is_told_what_is_too_large(language, cluster):
    user, channel = f"{language}-user", f"{language}-channel"
    assert converse(language, 12, 5_000_000, 7_000_000, 12) == [
        "login sucesso",
        "channel sucesso",
        "listed true true",
        f"publish OK {channel} {user} 12 true",
        f"publish OK {channel} {user} 5000000 true",
        "publish erro too_large",
        f"publish OK {channel} {user} 12 true",
        f"message OK {user} {user} note",
    ]
