"""A client of papo, the replicated chat service, for asyncio.

    async with Chat("ana", brokers=["127.0.0.1:5555"], proxies=["127.0.0.1:5558"]) as chat:
        await chat.create_channel("geral")
        async with chat.listen("geral", direct=True) as stream:
            await chat.post("geral", "bom dia!")
            async for message in stream:
                print(message.author, message.text)

A post that was acknowledged is stored as safely as the cluster promises, and once. A stream gives each message once. Neither a server's
nor a broker's nor a proxy's death changes that; the program notices at most that an answer takes a few seconds.
"""

from papo_client.chat import Chat
from papo_client.errors import BadReply, Closed, NoAnswer, Overloaded, PapoError, Refused, TooLarge
from papo_client.stream import Stream
from papo_client.wire import Acknowledgement, Durable, Message, Page, Position

__all__ = [
    "Acknowledgement",
    "BadReply",
    "Chat",
    "Closed",
    "Durable",
    "Message",
    "NoAnswer",
    "Overloaded",
    "Page",
    "PapoError",
    "Position",
    "Refused",
    "Stream",
    "TooLarge",
]
