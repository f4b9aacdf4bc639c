"""A bot that answers each direct message once, also when it is killed and started again in between.

Two things make it so. Its bookmark, kept in a file, says which messages it has dealt with. And an answer's request_id is the message_id of
what it answers: if it was killed after answering and before keeping the bookmark, it answers again, and the servers store that once.

    python examples/bot.py --user echo --bookmark echo.bookmark
"""

import argparse
import asyncio
import os
from pathlib import Path

from papo_client import Chat, Refused


def keep(bookmark: str, path: Path) -> None:
    """Whole or not at all: written beside it, and then put in its place."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write(bookmark)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


async def main() -> None:
    arguments = argparse.ArgumentParser(description="A bot that repeats what it is told.")
    arguments.add_argument("--user", default="echo")
    arguments.add_argument("--bookmark", type=Path, required=True, help="where it keeps what it has dealt with")
    arguments.add_argument("--broker", nargs="+", default=["127.0.0.1:5555"])
    arguments.add_argument("--proxy", nargs="+", default=["127.0.0.1:5558"])
    chosen = arguments.parse_args()
    bookmark = chosen.bookmark.read_text() if chosen.bookmark.exists() else None
    async with Chat(chosen.user, chosen.broker, chosen.proxy) as chat:
        async with chat.listen(direct=True, bookmark=bookmark, from_start=True) as stream:
            print("ready", flush=True)
            async for message in stream:
                if message.author != chosen.user:
                    try:
                        await chat.send(message.author, f"you said: {message.text}", request_id=message.message_id)
                    except Refused as refused:
                        # An author need not have logged in: then nobody of this name can be answered.
                        if refused.code != "unknown_user":
                            raise
                keep(stream.bookmark(), chosen.bookmark)


if __name__ == "__main__":
    asyncio.run(main())
