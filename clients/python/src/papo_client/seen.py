"""Which messages a history gave lately: their live copies may come later."""

from papo_client.bounds import SEEN_GENERATION


class Seen:
    """A bounded memory of identities. It forgets those that were added longest ago, half of them at once."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def add(self, identity: bytes) -> None:
        self._young.add(identity)
        if len(self._young) >= SEEN_GENERATION:
            self._old, self._young = self._young, set()

    def __contains__(self, identity: bytes) -> bool:
        return identity in self._young or identity in self._old
