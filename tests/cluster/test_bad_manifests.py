"""Acceptance of part 2, line 4: a bad manifest is refused, or named in status, with field, value and remedy; it delays no other."""

import json

import pytest

from conftest import ChatCluster, wait_until

# What is wrong, the spec, and what the answer must name.
BAD = [
    ("replicas_0", {"replicas": 0}, ["replicas", "0"]),
    ("replicas_negative", {"replicas": -1}, ["replicas", "-1"]),
    ("replicas_too_many", {"replicas": 100}, ["replicas", "100"]),
    ("replicas_text", {"replicas": "three"}, ["replicas", "string"]),
    ("unknown_field", {"replica": 3}, ["replica"]),
    ("unknown_durability", {"durability": "most"}, ["durability", "most"]),
    ("unknown_order", {"election": {"order": "oldest"}}, ["order", "oldest"]),
    ("storage_size", {"storage": {"size": "ten"}}, ["storage.size", "ten"]),
    # The API server cannot tell how much a quantity is: this one is named in status.
    ("storage_too_small", {"storage": {"size": "1Ki"}}, ["spec.storage.size", "1Ki"]),
    ("deadlines", {"broker": {"serverDeadlineSeconds": 9, "deadlineSeconds": 10}}, ["serverDeadlineSeconds", "deadlineSeconds"]),
    ("brokers_0", {"broker": {"replicas": 0}}, ["broker.replicas", "0"]),
    ("publish_ok", {"compat": {"publishOk": "yes"}}, ["publishOk", "yes"]),
    ("log_level", {"logging": {"level": "loud"}}, ["level", "loud"]),
    ("expiry", {"ref": {"heartbeatSeconds": 60, "expirySeconds": 10}}, ["expirySeconds", "heartbeatSeconds"]),
]


@pytest.mark.parametrize(("name", "spec", "named"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_manifest_is_named(operator, namespace, name, spec, named):
    chat = ChatCluster(operator, "bad", namespace)
    done = operator.run("kubectl", "apply", "-f", "-", input=chat.manifest(**spec), check=False)
    if done.returncode != 0:
        answer = done.stderr
    else:
        condition = wait_until("a word about it in status", lambda: (found := chat.condition("Valid")) and found.get("status") == "False" and found, 30)
        answer = json.dumps(condition, ensure_ascii=False)
    assert all(word in answer for word in named), answer
    assert not chat.find("statefulset", "bad-server")


def test_a_bad_cluster_does_not_delay_a_good_one(operator, namespace):
    bad = ChatCluster(operator, "bad", namespace)
    bad.apply(storage={"size": "1Ki"})
    good = ChatCluster(operator, "good", namespace)
    good.apply(replicas=1)
    good.wait_ready()
    assert bad.condition("Valid").get("status") == "False"
