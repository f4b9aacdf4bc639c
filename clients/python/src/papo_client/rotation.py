"""Which of several equal peers a connection goes to, and how long to wait before the next attempt."""

import random
import re
from collections import deque
from collections.abc import Iterable

from papo_client.bounds import BACKOFF_MAX_SECONDS, BACKOFF_MIN_SECONDS


def address_of(text: str) -> str:
    """`host:port`, with or without `tcp://` before it, as ZeroMQ wants it."""
    bare = text.removeprefix("tcp://")
    port = re.fullmatch(r"\S+:(\d{1,5})", bare)
    if not (port and 0 < int(port[1]) < 1 << 16):
        raise ValueError(f"{text!r} is no address: write it as host:port, such as 127.0.0.1:5555")
    return f"tcp://{bare}"


class Rotation:
    """One address as long as it serves; after a failure the next. When all have failed in turn, pauses grow."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = deque(map(address_of, addresses))
        if not self._addresses:
            raise ValueError("no address is given: name at least one as host:port")
        self._failures = 0
        self._pause = BACKOFF_MIN_SECONDS

    @property
    def current(self) -> str:
        return self._addresses[0]

    def served(self) -> None:
        """The current one serves."""
        self._failures, self._pause = 0, BACKOFF_MIN_SECONDS

    def failed(self) -> float:
        """On to the next; says how many seconds to wait first."""
        self._addresses.rotate(-1)
        self._failures += 1
        pause = self._pause
        if self._failures >= len(self._addresses):
            self._failures = 0
            self._pause = min(2 * pause, BACKOFF_MAX_SECONDS)
        return pause * random.uniform(0.5, 1.5)
