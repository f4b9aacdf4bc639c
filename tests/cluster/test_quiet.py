"""Acceptance of part 2, line 5, where it is no figure but a rule: a reconcile that changes nothing sends nothing; and where nothing
can be made any more, nothing is tried."""

import os
import signal
import time

import audit
import pytest

from conftest import OPERATOR_NAMESPACE, wait_until

# Long enough for a debounced reconcile and whatever it would send.
QUIET_SECONDS = 3
# What the operator sends for a whole ChatCluster until the first refusal: what pods need to start, all at once.
ONE_ATTEMPT = 12


def reconciles(operator) -> float:
    pod = operator.get("-n", "papo-system", "pods", "-l", "app.kubernetes.io/instance=papo")["items"][0]["metadata"]["name"]
    text = operator.kubectl("get", "--raw", f"/api/v1/namespaces/papo-system/pods/{pod}:8080/proxy/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("papo_operator_reconciles_total"))


def test_a_reconcile_that_changes_nothing_sends_nothing(operator, chat):
    if audit.log() is None:
        pytest.skip("the audit log of another cluster is not ours to read")
    chat.apply(replicas=1)
    chat.wait_ready()
    wait_until("its status says who coordinates", lambda: chat.status().get("coordinator"), 60)

    def settled():
        before = audit.length()
        time.sleep(QUIET_SECONDS)
        return not audit.by_operator(audit.requests(before), chat.namespace)

    wait_until("the operator has nothing more to do", settled, 60)
    before, done = audit.length(), reconciles(operator)
    chat.kubectl("label", "chatcluster", "papo", "touched=yes")
    wait_until("the operator has looked at it", lambda: reconciles(operator) > done, 30)
    time.sleep(QUIET_SECONDS)
    assert audit.by_operator(audit.requests(before), chat.namespace) == []


def test_what_goes_with_its_namespace_is_left_alone_quietly(operator, chat):
    if (manager := audit.process("controller-manager")) is None:
        pytest.skip("the controller manager of another cluster is not ours to stop")
    chat.apply(replicas=1)
    chat.wait_ready()
    # Who deletes a namespace's content stands still, so that there is time to see what the operator does about it.
    os.kill(manager, signal.SIGSTOP)
    try:
        operator.kubectl("delete", "namespace", chat.namespace, "--wait=false")
        before, done = audit.length(), reconciles(operator)
        for kind, name in (("configmap", "papo-settings"), ("service", "papo-broker"), ("service", "papo-proxy"), ("deployment", "papo-proxy")):
            chat.kubectl("delete", kind, name, "--wait=false")
            wait_until("the operator has looked at what is left", lambda: reconciles(operator) > done, 30)
            time.sleep(QUIET_SECONDS)
            done = reconciles(operator)
        sent = audit.by_operator(audit.requests(before), chat.namespace)
    finally:
        os.kill(manager, signal.SIGCONT)
    assert 0 < len(sent) <= ONE_ATTEMPT, sent
    wait_until("the namespace is gone", lambda: operator.find("namespace", chat.namespace) is None, 120)
    log = operator.kubectl("-n", OPERATOR_NAMESPACE, "logs", "deployment/papo-operator", "--since=10m").splitlines()
    about = [line for line in log if chat.namespace in line]
    assert [line for line in about if "left alone" in line], about
    assert not [line for line in about if '"level":"WARN"' in line or '"level":"ERROR"' in line], about
