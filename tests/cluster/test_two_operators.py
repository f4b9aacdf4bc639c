"""Of two operators one works, by a Lease; when it goes, the other goes on."""

import pytest

from conftest import OPERATOR_NAMESPACE, RELEASE, ROOT, wait_until

# The Lease's 15 s, a look in 5 s, the first lists, and patience for a busy machine.
FOLLOWS_SECONDS = 60


def holder(operator) -> str:
    return operator.kubectl("-n", OPERATOR_NAMESPACE, "get", "lease", f"{RELEASE}-operator", "-o", "jsonpath={.spec.holderIdentity}").strip()


@pytest.fixture
def two(operator):
    upgrade = ("helm", "upgrade", RELEASE, ROOT / "charts/papo", "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s", "--set")
    operator.run(*upgrade, "replicas=2")
    yield operator
    operator.run(*upgrade, "replicas=1")


def test_when_the_operator_that_works_is_killed_the_other_goes_on(two, chat):
    first = wait_until("one has the Lease", lambda: holder(two), FOLLOWS_SECONDS)
    two.kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", first, "--grace-period=0", "--force", "--wait=false")
    wait_until("another has the Lease", lambda: holder(two) not in ("", first), FOLLOWS_SECONDS)
    chat.apply(replicas=1)
    wait_until("it works", lambda: chat.find("statefulset", "papo-server"), FOLLOWS_SECONDS)
