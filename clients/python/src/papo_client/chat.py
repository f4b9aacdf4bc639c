"""A user's chat: what a program does with papo."""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

import zmq.asyncio

from papo_client.bounds import DEADLINE_SECONDS, REQUEST_BYTES_MAX, TOPICS_MAX
from papo_client.clock import LamportClock
from papo_client.requests import Requests
from papo_client.rotation import Rotation
from papo_client.stream import Stream, marks_of
from papo_client.wire import Acknowledgement, Message, Page


class Chat:
    """One user at a cluster: an asynchronous context manager, which logs the user in.

    Requests are carried out one at a time, in the order of asking; each is repeated, at every broker in turn, until it is answered or
    `deadline_seconds` have passed. A write is acknowledged once it is on as many disks as the cluster promises, and stored once,
    however often it was repeated.
    """

    def __init__(
        self,
        user: str,
        brokers: Sequence[str] = ("127.0.0.1:5555",),
        proxies: Sequence[str] = ("127.0.0.1:5558",),
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        request_bytes_max: int = REQUEST_BYTES_MAX,
    ) -> None:
        if isinstance(brokers, str) or isinstance(proxies, str):
            raise ValueError("brokers and proxies are lists of addresses, such as ['127.0.0.1:5555', '127.0.0.1:5802']")
        self.user = user
        # Wrong addresses are told now, and not by the first request.
        Rotation(proxies)
        self._brokers, self._proxies = list(brokers), list(proxies)
        self._deadline_seconds, self._request_bytes_max = deadline_seconds, request_bytes_max
        self._context = zmq.asyncio.Context.instance()
        self._clock = LamportClock()
        self._requests = self._new_requests()
        self._streams: list[Stream] = []

    async def __aenter__(self) -> Self:
        try:
            await self.login()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every stream and connection. Who still waits for an answer gets `Closed`."""
        streams, self._streams = self._streams, []
        for stream in streams:
            await stream.aclose()
        self._requests.close()

    # --- Writes: all may be given a request_id of 16 bytes, under which a program repeats them after an error or a restart ---

    async def login(self, *, request_id: bytes | None = None) -> Acknowledgement:
        """Makes the user known; again and again, if need be."""
        return (await self._requests.write("login", {"user": self.user}, request_id)).acknowledgement()

    async def create_channel(self, channel: str, *, request_id: bytes | None = None) -> Acknowledgement:
        """Makes a channel. `Refused` with code `name_taken` says that there is one of this name already, or a user."""
        return (await self._requests.write("channel", {"channel": channel}, request_id)).acknowledgement()

    async def post(self, channel: str, text: str, *, request_id: bytes | None = None) -> Acknowledgement:
        """Posts to a channel."""
        fields = {"user": self.user, "channel": channel, "message": text}
        return (await self._requests.write("publish", fields, request_id)).acknowledgement()

    async def send(self, to: str, text: str, *, request_id: bytes | None = None) -> Acknowledgement:
        """Sends a direct message to another user."""
        fields = {"src": self.user, "dst": to, "message": text}
        return (await self._requests.write("message", fields, request_id)).acknowledgement()

    # --- Reads ---

    async def users(self) -> list[str]:
        """Everybody who ever logged in."""
        return (await self._requests.read("users")).names("users")

    async def channels(self) -> list[str]:
        return (await self._requests.read("channels")).names("channels")

    async def history(self, channel: str | None = None, *, cursor: bytes | None = None, limit: int | None = None) -> Page:
        """A page of a channel's history, or of this user's direct messages, sent and received. Without a cursor the newest; with
        one, what follows it; `b""` stands before the first message."""
        fields: dict[str, object] = {"user": self.user} if channel is None else {"channel": channel}
        if cursor is not None:
            fields["papo_cursor"] = cursor
        if limit is not None:
            fields["limit"] = limit
        return (await self._requests.read("history", fields)).page()

    async def read(self, channel: str | None = None, *, cursor: bytes = b"") -> AsyncIterator[Message]:
        """All messages after the cursor, oldest first, to the end of the history as it stands."""
        more = True
        while more:
            page = await self.history(channel, cursor=cursor)
            for message in page.messages:
                yield message
            cursor, more = page.cursor, page.more

    # --- Live ---

    def listen(self, *channels: str, direct: bool = False, bookmark: str | None = None, from_start: bool = False) -> Stream:
        """A stream of what is said in these channels, and with `direct` of direct messages to this user; each message once.

        It begins now; with a bookmark of an earlier stream, where that was; with `from_start` at the first message. Channels that the
        bookmark does not know begin as if there were none.
        """
        scopes = {channel: {"channel": channel} for channel in channels}
        if direct:
            scopes[self.user] = {"user": self.user}
        if not scopes:
            raise ValueError("nothing to listen to: name channels, or say direct=True")
        if len(scopes) > TOPICS_MAX:
            raise ValueError(f"{len(scopes)} topics; a subscriber may have {TOPICS_MAX}: open several streams")
        marks = {} if bookmark is None else marks_of(bookmark, self.user)
        self._streams = [stream for stream in self._streams if not stream.is_closed]
        stream = Stream(
            context=self._context,
            proxies=Rotation(self._proxies),
            chat_requests=self._requests,
            requests=self._new_requests(),
            clock=self._clock,
            user=self.user,
            scopes=scopes,
            marks=marks,
            from_start=from_start,
        )
        self._streams.append(stream)
        return stream

    def _new_requests(self) -> Requests:
        return Requests(self._context, self._brokers, self._clock, self._deadline_seconds, self._request_bytes_max)
