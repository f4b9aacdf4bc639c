"""`papo local` as a fixture: a whole cluster on loopback, whose processes a test may stop, continue and kill by their ids."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

# Not left to the processes started here: papo warns of PAPO_ names that it does not know.
PAPO = os.environ.pop("PAPO_BIN", "papo")
MANIFEST = Path(__file__).parents[3] / "manifests" / "minimal.yaml"
SERVERS = (1, 2, 3)
START_SECONDS = 30
STOP_SECONDS = 20
# A server stores what it shows with its next batch, or after a second; an export has what was stored.
SHOWN_STORED_SECONDS = 1.5
# The files that `papo export` writes (row I01).
EXPORTS = ("publications.jsonl", "messages.jsonl", "registry.json", "server_data.json")


def wait_until(what: str, holds, seconds: float = 30):
    """The first true value of `holds()`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := holds():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, nearest first."""
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [below for child in children for below in descendants(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def listening_inodes(port: int) -> set[str]:
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    cells = [row.split() for row in rows]
    return {cell[9] for cell in cells if cell[3] == "0A" and int(cell[1].split(":")[1], 16) == port}


class Cluster:
    """One `papo local` and its data folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / "data"
        self.process: subprocess.Popen | None = None

    def start(self, manifest: Path | None = None, *options: str) -> None:
        # Looked up now, as a test may have put another in its place.
        manifest = manifest or MANIFEST
        self.output = self.folder / "local.out"
        with self.output.open("ab") as output:
            already = output.tell()
            self.process = subprocess.Popen(
                [PAPO, "local", "-f", manifest, "--data", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def ready():
            text = self.output.read_bytes()[already:].decode(errors="replace")
            assert self.process.poll() is None, f"papo local ended with {self.process.returncode}:\n{text}"
            return "\nready in " in text

        wait_until("papo local says `ready`", ready, START_SECONDS)

    def stop(self) -> None:
        """As Ctrl-C does; what has not ended in time is killed, and fails the test."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_all()
            pytest.fail(f"papo local did not stop within {STOP_SECONDS} s of SIGTERM")
        self.process = None

    def kill_all(self) -> None:
        """kill -9 of everything, the parent first so that it restarts nothing."""
        pids = [self.process.pid, *descendants(self.process.pid)]
        for pid in pids:
            kill(pid)
        self.process.wait(STOP_SECONDS)
        wait_until("all processes are gone", lambda: not any(map(alive, pids)))
        self.process = None

    def pid_of_server(self, number: int) -> int | None:
        return self.pid_on(5600 + number)

    def pid_on(self, port: int) -> int | None:
        """Who of ours listens on this port now."""
        inodes = {f"socket:[{inode}]" for inode in listening_inodes(port)}
        for pid in descendants(self.process.pid):
            try:
                if inodes & {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}:
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def server(self, number: int) -> int:
        return wait_until(f"server-{number} listens", lambda: self.pid_of_server(number))

    def kill_server(self, number: int) -> int:
        pid = self.server(number)
        kill(pid)
        wait_until(f"server-{number} is gone", lambda: not alive(pid))
        return pid

    def http(self) -> dict[str, str]:
        """Where each role serves metrics and readiness, by name, as `papo local` said when it started."""
        rows = re.findall(r"^(\S+) +.* (127\.0\.0\.1:80\d\d) +\d+  ", self.output.read_text(), re.M)
        return dict(rows)

    def get(self, name: str, path: str) -> tuple[int, str]:
        """Status and body of a role's answer over HTTP; status 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.http()[name]}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_ready(self, name: str) -> bool:
        return self.get(name, "/readyz")[0] == 200

    def export(self, number: int) -> dict[str, bytes]:
        """What the disk of server-`number` holds."""
        out = self.folder / f"export-{number}"
        done = subprocess.run(
            [PAPO, "export", "--data", self.data / f"server-{number}", "--out", out],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, f"papo export: {done.stderr}"
        return {name: (out / name).read_bytes() for name in EXPORTS}

    def exports(self) -> list[dict[str, bytes]]:
        return [self.export(number) for number in SERVERS]

    def equal_exports(self) -> dict[str, bytes]:
        """The export of every server, once they are all the same; what was acknowledged before is in it."""
        time.sleep(SHOWN_STORED_SECONDS)

        def equal():
            first, *others = self.exports()
            return first if all(other == first for other in others) else None

        return wait_until("the exports of all servers are equal", equal)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def texts(export: dict[str, bytes], name: str) -> list[str]:
    """The `message` of each line of a `.jsonl` export."""
    return [json.loads(line)["message"] for line in export[name].splitlines()]


def start_cluster(folder: Path):
    cluster = Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session", autouse=True)
def program():
    """Says what is wrong once, instead of in every test."""
    try:
        subprocess.run([PAPO, "local", "--help"], check=True, capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.exit(f"PAPO_BIN={PAPO} does not run `papo local`: {error}", returncode=1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster for a whole module: its tests use names of their own and kill nobody."""
    yield from start_cluster(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def own_cluster(tmp_path):
    """A cluster for one test, to be maltreated."""
    yield from start_cluster(tmp_path)
