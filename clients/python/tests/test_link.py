"""Connections that are lost at the worst moment."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import zmq
import zmq.asyncio

from papo_client.link import Link, LinkLost

ROUNDS = 8
MESSAGES = 2000


def publish(socket: zmq.Socket[bytes]) -> None:
    """Once somebody listens, much at once; then the connection is closed, while the listener has most of it before it."""
    socket.recv()
    for number in range(MESSAGES):
        socket.send_multipart([b"geral", b"%d" % number])
    socket.close(1000)


async def listen() -> None:
    heard = 0
    for _ in range(ROUNDS):
        publisher: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        publisher.sndhwm = MESSAGES
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        threading.Thread(target=publish, args=(publisher,)).start()
        link = Link(zmq.asyncio.Context.instance(), zmq.SUB, f"tcp://127.0.0.1:{port}", ["geral"])
        await link.up()
        try:
            while True:
                assert len(await link.receive()) == 2
                heard += 1
        except LinkLost:
            link.close()
    print(ROUNDS, "connections lost,", heard, "messages heard")


def test_a_connection_that_is_lost_while_messages_wait_does_not_end_the_program() -> None:
    """libzmq aborts the process when its own reconnection is off (-1)."""
    environment = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and f"{ROUNDS} connections lost" in done.stdout, done.stdout + done.stderr


if __name__ == "__main__":
    asyncio.run(listen())
