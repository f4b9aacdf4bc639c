"""How far a place is read, and what of it is still to be handed out: each message once, whether it comes live, in a page, or both.

A place is a channel, or a user's direct messages. Live messages are fast and may be lost; a history, read from cursor to cursor, gives each
message once. A message that came live is remembered until a page confirms it, so that no page gives it again, however long that takes. One
that a page gave is remembered for as long as its live copy may be on the way. Knows no sockets and no time.
"""

from dataclasses import dataclass, field

from papo_client.bounds import AHEAD_MAX, HELD_MAX
from papo_client.seen import Seen
from papo_client.wire import Message, Page


@dataclass(frozen=True, slots=True)
class Mark:
    """A place from which a reader goes on, after a restart of its program too: all that the cursor covers, and of what follows that."""

    cursor: bytes
    beyond: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Passed:
    """Stands behind the messages of a page in the order of handing out: the reader has all of it now."""

    cursor: bytes
    confirmed: frozenset[bytes]


@dataclass
class Reading:
    """One place. It begins behind, and live messages wait until a page was the last, so that what was said before comes first."""

    cursor: bytes
    # Handed out live, and in no page yet.
    ahead: set[bytes] = field(default_factory=set)
    behind: bool = True
    # Live messages left out for want of room: only a page can bring them.
    left_out: bool = False
    _held: dict[bytes, Message] = field(default_factory=dict)
    _given: Seen = field(default_factory=Seen)

    def on_live(self, message: Message) -> list[Message]:
        """What is to be handed out now."""
        identity = message.message_id
        if identity in self.ahead or identity in self._held or identity in self._given:
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
        self.cursor = page.cursor
        # Once more at least, if something was left out that this page need not have held.
        self.behind = page.more or self.left_out
        self.left_out = False
        waited: list[Message] = []
        if not self.behind:
            waited = list(self._held.values())
            self._held.clear()
            self.ahead.update(message.message_id for message in waited)
        return [*new, Passed(page.cursor, frozenset(message.message_id for message in page.messages)), *waited]


@dataclass
class HandedOut:
    """The same as the program has it, which may be behind by what still waits for it."""

    cursor: bytes
    beyond: set[bytes]

    def on_message(self, message: Message) -> None:
        self.beyond.add(message.message_id)

    def on_passed(self, passed: Passed) -> None:
        self.cursor = passed.cursor
        self.beyond -= passed.confirmed

    def mark(self) -> Mark:
        return Mark(self.cursor, frozenset(self.beyond))
