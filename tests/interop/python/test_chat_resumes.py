"""`papo chat` goes on across the death of a server, a broker or a proxy: what was said is shown, each message once."""

import itertools
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import msgpack
import pytest
import zmq

from clients import Client, rep_of
from conftest import PAPO, Cluster, alive, kill, wait_until

# Of `papo local` with two brokers and two proxies, as manifests/minimal.yaml has them.
BROKERS = ("127.0.0.1:5555", "127.0.0.1:5802")
PROXIES = ("127.0.0.1:5558", "127.0.0.1:5862")
# What the chat waits before it tries another broker is the longest of its waits.
SHOWN_SECONDS = 45
STOPPED_SECONDS = 12
# As long as a live reader that suspects nothing waits before it looks: see `catch_up.rs`.
LOOKS_SECONDS = 36


class Chat:
    """A person at work: `papo chat` as a script whose lines are typed while it runs."""

    def __init__(self, folder: Path, user: str, brokers=BROKERS, proxies=PROXIES):
        self.user, self.output = user, folder / f"{user}.out"
        addresses = ["--broker", ",".join(brokers), "--proxy", ",".join(proxies)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [PAPO, "chat", "--user", user, *addresses], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, text=True
            )

    def types(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def joins(self, channel: str) -> None:
        self.types(f"/join {channel}")
        wait_until(f"{self.user} is in {channel}", lambda: f"joined #{channel}" in self.output.read_text())

    def shown(self) -> Counter:
        """The texts shown in the channel and to this person, and how often each."""
        return Counter(re.findall(r"^\[[^]]*\] (?:#sala \S+|@\S+ -> \S+): (.*)$", self.output.read_text(), re.M))

    def waits_for(self, texts: list[str], seconds: float = SHOWN_SECONDS) -> None:
        def missing():
            shown = self.shown()
            return [text for text in texts if text not in shown]

        try:
            wait_until(f"{self.user} is shown all", lambda: not missing(), seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}; missing {len(missing())} of {len(texts)}: {missing()[:5]}") from None

    def leaves(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)


class Writer(threading.Thread):
    """Posts to the channel, and now and then to a person, all the time; repeats under the same id what is not answered in time."""

    def __init__(self, *people: str):
        super().__init__(daemon=True)
        self.people, self.done, self.acknowledged = people, threading.Event(), []
        self.brokers = itertools.cycle(BROKERS)
        self.socket = None
        self.start()

    def run(self) -> None:
        for number in itertools.count():
            if self.done.is_set():
                return
            text = f"mensagem {number}"
            target = {"channel": "sala", "user": "escritor"}
            if number % 5 == 0:
                person = self.people[number // 5 % len(self.people)]
                text, target = f"para {person} {number}", {"dst": person, "src": "escritor"}
            self.say("message" if "dst" in target else "publish", message=text, **target)
            self.acknowledged.append(text)
            time.sleep(0.02)

    def say(self, service: str, **data) -> None:
        request = msgpack.packb({"service": service, "data": {**data, "papo_id": uuid.uuid4().bytes}})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.socket is None:
                self.socket = zmq.Context.instance().socket(zmq.REQ)
                self.socket.linger = 0
                self.socket.connect(f"tcp://{next(self.brokers)}")
            self.socket.send(request)
            if self.socket.poll(3000):
                reply = msgpack.unpackb(self.socket.recv())["data"]
                if reply["status"] == "OK":
                    return
                assert reply.get("retry"), reply
            else:
                self.socket.close()
                self.socket = None
        raise AssertionError(f"never acknowledged: {data}")

    def ends(self) -> list[str]:
        self.done.set()
        self.join(70)
        assert not self.is_alive()
        return self.acknowledged


def meant_for(person: str, texts: list[str]) -> list[str]:
    return [text for text in texts if text.startswith(("mensagem ", f"para {person} "))]


def kill_server(cluster: Cluster) -> None:
    for number in (1, 2, 3):
        cluster.kill_server(number)
        wait_until(f"server-{number} is ready again", lambda: cluster.is_ready(f"server-{number}"))


def kill_on(cluster: Cluster, address: str) -> None:
    port = int(address.split(":")[1])
    pid = wait_until(f"somebody listens on {port}", lambda: cluster.pid_on(port))
    kill(pid)
    wait_until(f"it is gone from {port}", lambda: not alive(pid))
    wait_until(f"another listens on {port}", lambda: cluster.pid_on(port))


def stop_proxy(cluster: Cluster) -> None:
    pid = cluster.pid_on(int(PROXIES[0].split(":")[1]))
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(STOPPED_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)


FAULTS = {
    "each server is killed": kill_server,
    "its broker is killed": lambda cluster: kill_on(cluster, BROKERS[0]),
    "its proxy is killed": lambda cluster: kill_on(cluster, PROXIES[0]),
    "its proxy hangs for a while": stop_proxy,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_message_is_shown_once_though(fault, own_cluster, tmp_path):
    # One has the choice between two brokers and two proxies, the other has only those that are harmed.
    people = [Chat(tmp_path, "ana"), Chat(tmp_path, "bia", BROKERS[:1], PROXIES[:1])]
    for person in people:
        person.joins("sala")
    writer = Writer("ana", "bia")
    wait_until("some posts are acknowledged", lambda: len(writer.acknowledged) > 50)
    for _ in range(2 if "killed" in fault else 1):
        FAULTS[fault](own_cluster)
        time.sleep(1)
    said = writer.ends()
    for person in people:
        person.waits_for(meant_for(person.user, said))
    for person in people:
        person.types("tchau")
        person.waits_for(["tchau"])
        person.leaves()
        shown = person.shown()
        expected = Counter(meant_for(person.user, said))
        assert {text: count for text, count in shown.items() if text in expected and count != 1} == {}
        assert set(shown) <= set(expected) | {"tchau"}


def test_a_reader_behind_a_proxy_that_hangs_for_good_goes_on_at_the_other_or_reads_the_history(own_cluster, tmp_path):
    people = [Chat(tmp_path, "ana"), Chat(tmp_path, "bia", proxies=PROXIES[:1])]
    for person in people:
        person.joins("sala")
    pid = own_cluster.pid_on(int(PROXIES[0].split(":")[1]))
    # What a subscription needs to reach the proxy, and the first reading on, are over.
    time.sleep(4)
    os.kill(pid, signal.SIGSTOP)
    try:
        client = Client()
        client.must("publish", user="escritor", channel="sala", message="alguém?")
        for person in people:
            person.waits_for(["alguém?"], LOOKS_SECONDS)
        # From now on it is known.
        client.must("publish", user="escritor", channel="sala", message="e agora?")
        for person in people:
            person.waits_for(["e agora?"], 15)
        # Who posts need not wait so long.
        people[1].types("ouço sem proxy")
        for person in people:
            person.waits_for(["ouço sem proxy"], 15)
            person.leaves()
            assert person.shown() == Counter(["alguém?", "e agora?", "ouço sem proxy"])
        client.close()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_an_own_post_that_does_not_come_back_live_is_shown_within_seconds(own_cluster, tmp_path):
    ana = Chat(tmp_path, "ana", proxies=PROXIES[:1])
    ana.joins("sala")
    time.sleep(4)
    pid = own_cluster.pid_on(int(PROXIES[0].split(":")[1]))
    os.kill(pid, signal.SIGSTOP)
    try:
        ana.types("eco?")
        ana.waits_for(["eco?"], 15)
    finally:
        os.kill(pid, signal.SIGCONT)
    ana.leaves()
    assert ana.shown() == Counter(["eco?"])


def test_direct_messages_to_someone_who_is_away_are_there_when_they_come_back(own_cluster, tmp_path):
    ana = Chat(tmp_path, "ana")
    ana.joins("sala")
    ana.leaves()
    client = Client(rep_of(1))
    client.must("message", src="bia", dst="ana", message="quando voltares")
    client.close()
    own_cluster.kill_server(1)
    ana = Chat(tmp_path, "ana")
    ana.waits_for(["quando voltares"])
    ana.leaves()
    assert ana.shown() == Counter(["quando voltares"])


def local_modes(terminal: int) -> int:
    return termios.tcgetattr(terminal)[3]


def test_a_chat_that_is_told_to_stop_leaves_the_terminal_as_it_was(own_cluster):
    person, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    command = [PAPO, "chat", "--user", "ana", "--no-color"]
    environment = os.environ | {"TERM": "xterm"}
    chat = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True)
    said = b""

    def prompted():
        nonlocal said
        while select.select([person], [], [], 0)[0]:
            said += os.read(person, 4096)
        return b"ana@geral" in said and not local_modes(terminal) & termios.ICANON

    wait_until("a line is being edited", prompted)
    chat.send_signal(signal.SIGTERM)
    assert chat.wait(10) == 0
    assert termios.tcgetattr(terminal) == before
    prompted()
    # Pasting is as it was, too, and the shell's prompt begins a line.
    assert said.rstrip(b"\r\n").rsplit(b"\x1b[?2004", 1)[1] == b"l" and said.endswith(b"\n")
    os.close(person)
    os.close(terminal)
