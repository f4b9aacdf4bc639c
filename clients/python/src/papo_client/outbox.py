"""What waits for the program: filled by several tasks, emptied by one, and bounded."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from papo_client.bounds import OUTBOX_MAX

T = TypeVar("T")


class Outbox(Generic[T]):
    """Whoever fills it waits for `room()` first, and then puts, in one step, all that belongs together: so it may grow over its bound by
    that, and no more."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._failure: BaseException | None = None
        self._filled, self._emptied = asyncio.Event(), asyncio.Event()

    async def room(self) -> None:
        while len(self._items) >= OUTBOX_MAX:
            self._emptied.clear()
            await self._emptied.wait()

    def put(self, items: Iterable[T]) -> None:
        self._items.extend(items)
        self._filled.set()

    def fail(self, failure: BaseException) -> None:
        """Raised by `get` once all is taken that came before it, again and again."""
        self._failure = self._failure or failure
        self._filled.set()

    def end(self, failure: BaseException) -> None:
        """The same at once: what waits is not handed out."""
        self._items.clear()
        self.fail(failure)

    async def get(self) -> T:
        while not self._items:
            if self._failure is not None:
                raise self._failure
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        self._emptied.set()
        return item
