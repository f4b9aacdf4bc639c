"""One `papo server` on a disk that fails as told (disk.c), and a client that remembers what was acknowledged."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import msgpack
import zmq

from cluster import Trouble, environment_for_papo, http, wait_until

HERE = Path(__file__).parent
FILES = ("history.sqlite", "history.sqlite-wal")
CHANNEL = "geral"
START_SECONDS = 60
# A server alone answers at once or not at all; a disk may be slow.
PATIENCE_SECONDS = 20


def build_shim(folder: Path) -> Path:
    library = folder / "disk.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, HERE / "disk.c", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

# The server stores it within one; more on a busy machine.
SHOWN_STORED_SECONDS = 10
# Longer than the second after which it does so by itself.
SETTLED_SECONDS = 2


class Server:
    """A server without a cluster. Its disk is what it synced: see `lose_power`."""

    def __init__(self, papo: str, folder: Path, shim: Path | None, data: Path | None = None):
        self.papo, self.folder, self.shim = papo, folder, shim
        self.data = data or folder / "data"
        self.control = folder / "control"
        (self.control / "disk").mkdir(parents=True)
        self.log = folder / "server.log"
        self.process: subprocess.Popen | None = None
        self.acknowledged: set[str] = set()
        self.settings = folder / "settings.yaml"
        self.settings.write_text("clusterId: tests/disk\nmembers: [server-1]\nspec: {replicas: 1}\n")

    def start(self) -> None:
        self.launch()
        wait_until("the server is ready", self.is_ready_or_dead, START_SECONDS)
        if self.process.poll() is not None:
            raise Trouble(f"the server ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        if CHANNEL not in self.ask("channels")["data"]["channels"]:
            self.must("login", user="ana")
            self.must("channel", channel=CHANNEL)

    def launch(self) -> None:
        self.port, self.http = free_port(), f"127.0.0.1:{free_port()}"
        environment = environment_for_papo()
        if self.shim:
            environment |= {"LD_PRELOAD": str(self.shim), "DISK_DATA": str(self.data), "DISK_CONTROL": str(self.control)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self.papo, "server", "--name", "server-1", "--data", self.data, "--settings", self.settings),
                    *("--listen", f"127.0.0.1:{self.port}", "--peer-listen", f"127.0.0.1:{free_port()}", "--http", self.http),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def is_ready_or_dead(self) -> bool:
        return self.process.poll() is not None or http(self.http, "/readyz") is not None

    def ask(self, service: str, seconds: float = PATIENCE_SECONDS, **data) -> dict | None:
        """The reply; None when there is none in time, or the server is dead."""
        requester = zmq.Context.instance().socket(zmq.REQ)
        requester.linger = 0
        try:
            requester.connect(f"tcp://127.0.0.1:{self.port}")
            requester.send(msgpack.packb({"service": service, "data": {"timestamp": int(time.time()), **data}}))
            deadline = time.monotonic() + seconds
            while not requester.poll(50):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    return None
            return msgpack.unpackb(requester.recv())
        finally:
            requester.close()

    def must(self, service: str, **data) -> dict:
        reply = self.ask(service, **data)
        if not reply or reply["data"].get("status") == "erro":
            raise Trouble(f"{service}: {reply}")
        return reply

    def post(self, text: str, seconds: float = PATIENCE_SECONDS) -> str:
        """`stored`, `refused` or `silence`."""
        reply = self.ask("publish", seconds, user="ana", channel=CHANNEL, message=text)
        if reply is None:
            return "silence"
        if reply["data"]["status"] == "erro":
            return "refused"
        self.acknowledged.add(text)
        return "stored"

    def fault(self, name: str, about: str = "") -> None:
        (self.control / name).write_text(about)

    def heal(self, name: str) -> None:
        (self.control / name).unlink()

    def wait_for_end(self) -> int:
        return wait_until("the server ends", lambda: self.process.poll() is not None, PATIENCE_SECONDS) and self.process.returncode

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)

    def lose_power(self) -> None:
        """kill -9, and then only what reached the disk is there."""
        self.kill()
        for name in FILES:
            file = self.data / name
            if file.exists():
                kept = self.control / "disk" / str(file.stat().st_ino)
                # Into the same file: what is known of its inode stays true.
                file.write_bytes(kept.read_bytes() if kept.exists() else b"")
        for leftover in [*self.data.glob("*-shm"), *self.data.glob("*.copying")]:
            leftover.unlink()

    def export(self) -> dict[str, bytes]:
        out = self.folder / "export"
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([self.papo, "export", "--data", self.data, "--out", out], check=True, capture_output=True, timeout=60, env=environment_for_papo())
        return {file.name: file.read_bytes() for file in out.iterdir()}

    def settled_export(self) -> dict[str, bytes]:
        """Once a running server has written down all that it shows, also what nobody was told of: nothing more comes for a while."""
        before = self.export()
        while True:
            time.sleep(SETTLED_SECONDS)
            if (after := self.export()) == before:
                return after
            before = after

    def posts(self) -> list[str]:
        """The texts that the export holds, each as often as it does."""
        return [json.loads(line)["message"] for line in self.export()["publications.jsonl"].splitlines()]

    def lost(self) -> set[str]:
        """What was acknowledged and is not there. An export holds what is known as shown on disk: a running server writes that down at
        most a second later."""
        until = time.monotonic() + SHOWN_STORED_SECONDS
        while (lost := self.acknowledged - set(self.posts())) and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        return lost

    def log_of_last_start(self) -> str:
        return re.split(r"server listens", self.log.read_text())[-1]


class Writer:
    """Posts in the background until told to stop, each text once."""

    def __init__(self, server: Server, name: str):
        self.server, self.name = server, name
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        number = 0
        while not self.stopped.is_set() and self.server.process.poll() is None:
            number += 1
            self.server.post(f"{self.name}-{number}", seconds=5)

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()
