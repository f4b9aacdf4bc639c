"""Acceptance of part 2, line 5, where it is no figure but a rule: a reconcile that changes nothing sends nothing."""

import time

import audit
import pytest

from conftest import wait_until

# Long enough for a debounced reconcile and whatever it would send.
QUIET_SECONDS = 3


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
