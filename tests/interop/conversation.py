"""The conversation of rows L01 to L03, as programs in several languages have it: how each is started, and what it is to say.

The contract, the same in every language:

    client BROKER PROXY LETTERS...

For each NAME on a line of its standard input two people, each with a REQ and a SUB of its own, have one conversation:

    login sucesso sucesso                   NAME-alice and NAME-bob log in
    channel sucesso                         alice makes NAME-geral
    listed true true                        she finds it among the channels, and both of them among the users
    publish OK NAME-geral NAME-alice 7 true for each of LETTERS: she publishes a text of that length, and bob hears it unchanged;
    publish erro CODE                       ... or it is refused
    message OK NAME-alice NAME-bob note     bob writes to alice, who hears it
    clocks true                             so far, every answer but a refusal had a later Lamport clock than its request

Both keep a Lamport clock. The sockets stay from name to name, no request has a timeout, and none is repeated.
"""

import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@cache
def dependencies() -> dict[str, str]:
    """Where hack/deps has put things."""
    done = subprocess.run([ROOT / "hack" / "deps", "path"], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return dict(shlex.split(line)[0].split("=", 1) for line in done.stdout.splitlines())


def java(program: str) -> list[str]:
    # Without the optimising compiler, which costs more than it brings in seconds.
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", dependencies()["PAPO_JAVA_CLASSPATH"], program]


PROGRAMS = {
    "python": lambda: [sys.executable, str(HERE / "python" / "client.py")],
    "node": lambda: ["node", str(HERE / "node" / "client.mjs")],
    "go": lambda: [str(Path(dependencies()["PAPO_GO"]) / "client")],
    "java": lambda: java("Client"),
    "cpp": lambda: [str(Path(dependencies()["PAPO_CPP"]) / "client")],
}


def expected(name: str, sizes: tuple[int, ...], channel: str = "sucesso", largest: int = sys.maxsize) -> list[str]:
    """What a program says for one name, when the cluster takes texts of up to `largest` letters."""
    alice, bob, place = f"{name}-alice", f"{name}-bob", f"{name}-geral"
    posts = [f"publish OK {place} {alice} {size} true" if size <= largest else "publish erro too_large" for size in sizes]
    return [
        "login sucesso sucesso",
        f"channel {channel}",
        "listed true true",
        *posts,
        f"message OK {alice} {bob} note",
        "clocks true",
    ]
