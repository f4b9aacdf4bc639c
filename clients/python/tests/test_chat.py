"""Requests, at a real cluster and at peers that do not answer as they should."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import zmq
from conftest import Where

from papo_client import BadReply, Chat, Closed, NoAnswer, Overloaded, Refused, TooLarge
from papo_client.bounds import WAITING_MAX

NOWHERE = ["127.0.0.1:1"]


def chat_of(cluster: Where, user: str | None = None) -> Chat:
    return Chat(user or cluster.name("user"), cluster.brokers, cluster.proxies)


def test_a_user_logs_in_makes_a_channel_posts_and_reads(cluster: Where) -> None:
    async def main() -> None:
        channel = cluster.name("channel")
        async with chat_of(cluster) as ana, chat_of(cluster) as bento:
            made = await ana.create_channel(channel)
            assert made.durable.fsynced >= 2 and made.durable.of == 3
            assert {ana.user, bento.user} <= set(await bento.users()) and channel in await ana.channels()
            posted = [await ana.post(channel, f"n{number}") for number in range(5)]
            await ana.send(bento.user, "só para ti")
            newest = await ana.history(channel, limit=2)
            assert [message.text for message in newest.messages] == ["n3", "n4"]
            assert newest.messages[-1].message_id == posted[-1].message_id and newest.messages[-1].position == posted[-1].position
            first = await ana.history(channel, cursor=b"", limit=2)
            assert [message.text for message in first.messages] == ["n0", "n1"] and first.more
            assert [message.text async for message in ana.read(channel, cursor=first.cursor)] == ["n2", "n3", "n4"]
            # What ana wrote, every connection is shown soon, and hers at once.
            [direct] = [message async for message in ana.read()]
            assert (direct.author, direct.to, direct.text, direct.channel) == (ana.user, bento.user, "só para ti", None)

    asyncio.run(main())


def test_posts_are_carried_out_in_the_order_of_asking(cluster: Where) -> None:
    async def main() -> None:
        channel = cluster.name("channel")
        async with chat_of(cluster) as chat:
            await chat.create_channel(channel)
            await asyncio.gather(*(chat.post(channel, f"{number}") for number in range(50)))
            assert [message.text async for message in chat.read(channel)] == [f"{number}" for number in range(50)]

    asyncio.run(main())


def test_a_write_repeated_under_its_request_id_is_stored_once(cluster: Where) -> None:
    async def main() -> None:
        channel, request_id = cluster.name("channel"), os.urandom(16)
        async with chat_of(cluster) as chat:
            await chat.create_channel(channel)
            once = await chat.post(channel, "oi", request_id=request_id)
            async with chat_of(cluster, chat.user) as restarted:
                again = await restarted.post(channel, "oi", request_id=request_id)
                other = await restarted.post(channel, "olá", request_id=request_id)
                assert again.message_id == once.message_id != other.message_id
                assert [message.text async for message in restarted.read(channel)] == ["oi", "olá"]
            with pytest.raises(ValueError, match="16 bytes"):
                await chat.post(channel, "oi", request_id=b"short")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "code", "remedy"),
    [
        (lambda chat: chat.post("nowhere", "oi"), "unknown_channel", "create_channel"),
        (lambda chat: chat.send("nobody", "oi"), "unknown_user", "login"),
        (lambda chat: chat.create_channel("servers"), "reserved_name", "another name"),
        (lambda chat: chat.history("nowhere"), "unknown_channel", "create_channel"),
        (lambda chat: chat.history(cursor=b"no cursor"), "cursor_invalid", "without"),
        (lambda chat: chat.post("", "oi"), "bad_request", "Correct"),
    ],
)
def test_a_refusal_says_what_and_the_remedy(act: Callable[[Chat], Awaitable[object]], code: str, remedy: str, cluster: Where) -> None:
    async def main() -> None:
        async with chat_of(cluster) as chat:
            with pytest.raises(Refused, match=remedy) as refused:
                await act(chat)
            assert refused.value.code == code and not refused.value.retry and code in str(refused.value)
            # The connection lives.
            assert chat.user in await chat.users()

    asyncio.run(main())


def test_a_text_over_the_bound_is_not_sent(cluster: Where) -> None:
    async def main() -> None:
        async with chat_of(cluster) as chat:
            with pytest.raises(TooLarge, match="shorter"):
                await chat.post("geral", "x" * (1 << 20))

    asyncio.run(main())


def test_a_cancelled_request_leaves_the_chat_as_it_was(cluster: Where) -> None:
    async def main() -> None:
        channel = cluster.name("channel")
        async with chat_of(cluster) as chat:
            await chat.create_channel(channel)
            cancelled = 0
            for delay in (0, 0, 0.0005, 0.001, 0.002, 0.004):
                posting = asyncio.create_task(chat.post(channel, f"after {delay}", request_id=os.urandom(16)))
                await asyncio.sleep(delay)
                posting.cancel()
                [result] = await asyncio.gather(posting, return_exceptions=True)
                cancelled += isinstance(result, asyncio.CancelledError)
                assert (await chat.history(channel, limit=1)).cursor
            assert cancelled >= 2
            await chat.post(channel, "last")
            texts = [message.text async for message in chat.read(channel)]
            assert texts[-1] == "last" and len(texts) <= 7

    asyncio.run(main())


def test_nobody_there_is_told_within_the_deadline() -> None:
    async def main() -> None:
        chat = Chat("ana", NOWHERE, deadline_seconds=1)
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="127.0.0.1:1: cannot connect.*broker.*request_id") as raised:
            await chat.post("geral", "oi")
        assert time.monotonic() - began < 10 and raised.value.request_id
        await chat.aclose()

    asyncio.run(main())


def test_a_peer_that_hangs_gives_way_to_the_next(cluster: Where) -> None:
    """Its kernel accepts connections; nobody reads what comes."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as hangs:
            chat = Chat(cluster.name("user"), [f"127.0.0.1:{hangs.getsockname()[1]}", *cluster.brokers], cluster.proxies)
            async with chat:
                assert chat.user in await chat.users()

    asyncio.run(main())


def test_a_peer_that_is_no_papo_is_told() -> None:
    async def main() -> None:
        stranger: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        port = stranger.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            stranger.recv()
            stranger.send(b"\xc1 hello")

        chat = Chat("ana", [f"127.0.0.1:{port}"])
        asking = asyncio.create_task(chat.users())
        await asyncio.to_thread(answer)
        with pytest.raises(BadReply, match=f"{port}.*broker of papo"):
            await asking
        await chat.aclose()
        stranger.close(0)

    asyncio.run(main())


def test_requests_that_wait_are_bounded_and_closing_ends_them() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as hangs:
            chat = Chat("ana", [f"127.0.0.1:{hangs.getsockname()[1]}"])
            waiting = [asyncio.create_task(chat.users()) for _ in range(WAITING_MAX + 1)]
            await asyncio.sleep(0.1)
            with pytest.raises(Overloaded, match="await"):
                await chat.users()
            await chat.aclose()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(result) for result in results} == {Closed}

    asyncio.run(main())
