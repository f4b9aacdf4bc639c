"""One REQ without a timeout, run inside the cluster's network: it posts without a pause until its standard input closes, and never
repeats anything. Each reply is a line: `OK TEXT DISKS`, or the reply as JSON.

Usage: writer.py BROKER
"""

import json
import select
import sys

import msgpack
import zmq

# Longer than a broker takes to answer anything: a hang is to be a failure and not a wait.
PATIENCE_MS = 30_000


def main(broker: str) -> None:
    context = zmq.Context()
    context.linger = 0
    socket = context.socket(zmq.REQ)
    socket.connect(f"tcp://{broker}:5555")

    def ask(service: str, **data) -> dict:
        socket.send(msgpack.packb({"service": service, "data": data}))
        assert socket.poll(PATIENCE_MS), f"no answer to {service}"
        return msgpack.unpackb(socket.recv())["data"]

    assert ask("login", user="ana")["status"] == "sucesso"
    assert ask("channel", channel="geral")["status"] == "sucesso"
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        reply = ask("publish", user="ana", channel="geral", message=f"post-{number}")
        print(f"OK post-{number} {reply['durable']['of']}" if reply["status"] == "OK" else json.dumps(reply), flush=True)
        number += 1


main(sys.argv[1])
