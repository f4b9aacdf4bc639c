"""What the tests of rollouts share: a second tag of the image, a crowd that chats meanwhile, and who was replaced when."""

import io
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from conftest import EXEC, ROOT, wait_until

CROWD = Path(__file__).parent / "crowd.py"
LOAD = ROOT / "hack/kube/load"
# Longer than any answer takes, and than a five-line script is waited for.
END_SECONDS = 150
# Three servers, ref, brokers and proxies, each of which takes seconds on two cores that carry a whole Kubernetes.
ROLLOUT_SECONDS = 420


def second_tag(archive: Path, folder: Path, suffix: str) -> tuple[str, str]:
    """The same image under another tag, brought to the cluster: its repository and tag."""
    copy = folder / f"{suffix}.tar"
    with tarfile.open(archive) as old, tarfile.open(copy, "w") as new:
        for member in old.getmembers():
            content = old.extractfile(member).read() if member.isfile() else None
            if member.name == "manifest.json":
                manifest = json.loads(content)
                name = f"{manifest[0]['RepoTags'][0]}-{suffix}"
                manifest[0]["RepoTags"] = [name]
                content = json.dumps(manifest).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content) if content is not None else None)
    subprocess.run([LOAD, copy], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    repository, tag = name.rsplit(":", 1)
    return repository, tag


class Crowd:
    """People who chat until they are told to end."""

    def __init__(self, chat, folder: Path, writers: int = 4, subscribers: int = 2):
        self.output, self.errors = folder / "crowd", folder / "crowd-errors"
        with self.output.open("w") as output, self.errors.open("w") as errors:
            command = [EXEC, sys.executable, CROWD, chat.service("papo-broker"), chat.service("papo-proxy"), str(writers), str(subscribers)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=errors)
        wait_until("they chat", lambda: self.output.read_text() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.errors.read_text()

    def end(self) -> dict:
        self.process.stdin.close()
        status = self.process.wait(END_SECONDS)
        assert status == 0, self.errors.read_text()
        return json.loads(self.output.read_text().splitlines()[-1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(END_SECONDS)


def unharmed(result: dict) -> None:
    """Nothing was lost or refused, and every subscriber has each message once."""
    assert result["failures"] == [] and result["posted"] > 100, result
    assert result["lost"] == [] and result["refused"] == [], result
    for subscriber in result["subscribers"]:
        assert subscriber["missing"] == [] and subscriber["doubled"] == [] and subscriber["heardTwice"] == [], subscriber
        assert subscriber["heard"] > 100, subscriber


def image(pod: dict) -> str:
    return pod["spec"]["containers"][0]["image"]


def is_ready(pod: dict) -> bool:
    return any(it["type"] == "Ready" and it["status"] == "True" for it in pod["status"].get("conditions", []))


def watch_rollout(chat, wanted: str, seconds: float = ROLLOUT_SECONDS) -> list[tuple[str, float]]:
    """Waits until all pods run an image and everything is Ready: each server's pod that did not run it yet, and the seconds from its
    end to its being ready again. Never is more than one server away."""
    began, gone, back = time.monotonic(), {}, {}
    names = {pod["metadata"]["name"] for pod in chat.pods("server")}
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in chat.pods("server") if image(pod) != wanted}

    def look() -> bool:
        pods = {pod["metadata"]["name"]: pod for pod in chat.pods("server")}
        now = time.monotonic() - began
        away = [name for name in names if name not in pods or not is_ready(pods[name])]
        assert len(away) <= 1, f"away at once: {away}"
        for name, uid in before.items():
            if name not in gone and (name not in pods or pods[name]["metadata"]["uid"] != uid):
                gone[name] = now
            if name in gone and name not in back and name in pods and is_ready(pods[name]):
                back[name] = now
        return len(back) == len(before) and all(image(pod) == wanted for pod in chat.pods()) and chat.is_ready()

    try:
        wait_until(f"everything runs {wanted}", look, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(chat.status(), indent=1)}\n{chat.kubectl('get', 'pods', '-o', 'wide')}") from None
    return [(name, round(back[name] - gone[name], 1)) for name in sorted(gone, key=gone.get)]


def said(chat, number: int) -> dict:
    """What a server says of itself; empty while it says nothing."""
    path = f"/api/v1/namespaces/{chat.namespace}/pods/papo-server-{number}:8080/proxy/status"
    done = chat.kube.run("kubectl", "get", "--raw", path, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def coordinator(chat, *others: str) -> str:
    """Who coordinates by its own word, once somebody does who is none of `others`."""

    def leads() -> str | None:
        for number in range(1, chat.status().get("replicas", 0) + 1):
            if f"server-{number}" not in others and said(chat, number).get("role") == "leading":
                return f"server-{number}"
        return None

    return wait_until("one coordinates", leads)


def epoch(chat) -> int:
    """The number of the coordinator's office."""
    text = said(chat, int(coordinator(chat).removeprefix("server-")))["epoch"]
    return int(text.split("-")[0])


def events(chat) -> list[dict]:
    """Events about the ChatCluster."""
    found = chat.get("events.events.k8s.io")["items"]
    return [event for event in found if event.get("regarding", {}).get("name") == chat.name]
