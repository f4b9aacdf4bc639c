"""One connection of one ZeroMQ socket. It never comes back by itself: who holds it hears that it is lost, and makes another.

libzmq connects again without a word, and then a REQ waits for ever for a reply that died with its broker. So its own reconnection is put
off until the link is long closed, its monitor is read, and heartbeats find a peer that hangs.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from papo_client.bounds import CONNECT_SECONDS, HEARTBEAT_DEAD_SECONDS, HEARTBEAT_SECONDS, MESSAGE_BYTES_MAX, RECONNECT_SECONDS

_UP: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED
_LOST: Final[dict[int, str]] = {
    zmq.EVENT_CLOSED: "cannot connect",
    zmq.EVENT_CONNECT_RETRIED: "cannot connect",
    zmq.EVENT_DISCONNECTED: "the connection was lost",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the peer refused the handshake",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the peer does not speak ZeroMQ",
}


class LinkLost(Exception):
    """The connection is of no more use; the text says why."""


class Link:
    """A REQ or SUB socket with one connection."""

    def __init__(self, context: zmq.asyncio.Context, kind: int, address: str, topics: Iterable[str] = ()) -> None:
        self._socket = context.socket(kind)
        self._socket.linger = 0
        self._socket.set(zmq.RECONNECT_IVL, int(1000 * RECONNECT_SECONDS))
        self._socket.set(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        self._socket.set(zmq.HEARTBEAT_IVL, int(1000 * HEARTBEAT_SECONDS))
        self._socket.set(zmq.HEARTBEAT_TIMEOUT, int(1000 * HEARTBEAT_DEAD_SECONDS))
        for topic in topics:
            self._socket.subscribe(topic)
        self._monitor = self._socket.get_monitor_socket(_UP | sum(_LOST))
        self._poller = zmq.asyncio.Poller()
        self._poller.register(self._monitor, zmq.POLLIN)
        self._is_closed = False
        self._socket.connect(address)

    async def up(self) -> None:
        """Waits for the handshake."""
        deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
        while True:
            await self._poll(deadline, f"no handshake within {CONNECT_SECONDS:g} s")
            if await self._event() == _UP:
                self._poller.register(self._socket, zmq.POLLIN)
                return

    async def ask(self, body: bytes, seconds: float) -> bytes:
        """REQ: one exchange. After any failure, and when it is cancelled, the link can only be closed."""
        # What happened while nobody asked.
        while await self._monitor.poll(0):
            await self._event()
        await self._socket.send(body)
        frames = await self.receive(seconds)
        return frames[0]

    async def receive(self, seconds: float | None = None) -> list[bytes]:
        """The next message; without a limit in seconds, SUB's, it waits for it as long as the peer lives."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        while True:
            # What has come counts, also if the connection is lost since.
            if self._socket in await self._poll(deadline, f"no reply within {seconds or 0:.0f} s"):
                return await self._socket.recv_multipart()
            await self._event()

    async def _poll(self, deadline: float | None, late: str) -> set[object]:
        left = -1 if deadline is None else max(0, round(1000 * (deadline - asyncio.get_running_loop().time())))
        try:
            ready = await self._poller.poll(left)
        except asyncio.CancelledError:
            # A closed socket cancels what waits on it: not to be taken for a cancelled task.
            task = asyncio.current_task()
            if self._is_closed and task is not None and not task.cancelling():
                raise LinkLost("it was closed") from None
            raise
        if not ready:
            raise LinkLost(late)
        return {socket for socket, _ in ready}

    async def _event(self) -> int:
        """Reads what the monitor says, and raises when the connection is lost."""
        event = parse_monitor_message(await self._monitor.recv_multipart())["event"]
        if event in _LOST:
            raise LinkLost(_LOST[event])
        return int(event)

    def close(self) -> None:
        """Whoever waits on it hears that it is lost."""
        if self._is_closed:
            return
        self._is_closed = True
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
