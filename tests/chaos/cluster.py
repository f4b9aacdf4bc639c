"""Clusters to be maltreated: where their roles listen, which processes they are, and what they say of themselves.

Everything is read from what a person sees too: HTTP, exports, and of `papo local` the table that it prints and its log.
"""

import hashlib
import json
import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from environment import ROOT

MANIFEST = ROOT / "manifests" / "minimal.yaml"
START_SECONDS = 60
STOP_SECONDS = 30
HTTP_SECONDS = 2
# Of a long history on a busy machine.
EXPORT_SECONDS = 300
# A server stores what it shows with its next batch, or after a second; an export has what was stored.
SHOWN_STORED_SECONDS = 1.5
# The files that `papo export` writes.
EXPORTS = ("publications.jsonl", "messages.jsonl", "registry.json", "server_data.json")


class Trouble(Exception):
    """What was waited for did not come."""


def wait_until(what: str, holds, seconds: float):
    """The first true value of `holds()`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := holds():
            return value
        if time.monotonic() > deadline:
            raise Trouble(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@dataclass(frozen=True)
class Role:
    """One line of the table."""

    name: str
    requests: list[str]
    subscriptions: list[str]
    http: str

    @property
    def kind(self) -> str:
        return re.sub(r"-\d+$", "", self.name)


def addresses(cell: str) -> list[str]:
    """`127.0.0.1:5559 :6000` are two addresses of one host; `-` is none."""
    host = cell.split(":")[0]
    return [f"{host}:{port}" for port in re.findall(r":(\d+)", cell)]


def http(address: str, path: str) -> str | None:
    """None when there is no answer, or another than 200."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=HTTP_SECONDS) as answer:
            return answer.read().decode()
    except OSError:
        return None


def metrics(address: str) -> dict[str, float]:
    """By name and labels as they stand in the text; none while there is no answer."""
    lines = (http(address, "/metrics") or "").splitlines()
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def figure(metrics: dict[str, float], name: str) -> int:
    """A metric, its labels added up."""
    return int(sum(value for key, value in metrics.items() if key.partition("{")[0] == name))


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def environment_for_papo() -> dict[str, str]:
    """papo warns of PAPO_ names that it does not know."""
    return {name: value for name, value in os.environ.items() if name != "PAPO_BIN"}


class Cluster:
    """Roles that are up, whoever started them, and the data folder with one for each server."""

    def __init__(self, papo: str, folder: Path):
        self.papo, self.folder = papo, folder
        self.data = folder / "data"
        self.roles: dict[str, Role] = {}

    def of_kind(self, kind: str) -> list[Role]:
        return [role for role in self.roles.values() if role.kind == kind]

    def metrics(self, name: str) -> dict[str, float]:
        return metrics(self.roles[name].http)

    def status(self, name: str) -> dict:
        """Empty while there is no answer."""
        return json.loads(http(self.roles[name].http, "/status") or "{}")

    def is_whole(self) -> bool:
        """Every role is ready, and every server has its links and is known to every broker."""
        servers, brokers, proxies = map(self.of_kind, ("server", "broker", "proxy"))
        if not all(http(role.http, "/readyz") for role in self.roles.values()):
            return False
        if any(self.metrics(broker.name).get("papo_broker_ready_workers") != len(servers) for broker in brokers):
            return False
        for server in servers:
            status = self.status(server.name)
            links = (status.get("peers"), status.get("brokers"), status.get("proxies"))
            if links != (len(servers) - 1, len(brokers), len(proxies)):
                return False
        return True

    def export(self, name: str) -> Path:
        """The folder with what the disk of a server holds."""
        out = self.folder / f"export-{name}"
        command = [self.papo, "export", "--data", self.data / name, "--out", out]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=EXPORT_SECONDS)
        if done.returncode != 0:
            raise Trouble(f"papo export of {name}: {done.stderr}")
        return out

    def divergent(self) -> list[str]:
        """The servers whose exports differ from most others' by a single byte."""
        folders = {server.name: self.export(server.name) for server in self.of_kind("server")}
        digests = {name: tuple(digest(folder / file) for file in EXPORTS) for name, folder in folders.items()}
        [(most, _)] = Counter(digests.values()).most_common(1)
        return [name for name, of in digests.items() if of != most]

    def equal_exports(self, seconds: float) -> dict[str, bytes]:
        """The export of every server, once all are the same; what was acknowledged before is in it."""
        time.sleep(SHOWN_STORED_SECONDS)
        wait_until("the exports of all servers are equal", lambda: not self.divergent(), seconds)
        folder = self.folder / f"export-{self.of_kind('server')[0].name}"
        return {file: (folder / file).read_bytes() for file in EXPORTS}


class Local(Cluster):
    """One `papo local`, from start to stop."""

    def __init__(self, papo: str, folder: Path, manifest: Path = MANIFEST):
        super().__init__(papo, folder)
        self.manifest = manifest
        self.output = folder / "local.out"
        self.first_pids: dict[str, int] = {}

    def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [self.papo, "local", "-f", self.manifest, "--data", self.data],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment_for_papo(),
            )

        def ready() -> bool:
            if self.process.poll() is not None:
                raise Trouble(f"papo local ended with {self.process.returncode}:\n{self.output.read_text()}")
            return "\nready in " in self.output.read_text()

        wait_until("papo local says `ready`", ready, START_SECONDS)
        table = self.output.read_text().split("\nNAME ", 1)[1].split("\n\n", 1)[0]
        for line in table.splitlines()[1:]:
            cells = re.split(r"\s{2,}", line)
            # Behind the table stand notes, in sentences.
            if len(cells) == 6:
                name, requests, subscriptions, http, pid, _log = cells
                self.roles[name] = Role(name, addresses(requests), addresses(subscriptions), http)
                self.first_pids[name] = int(pid)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Its roles notice that it is gone, and stop.
            self.process.kill()
            self.process.wait()
            raise Trouble(f"papo local did not stop within {STOP_SECONDS} s of SIGTERM") from None

    def pid(self, name: str) -> int:
        """The process that plays this role now, or did last."""
        log = self.data / "logs" / "local.log"
        again = re.findall(rf" {name} runs again, process (\d+)", log.read_text())
        return int(again[-1]) if again else self.first_pids[name]


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
