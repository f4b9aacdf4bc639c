"""People who chat while a cluster is changed, run inside its network until standard input closes; then what they went through, as
JSON on one line.

- writers: each posts without a pause. One that gets no reply in time, or is told to repeat, does so with the same `papo_id`, through
  a new connection: what a program does that cares for its messages.
- a reader: goes through the history of the channel from cursor to cursor.
- a REQ without a timeout that never repeats anything, as five-line scripts have it: how often it hangs is counted.

Usage: crowd.py BROKER WRITERS
"""

import json
import sys
import threading
import time
import uuid

import msgpack
import zmq

# A broker answers within 10 s, whatever happens to the servers.
PATIENCE_MS = 12_000
# A writer's message that has no good answer by then counts as lost.
GIVE_UP_SECONDS = 90
# A five-line script that got no reply for so long will never get one.
HUNG_MS = 40_000
# Between two looks at the history.
READ_SECONDS = 0.5
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


class Crowd:
    def __init__(self, broker: str, writers: int):
        self.broker, self.context, self.stop, self.lock = broker, zmq.Context(), threading.Event(), threading.Lock()
        self.context.linger = 0
        self.posted: list[str] = []
        self.refused: list[dict] = []
        self.lost: list[str] = []
        self.read: list[str] = []
        self.silences = self.hung = self.naive_posts = 0
        self.naive_refused: list[dict] = []
        self.longest = 0.0
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.guard, args=(self.write, f"w{number}")) for number in range(writers)]
        self.threads += [threading.Thread(target=self.guard, args=(self.write_naively,))]
        self.reader = threading.Thread(target=self.guard, args=(self.follow,))
        self.written = threading.Event()

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

    def follow(self) -> None:
        line, cursor = Line(self.context, self.broker), b""
        while True:
            last = self.written.is_set()
            page = {"more": True}
            while page.get("more"):
                page = line.ask("history", channel=CHANNEL, papo_cursor=cursor) or {"more": True}
                if "messages" in page:
                    cursor = page["papo_cursor"]
                    self.read += [entry["message"] for entry in page["messages"]]
            if last:
                return
            time.sleep(READ_SECONDS)

    def run(self) -> dict:
        line = Line(self.context, self.broker)
        for user in ("ana", "bento"):
            assert line.ask("login", user=user)["status"] == "sucesso"
        assert line.ask("channel", channel=CHANNEL)["status"] == "sucesso"
        for thread in [*self.threads, self.reader]:
            thread.start()
        print("chatting", flush=True)
        sys.stdin.read()
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.written.set()
        self.reader.join()
        read = set(self.read)
        return {
            "posted": len(self.posted),
            "lost": self.lost,
            "refused": self.refused,
            "silences": self.silences,
            "longestSeconds": round(self.longest, 2),
            "missing": [text for text in self.posted if text not in read],
            "doubled": sorted({text for text in read if self.read.count(text) > 1}) if len(read) != len(self.read) else [],
            "naive": {"posted": self.naive_posts, "refused": self.naive_refused, "hung": self.hung},
            "failures": self.failures,
        }


print(json.dumps(Crowd(sys.argv[1], int(sys.argv[2])).run()))
