"""A socket of libzmq as a program, by the contract in socket_peers.py.

It says `up` and `down` too, so that it can stand in our place: what another library cannot do with libzmq either is no fault of ours.
"""

import sys
import threading

import zmq
from zmq.utils.monitor import recv_monitor_message

TOPIC, PROBE = b"news", b"probe"
BEATS_MISSED = 5
DEALER_WINDOW = 50


def say(line: str) -> None:
    # In one write: the monitor's thread speaks too.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def body(number: int, count: int, size: int) -> bytes:
    return f"{number} {count} ".encode().ljust(size, bytes([ord("a") + number % 26]))


def watch(monitor: zmq.Socket) -> None:
    while True:
        event = recv_monitor_message(monitor)["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            say("up")
        elif event == zmq.EVENT_DISCONNECTED:
            say("down")


def ask(socket: zmq.Socket, count: int, size: int) -> None:
    envelope = [b""] if socket.type == zmq.DEALER else []
    window = DEALER_WINDOW if socket.type == zmq.DEALER else 1
    for first in range(1, count + 1, window):
        questions = [[*envelope, body(number, count, size)] for number in range(first, min(first + window, count + 1))]
        for question in questions:
            socket.send_multipart(question)
        for question in questions:
            if socket.recv_multipart() != question:
                sys.exit("an answer is another, or changed")
    say(f"ok {count}")


def publish(socket: zmq.Socket, count: int, size: int) -> None:
    for number in range(1, count + 1):
        socket.send_multipart([TOPIC, body(number, count, size)])


def answer(socket: zmq.Socket) -> None:
    while True:
        socket.send_multipart(socket.recv_multipart())


def subscribe(socket: zmq.Socket) -> None:
    if socket.type == zmq.SUB:
        socket.subscribe(TOPIC)
    else:
        socket.send(b"\1" + TOPIC)
    heard = 0
    while True:
        topic, message = socket.recv_multipart()
        if topic != TOPIC:
            sys.exit(f"topic {topic!r}")
        if message == PROBE:
            say("probe")
            continue
        heard += 1
        count = int(message.split(b" ", 2)[1])
        if message != body(heard, count, len(message)):
            sys.exit(f"message {heard} of {count} is another, or changed")
        if heard == count:
            heard = 0
            say(f"ok {count}")


def main() -> None:
    kind, verb, address, heartbeat = sys.argv[1:]
    context = zmq.Context.instance()
    socket = context.socket(getattr(zmq, kind))
    socket.linger = 0
    socket.set_hwm(0)
    if int(heartbeat):
        socket.heartbeat_ivl = int(heartbeat)
        socket.heartbeat_timeout = int(heartbeat) * BEATS_MISSED
    threading.Thread(target=watch, args=[socket.get_monitor_socket()], daemon=True).start()
    (socket.bind if verb == "listen" else socket.connect)(f"tcp://{address}")
    say("ready")

    if kind in ("REP", "ROUTER"):
        answer(socket)
    if kind in ("SUB", "XSUB"):
        subscribe(socket)
    for order in sys.stdin:
        match order.split():
            case ["go", count, size]:
                (ask if kind in ("REQ", "DEALER") else publish)(socket, int(count), int(size))
            case ["probe"]:
                socket.send_multipart([TOPIC, PROBE])


main()
