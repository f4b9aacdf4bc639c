"""A relay for TCP that keeps what passes through it for a while: netem without the kernel's help.

    relay.py PORT MARK MILLISECONDS_MIN MILLISECONDS_MAX SEED

nftables redirects connections here; where they wanted to go, the kernel tells. The mark exempts the relay's own.
"""

import asyncio
import random
import socket
import struct
import sys

SO_ORIGINAL_DST = 80
CHUNK_BYTES = 64 << 10
# Pieces under way in one direction; then the sender's own TCP waits.
PIECES_MAX = 256


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay) -> None:
    """Everything in order, each piece after its delay; then the end."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_MAX)
    clock = asyncio.get_running_loop().time

    async def read() -> None:
        while True:
            piece = await reader.read(CHUNK_BYTES)
            await pieces.put((clock() + delay(), piece))
            if not piece:
                return

    async def write() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not piece:
                return
            writer.write(piece)
            await writer.drain()

    await asyncio.gather(read(), write())


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mark: int, delay) -> None:
    """One connection, until either end has it closed."""
    writers = [writer]
    try:
        _, port, address = struct.unpack_from(">HH4s", writer.get_extra_info("socket").getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
        onward = socket.socket()
        onward.setblocking(False)
        onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        await asyncio.get_running_loop().sock_connect(onward, (socket.inet_ntoa(address), port))
        far_reader, far_writer = await asyncio.open_connection(sock=onward)
        writers.append(far_writer)
        directions = [asyncio.create_task(pass_on(reader, far_writer, delay)), asyncio.create_task(pass_on(far_reader, writer, delay))]
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        # An end that broke off is an end.
        await asyncio.gather(*directions, return_exceptions=True)
    except OSError:
        # The other end is not there: so is this one not.
        pass
    finally:
        for writer in writers:
            writer.transport.abort()


async def main() -> None:
    port, mark, least, most, seed = map(int, sys.argv[1:])
    chance = random.Random(seed)

    def delay() -> float:
        return chance.uniform(least, most) / 1000

    server = await asyncio.start_server(lambda reader, writer: relay(reader, writer, mark, delay), "0.0.0.0", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
