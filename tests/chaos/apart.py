"""A cluster whose roles are far apart: each a process on a host of its own, each server with a volume of its own (a tmpfs)."""

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from cluster import START_SECONDS, Cluster, Role, Trouble, environment_for_papo, wait_until
from network import Network, do

HTTP, REQUESTS, WORKERS, PUBLISHERS, SUBSCRIPTIONS, REFERENCE, PEERS = 8080, 5555, 5556, 5557, 5558, 5559, 5550
VOLUME_BYTES = 2 << 30
# A server that stops waits up to 10 s for its peers, and a broker for its longest request.
TERM_SECONDS = 30
FILL_SECONDS = 10


class Apart(Cluster):
    """Two brokers, two proxies, ref, and as many servers as asked for; `spec` is the rest of the manifest's."""

    def __init__(self, papo: str, folder: Path, servers: int, durability: str, spec: str = ""):
        super().__init__(papo, folder)
        self.durability, self.spec = durability, spec
        self.servers = [f"server-{number}" for number in range(1, servers + 1)]
        self.brokers, self.proxies = ["broker-1", "broker-2"], ["proxy-1", "proxy-2"]
        self.names = [*self.brokers, *self.proxies, "ref", *self.servers]
        self.network = Network(self.names)
        self.processes: dict[str, subprocess.Popen] = {}
        # Those that were ended on purpose.
        self.down: set[str] = set()
        self.settings, self.token = self.data / "settings.yaml", self.data / "token"
        for name in self.names:
            self.roles[name] = Role(name, [self.at(name, REQUESTS)], [self.at(name, SUBSCRIPTIONS)], self.at(name, HTTP))

    def at(self, name: str, port: int) -> str:
        return f"{self.network.addresses[name]}:{port}"

    def start(self) -> None:
        (self.folder / "logs").mkdir(parents=True)
        self.data.mkdir()
        for name in self.servers:
            self.volume(name).mkdir()
            do("mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "tmpfs", str(self.volume(name)))
        members = ", ".join(self.servers)
        spec = f"{{replicas: {len(self.servers)}, durability: {self.durability}{self.spec and ', '}{self.spec}}}"
        self.settings.write_text(f"clusterId: tests/chaos\nmembers: [{members}]\nspec: {spec}\n")
        self.token.write_text(secrets.token_hex(32))
        for name in self.names:
            self.launch(name)
        wait_until("the cluster is whole", self.is_whole, START_SECONDS)

    def volume(self, name: str) -> Path:
        return self.data / name

    def arguments(self, name: str) -> list:
        kind = self.roles[name].kind
        common = [kind, "--settings", self.settings, "--token-file", self.token, "--http", f"0.0.0.0:{HTTP}"]
        match kind:
            case "ref":
                return [*common, "--data", self.data / "ref"]
            case "server":
                listed = {
                    "--broker": [self.at(broker, WORKERS) for broker in self.brokers],
                    "--proxy": [self.at(proxy, PUBLISHERS) for proxy in self.proxies],
                    "--ref": [self.at("ref", REFERENCE)],
                    "--peers": [f"{peer}={self.at(peer, PEERS)}" for peer in self.servers if peer != name],
                }
                lists = [text for flag, addresses in listed.items() for text in (flag, ",".join(addresses))]
                return [*common, "--name", name, "--data", self.volume(name), *lists]
            case _:
                return common

    # --- Processes ---------------------------------------------------------------------------------------------------------

    def launch(self, name: str) -> None:
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.network.at(name, self.papo, *self.arguments(name)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment_for_papo(),
            )
        self.down.discard(name)

    def signal(self, name: str, number: int) -> None:
        os.kill(self.processes[name].pid, number)

    def kill(self, name: str) -> None:
        self.down.add(name)
        self.signal(name, signal.SIGKILL)
        self.processes[name].wait()

    def terminate(self, name: str) -> None:
        self.down.add(name)
        self.signal(name, signal.SIGTERM)
        try:
            self.processes[name].wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{name} did not stop within {TERM_SECONDS} s of SIGTERM") from None

    def died(self) -> list[str]:
        """Roles that ended by themselves."""
        return [f"{name} ended by itself with {code}" for name in self.names if name not in self.down and (code := self.processes[name].poll()) is not None]

    def stop(self) -> None:
        """All at once: this is no rolling update."""
        for name in self.names:
            if self.processes[name].poll() is None:
                self.kill(name)

    # --- Volumes, of servers that are down ---------------------------------------------------------------------------------

    def copy_of(self, name: str) -> Path:
        return self.folder / "copies" / name

    def copy(self, name: str) -> None:
        shutil.rmtree(self.copy_of(name), ignore_errors=True)
        shutil.copytree(self.volume(name), self.copy_of(name))

    def wipe(self, name: str) -> None:
        for entry in self.volume(name).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def put_back(self, name: str) -> None:
        self.wipe(name)
        shutil.copytree(self.copy_of(name), self.volume(name), dirs_exist_ok=True)

    def fill(self, name: str) -> None:
        """No byte more than there is."""

        def resized() -> bool:
            figures = os.statvfs(self.volume(name))
            used = (figures.f_blocks - figures.f_bfree) * figures.f_frsize
            # The kernel refuses when more has been written since.
            return self.resize(name, used)

        wait_until(f"the volume of {name} is full", resized, FILL_SECONDS)

    def make_room(self, name: str) -> None:
        if not self.resize(name, VOLUME_BYTES):
            raise Trouble(f"the volume of {name} cannot be made larger")

    def resize(self, name: str, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.volume(name))]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0

    # --- What the servers have ---------------------------------------------------------------------------------------------

    def vectors(self) -> dict[str, dict[tuple[str, str], int]] | None:
        """What each server has on disk, by (server, boot); None unless all answer."""
        statuses = {name: self.status(name) for name in self.servers}
        if not all(statuses.values()):
            return None
        return {name: {(of["server"], of["boot"]): of["seq"] for of in status["vector"]} for name, status in statuses.items()}

    def digests(self) -> dict[str, str | None]:
        return {name: self.status(name).get("digest") for name in self.servers}
