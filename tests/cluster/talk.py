"""A pyzmq client of a few lines, run inside the cluster's network: two people chat through the Services.

Usage: talk.py BROKER PROXY MARK [--read | --status]     (addresses without ports; MARK makes the texts unique)
With --read it only asks for the history of `geral` and prints its texts; with --status it only posts, and prints the reply's status.
"""

import sys

import msgpack
import zmq

PATIENCE_MS = 30_000


def main(broker: str, proxy: str, mark: str, read: bool, status: bool) -> None:
    context = zmq.Context()
    context.linger = 0

    socket = context.socket(zmq.REQ)
    socket.connect(f"tcp://{broker}:5555")

    def ask(service: str, **data):
        socket.send(msgpack.packb({"service": service, "data": data}))
        assert socket.poll(PATIENCE_MS), f"no answer to {service}"
        return msgpack.unpackb(socket.recv())["data"]

    if read:
        print("\n".join(entry["message"] for entry in ask("history", channel="geral")["messages"]))
        return
    if status:
        print(ask("publish", user="ana", channel="geral", message=mark)["status"])
        return
    for user in ("ana", "bento"):
        assert ask("login", user=user)["status"] == "sucesso"
    ask("channel", channel="geral")
    assert "geral" in ask("channels")["channels"] and "bento" in ask("users")["users"]

    live = context.socket(zmq.SUB)
    live.connect(f"tcp://{proxy}:5558")
    live.subscribe("geral")
    live.subscribe("bento")
    expected = {b"geral": f"oi {mark}", b"bento": f"segredo {mark}"}
    # A subscription takes a moment to arrive, and a SUB cannot know when: post until the first is heard.
    for attempt in range(50):
        assert ask("publish", user="ana", channel="geral", message=expected[b"geral"])["status"] == "OK"
        if live.poll(200):
            break
    assert ask("message", src="ana", dst="bento", message=expected[b"bento"])["status"] == "OK"
    while expected:
        assert live.poll(PATIENCE_MS), f"not heard: {expected}"
        topic, body = live.recv_multipart()
        if msgpack.unpackb(body)["message"] == expected.get(topic):
            del expected[topic]
    print("heard")


main(*sys.argv[1:4], read="--read" in sys.argv, status="--status" in sys.argv)
