"""What is done to the processes while the clients ask: one at a time, from a seed, each time until the cluster is whole again."""

import itertools
import os
import random
import signal
import sys
import time
from collections import Counter

from cluster import Local, Trouble, wait_until

# kill: as by the kernel for want of memory. stop: as on a host that hangs. term: as at every update.
KINDS = ("kill", "stop", "term")
STOPPED_SECONDS = 5
# papo local lets a role that dies often wait up to 10 s; then it must start, read its history and find the others.
BACK_SECONDS = 60
PAUSE_SECONDS = (0.2, 1.0)


class Timeline:
    """What was done, and when. `around` is for whoever finds something wrong meanwhile."""

    def __init__(self, began: float):
        self.began = began
        self.done: Counter = Counter()
        self.timeline: list[tuple[float, float, str]] = []
        self.trouble: str | None = None

    def note(self, began: float, ended: float, what: str) -> None:
        self.timeline.append((began, ended, what))
        print(f"{began - self.began:7.1f} s  {what}: over {ended - began:.1f} s later", file=sys.stderr, flush=True)

    def around(self, moment: float) -> str:
        """The faults that a moment fell into, or the one before it."""
        hits = [what for began, ended, what in self.timeline if began <= moment <= ended]
        before = [f"{moment - ended:.1f} s after {what}" for _, ended, what in self.timeline if ended < moment]
        return ", ".join(hits) or (before[-1] if before else "before the first fault")


class Faults(Timeline):
    """What is done to the `victims` of a `papo local`."""

    def __init__(self, local: Local, victims: list[str], kinds: list[str], seed: int, began: float):
        super().__init__(began)
        self.local, self.victims, self.kinds = local, victims, kinds
        self.chance = random.Random(seed)

    def go_on(self, seconds: float) -> None:
        """One fault after the other. When only restarts are asked for, each victim in turn, as at an update; else at random."""
        in_turn = self.kinds == ["term"]
        try:
            for number in itertools.count():
                kind = self.chance.choice(self.kinds)
                name = self.victims[number % len(self.victims)] if in_turn else self.chance.choice(self.victims)
                if time.monotonic() - self.began > seconds:
                    break
                self.one(kind, name)
                time.sleep(self.chance.uniform(*PAUSE_SECONDS))
        except Trouble as trouble:
            self.trouble = str(trouble)

    def one(self, kind: str, name: str) -> None:
        pid = self.local.pid(name)
        began = time.monotonic()
        if kind == "stop":
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(STOPPED_SECONDS)
            finally:
                os.kill(pid, signal.SIGCONT)
        else:
            os.kill(pid, signal.SIGKILL if kind == "kill" else signal.SIGTERM)
            wait_until(f"{name} runs again after {kind}", lambda: self.local.pid(name) != pid, BACK_SECONDS)
        wait_until(f"the cluster is whole after {kind} of {name}", self.local.is_whole, BACK_SECONDS)
        self.done[kind] += 1
        self.note(began, time.monotonic(), f"{kind} {name} (process {pid})")
