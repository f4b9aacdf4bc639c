"""People who chat while a cluster is changed, run inside its network until standard input closes; then what they went through, as
JSON on one line.

- writers: each posts without a pause. One that gets no reply in time, or is told to repeat, does so with the same `papo_id`, through
  a new connection: what a program does that cares for its messages.
- subscribers: each hears the channel live (SUB), and now and then reads on from its cursor what it has missed; both together are what
  it has. A message is known by its `message_id`.
- a REQ without a timeout that never repeats anything, as five-line scripts have it: how often it hangs is counted.

Usage: crowd.py BROKER PROXY WRITERS SUBSCRIBERS
"""

import json
import sys
import threading
import time
import uuid
from collections import Counter

import msgpack
import zmq

# A broker answers within 10 s, whatever happens to the servers.
PATIENCE_MS = 12_000
# A writer's message that has no good answer by then counts as lost.
GIVE_UP_SECONDS = 90
# A five-line script that got no reply for so long will never get one.
HUNG_MS = 40_000
# Between two looks at the history, and for how long a subscriber waits for what is said last.
READ_SECONDS = 1.0
LAST_SECONDS = 3.0
CHANNEL = "geral"


class Line:
    """A REQ that is thrown away after each silence."""

    def __init__(self, context: zmq.Context, broker: str, patience: int = PATIENCE_MS):
        self.context, self.address, self.patience, self.socket = context, f"tcp://{broker}:5555", patience, None

    def ask(self, service: str, **data) -> dict | None:
        if self.socket is None:
            self.socket = self.context.socket(zmq.REQ)
            self.socket.connect(self.address)
        self.socket.send(msgpack.packb({"service": service, "data": data}))
        if self.socket.poll(self.patience):
            return msgpack.unpackb(self.socket.recv())["data"]
        self.socket.close(0)
        self.socket = None
        return None


class Subscriber:
    """Somebody who is to have everything once, whatever becomes of the proxy it hears and the broker it asks."""

    def __init__(self, context: zmq.Context, broker: str, proxy: str):
        self.line, self.cursor = Line(context, broker), b""
        self.live = context.socket(zmq.SUB)
        self.live.setsockopt(zmq.RCVHWM, 0)
        # As any client that is to outlive a proxy that goes without a word.
        self.live.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self.live.connect(f"tcp://{proxy}:5558")
        self.live.subscribe(CHANNEL)
        # Texts by identity; how often each was heard live.
        self.has: dict[bytes, str] = {}
        self.heard: dict[bytes, int] = {}

    def follow(self, ended: threading.Event) -> None:
        while not ended.is_set():
            self.listen(READ_SECONDS)
            self.read_on()
        self.listen(LAST_SECONDS)
        self.read_on()
        self.live.close(0)

    def listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.live.poll(left * 1000):
                _, body = self.live.recv_multipart()
                entry = msgpack.unpackb(body)
                identity = entry["message_id"]
                self.has[identity] = entry["message"]
                self.heard[identity] = self.heard.get(identity, 0) + 1

    def read_on(self) -> None:
        page = {"more": True}
        while page.get("more"):
            page = self.line.ask("history", channel=CHANNEL, papo_cursor=self.cursor) or {"more": True}
            if "messages" in page:
                self.cursor = page["papo_cursor"]
                self.has |= {entry["message_id"]: entry["message"] for entry in page["messages"]}

    def account(self, posted: list[str]) -> dict:
        texts = list(self.has.values())
        return {
            "heard": len(self.heard),
            "onlyRead": len(self.has) - len(self.heard),
            "heardTwice": [self.has[identity] for identity, times in self.heard.items() if times > 1],
            "doubled": sorted(text for text, times in Counter(texts).items() if times > 1),
            "missing": sorted(set(posted) - set(texts)),
        }


class Crowd:
    def __init__(self, broker: str, proxy: str, writers: int, subscribers: int):
        self.broker, self.context, self.stop, self.lock = broker, zmq.Context(), threading.Event(), threading.Lock()
        self.context.linger = 0
        self.posted: list[str] = []
        self.refused: list[dict] = []
        self.lost: list[str] = []
        self.silences = self.hung = self.naive_posts = 0
        self.naive_refused: list[dict] = []
        self.longest = 0.0
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.guard, args=(self.write, f"w{number}")) for number in range(writers)]
        self.threads += [threading.Thread(target=self.guard, args=(self.write_naively,))]
        self.written = threading.Event()
        self.subscribers = [Subscriber(self.context, broker, proxy) for _ in range(subscribers)]
        self.listeners = [threading.Thread(target=self.guard, args=(one.follow, self.written)) for one in self.subscribers]

    def guard(self, work, *arguments) -> None:
        try:
            work(*arguments)
        except Exception as error:
            self.failures.append(repr(error))

    def write(self, name: str) -> None:
        line, number = Line(self.context, self.broker), 0
        while not self.stop.is_set():
            text, identity, began = f"{name}-{number}", uuid.uuid4().bytes, time.monotonic()
            number += 1
            while True:
                reply = line.ask("publish", user="ana", channel=CHANNEL, message=text, papo_id=identity)
                took = time.monotonic() - began
                with self.lock:
                    self.longest = max(self.longest, took)
                    if reply is None:
                        self.silences += 1
                    elif reply["status"] == "OK":
                        self.posted.append(text)
                        break
                    else:
                        self.refused.append({"text": text, "code": reply.get("code"), "retry": reply.get("retry")})
                    if took > GIVE_UP_SECONDS:
                        self.lost.append(text)
                        break

    def write_naively(self) -> None:
        line, number = Line(self.context, self.broker, HUNG_MS), 0
        while not self.stop.is_set():
            reply = line.ask("publish", user="bento", channel=CHANNEL, message=f"naive-{number}")
            number += 1
            with self.lock:
                if reply is None:
                    self.hung += 1
                elif reply["status"] == "OK":
                    self.naive_posts += 1
                else:
                    self.naive_refused.append({"code": reply.get("code")})
            time.sleep(0.02)

    def run(self) -> dict:
        line = Line(self.context, self.broker)
        for user in ("ana", "bento"):
            assert line.ask("login", user=user)["status"] == "sucesso"
        assert line.ask("channel", channel=CHANNEL)["status"] == "sucesso"
        for thread in [*self.listeners, *self.threads]:
            thread.start()
        print("chatting", flush=True)
        sys.stdin.read()
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.written.set()
        for thread in self.listeners:
            thread.join()
        return {
            "posted": len(self.posted),
            "lost": self.lost,
            "refused": self.refused,
            "silences": self.silences,
            "longestSeconds": round(self.longest, 2),
            "subscribers": [one.account(self.posted) for one in self.subscribers],
            "naive": {"posted": self.naive_posts, "refused": self.naive_refused, "hung": self.hung},
            "failures": self.failures,
        }


print(json.dumps(Crowd(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])).run()))
