"""How far a place is read, and what of it is still to be handed out: each message once, whether it comes live, in a page, or both.

A place is a channel, or a user's direct messages. Live messages are fast and may be lost; a history, read from cursor to cursor, gives each
message once. A message that came live is remembered until a page confirms it, so that no page gives it again, however long that takes. One
that a page gave is remembered for as long as its live copy may be on the way: a proxy that has just started may be sent, and pass on, what
is a minute old. Knows no sockets and no time.
"""

from dataclasses import dataclass, field

from papo_client.bounds import AHEAD_MAX, COVERED_MAX, HELD_MAX
from papo_client.seen import Seen
from papo_client.wire import Message, Page


Covered = dict[tuple[str, str], int]
"""By server and its start (`boot`), the last of its messages that a page gave; those before it were given too, for a page holds what one
server wrote in the order in which it was written. This only helps to leave out late live copies: what it says never keeps a page from giving
a message."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a reader goes on, after a restart of its program too: it has all that the cursor covers, and of what follows that."""

    cursor: bytes
    beyond: frozenset[bytes] = frozenset()
    covered: Covered = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passed:
    """Stands behind the messages of a page in the order of handing out: the reader has all of it now."""

    cursor: bytes
    confirmed: frozenset[bytes]
    covered: Covered


class Reading:
    """One place. It begins behind, and live messages wait until a page was the last, so that what was said before comes first."""

    def __init__(self, mark: Mark) -> None:
        self.cursor, self.behind = mark.cursor, True
        # Handed out live, and in no page yet.
        self.ahead = set(mark.beyond)
        # Live messages left out for want of room: only a page can bring them.
        self.left_out = False
        self._held: dict[bytes, Message] = {}
        self._given = Seen()
        self._covered = dict(mark.covered)

    def on_live(self, message: Message) -> list[Message]:
        """What is to be handed out now."""
        identity = message.message_id
        if identity in self.ahead or identity in self._given or self._is_covered(message):
            return []
        room = len(self._held) < HELD_MAX if self.behind else len(self.ahead) < AHEAD_MAX
        if not room:
            self.left_out = True
            return []
        if self.behind:
            self._held[identity] = message
            return []
        self.ahead.add(identity)
        return [message]

    def on_page(self, page: Page) -> list[Message | Passed]:
        """What is to be handed out now of the page that follows the cursor; after its last, what waited for it."""
        new: list[Message | Passed] = []
        for message in page.messages:
            identity = message.message_id
            if identity in self.ahead:
                self.ahead.remove(identity)
            else:
                self._held.pop(identity, None)
                new.append(message)
            self._given.add(identity)
            self._cover(message)
        self.cursor = page.cursor
        # Once more at least, if something was left out that this page need not have held.
        self.behind = page.more or self.left_out
        self.left_out = False
        waited: list[Message] = []
        if not self.behind:
            waited = list(self._held.values())
            self._held.clear()
            self.ahead.update(message.message_id for message in waited)
        return [*new, Passed(page.cursor, frozenset(message.message_id for message in page.messages), dict(self._covered)), *waited]

    def _is_covered(self, message: Message) -> bool:
        place = message.position
        return self._covered.get((place.server, place.boot), -1) >= place.seq

    def _cover(self, message: Message) -> None:
        place = message.position
        # The newest last, so that the oldest is forgotten.
        self._covered.pop((place.server, place.boot), None)
        self._covered[place.server, place.boot] = place.seq
        if len(self._covered) > COVERED_MAX:
            del self._covered[next(iter(self._covered))]


class HandedOut:
    """The same as the program has it, which may be behind by what still waits for it."""

    def __init__(self, mark: Mark) -> None:
        self._cursor, self._beyond, self._covered = mark.cursor, set(mark.beyond), mark.covered

    def on(self, item: Message | Passed) -> None:
        if isinstance(item, Message):
            self._beyond.add(item.message_id)
        else:
            self._cursor, self._covered = item.cursor, item.covered
            self._beyond -= item.confirmed

    def mark(self) -> Mark:
        return Mark(self._cursor, frozenset(self._beyond), self._covered)
