"""A network of hosts on one machine, each a network namespace with one cable to a router, which is this process's own namespace.

The router drops, answers with RST or lets pass, by (from, to): so a link can be cut in one direction too. What is slow goes through a
relay at the host that dials (relay.py). All of it is gone with the process that made it: see `enter`.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
INSIDE = "PAPO_CHAOS_INSIDE"
# As hack/kube/up has it: this machine cannot host it.
CANNOT = 3
TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "ip": "iproute2", "nft": "nftables"}
PREFIX, ROUTER = "10.9.0", "10.9.0.254"
RELAY_PORT = 7777
# Of what the relay sends on, so that it does not meet itself.
RELAY_MARK = 7
READY_SECONDS = 10

RULES_OF_ROUTER = """
table ip chaos {
    set dropped { type ipv4_addr . ipv4_addr; }
    set broken { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0;
        ip saddr . ip daddr @dropped drop
        ip protocol tcp ip saddr . ip daddr @broken reject with tcp reset
    }
}
"""
RULES_OF_HOST = f"""
table ip chaos {{
    set slow {{ type ipv4_addr; }}
    chain output {{
        type nat hook output priority -100;
        ip daddr @slow meta mark != {RELAY_MARK} ip protocol tcp redirect to :{RELAY_PORT}
    }}
}}
"""


def enter() -> None:
    """Goes on as the first process of a network, a mount table and a list of processes that end with it."""
    if os.environ.pop(INSIDE, None):
        return
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    cannot = None
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if sys.platform != "linux":
        cannot = "namespaces need Linux"
    elif missing := {package for tool, package in TOOLS.items() if not shutil.which(tool)}:
        cannot = f"missing: {', '.join(sorted(missing))} (as root: hack/deps)"
    else:
        if os.getuid() != 0:
            command += ["--user", "--map-root-user"]
        tried = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if tried.returncode != 0:
            cannot = f"no namespaces here: {tried.stderr.strip()}"
    if cannot:
        print(cannot)
        sys.exit(CANNOT)
    os.environ[INSIDE] = "yes"
    sys.stdout.flush()
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


def do(*command: str, about: str | None = None) -> None:
    subprocess.run(command, input=about, check=True, text=True, stdout=subprocess.DEVNULL)


# From, to.
Pair = tuple[str, str]


def one_way(sources: list[str], targets: list[str]) -> set[Pair]:
    return {(source, target) for source in sources for target in targets if source != target}


def both_ways(some: list[str], others: list[str]) -> set[Pair]:
    return one_way(some, others) | one_way(others, some)


class Network:
    """Hosts by name, and what is wrong between them."""

    def __init__(self, names: list[str]):
        self.addresses = {name: f"{PREFIX}.{number}" for number, name in enumerate(names, 1)}
        self.namespaces: dict[str, str] = {}
        self.relays: dict[str, subprocess.Popen] = {}
        # By set, what each fault put there.
        self.faults: dict[str, list[set[Pair]]] = {"dropped": [], "broken": []}
        do("ip", "link", "set", "lo", "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        do("nft", "-f", "-", about=RULES_OF_ROUTER)
        for number, name in enumerate(names, 1):
            self.connect(number, name)

    def connect(self, number: int, name: str) -> None:
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        namespace = Path(f"/proc/{holder.pid}/ns/net")
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + READY_SECONDS
        while os.readlink(namespace) == own:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no network for {name}")
            time.sleep(0.01)
        self.namespaces[name] = str(namespace)
        address, cable = self.addresses[name], f"cable{number}"
        do("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        do("ip", "-batch", "-", about=f"""
            address add {ROUTER}/32 dev {cable}
            link set {cable} up
            route add {address}/32 dev {cable} src {ROUTER}
        """)
        do(*self.at(name, "ip", "-batch", "-"), about=f"""
            link set lo up
            address add {address}/32 dev eth0
            link set eth0 up
            route add {ROUTER}/32 dev eth0
            route add default via {ROUTER} src {address}
        """)
        do(*self.at(name, "nft", "-f", "-"), about=RULES_OF_HOST)

    def at(self, name: str, *command) -> list[str]:
        """The command line that runs this on that host; its process is the command's own."""
        return ["nsenter", f"--net={self.namespaces[name]}", "--", *map(str, command)]

    # --- What is wrong -----------------------------------------------------------------------------------------------------

    def spoil(self, how: str, pairs: set[Pair]) -> None:
        """`dropped`, or `broken` with RST: what goes from the first to the second of each pair."""
        self.faults[how].append(pairs)
        self.apply(how)

    def mend(self, how: str, pairs: set[Pair]) -> None:
        self.faults[how].remove(pairs)
        self.apply(how)

    def apply(self, how: str) -> None:
        elements = [f"{self.addresses[a]} . {self.addresses[b]}" for a, b in set().union(*self.faults[how])]
        add = f"add element ip chaos {how} {{ {', '.join(elements)} }}" if elements else ""
        do("nft", "-f", "-", about=f"flush set ip chaos {how}\n{add}\n")

    def slow(self, name: str, others: list[str], milliseconds: tuple[int, int], seed: int) -> None:
        """What this host opens from now on to the others goes through a relay that keeps each piece for so long, both ways."""
        relay = [sys.executable, HERE / "relay.py", str(RELAY_PORT), str(RELAY_MARK), *map(str, milliseconds), str(seed)]
        self.relays[name] = subprocess.Popen(self.at(name, *relay), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.relays[name].stdout.readline()
        addresses = ", ".join(self.addresses[other] for other in others)
        do(*self.at(name, "nft", f"add element ip chaos slow {{ {addresses} }}"))

    def quicken(self, name: str) -> None:
        """What went through the relay breaks, and is opened again without it."""
        do(*self.at(name, "nft", "flush set ip chaos slow"))
        relay = self.relays.pop(name)
        relay.kill()
        relay.wait()
