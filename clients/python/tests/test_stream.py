"""Streams at a real cluster. That nothing is missed or doubled while processes die is for tests/chaos/libraries."""

import asyncio
from collections import Counter

import pytest
from conftest import Where
from test_chat import chat_of

from papo_client import Chat, Closed, Refused, Stream, outbox
from papo_client.bounds import PAGE_MESSAGES


async def heard(stream: Stream, count: int) -> list[str]:
    """The texts of so many messages, which come soon."""
    async with asyncio.timeout(30):
        return [(await anext(stream)).text for _ in range(count)]


def test_a_stream_gives_channels_and_direct_messages_from_now_on(cluster: Where) -> None:
    async def main() -> None:
        channel, other = cluster.name("channel"), cluster.name("channel")
        async with chat_of(cluster) as ana, chat_of(cluster) as bento:
            for name in (channel, other):
                await ana.create_channel(name)
            await bento.post(channel, "before")
            async with bento.listen(channel, direct=True) as stream:
                await ana.post(channel, "to all")
                await ana.post(other, "elsewhere")
                await bento.send(ana.user, "from me")
                await ana.send(bento.user, "to you")
                assert sorted(await heard(stream, 2)) == ["to all", "to you"]
                await ana.post(channel, "last")
                assert await heard(stream, 1) == ["last"]

    asyncio.run(main())


def test_b01_a_stream_hears_a_proxy_that_speaks_json(cluster: Where) -> None:
    """Live, and not only by the history that is read now and then."""

    async def main() -> None:
        channel, count = cluster.name("channel"), 0
        async with chat_of(cluster) as writer, Chat(cluster.name("user"), cluster.brokers, [cluster.json_proxy]) as reader:
            await writer.create_channel(channel)
            async with reader.listen(channel) as stream:
                async with asyncio.timeout(20):
                    while not stream._heard:
                        count += 1
                        await writer.post(channel, f"olá {count}")
                        await asyncio.sleep(0.05)
                assert sorted(await heard(stream, count)) == sorted(f"olá {number}" for number in range(1, count + 1))

    asyncio.run(main())


def test_a_stream_from_the_start_gives_the_history_in_its_order_and_then_what_is_said(cluster: Where) -> None:
    async def main() -> None:
        channel = cluster.name("channel")
        async with chat_of(cluster) as chat:
            await chat.create_channel(channel)
            before = [f"before {number}" for number in range(PAGE_MESSAGES + 50)]
            await asyncio.gather(*(chat.post(channel, text) for text in before))
            async with chat.listen(channel, from_start=True) as stream:
                after = [f"after {number}" for number in range(20)]
                for text in after:
                    await chat.post(channel, text)
                assert await heard(stream, len(before + after)) == [message.text async for message in chat.read(channel)] == before + after

    asyncio.run(main())


def test_a_bookmark_goes_on_where_the_program_was_in_another_chat(cluster: Where) -> None:
    async def main() -> None:
        channel, all_heard = cluster.name("channel"), Counter[str]()
        async with chat_of(cluster) as writer:
            await writer.create_channel(channel)
            user, bookmark = cluster.name("reader"), None
            texts = iter(range(1000))
            for _ in range(8):
                async with chat_of(cluster, user) as reader, reader.listen(channel, bookmark=bookmark, from_start=True) as stream:
                    for _ in range(30):
                        await writer.post(channel, f"{next(texts)}")
                    all_heard.update(await heard(stream, 20))
                    bookmark = stream.bookmark()
            async with chat_of(cluster, user) as reader, reader.listen(channel, bookmark=bookmark) as stream:
                all_heard.update(await heard(stream, 80))
            assert all_heard == Counter(f"{number}" for number in range(240))

    asyncio.run(main())


def test_a_program_that_does_not_take_its_messages_gets_each_once_all_the_same(cluster: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "OUTBOX_MAX", 50)

    async def main() -> None:
        channel, count = cluster.name("channel"), 600
        async with chat_of(cluster) as writer, chat_of(cluster) as reader:
            await writer.create_channel(channel)
            async with reader.listen(channel) as stream:
                for number in range(count):
                    await writer.post(channel, f"{number}")
                assert len(stream._outbox._items) < 50 + PAGE_MESSAGES
                texts = await heard(stream, count)
                assert Counter(int(text) for text in texts) == Counter(range(count))
                await writer.post(channel, "last")
                assert await heard(stream, 1) == ["last"]

    asyncio.run(main())


def test_waiting_can_be_cancelled_without_a_loss_and_closing_ends_it(cluster: Where) -> None:
    async def main() -> None:
        channel = cluster.name("channel")
        async with chat_of(cluster) as chat:
            await chat.create_channel(channel)
            stream = chat.listen(channel)
            async with stream:
                for number in range(20):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.001):
                            await anext(stream)
                    await chat.post(channel, f"{number}")
                    assert await heard(stream, 1) == [f"{number}"]
                waiting = asyncio.create_task(anext(stream)) 
                await asyncio.sleep(0)
            with pytest.raises(Closed):
                await waiting
            with pytest.raises(Closed):
                await anext(stream)

    asyncio.run(main())


def test_what_cannot_be_listened_to_is_told(cluster: Where) -> None:
    async def main() -> None:
        async with chat_of(cluster) as chat:
            with pytest.raises(ValueError, match="nothing to listen to"):
                chat.listen()
            with pytest.raises(Refused, match="create_channel"):
                async with chat.listen("nowhere"):
                    pass
            async with chat.listen(direct=True) as stream:
                bookmark = stream.bookmark()
            for bad, user in (("{}", chat.user), ("no json", chat.user), (bookmark, "somebody else")):
                with pytest.raises(ValueError, match="no bookmark"):
                    Chat(user, cluster.brokers).listen(direct=True, bookmark=bad)
            # A bookmark of another cluster.
            foreign = bookmark.replace('"cursor": "', '"cursor": "AAAA')
            with pytest.raises(Refused, match="cursor_invalid"):
                async with chat.listen(direct=True, bookmark=foreign) as stream:
                    await heard(stream, 1)

    asyncio.run(main())
