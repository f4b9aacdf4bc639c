"""The listening side: one SUB socket for speed and histories by cursor for completeness, joined so that each message comes once, whatever
dies in between: a server, a broker, a proxy, or this program (see `Stream.bookmark`).
"""

import asyncio
import base64
import contextlib
import enum
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from papo_client.bounds import PAGE_MESSAGES, READ_AFTER, READ_AGAIN_SECONDS, READ_EVERY_SECONDS, SETTLE_SECONDS
from papo_client.clock import LamportClock
from papo_client.errors import BadReply, Closed, NoAnswer, Refused
from papo_client.link import Link, LinkLost
from papo_client.outbox import Outbox
from papo_client.reading import HandedOut, Mark, Passed, Reading
from papo_client.requests import Requests
from papo_client.rotation import Rotation
from papo_client.wire import Message, Page, read_publication

_log = logging.getLogger(__name__)

BEGINNING = b""
"""The cursor before the first message."""

NOT_OPEN = "the stream is not open: `async with chat.listen(...) as stream`"


class _Found(enum.Enum):
    """What reading the histories on has brought."""

    NOTHING = enum.auto()
    MISSED = enum.auto()
    TROUBLE = enum.auto()


class Stream:
    """Messages of some channels, and direct ones, as they come; `Chat.listen` makes it.

    An asynchronous context manager and iterator. What was said before it began comes first, in the order of the history; then what
    is said. A message that was missed because a proxy died comes late, as soon as the histories have been read on.
    """

    def __init__(
        self,
        *,
        context: zmq.asyncio.Context,
        proxies: Rotation,
        chat_requests: Requests,
        requests: Requests,
        clock: LamportClock,
        user: str,
        scopes: Mapping[str, dict[str, str]],
        marks: Mapping[str, Mark],
        from_start: bool,
    ) -> None:
        self._context, self._proxies, self._clock, self._user = context, proxies, clock, user
        self._chat_requests, self._requests = chat_requests, requests
        # By topic: what to ask a history for, how far it is read, and how far the program has it.
        self._scopes, self._marks, self._from_start = scopes, marks, from_start
        self._readings: dict[str, Reading] = {}
        self._handed_out: dict[str, HandedOut] = {}
        self._outbox: Outbox[tuple[str, Message | Passed]] = Outbox()
        self._tasks: list[asyncio.Task[None]] = []
        self._link: Link | None = None
        self._wake, self._is_up, self._heard = asyncio.Event(), False, 0
        self.is_closed = False

    # --- The program's side ---

    async def __aenter__(self) -> Self:
        """From here on nothing is missed."""
        try:
            for topic in self._scopes:
                mark = self._marks.get(topic) or await self._first_mark(topic)
                self._readings[topic], self._handed_out[topic] = Reading(mark), HandedOut(mark)
        except BaseException:
            await self.aclose()
            raise
        self._tasks = [asyncio.create_task(self._guarded(work)) for work in (self._listen, self._read_on)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends it; what still waits is not handed out, and `bookmark` stays true."""
        self.is_closed = True
        self._outbox.end(Closed("the stream is closed"))
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._requests.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Waits for the next message. Cancelling it loses none.

        Raises `Refused` with code `cursor_invalid` when a bookmark is of another cluster, `Closed` after the stream's end.
        """
        if not self._readings:
            raise Closed(NOT_OPEN)
        while True:
            topic, item = await self._outbox.get()
            self._handed_out[topic].on(item)
            if isinstance(item, Message):
                return item

    def bookmark(self) -> str:
        """Where the program stands, after the message that it was given last. A stream that is opened with it goes on there, in
        another process and years later too: take it when that message is dealt with, and keep it where it is safe."""
        if not self._handed_out:
            raise Closed(NOT_OPEN)
        places = {topic: _mark_to_json(handed_out.mark()) for topic, handed_out in self._handed_out.items()}
        return json.dumps({"papo_bookmark": 1, "user": self._user, "places": places})

    # --- Live ---

    async def _listen(self) -> None:
        while True:
            try:
                self._link = Link(self._context, zmq.SUB, self._proxies.current, self._scopes)
                await self._link.up()
                self._proxies.served()
                self._is_up = True
                self._wake.set()
                while True:
                    await self._outbox.room()
                    self._on_frames(await self._link.receive())
            except LinkLost as lost:
                _log.debug("%s: %s", self._proxies.current, lost)
            finally:
                self._is_up = False
                if self._link is not None:
                    self._link.close()
                    self._link = None
            await asyncio.sleep(self._proxies.failed())

    def _on_frames(self, frames: list[bytes]) -> None:
        topic = frames[0].decode(errors="replace")
        reading = self._readings.get(topic)
        # Any proxy but papo's matches prefixes.
        if reading is None or len(frames) != 2:
            return
        try:
            message = read_publication(frames[1])
        except BadReply as bad:
            _log.debug("a publication on %s is left out: %s", topic, bad)
            return
        self._clock.on_receive(message.clock)
        self._heard += 1
        if self._heard % READ_AFTER == 0:
            self._wake.set()
        self._outbox.put((topic, item) for item in reading.on_live(message))

    # --- Histories ---

    async def _first_mark(self, topic: str) -> Mark:
        if self._from_start:
            return Mark(BEGINNING)
        # Over the chat's own connection: then what this program wrote before is not taken for new.
        newest = (await self._chat_requests.read("history", {**self._scopes[topic], "limit": PAGE_MESSAGES})).page()
        reading = Reading(Mark(BEGINNING))
        passed = reading.on_page(newest)[-1]
        return Mark(newest.cursor, covered=passed.covered) if isinstance(passed, Passed) else Mark(newest.cursor)

    async def _read_on(self) -> None:
        """At once; a moment after each new connection; and now and then, since a proxy may lose messages, or be cut off, unnoticed."""
        found = await self._read_all()
        while True:
            heard = self._heard
            pause = READ_EVERY_SECONDS if found is _Found.NOTHING and self._is_up else READ_AGAIN_SECONDS
            # Not wait_for: that of Python 3.11 may swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * random.uniform(1, 1.2)):
                    await self._wake.wait()
            if self._wake.is_set():
                self._wake.clear()
                await asyncio.sleep(SETTLE_SECONDS)
            if found is _Found.MISSED and self._heard == heard and self._link is not None:
                # Perhaps nobody has spoken since. If somebody did, the proxy is cut off: another connection costs little.
                self._link.close()
            found = await self._read_all()

    async def _read_all(self) -> _Found:
        found = _Found.NOTHING
        for topic, reading in self._readings.items():
            try:
                if await self._read_to_end(topic, reading) and found is _Found.NOTHING:
                    found = _Found.MISSED
            except (NoAnswer, Refused) as error:
                if isinstance(error, Refused) and not error.retry:
                    raise
                _log.warning("the history of %s could not be read, and will be: %s", topic, error)
                found = _Found.TROUBLE
        return found

    async def _read_to_end(self, topic: str, reading: Reading) -> bool:
        """Whether a message was given that should have come live."""
        missed = False
        while True:
            reply = await self._requests.read("history", {**self._scopes[topic], "papo_cursor": reading.cursor, "limit": PAGE_MESSAGES})
            page = self._of_mine(reply.page())
            await self._outbox.room()
            was_behind, stood = reading.behind, reading.cursor
            items = reading.on_page(page)
            missed |= not was_behind and isinstance(items[0], Message)
            self._outbox.put((topic, item) for item in items)
            if not reading.behind:
                return missed
            if page.more and page.cursor == stood:
                raise BadReply(f"the history of {topic} does not move on")

    def _of_mine(self, page: Page) -> Page:
        """A user's history holds what that user sent, too."""
        return replace(page, messages=[message for message in page.messages if message.to in (None, self._user)])

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """What ends a task ends the stream, and the program hears of it."""
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._outbox.fail(error)


def marks_of(bookmark: str, user: str) -> dict[str, Mark]:
    """What `Stream.bookmark` gave."""
    try:
        read = json.loads(bookmark)
        if read["papo_bookmark"] != 1 or read["user"] != user:
            raise ValueError(f"it is of version {read['papo_bookmark']} and user {read['user']!r}")
        return {topic: _mark_of_json(mark) for topic, mark in read["places"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no bookmark for {user!r}: {error}. Begin without one") from error


def _mark_to_json(mark: Mark) -> dict[str, object]:
    return {
        "cursor": base64.urlsafe_b64encode(mark.cursor).decode(),
        "beyond": sorted(identity.hex() for identity in mark.beyond),
        "covered": [[server, boot, seq] for (server, boot), seq in mark.covered.items()],
    }


def _mark_of_json(mark: dict[str, Any]) -> Mark:
    covered = {(str(server), str(boot)): int(seq) for server, boot, seq in mark["covered"]}
    return Mark(base64.urlsafe_b64decode(mark["cursor"]), frozenset(map(bytes.fromhex, mark["beyond"])), covered)
