"""Live messages and pages of a history become one stream, in which each message comes once."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from papo_client import Message, Position, seen
from papo_client.bounds import AHEAD_MAX, HELD_MAX, SEEN_GENERATION
from papo_client.reading import HandedOut, Mark, Passed, Reading
from papo_client.seen import Seen
from papo_client.wire import Page

Make = Callable[[int], Message]
MakePage = Callable[..., Page]


def numbers(items: list[Message | Passed]) -> list[int]:
    return [int.from_bytes(item.message_id, "big") for item in items if isinstance(item, Message)]


def test_what_was_said_before_comes_first_and_what_came_live_meanwhile_after_it(message: Make, page: MakePage) -> None:
    reading = Reading(Mark(b""))
    assert reading.on_live(message(4)) == []
    assert numbers(reading.on_page(page(1, 2, more=True))) == [1, 2]
    assert numbers(reading.on_page(page(3))) == [3, 4]
    assert numbers([*reading.on_live(message(5))]) == [5]


def test_a_message_in_a_page_and_live_comes_once_whichever_is_first(message: Make, page: MakePage) -> None:
    reading = Reading(Mark(b""))
    reading.on_page(page(1))
    assert reading.on_live(message(1)) == []
    assert numbers([*reading.on_live(message(2))]) == [2]
    assert reading.on_live(message(2)) == []
    assert numbers(reading.on_page(page(2, 3))) == [3]
    assert reading.on_live(message(2)) == []


def test_a_message_that_came_live_is_remembered_however_many_pages_come_before_it(
    message: Make, page: MakePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "SEEN_GENERATION", 100)
    reading = Reading(Mark(b""))
    reading.on_page(page())
    last = 1000
    reading.on_live(message(last))
    for first in range(0, last, 50):
        reading.on_page(page(*range(first, first + 50), more=True))
    assert numbers(reading.on_page(page(last, last + 1))) == [last + 1]


def test_live_messages_that_nothing_confirms_are_bounded_and_left_to_the_history(message: Make, page: MakePage) -> None:
    reading = Reading(Mark(b""))
    for number in range(HELD_MAX + 10):
        assert reading.on_live(message(number)) == []
    # It must be read once more, since the page may have been written before what was left out.
    assert reading.on_page(page(0)) and reading.behind
    assert len(numbers(reading.on_page(page(*range(1, HELD_MAX + 1))))) == HELD_MAX and not reading.behind
    for number in range(10**6, 10**6 + AHEAD_MAX + 10):
        reading.on_live(message(number))
    assert len(reading.ahead) == AHEAD_MAX and reading.left_out


def test_memory_of_pages_is_bounded() -> None:
    memory = Seen()
    for number in range(5 * SEEN_GENERATION):
        memory.add(number.to_bytes(16, "big"))
    assert len(memory._young) + len(memory._old) <= 2 * SEEN_GENERATION
    assert (5 * SEEN_GENERATION - SEEN_GENERATION // 2).to_bytes(16, "big") in memory


def test_a_late_copy_of_what_was_read_before_a_restart_is_left_out(message: Make, page: MakePage) -> None:
    reading = Reading(Mark(b""))
    [*_, passed] = reading.on_page(page(1, 2, 3))
    handed_out = HandedOut(Mark(b""))
    handed_out.on(passed)
    again = Reading(handed_out.mark())
    again.on_page(page())
    assert again.on_live(message(2)) == [] and numbers([*again.on_live(message(4))]) == [4]


def test_a_live_copy_under_another_position_than_the_page_had_is_the_same_message(message: Make, page: MakePage) -> None:
    """Two servers may have stored it, when the first died over it; one of the two is shown."""
    reading = Reading(Mark(b""))
    reading.on_page(page(1))
    assert reading.on_live(replace(message(1), position=Position(2, "server-2", "c", 9))) == []


class World:
    """Three servers' messages, shown in their order by each, and read by a cursor that counts how many of each were given."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.written: list[list[Message]] = [[], [], []]
        self.shown = [0, 0, 0]
        self.count = 0
        # Live copies: lost, doubled, late.
        self.under_way: list[Message] = []

    def write(self) -> None:
        writer = self.chance.randrange(3)
        self.count += 1
        position = Position(self.count, f"server-{writer}", "b", len(self.written[writer]))
        self.written[writer].append(Message(self.count.to_bytes(16, "big"), "ana", "", "geral", None, 0, self.count, position))

    def show(self) -> None:
        writer = self.chance.randrange(3)
        if self.shown[writer] < len(self.written[writer]):
            self.under_way += [self.written[writer][self.shown[writer]]] * self.chance.choice((0, 1, 1, 2))
            self.shown[writer] += 1

    def page(self, cursor: bytes) -> Page:
        given = json.loads(cursor)
        rest = [message for writer in range(3) for message in self.written[writer][given[writer] : self.shown[writer]]]
        rest.sort(key=lambda message: message.position)
        messages = rest[: self.chance.randrange(1, 5)]
        for message in messages:
            given[int(message.position.server[-1])] += 1
        return Page(messages, json.dumps(given).encode(), len(rest) > len(messages))

    def late(self) -> Message:
        return self.under_way.pop(self.chance.randrange(len(self.under_way)))


@pytest.mark.parametrize("seed", range(50))
def test_each_message_comes_once_whatever_is_lost_repeated_late_or_resumed(seed: int) -> None:
    """And whenever the program goes on from a bookmark."""
    chance = random.Random(seed)
    world, heard = World(chance), Counter[int]()
    start = Mark(b"[0, 0, 0]")
    reading, handed_out, waiting = Reading(start), HandedOut(start), list[Message | Passed]()

    def take(item: Message | Passed) -> None:
        handed_out.on(item)
        heard.update(numbers([item]))

    for _ in range(600):
        match chance.randrange(7):
            case 0 | 1:
                world.write()
            case 2 | 3:
                world.show()
            case 4 if world.under_way:
                waiting += reading.on_live(world.late())
            case 5:
                waiting += reading.on_page(world.page(reading.cursor))
            case 6 if waiting:
                for _ in range(chance.randrange(8)):
                    if waiting:
                        take(waiting.pop(0))
                if chance.random() < 0.1:
                    mark = handed_out.mark()
                    reading, handed_out, waiting = Reading(mark), HandedOut(mark), []
    for _ in range(1500):
        world.show()
    while world.under_way:
        waiting += reading.on_live(world.late())
    while reading.behind or json.loads(reading.cursor) != world.shown:
        waiting += reading.on_page(world.page(reading.cursor))
    for item in waiting:
        take(item)
    assert heard == Counter(range(1, world.count + 1))
    # All is confirmed: a bookmark holds no more than it must.
    assert handed_out.mark().beyond == frozenset() and handed_out.mark().cursor == reading.cursor
