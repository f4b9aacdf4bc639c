"""The asking side: one REQ socket, one request at a time in the order of asking, each repeated until it is answered or its deadline has
passed; where there are several brokers, at the next when one fails. A repeated write carries the same id, so papo does it once.
"""

import asyncio
import logging
import os
import random
from collections.abc import Iterable, Mapping

import zmq
import zmq.asyncio

from papo_client.bounds import REPEAT_SECONDS, REPLY_SECONDS, REQUEST_BYTES_MAX, WAITING_MAX
from papo_client.clock import LamportClock
from papo_client.errors import BadReply, Closed, NoAnswer, Overloaded, Refused, TooLarge
from papo_client.link import Link, LinkLost
from papo_client.rotation import Rotation
from papo_client.wire import Reply, write_request

_log = logging.getLogger(__name__)

ID_BYTES = 16


class Requests:
    """Asks brokers. Cancelling a call ends its request, and no other."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        brokers: Iterable[str],
        clock: LamportClock,
        deadline_seconds: float,
        request_bytes_max: int = REQUEST_BYTES_MAX,
    ) -> None:
        self._context, self._clock = context, clock
        self._rotation = Rotation(brokers)
        self._deadline_seconds, self._request_bytes_max = deadline_seconds, request_bytes_max
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._link: Link | None = None
        self._closed = False

    async def write(self, service: str, fields: Mapping[str, object], request_id: bytes | None = None) -> Reply:
        """Something that changes the history, under the id given or a fresh one."""
        if request_id is not None and len(request_id) != ID_BYTES:
            raise ValueError(f"a request_id has {ID_BYTES} bytes, as uuid.uuid4().bytes has, not {len(request_id)}")
        return await self._ask(service, fields, request_id or os.urandom(ID_BYTES))

    async def read(self, service: str, fields: Mapping[str, object] | None = None) -> Reply:
        """Something that changes nothing."""
        return await self._ask(service, fields or {}, None)

    def close(self) -> None:
        self._closed = True
        self._drop()

    async def _ask(self, service: str, fields: Mapping[str, object], request_id: bytes | None) -> Reply:
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{self._waiting} requests wait already: await some of them before asking more")
        deadline = asyncio.get_running_loop().time() + self._deadline_seconds
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError:
            raise NoAnswer(service, self._deadline_seconds, "those asked before it have no answer either") from None
        finally:
            self._waiting -= 1
        try:
            return await self._until_answered(service, fields, request_id, deadline)
        finally:
            self._turn.release()

    async def _until_answered(self, service: str, fields: Mapping[str, object], request_id: bytes | None, deadline: float) -> Reply:
        time = asyncio.get_running_loop().time
        while True:
            try:
                reply = await self._attempt(service, fields, request_id, deadline - time())
                if not reply.is_refusal:
                    return reply
                refused = Refused(service, reply.code, reply.retry, reply.description, request_id)
                pause = REPEAT_SECONDS * random.uniform(0.5, 1.5)
                if not reply.retry or time() + pause >= deadline:
                    raise refused
                _log.debug("%s is repeated: %s", service, refused)
            except LinkLost as lost:
                cause = f"{self._rotation.current}: {lost}"
                _log.debug("%s: %s", service, cause)
                pause = self._rotation.failed()
                if time() + pause >= deadline:
                    raise NoAnswer(service, self._deadline_seconds, cause, request_id) from lost
            await asyncio.sleep(pause)

    async def _attempt(self, service: str, fields: Mapping[str, object], request_id: bytes | None, seconds: float) -> Reply:
        body = write_request(service, fields, self._clock.on_send(), request_id)
        if len(body) > self._request_bytes_max:
            raise TooLarge(f"{service} has {len(body):,} bytes, and the servers take {self._request_bytes_max:,}: send a shorter text")
        try:
            link = await self._connected()
            answer = await link.ask(body, min(REPLY_SECONDS, seconds))
        except BaseException:
            # Cancelled or failed: a late reply must not answer the next request.
            self._drop()
            raise
        self._rotation.served()
        try:
            reply = Reply(answer)
        except BadReply as bad:
            raise BadReply(f"{self._rotation.current}: {bad}. Is it a broker of papo?") from bad
        self._clock.on_receive(reply.clock)
        return reply

    async def _connected(self) -> Link:
        if self._closed:
            raise Closed("the chat is closed")
        if self._link is None:
            self._link = Link(self._context, zmq.REQ, self._rotation.current)
            await self._link.up()
        return self._link

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
