"""Parts that know nothing of papo: a server as the exercise's implementations write it, and libzmq's own proxies; and papo's roles one by one."""

import subprocess
import threading
import time
from contextlib import contextmanager

import msgpack
import zmq

from conftest import PAPO, listening_inodes, wait_until

STOP_SECONDS = 20


@contextmanager
def running(folder, role: str, *options: str, listens: tuple[int, ...] = ()):
    """`papo ROLE`, by itself."""
    with (folder / f"{role}.log").open("wb") as log:
        process = subprocess.Popen([PAPO, role, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(f"papo {role} listens", lambda: all(listening_inodes(port) for port in listens))
        yield process
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


class Plain(threading.Thread):
    """A thread with sockets of its own, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.sockets: list[zmq.Socket] = []

    def socket(self, kind: int) -> zmq.Socket:
        socket = zmq.Context.instance().socket(kind)
        socket.linger = 0
        self.sockets.append(socket)
        return socket

    def run(self) -> None:
        try:
            self.work()
        finally:
            for socket in self.sockets:
                socket.close()

    def work(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.stopping.set()
        self.join(10)
        assert not self.is_alive()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()


class PlainProxy(Plain):
    """What `zmq_proxy` does, which cannot be stopped: ROUTER and DEALER are a broker (row A02), XSUB and XPUB a proxy (row A07)."""

    def __init__(self, front: int, front_port: int, back: int, back_port: int):
        super().__init__()
        self.ends = (self.socket(front), self.socket(back))
        for end, port in zip(self.ends, (front_port, back_port)):
            # libzmq closes the sockets of the last one in its own time.
            wait_until(f"port {port} is free", lambda: not listening_inodes(port))
            end.bind(f"tcp://127.0.0.1:{port}")

    def work(self) -> None:
        front, back = self.ends
        poller = zmq.Poller()
        for end in self.ends:
            poller.register(end, zmq.POLLIN)
        while not self.stopping.is_set():
            for ready, _ in poller.poll(50):
                (back if ready is front else front).send_multipart(ready.recv_multipart())


def plain_broker() -> PlainProxy:
    return PlainProxy(zmq.ROUTER, 5555, zmq.DEALER, 5556)


def plain_proxy() -> PlainProxy:
    return PlainProxy(zmq.XSUB, 5557, zmq.XPUB, 5558)


class ForeignServer(Plain):
    """A server as the seeds describe it: REP for clients, PUB to the proxy, REQ to ref; everything in memory.

    `flat` replies have their fields at the top; the others in `data`, as the statement has it.
    """

    def __init__(self, name: str = "foreign", flat: bool = False, broker: str = "tcp://127.0.0.1:5556", proxy: str = "tcp://127.0.0.1:5557"):
        super().__init__()
        self.name_of_server, self.flat = name, flat
        self.clock = 0
        self.users: list[str] = []
        self.channels: list[str] = []
        self.asked: list[str] = []
        self.services = {
            "login": self.login,
            "users": lambda data: {"users": self.users},
            "channel": self.channel,
            "channels": lambda data: {"channels": self.channels},
            "publish": self.publish,
            "message": self.message,
        }
        self.replier, self.publisher = self.socket(zmq.REP), self.socket(zmq.PUB)
        self.replier.connect(broker)
        self.publisher.connect(proxy)

    def work(self) -> None:
        while not self.stopping.is_set():
            if self.replier.poll(50):
                request = msgpack.unpackb(self.replier.recv())
                self.replier.send(self.serve(request))

    def serve(self, request: dict) -> bytes:
        service, data = request["service"], request.get("data", {})
        self.asked.append(service)
        self.clock = max(self.clock, data.get("clock", 0)) + 1
        answer = self.services.get(service, self.unknown)(data)
        self.clock += 1
        answer |= {"timestamp": int(time.time()), "clock": self.clock}
        return msgpack.packb({"service": service, **answer} if self.flat else {"service": service, "data": answer})

    def unknown(self, data: dict) -> dict:
        return {"status": "erro", "description": "serviço desconhecido"}

    def login(self, data: dict) -> dict:
        if data["user"] not in self.users:
            self.users.append(data["user"])
        return {"status": "sucesso"}

    def channel(self, data: dict) -> dict:
        if data["channel"] in self.channels:
            return {"status": "erro", "description": "canal já existe"}
        self.channels.append(data["channel"])
        return {"status": "sucesso"}

    def publish(self, data: dict) -> dict:
        if data["channel"] not in self.channels:
            return {"status": "erro", "message": "canal inexistente"}
        self.tell(data["channel"], user=data["user"], message=data["message"])
        return {"status": "OK"}

    def message(self, data: dict) -> dict:
        if data["dst"] not in self.users:
            return {"status": "erro", "message": "usuário inexistente"}
        self.tell(data["dst"], **{"from": data["src"], "message": data["message"]})
        return {"status": "OK"}

    def tell(self, topic: str, **body) -> None:
        self.publisher.send_multipart([topic.encode(), msgpack.packb({**body, "timestamp": int(time.time()), "clock": self.clock})])
