"""Acceptance of part 6, line 3: a node is drained under load. What ran there moves, one server at a time, and nobody notices."""

import json
import subprocess
import time

import audit
import pytest

from conftest import ROOT, wait_until
from rolling import Crowd, is_ready, unharmed

SECOND_NODE = ROOT / "hack/kube/second-node"
FIRST, SECOND = "node1", "node2"
DRAIN_SECONDS = 240


@pytest.fixture
def second_node(operator):
    if audit.own_state() is None:
        pytest.skip("another cluster's nodes are not ours to drain")
    subprocess.run([SECOND_NODE, "up"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    yield operator
    subprocess.run([SECOND_NODE, "down"], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def on(pods: list[dict], node: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node)


@pytest.mark.timeout(900)
def test_a_node_is_drained_under_load_and_nobody_notices(second_node, chat, tmp_path):
    chat.apply(replicas=3)
    chat.wait_ready()
    there = {kind: on(chat.pods(kind), SECOND) for kind in ("server", "broker", "proxy")}
    assert all(there.values()), f"each kind is spread over both nodes: {there}"
    crowd = Crowd(chat, tmp_path)
    try:
        began = time.monotonic()
        drain = subprocess.Popen(
            [ROOT / "hack/kube/exec", "kubectl", "drain", SECOND, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_SECONDS}s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while drain.poll() is None:
            away = [pod["metadata"]["name"] for pod in chat.pods("server") if not is_ready(pod)]
            assert len(away) <= 1, f"away at once: {away}"
            time.sleep(0.5)
        said = drain.stdout.read()
        assert drain.returncode == 0, said
        drained = time.monotonic() - began
        wait_until("everything is on the other node", lambda: on(chat.pods(), SECOND) == [] and chat.is_ready())
        result = crowd.end()
        print(json.dumps({"drainSeconds": round(drained), "readySeconds": round(time.monotonic() - began), "moved": there, **result}))
        unharmed(result)
    finally:
        crowd.kill()
        # The node is as it was, for whoever comes next.
        chat.kube.run("kubectl", "uncordon", SECOND, check=False)
