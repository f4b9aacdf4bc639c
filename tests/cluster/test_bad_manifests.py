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
    # The API server knows this one by its form only: it is named in status.
    ("storage_too_small", {"storage": {"size": "1Ki"}}, ["spec.storage.size", "1Ki"]),
    ("retention", {"storage": {"retention": {"whenScaled": "Keep"}}}, ["storage.retention.whenScaled", "Keep"]),
    ("storage_class", {"storage": {"class": ""}}, ["storage.class"]),
    ("priority_class", {"scheduling": {"priorityClassName": ""}}, ["scheduling.priorityClassName"]),
    ("processors", {"resources": {"server": {"requests": {"cpu": "0.5"}}}}, ["resources.server.requests.cpu", "0.5"]),
    ("limit_below_request", {"resources": {"ref": {"requests": {"memory": "2Gi"}, "limits": {"memory": "900Mi"}}}}, ["resources.ref.limits.memory", "at least"]),
    ("own_label", {"podMetadata": {"labels": {"app.kubernetes.io/name": "x"}}}, ["podMetadata.labels", "operator's own"]),
    ("own_annotation", {"podMetadata": {"annotations": {"papo.dev/x": "x"}}}, ["podMetadata.annotations", "operator's own"]),
    ("label_value", {"podMetadata": {"labels": {"team": "a b"}}}, ["podMetadata.labels[team]", "a b"]),
    ("expose_type", {"expose": {"type": "Ingress"}}, ["expose.type", "Ingress"]),
    ("expose_annotations", {"expose": {"annotations": {"a": "b"}}}, ["expose.annotations", "LoadBalancer"]),
    ("expose_ranges", {"expose": {"type": "NodePort", "sourceRanges": ["192.0.2.0/24"]}}, ["expose.sourceRanges", "LoadBalancer"]),
    ("peer_of_nothing", {"networkPolicy": {"foreign": [{}]}}, ["networkPolicy.foreign[0]", "podSelector"]),
    ("peer_range", {"networkPolicy": {"metrics": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}}, ["networkPolicy.metrics[0].ipBlock.cidr", "10.0.0.0/99"]),
    ("toleration_key", {"scheduling": {"tolerations": [{"value": "x"}]}}, ["scheduling.tolerations[0]", "Exists"]),
    ("toleration_seconds", {"scheduling": {"tolerations": [{"operator": "Exists", "tolerationSeconds": 3}]}}, ["tolerations[0].tolerationSeconds", "NoExecute"]),
    ("spread", {"scheduling": {"topologySpreadConstraints": [{"maxSkew": 0}]}}, ["topologySpreadConstraints[0].maxSkew", "0"]),
    ("affinity_operator", {"scheduling": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}}}}}, ["operator", "Is"]),
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


@pytest.fixture
def newer_definition(operator):
    """The CustomResourceDefinition of a version to come, which fills in a default of a field that nobody here knows."""
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/zones"
    patch = lambda step: operator.kubectl("patch", "crd", "chatclusters.papo.dev", "--type=json", "-p", json.dumps([{**step, "path": path}]))
    patch({"op": "add", "value": {"type": "integer", "default": 3}})
    yield
    patch({"op": "remove"})


def test_a_field_of_a_newer_definition_is_left_aside_and_named(operator, newer_definition, namespace):
    chat = ChatCluster(operator, "papo", namespace)
    chat.apply(replicas=1)
    wait_until("the field is there", lambda: chat.get("chatcluster", "papo")["spec"].get("zones") == 3, 30)
    condition = wait_until("a word about it in status", lambda: (found := chat.condition("Valid")).get("reason") == "UnknownFields" and found, 30)
    assert condition["status"] == "True" and "spec.zones" in condition["message"], condition
    assert chat.find("statefulset", "papo-server"), "all else is done"
