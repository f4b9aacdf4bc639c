"""Lamport's clock (docs/wire.md, section 7): one more before each send, `max(own, received) + 1` on receipt."""

_MAX = 1 << 53
"""Values over it are ignored, as the servers do: not every client's number type holds them."""


class LamportClock:
    """One for everything that a chat sends and receives."""

    def __init__(self) -> None:
        self.now = 0

    def on_send(self) -> int:
        self.now += 1
        return self.now

    def on_receive(self, received: int) -> None:
        if 0 <= received < _MAX:
            self.now = max(self.now, received) + 1
