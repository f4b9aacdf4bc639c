"""Acceptance of part 2, line 3: every edit reaches the pods; what others delete or edit is put right."""

import json
import sys
from pathlib import Path

from conftest import ChatCluster, wait_until

TALK = Path(__file__).parent / "talk.py"
# Within which a deleted or hand-edited object must be right again.
RIGHT_SECONDS = 10


def test_a15_edits_of_replicas_brokers_and_settings_reach_the_pods(chat):
    chat.apply(replicas=1)
    chat.wait_ready()
    talk = lambda mark, *more: chat.kube.run(sys.executable, TALK, chat.service("papo-broker"), chat.service("papo-proxy"), mark, *more).stdout
    assert talk("cinco").strip() == "heard"

    chat.patch(replicas=3, broker={"replicas": 1})
    wait_until("three servers and one broker", lambda: len(chat.pods("server")) == 3 and len(chat.pods("broker")) == 1)
    chat.wait_ready()
    # The new servers hold what was said before them.
    exports = lambda: [
        chat.kubectl("exec", f"papo-server-{number}", "--", "/papo", "export", "--data", "/data", "publications.jsonl", check=False)
        for number in (1, 2, 3)
    ]
    # The kubelet takes up to a minute to bring the new members to the old server's mounted settings.
    wait_until("all exports are equal", lambda: (lambda all: "oi cinco" in all[0] and len(set(all)) == 1)(exports()), 150)

    assert talk("seis", "--status").strip() == "OK"
    chat.patch(compat={"publishOk": "sucesso"})
    wait_until("posts are answered `sucesso`", lambda: talk("seis", "--status").strip() == "sucesso", 150)


def test_a_changed_image_reaches_the_pods_and_a_bad_one_is_undone(chat):
    chat.apply(replicas=1, broker={"replicas": 1}, proxy={"replicas": 1})
    chat.wait_ready()
    image = chat.pods("server")[0]["spec"]["containers"][0]["image"]
    repository, tag = image.rsplit(":", 1)
    # A tag that no node has: the rollout begins and cannot end, and the next good spec undoes it.
    chat.patch(image={"repository": repository, "tag": f"{tag}-next"})
    wait_until(
        "every pod was asked for with the new tag",
        lambda: {pod["spec"]["containers"][0]["image"].rsplit(":", 1)[1] for pod in chat.pods("broker")} >= {f"{tag}-next"},
    )
    chat.patch(image=None)
    chat.wait_ready()


def test_what_is_deleted_or_edited_by_hand_is_put_right(chat):
    chat.apply(replicas=1)
    chat.wait_ready()
    for kind, name in (("service", "papo-broker"), ("deployment", "papo-proxy"), ("configmap", "papo-settings"), ("poddisruptionbudget", "papo-broker")):
        before = chat.get(kind, name)["metadata"]["uid"]
        chat.kubectl("delete", kind, name, "--wait=false", "--cascade=orphan" if kind == "deployment" else "--cascade=background")
        wait_until(f"{kind} {name} is back", lambda: (found := chat.find(kind, name)) and found["metadata"]["uid"] != before, RIGHT_SECONDS)
    chat.kubectl("patch", "service", "papo-broker", "--type=json", "-p", json.dumps([{"op": "replace", "path": "/spec/selector", "value": {"nobody": "here"}}]))
    wait_until("the selector is right", lambda: "nobody" not in chat.get("service", "papo-broker")["spec"]["selector"], RIGHT_SECONDS)
    chat.kubectl("scale", "deployment", "papo-proxy", "--replicas=5")
    wait_until("the replicas are right", lambda: chat.get("deployment", "papo-proxy")["spec"]["replicas"] == 2, RIGHT_SECONDS)


def test_a_token_is_made_once_and_never_overwritten(chat):
    chat.apply(replicas=1)
    chat.wait_ready()
    token = chat.get("secret", "papo-token")["data"]
    chat.patch(broker={"replicas": 1})
    chat.wait_ready()
    assert chat.get("secret", "papo-token")["data"] == token
