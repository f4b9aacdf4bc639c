"""Acceptance of part 6, lines 1 and 3: pods are replaced one by one under load, a bad image stops at the first, and faults in the
middle of it all end well."""

import json
import os
import signal
import time

import audit
import pytest

from conftest import IMAGES, OPERATOR_NAMESPACE, wait_until
from rolling import Crowd, coordinator, epoch, events, image, second_tag, unharmed, watch_rollout

# Kubernetes tells of an image that it cannot pull after some seconds.
STUCK_SECONDS = 120
# Within which another server coordinates once the coordinator has died.
COORDINATOR_SECONDS = 10
# Changes of office while every server is replaced once: the coordinator's, and that of one which takes it back.
EPOCHS = 2
# Between two statuses: a second, as the operator's clock and the API server's see it.
STATUS_SECONDS = 0.8
# A minute without an API server.
AWAY_SECONDS = 60


@pytest.fixture(scope="module")
def another(kube, tmp_path_factory):
    """Repository and tag of the same image under another tag."""
    return second_tag(IMAGES[0], tmp_path_factory.mktemp("image"), "next")


@pytest.fixture
def crowd(chat, tmp_path):
    chat.apply(replicas=3)
    chat.wait_ready()
    crowd = Crowd(chat, tmp_path)
    yield crowd
    crowd.kill()


def roll(chat, another) -> str:
    repository, tag = another
    chat.patch(image={"repository": repository, "tag": tag})
    return f"{repository}:{tag}"


def begin(chat, another) -> str:
    """A rollout that has reached its first server: the image that it brings."""
    wanted = roll(chat, another)
    wait_until("the first server is replaced", lambda: wanted in {image(pod) for pod in chat.pods("server")})
    return wanted


def restart_operator(kube) -> None:
    """As if its node had died: no time to end anything."""
    pod = kube.get("-n", OPERATOR_NAMESPACE, "pods", "-l", "app.kubernetes.io/instance=papo")["items"][0]["metadata"]["name"]
    kube.kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", pod, "--grace-period=0", "--force")


@pytest.mark.timeout(900)
def test_an_image_is_rolled_under_load_server_by_server_and_nobody_notices(chat, crowd, another):
    leading, before = coordinator(chat), epoch(chat)
    written = audit.length()
    began = time.monotonic()
    order = watch_rollout(chat, roll(chat, another))
    seconds, writes = time.monotonic() - began, audit.statuses(audit.requests(written), chat.namespace)
    result = crowd.end()
    after = epoch(chat)
    print(json.dumps({"servers": order, "coordinator": leading, "epochs": [before, after], "statusWrites": len(writes), "seconds": round(seconds), **result}))
    unharmed(result)
    assert order[-1][0].endswith(leading), f"{leading} led, and goes last: {order}"
    assert after - before <= EPOCHS, "one hand-over, and one back"
    closest = min((later - earlier for earlier, later in zip(writes, writes[1:])), default=1)
    assert closest > STATUS_SECONDS, f"statuses {closest:.2f} s apart"
    wait_until("its status says who leads", lambda: chat.status().get("coordinator") == coordinator(chat), 60)
    told = [event["note"] for event in events(chat) if event["reason"] == "PodReplaced"]
    assert told, "it is told"
    assert {member["state"] for member in chat.status()["members"]} == {"inSync"}


def stops_at_the_first_server_and_is_undone(chat, crowd, bad: dict, words: str) -> None:
    """Rolls an image that cannot serve, and goes back; `words` are those that tell a person what is wrong with it."""
    good = image(chat.pods("server")[0])
    before = {pod["metadata"]["uid"] for pod in chat.pods("server") + chat.pods("ref")}
    chat.patch(image=bad)
    stuck = wait_until("it is stuck", lambda: (found := chat.condition("Progressing")).get("reason") == "RolloutStuck" and found, STUCK_SECONDS)
    assert stuck["status"] == "False" and "papo-server-1" in stuck["message"] and words in stuck["message"], stuck
    time.sleep(10)
    after = {pod["metadata"]["uid"] for pod in chat.pods("server") + chat.pods("ref")}
    assert len(before - after) == 1, "only the first server was replaced"
    assert chat.condition("Progressing")["reason"] == "RolloutStuck", "it still says so"
    assert words in next(event["note"] for event in events(chat) if event["reason"] == "RolloutStuck")
    chat.patch(image=None)
    wait_until("every pod runs the good image", lambda: {image(pod) for pod in chat.pods()} == {good} and chat.is_ready(), 240)
    left = {pod["metadata"]["uid"] for pod in chat.pods("server") + chat.pods("ref")}
    assert len(before - left) == 1, "no other pod was replaced on the way back"
    unharmed(crowd.end())


@pytest.mark.timeout(900)
def test_an_image_that_cannot_be_pulled_stops_at_the_first_server_and_the_next_good_spec_goes_on(chat, crowd):
    repository, tag = image(chat.pods("server")[0]).rsplit(":", 1)
    stops_at_the_first_server_and_is_undone(chat, crowd, {"repository": repository, "tag": f"{tag}-nowhere"}, "Image")


@pytest.mark.timeout(900)
def test_an_image_whose_program_ends_at_once_stops_at_the_first_server_and_the_next_good_spec_goes_on(chat, crowd):
    # The operator's image, taken by mistake: its program knows no `server`.
    repository, tag = image(chat.pods("server")[0]).rsplit(":", 1)
    log = "the program ended with exit code 2; `kubectl logs papo-server-1 --previous` has its last words"
    stops_at_the_first_server_and_is_undone(chat, crowd, {"repository": f"{repository}-operator", "tag": tag}, log)


@pytest.mark.timeout(900)
def test_an_operator_killed_in_mid_rollout_finishes_it_after_its_restart(chat, another):
    chat.apply(replicas=3)
    chat.wait_ready()
    wanted = begin(chat, another)
    restart_operator(chat.kube)
    watch_rollout(chat, wanted)


@pytest.mark.timeout(900)
def test_servers_that_are_to_go_wait_for_the_rollout_that_has_begun(chat, another):
    chat.apply(replicas=3)
    chat.wait_ready()
    wanted = begin(chat, another)
    chat.patch(replicas=2)

    def is_done() -> bool:
        replicas, pods = chat.get("statefulset", "papo-server")["spec"]["replicas"], chat.pods("server")
        assert replicas == 3 or all(image(pod) == wanted for pod in pods), "servers go before the rollout has ended"
        return len(pods) == 2 and chat.is_ready() and chat.condition("Progressing")["reason"] == "Complete"

    wait_until("two servers", is_done, 300)
    assert {image(pod) for pod in chat.pods()} == {wanted}


@pytest.mark.timeout(600)
def test_a_killed_coordinator_is_replaced_and_the_load_goes_on(chat, crowd):
    leading = coordinator(chat)
    victim = f"papo-{leading}"
    uid = chat.get("pod", victim)["metadata"]["uid"]
    began = time.monotonic()
    chat.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
    successor = coordinator(chat, leading)
    took = time.monotonic() - began
    print(f"{successor} coordinates after {took:.1f} s")
    assert took < COORDINATOR_SECONDS
    wait_until("another pod of the name", lambda: (found := chat.find("pod", victim)) and found["metadata"]["uid"] != uid)
    chat.wait_ready()
    print(f"ready again after {time.monotonic() - began:.1f} s")
    unharmed(crowd.end())


@pytest.mark.timeout(600)
def test_a_token_made_anew_reaches_every_server(chat):
    chat.apply(replicas=3)
    chat.wait_ready()
    before = {pod["metadata"]["uid"] for pod in chat.pods("server") + chat.pods("ref")}
    chat.kubectl("delete", "secret", "papo-token")
    wait_until("every pod is another", lambda: not before & {pod["metadata"]["uid"] for pod in chat.pods("server") + chat.pods("ref")})
    chat.wait_ready(240)


@pytest.mark.timeout(600)
def test_a_minute_without_an_api_server_restarts_nothing(chat, crowd):
    if (process := audit.process("apiserver")) is None:
        pytest.skip("the API server of another cluster is not ours to stop")
    pods = lambda: {(pod["metadata"]["uid"], status["restartCount"]) for pod in chat.pods() for status in pod["status"]["containerStatuses"]}
    before = pods()
    os.kill(process, signal.SIGSTOP)
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until("the API server is back", lambda: chat.kube.run("kubectl", "get", "--raw", "/readyz", check=False).returncode == 0)
    chat.wait_ready(180)
    assert pods() == before
    unharmed(crowd.end())
