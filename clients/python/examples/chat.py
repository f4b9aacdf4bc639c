"""A tiny chat: what is typed is posted to a channel, `@ana oi` goes to ana alone, and what the others say is shown.

    python examples/chat.py --user ana --channel geral
"""

import argparse
import asyncio
import sys

from papo_client import Chat, Refused, Stream


async def show(stream: Stream, user: str) -> None:
    async for message in stream:
        where = f"#{message.channel}" if message.channel else "(to you)"
        if message.author != user:
            print(f"{where} {message.author}: {message.text}", flush=True)


async def say(chat: Chat, channel: str) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        to, _, text = line.strip().partition(" ") if line.startswith("@") else ("", "", line.strip())
        try:
            if to:
                await chat.send(to[1:], text)
            elif text:
                await chat.post(channel, text)
        except Refused as refused:
            print(refused, file=sys.stderr)


async def main() -> None:
    arguments = argparse.ArgumentParser(description="A tiny chat.")
    arguments.add_argument("--user", required=True)
    arguments.add_argument("--channel", default="geral")
    arguments.add_argument("--broker", nargs="+", default=["127.0.0.1:5555"])
    arguments.add_argument("--proxy", nargs="+", default=["127.0.0.1:5558"])
    chosen = arguments.parse_args()
    async with Chat(chosen.user, chosen.broker, chosen.proxy) as chat:
        if chosen.channel not in await chat.channels():
            await chat.create_channel(chosen.channel)
        async with chat.listen(chosen.channel, direct=True) as stream:
            print(f"you are {chosen.user} in #{chosen.channel}; Ctrl-D leaves", flush=True)
            showing = asyncio.create_task(show(stream, chosen.user))
            await say(chat, chosen.channel)
            showing.cancel()


if __name__ == "__main__":
    asyncio.run(main())
