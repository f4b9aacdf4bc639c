"""Several brokers and proxies at once: any of them may be killed, or told to stop, and nobody but its own clients notices."""

import os
import signal
import subprocess
import threading
import time
import uuid

import msgpack
import pytest
import zmq

from clients import Client, Listener, receive
from conftest import PAPO, SERVERS, alive, kill, listening_inodes, texts, wait_until

# Of `papo local` with two brokers and two proxies, as manifests/minimal.yaml has them.
BROKER_PORTS = {"broker-1": 5555, "broker-2": 5802}
PROXY_PORTS = {"proxy-1": 5558, "proxy-2": 5862}
BROKERS = [f"tcp://127.0.0.1:{port}" for port in BROKER_PORTS.values()]
PROXIES = [f"tcp://127.0.0.1:{port}" for port in PROXY_PORTS.values()]
CHANNEL = "load"
# What a client waits for a reply before it repeats the request: above the second in which a broker notices a dead server.
TIMEOUT_SECONDS = 3
# What it goes on for: above a broker's deadline.
PATIENCE_SECONDS = 30


class Writer(threading.Thread):
    """Posts without end, one text of its own after another, at a person's pace."""

    def __init__(self, load: "Load", name: str, brokers: list[str]):
        super().__init__(daemon=True)
        self.load, self.name, self.brokers = load, name, list(brokers)
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        # Without a reply for good.
        self.lost: list[str] = []

    def run(self) -> None:
        while not self.load.finished.is_set() and not self.lost:
            text = f"{self.name}/{len(self.sent)}"
            self.sent.append(text)
            self.post(text)
            time.sleep(0.005)

    def judge(self, text: str, reply: dict) -> bool:
        """Whether it is done."""
        if reply["data"]["status"] == "OK":
            self.acknowledged.append(text)
            return True
        self.refused.append(f"{text}: {reply['data']}")
        return not reply["data"].get("retry")

    def request(self, text: str, **more) -> bytes:
        data = {"timestamp": int(time.time()), "user": "writer", "channel": CHANNEL, "message": text, **more}
        return msgpack.packb({"service": "publish", "data": data})


class Blocking(Writer):
    """The five-line script: one REQ to one broker, no timeout, no retry."""

    def run(self) -> None:
        self.socket = connected(self.brokers[0])
        super().run()
        self.socket.close()

    def post(self, text: str) -> None:
        self.socket.send(self.request(text))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.socket.poll(100):
                self.judge(text, msgpack.unpackb(self.socket.recv()))
                return
        self.lost.append(text)


class Repeating(Writer):
    """Repeats under the same id, at the next broker, what was not answered in time."""

    def post(self, text: str) -> None:
        request = self.request(text, papo_id=uuid.uuid4().bytes)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            socket = self.__dict__.get("socket") or connected(self.brokers[0])
            self.socket = socket
            socket.send(request)
            if socket.poll(TIMEOUT_SECONDS * 1000):
                if self.judge(text, msgpack.unpackb(socket.recv())):
                    return
            else:
                socket.close()
                self.socket = None
                self.brokers.append(self.brokers.pop(0))
        self.lost.append(text)


def connected(address: str) -> zmq.Socket:
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.linger = 0
    socket.connect(address)
    return socket


class Load:
    """Writers at work, until the block ends."""

    def __init__(self, *writers: tuple[type[Writer], list[str]]):
        self.finished = threading.Event()
        self.writers = [kind(self, f"writer-{number}", brokers) for number, (kind, brokers) in enumerate(writers)]

    def __enter__(self) -> "Load":
        for writer in self.writers:
            writer.start()
        self.goes_on()
        return self

    def __exit__(self, *_) -> None:
        self.finished.set()
        for writer in self.writers:
            writer.join(PATIENCE_SECONDS + 10)

    def all(self, what: str, kind: type[Writer] = Writer) -> list[str]:
        return [text for writer in self.writers if isinstance(writer, kind) for text in getattr(writer, what)]

    def goes_on(self, writers: list[Writer] | None = None) -> None:
        """Each of the writers gets on."""
        for writer in self.writers if writers is None else writers:
            before = len(writer.acknowledged)
            wait_until(f"{writer.name} posts", lambda: len(writer.acknowledged) > before + 10 or writer.lost)


@pytest.fixture
def several(own_cluster):
    """A cluster in which every server knows the writer and the channel."""
    client = Client()
    client.must("login", user="writer")
    client.must("channel", channel=CHANNEL)
    client.close()
    own_cluster.equal_exports()
    return own_cluster


def check_stored(cluster, load: Load) -> list[str]:
    """Every acknowledged post is stored, once; the stored ones."""
    stored = texts(cluster.equal_exports(), "publications.jsonl")
    assert len(stored) == len(set(stored)), "a post was stored twice"
    assert set(load.all("acknowledged")) <= set(stored) <= set(load.all("sent")), "an acknowledged post is not stored"
    return stored


def check_heard(listener: Listener, stored: list[str]) -> None:
    """Every stored post was heard, once."""
    heard = [body["message"] for _, body in listener.everything()]
    assert len(heard) == len(set(heard)), "a post was heard twice"
    assert sorted(heard) == sorted(stored)


def hears_on(listener: Listener, load: Load) -> None:
    """Whose proxy was away connects again by itself, when it does; from then on it hears everything."""
    before = set(load.all("sent"))
    while True:
        topic, body = listener.next()
        if topic == CHANNEL:
            listener.heard.append((topic, body))
            if body["message"] not in before:
                return


def port_of(name: str) -> int:
    return (BROKER_PORTS | PROXY_PORTS)[name]


def process(cluster, name: str) -> int:
    return wait_until(f"{name} listens", lambda: cluster.pid_on(port_of(name)))


def ended(cluster, name: str, number: int) -> None:
    """Ends a process by a signal, and waits until `papo local` has brought another in its place, and that is ready."""
    port = 5600 + int(name.removeprefix("server-")) if name.startswith("server-") else port_of(name)
    pid = wait_until(f"{name} listens", lambda: cluster.pid_on(port))
    os.kill(pid, number)
    wait_until(f"{name} is gone", lambda: not alive(pid))
    wait_until(f"{name} is back", lambda: cluster.pid_on(port) not in (None, pid))
    wait_until(f"{name} is ready again", lambda: cluster.is_ready(name))


def test_clients_of_either_broker_are_heard_at_either_proxy(several):
    listeners = [Listener(CHANNEL, address=proxy) for proxy in PROXIES]
    with Load(*[(Blocking, [broker]) for broker in BROKERS * 2]) as load:
        load.goes_on()
    assert not load.all("lost") and not load.all("refused")
    stored = check_stored(several, load)
    assert sorted(load.all("acknowledged")) == sorted(stored)
    for listener in listeners:
        check_heard(listener, stored)


def test_kill_9_of_one_proxy_costs_the_subscribers_of_the_other_nothing(several):
    own, other = (Listener(CHANNEL, address=proxy) for proxy in PROXIES)
    with Load(*[(Blocking, [broker]) for broker in BROKERS]) as load:
        ended(several, "proxy-1", signal.SIGKILL)
        hears_on(own, load)
        before = set(load.all("sent"))
        load.goes_on()
    assert not load.all("lost") and not load.all("refused")
    stored = check_stored(several, load)
    check_heard(other, stored)
    # Those of the killed one hear on by themselves. The new process does not know what the old one sent, and servers give it the
    # last ten seconds again: who reads `message_id`, as every client of papo's does, hears each once.
    later = set(load.all("acknowledged")) - before
    heard = own.everything()
    assert later <= {body["message"] for _, body in heard}
    print(f"missed at the killed proxy: {len(set(stored) - {body['message'] for _, body in heard})} of {len(stored)};",
          f"heard again: {len(heard) - len({body['message_id'] for _, body in heard})}")


def test_m1_kill_9_of_one_broker_loses_nothing_for_clients_that_repeat_with_an_id(several):
    listener = Listener(CHANNEL, address=PROXIES[1])
    of_the_other, *repeating = (Blocking, BROKERS[1:]), (Repeating, BROKERS), (Repeating, BROKERS), (Repeating, BROKERS[::-1])
    with Load(of_the_other, *repeating) as load:
        ended(several, "broker-1", signal.SIGKILL)
        load.goes_on()
    assert not load.all("lost"), "a post was never answered"
    assert not load.all("refused")
    stored = check_stored(several, load)
    assert sorted(load.all("acknowledged")) == sorted(stored)
    check_heard(listener, stored)


def test_servers_that_stop_one_after_the_other_are_missed_by_nobody(several):
    listeners = [Listener(CHANNEL, address=proxy) for proxy in PROXIES]
    with Load(*[(Blocking, [broker]) for broker in BROKERS * 3]) as load:
        for number in SERVERS:
            ended(several, f"server-{number}", signal.SIGTERM)
            load.goes_on()
    assert not load.all("lost"), "a post was never answered"
    assert not load.all("refused")
    stored = check_stored(several, load)
    assert sorted(load.all("acknowledged")) == sorted(stored)
    for listener in listeners:
        check_heard(listener, stored)


def test_brokers_that_stop_one_after_the_other_lose_nothing_for_clients_that_repeat_with_an_id(several):
    listener = Listener(CHANNEL, address=PROXIES[1])
    repeating = [(Repeating, BROKERS), (Repeating, BROKERS[::-1]), (Repeating, BROKERS), (Repeating, BROKERS[::-1])]
    # Their brokers may end between a request and its reply, and libzmq's REQ never sends again: what hangs is told, and no failure.
    blocking = [(Blocking, [broker]) for broker in BROKERS * 4]
    with Load(*repeating, *blocking) as load:
        for name in BROKER_PORTS:
            ended(several, name, signal.SIGTERM)
            load.goes_on([writer for writer in load.writers if isinstance(writer, Repeating)])
    assert not load.all("lost", Repeating), "a post was never answered"
    assert not load.all("refused")
    check_heard(listener, check_stored(several, load))
    print(f"clients without a timeout that hung: {len(load.all('lost', Blocking))} of {len(blocking)}")


@pytest.mark.parametrize("name", ["broker-2", "proxy-2"])
def test_a_new_one_waits_for_every_server_but_not_for_ever(several, name):
    connected = {"broker-2": "papo_broker_ready_workers 2", "proxy-2": 'papo_connections{endpoint="publishers"} 2'}[name]
    frozen = several.server(3)
    os.kill(frozen, signal.SIGSTOP)
    try:
        pid = process(several, name)
        kill(pid)
        wait_until(f"{name} is gone", lambda: not alive(pid))
        # Well within its grace of 10 s: two of three are there.
        wait_until("two servers are connected", lambda: connected in several.get(name, "/metrics")[1].splitlines(), 8)
        assert not several.is_ready(name)
        wait_until("two servers are enough", lambda: several.is_ready(name))
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_a_server_is_ready_while_it_has_a_broker_and_a_proxy(several):
    pids = {name: process(several, name) for name in PROXY_PORTS}
    os.kill(pids["proxy-1"], signal.SIGSTOP)
    try:
        silent = 'papo_connections{endpoint="proxies"} 1'
        wait_until("the silence is noticed", lambda: silent in several.get("server-1", "/metrics")[1].splitlines())
        assert several.is_ready("server-1")
        os.kill(pids["proxy-2"], signal.SIGSTOP)
        wait_until("without any proxy it is not ready", lambda: several.get("server-1", "/readyz")[0] == 503)
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGCONT)
    wait_until("it is ready again", lambda: several.is_ready("server-1"))


def test_a_chat_outlives_its_broker_and_its_proxy(several):
    chat = subprocess.Popen(
        [PAPO, "chat", "--user", "ana", "--broker", ",".join(BROKERS), "--proxy", ",".join(PROXIES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []

    def read() -> None:
        for line in chat.stdout:
            lines.append(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    said: list[str] = []
    bia = Client(BROKERS[1])
    bia.must("login", user="bia")

    def types(text: str) -> None:
        chat.stdin.write(text + "\n")
        chat.stdin.flush()

    def bia_says(text: str) -> None:
        bia.must("publish", user="bia", channel=CHANNEL, message=text)
        said.append(f"bia: {text}")

    def ana_says(text: str) -> None:
        types(text)
        said.append(f"ana: {text}")

    def shown(text: str) -> int:
        return sum(line.endswith(f"#{CHANNEL} {text}\n") for line in list(lines))

    types(f"/join {CHANNEL}")
    ana_says("here I am")
    try:
        for number, name in enumerate(["broker-1", "proxy-1", "broker-2", "proxy-2"]):
            wait_until(f"ana is shown everything in round {number}", lambda: all(map(shown, said)))
            # It may be lost with the proxy, and is then in the history.
            bia_says(f"before the end of {name}")
            ended(several, name, signal.SIGKILL)
            ana_says(f"still here {number}")
            bia_says(f"after the end of {name}")
        wait_until("ana is shown everything", lambda: all(map(shown, said)))
        chat.stdin.close()
        status = chat.wait(PATIENCE_SECONDS)
    finally:
        chat.kill()
        reader.join(10)
    text = "".join(lines)
    assert status == 0, text
    assert [shown(line) for line in said] == [1] * len(said), text
    assert "no connection" not in text, f"there was always one broker and one proxy:\n{text}"


# --- SIGTERM, where those who lead clients here learn of it late --------------------------------------------------------------


def started(tmp_path, *arguments: str) -> subprocess.Popen:
    with (tmp_path / "role.log").open("wb") as log:
        return subprocess.Popen([PAPO, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def test_a_broker_told_to_serve_on_takes_new_clients_for_that_time(tmp_path):
    broker = started(tmp_path, "broker", "--drain-seconds", "4")
    try:
        wait_until("the broker listens", lambda: listening_inodes(5555) and listening_inodes(5556))
        worker = zmq.Context.instance().socket(zmq.REP)
        worker.linger = 0
        worker.connect("tcp://127.0.0.1:5556")

        def exchange() -> None:
            client = connected("tcp://127.0.0.1:5555")
            client.send(b"ping")
            assert receive(worker) == [b"ping"]
            worker.send(b"pong")
            assert receive(client) == [b"pong"]
            client.close()

        exchange()
        broker.terminate()
        began = time.monotonic()
        while time.monotonic() < began + 2:
            exchange()
            time.sleep(0.2)
        assert broker.poll() is None
        assert broker.wait(20) == 0
        assert time.monotonic() >= began + 4
        worker.close()
    finally:
        broker.kill()


def test_a_proxy_told_to_serve_on_passes_publications_for_that_time(tmp_path):
    proxy = started(tmp_path, "proxy", "--drain-seconds", "4")
    try:
        wait_until("the proxy listens", lambda: listening_inodes(5557) and listening_inodes(5558))
        context = zmq.Context.instance()
        publisher, subscriber = context.socket(zmq.PUB), context.socket(zmq.SUB)
        publisher.linger = subscriber.linger = 0
        publisher.connect("tcp://127.0.0.1:5557")
        subscriber.connect("tcp://127.0.0.1:5558")
        subscriber.subscribe("weather")

        def passes(text: bytes) -> bool:
            publisher.send_multipart([b"weather", text])
            while subscriber.poll(100):
                if subscriber.recv_multipart()[1] == text:
                    return True
            return False

        wait_until("the proxy passes publications", lambda: passes(b"sun"))
        proxy.terminate()
        began = time.monotonic()
        while time.monotonic() < began + 2:
            wait_until("it still does", lambda: passes(b"rain"))
        assert proxy.wait(20) == 0
        assert time.monotonic() >= began + 4
        publisher.close()
        subscriber.close()
    finally:
        proxy.kill()
