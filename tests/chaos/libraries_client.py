"""The clients in Python of `libraries`, which says what they do: by orders on standard input, with what they saw in a file of JSON lines."""

import asyncio
import itertools
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python" / "src"))

from papo_client import Chat, PapoError, Refused

config = json.loads(sys.argv[1])
events = open(config["events"], "a", buffering=1)
# How long half of the streams are open before another goes on from their bookmark.
OPEN_SECONDS = (1, 5)


def note(*event) -> None:
    events.write(json.dumps(event) + "\n")


class Client:
    """One user, that posts and listens."""

    def __init__(self, number: int, user: str, topics: list[str]):
        turn = number % len(config["brokers"])
        self.chat = Chat(user, turned(config["brokers"], turn), turned(config["proxies"], turn))
        self.user, self.channels = user, [topic for topic in topics if topic != user]
        self.chance = random.Random(f"{config['seed']} {user}")
        self.reopens = number % 2 == 0

    async def listen(self, listening: asyncio.Event) -> None:
        """For ever, with one stream or with many."""
        bookmark = None
        while True:
            async with self.chat.listen(*self.channels, direct=True, bookmark=bookmark) as stream:
                listening.set()
                try:
                    async with asyncio.timeout(self.chance.uniform(*OPEN_SECONDS) if self.reopens else None):
                        async for message in stream:
                            note("heard", time.time(), self.user, message.text, message.message_id.hex(), message.channel or message.to)
                except TimeoutError:
                    note("reopened", self.user)
                bookmark = stream.bookmark()

    async def talk(self, hush: asyncio.Event) -> None:
        for number in itertools.count():
            if hush.is_set():
                return
            text, to_all = f"{self.user}/{number} " + "x" * self.chance.randrange(200), self.chance.random() < 0.7
            target = self.chance.choice(config["channels"] if to_all else config["users"])
            note("sent", time.time(), text, "publish" if to_all else "message", target)
            began = time.monotonic()
            try:
                done = await (self.chat.post(target, text) if to_all else self.chat.send(target, text))
                note("acknowledged", time.monotonic() - began, text, done.message_id.hex())
            except PapoError as error:
                note("problem", f"{text.strip('x ')}: {error!r}")
            await asyncio.sleep(config["pause"] * self.chance.uniform(0.5, 1.5))


def turned(addresses: list[str], by: int) -> list[str]:
    return addresses[by:] + addresses[:by]


async def order(expected: str) -> None:
    line = await asyncio.to_thread(sys.stdin.readline)
    if line.strip() != expected:
        raise SystemExit(f"ordered {line!r}, not {expected!r}")


async def main() -> None:
    clients = [Client(number, user, topics) for number, (user, topics) in enumerate(config["listens"].items())]
    for client in clients:
        await client.chat.login()
    for channel in config["channels"]:
        try:
            await clients[0].chat.create_channel(channel)
        except Refused as refused:
            if refused.code != "name_taken":
                raise
    note("known")
    await order("listen")
    async with asyncio.TaskGroup() as group:
        listening = [asyncio.Event() for _ in clients]
        tasks = [group.create_task(client.listen(event)) for client, event in zip(clients, listening)]
        await asyncio.gather(*(event.wait() for event in listening))
        note("listening")
        await order("talk")
        hush = asyncio.Event()
        talking = asyncio.gather(*(client.talk(hush) for client in clients))
        await order("hush")
        hush.set()
        await talking
        note("hushed")
        await order("read")
        for task in tasks:
            task.cancel()
    for channel in config["channels"]:
        note("read", channel, [message.message_id.hex() async for message in clients[0].chat.read(channel)])
    for client in clients:
        await client.chat.aclose()
    note("done")


asyncio.run(main())
