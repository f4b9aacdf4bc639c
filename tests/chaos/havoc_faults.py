"""What goes wrong in a cluster apart: rounds of faults, drawn from a seed, that begin together and are healed together.

A fault is a generator: up to `yield` it does harm, from there it heals. Between rounds every server gets all that the others have, so
that at most a minority of the volumes is harmed at any time.
"""

import random
import signal
import sys
import time
from dataclasses import dataclass

from apart import Apart
from cluster import Trouble, wait_until
from faults import PAUSE_SECONDS, Timeline
from network import both_ways, one_way

# A round lasts so long; now and then longer than a broker waits for servers (10 s), so that clients are put off.
HOLD_SECONDS = (1.5, 6.0)
HOLD_LONG_SECONDS = (11.0, 14.0)
HOLD_LONG_CHANCE = 0.1
# A server that starts with an empty volume, after a long run.
BACK_SECONDS = 180
BETWEEN_SECONDS = (0.0, 0.3)
ROUND_FAULTS = (1, 2, 2, 3)
BURSTS, BURST_SECONDS = 3, 0.3
# Least and most of what a slow link adds: one delay from the first half of this, one from the second.
SLOW_MILLISECONDS = (10, 150, 300)
# What a server writes before its volume is put back to an earlier state.
LEAD_SECONDS = 1.0
LEAD_BEGINS_SECONDS = 10
# Less than it takes to notice that the others are gone.
ALONE_SECONDS = 1.5
# To converge: so long, and the backlog: what is missing, and what a server that starts reads from its disk, at so many a second. Far less
# than a machine does that has nothing else to do; here all servers and clients share one.
CONVERGE_SECONDS, CATCH_UP_RATE, READ_RATE = 5, 2_000, 50_000


@dataclass(frozen=True)
class Kind:
    """Of fault: whom it strikes, and whether it has it start anew, takes long to begin, or harms the volume."""

    name: str
    strikes: str = "server"
    restarts: bool = False
    begins_slowly: bool = False
    harms_volume: bool = False


KINDS = [
    Kind("kill", restarts=True),
    Kind("term", restarts=True, begins_slowly=True),
    Kind("stop"),
    Kind("cut"),
    Kind("no peers"),
    Kind("no brokers"),
    Kind("no proxies"),
    Kind("deaf"),
    Kind("mute"),
    Kind("split", "minority"),
    Kind("split off highest", "minority"),
    Kind("slow"),
    Kind("broken", begins_slowly=True),
    Kind("full"),
    Kind("wiped", restarts=True, begins_slowly=True, harms_volume=True),
    Kind("wiped alone", restarts=True, begins_slowly=True, harms_volume=True),
    Kind("rolled back", restarts=True, begins_slowly=True, harms_volume=True),
    Kind("kill broker", "broker"),
    Kind("stop broker", "broker"),
    Kind("kill proxy", "proxy"),
    Kind("stop proxy", "proxy"),
]


@dataclass
class Settled:
    """How a round ended."""

    seconds: float
    missing: int
    read: int = 0

    @property
    def bound(self) -> float:
        return CONVERGE_SECONDS + self.missing / CATCH_UP_RATE + self.read / READ_RATE

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s for {self.missing:,} operations, {self.read:,} read (bound {self.bound:.1f} s)"


class Havoc(Timeline):
    """The first broker and the first proxy may be cut off, but live."""

    def __init__(self, apart: Apart, seed: int, began: float, names: list[str], hold: tuple[float, float] | None):
        super().__init__(began)
        self.hold = hold
        self.apart, self.network = apart, apart.network
        self.chance = random.Random(seed)
        self.kinds = [kind for kind in KINDS if kind.name in names]
        self.minority = (len(apart.servers) - 1) // 2
        self.deck: list[Kind] = []
        self.rounds = 0
        self.settled: list[Settled] = []
        self.restarted = False
        self.deaths: list[str] = []
        # When clients had to be put off: from the beginning of a round until all was well again.
        self.excuses: list[tuple[float, float]] = []
        self.healed = began
        self.excused = False

    def go_on(self, seconds: float) -> None:
        """At least so long, and until each kind was there once. Ends as the last round is healed."""
        try:
            while True:
                self.round()
                if time.monotonic() - self.began > seconds and all(self.done[kind.name] for kind in self.kinds):
                    return
                self.settled.append(self.settle())
                if self.excused:
                    self.excuses.append((self.timeline[-1][0], time.monotonic()))
                time.sleep(self.chance.uniform(*PAUSE_SECONDS))
        except Trouble as trouble:
            self.trouble = str(trouble)
        finally:
            if self.excused:
                self.excuses.append((self.timeline[-1][0], time.monotonic() + BACK_SECONDS))

    def round(self) -> None:
        drawn = self.draw()
        # A majority is away, or on the other side than a broker.
        struck = {victim for _, victims in drawn for victim in victims}
        self.excused = len(struck.intersection(self.apart.servers)) > self.minority or any(kind.strikes == "minority" for kind, _ in drawn)
        self.restarted = any(kind.restarts for kind, _ in drawn)
        began = time.monotonic()
        running = []
        for kind, victims in drawn:
            fault = getattr(self, kind.name.replace(" ", "_"))(*victims)
            next(fault)
            running.append(fault)
            time.sleep(self.chance.uniform(*BETWEEN_SECONDS))
        long = self.chance.random() < HOLD_LONG_CHANCE
        time.sleep(self.chance.uniform(*(self.hold or (HOLD_LONG_SECONDS if long else HOLD_SECONDS))))
        for fault in self.chance.sample(running, len(running)):
            next(fault, None)
        self.healed = time.monotonic()
        self.rounds += 1
        self.done.update(kind.name for kind, _ in drawn)
        self.note(began, self.healed, "; ".join(f"{kind.name} {', '.join(victims)}" for kind, victims in drawn))
        for death in self.apart.died():
            self.deaths.append(f"{death} (after {self.timeline[-1][2]})")
            self.apart.launch(death.split(" ")[0])

    def draw(self) -> list[tuple[Kind, list[str]]]:
        """The next of the deck that can happen at once, each to somebody of its own."""
        if not self.deck:
            self.deck = self.chance.sample(self.kinds, len(self.kinds))
        free = {"server": list(self.apart.servers), "broker": self.apart.brokers[1:], "proxy": self.apart.proxies[1:]}
        # One more than the cluster can do without: then nothing is acknowledged for a while.
        most, struck, harmed, drawn = self.minority + 1, 0, 0, []
        count = self.chance.choice(ROUND_FAULTS)
        for kind in list(self.deck):
            victims = self.victims_of(kind, free)
            servers = sum(victim in free["server"] for victim in victims)
            if not victims or struck + servers > most or harmed + kind.harms_volume > self.minority:
                continue
            for victim in victims:
                whole = free[self.apart.roles[victim].kind]
                if victim in whole:
                    whole.remove(victim)
            self.deck.remove(kind)
            drawn.append((kind, victims))
            struck, harmed = struck + servers, harmed + kind.harms_volume
            if len(drawn) == count:
                break
        # What takes long to begin comes first: a server that is to write a while longer needs the others.
        return sorted(drawn, key=lambda of: not of[0].begins_slowly)

    def victims_of(self, kind: Kind, free: dict[str, list[str]]) -> list[str]:
        if kind.strikes != "minority":
            return self.chance.sample(free[kind.strikes], 1) if free[kind.strikes] else []
        highest = self.apart.servers[-1]
        with_highest = kind.name == "split off highest"
        others = [name for name in free["server"] if name != highest]
        if with_highest and highest not in free["server"] or len(others) < self.minority:
            return []
        servers = self.chance.sample(others, self.minority - with_highest) + ([highest] if with_highest else [])
        # On its side are a broker and a proxy, whatever else happens to them.
        return [*servers, self.chance.choice(self.apart.brokers), self.chance.choice(self.apart.proxies)]

    def settle(self) -> Settled:
        """Until every server has what any had when all was healed, and the cluster is whole."""
        at_first = wait_until("every server answers", self.apart.vectors, BACK_SECONDS)
        newest: dict = {}
        for vector in at_first.values():
            for writer, count in vector.items():
                newest[writer] = max(count, newest.get(writer, 0))

        def missing(vectors) -> int:
            return max(sum(max(0, count - vector.get(writer, 0)) for writer, count in newest.items()) for vector in vectors.values())

        def all_have_it() -> bool:
            vectors = self.apart.vectors()
            return vectors is not None and missing(vectors) == 0

        about = self.timeline[-1][2]
        wait_until(f"the servers are in sync after {about}", all_have_it, BACK_SECONDS)
        settled = Settled(time.monotonic() - self.healed, missing(at_first), sum(newest.values()) if self.restarted else 0)
        wait_until(f"the cluster is whole after {about}", self.apart.is_whole, BACK_SECONDS)
        print(f"{'':>11}in sync after {settled}", file=sys.stderr, flush=True)
        return settled

    # --- Processes ---------------------------------------------------------------------------------------------------------

    def kill(self, name: str):
        self.apart.kill(name)
        yield
        self.apart.launch(name)

    def term(self, name: str):
        self.apart.terminate(name)
        yield
        self.apart.launch(name)

    def stop(self, name: str):
        self.apart.signal(name, signal.SIGSTOP)
        yield
        self.apart.signal(name, signal.SIGCONT)

    kill_broker = kill_proxy = kill
    stop_broker = stop_proxy = stop

    # --- Links -------------------------------------------------------------------------------------------------------------

    def spoil(self, how: str, pairs):
        self.network.spoil(how, pairs)
        yield
        self.network.mend(how, pairs)

    def others(self, name: str) -> list[str]:
        return [other for other in self.apart.names if other != name]

    def cut(self, name: str):
        return self.spoil("dropped", both_ways([name], self.others(name)))

    def no_peers(self, name: str):
        return self.spoil("dropped", both_ways([name], self.apart.servers))

    def no_brokers(self, name: str):
        return self.spoil("dropped", both_ways([name], self.apart.brokers))

    def no_proxies(self, name: str):
        return self.spoil("dropped", both_ways([name], self.apart.proxies))

    def deaf(self, name: str):
        return self.spoil("dropped", one_way(self.others(name), [name]))

    def mute(self, name: str):
        return self.spoil("dropped", one_way([name], self.others(name)))

    def split(self, *side: str):
        return self.spoil("dropped", both_ways(side, [name for name in self.apart.names if name not in side]))

    split_off_highest = split

    def reset(self, name: str, seconds: float) -> None:
        """Breaks all its links, in mid-message if there is one."""
        pairs = both_ways([name], self.others(name))
        self.network.spoil("broken", pairs)
        time.sleep(seconds)
        self.network.mend("broken", pairs)

    def broken(self, name: str):
        for _ in range(BURSTS):
            self.reset(name, BURST_SECONDS)
            time.sleep(BURST_SECONDS)
        yield

    def slow(self, name: str):
        least, middle, most = SLOW_MILLISECONDS
        delays = (self.chance.randrange(least, middle), self.chance.randrange(middle, most))
        self.network.slow(name, self.others(name), delays, self.chance.randrange(1 << 30))
        # What it has open is direct until it breaks.
        self.reset(name, 2 * BURST_SECONDS)
        yield
        self.network.quicken(name)

    # --- Volumes -----------------------------------------------------------------------------------------------------------

    def full(self, name: str):
        self.apart.fill(name)
        yield
        self.apart.make_room(name)

    def wiped(self, name: str):
        self.apart.kill(name)
        self.apart.wipe(name)
        self.apart.launch(name)
        yield

    def wiped_alone(self, name: str):
        """What it took after it lost sight of the others is gone: nothing of it may be promised to anybody."""
        pairs = both_ways([name], self.apart.servers)
        self.network.spoil("dropped", pairs)
        time.sleep(ALONE_SECONDS)
        self.apart.kill(name)
        self.apart.wipe(name)
        self.network.mend("dropped", pairs)
        self.apart.launch(name)
        yield

    def rolled_back(self, name: str):
        self.apart.kill(name)
        self.apart.copy(name)
        self.apart.launch(name)
        try:
            wait_until(f"{name} writes again", lambda: self.apart.status(name).get("caughtUp"), LEAD_BEGINS_SECONDS)
        except Trouble:
            # Then what it goes back behind is only what it heard.
            pass
        time.sleep(LEAD_SECONDS)
        self.apart.kill(name)
        self.apart.put_back(name)
        self.apart.launch(name)
        yield
