"""What reached the API server, from the audit log that hack/kube keeps. Another cluster's is not ours to read."""

import json
import os
from datetime import datetime
from pathlib import Path

OPERATOR = "system:serviceaccount:papo-system:papo"


def own_state() -> Path | None:
    """The folder of the cluster that hack/kube has booted; none where KUBECONFIG names another one."""
    state = Path(os.environ.get("PAPO_KUBE_STATE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "papo/kube/run")
    return None if os.environ.get("KUBECONFIG", "") not in ("", str(state / "kubeconfig")) else state


def log() -> Path | None:
    state = own_state()
    path = state and state / "log/audit.log"
    return path if path and path.exists() else None


def process(program: str) -> int | None:
    """The process id of a part of the control plane."""
    state = own_state()
    path = state and state / "cluster/pid" / program
    return int(path.read_text()) if path and path.exists() else None


def requests(since: int = 0) -> list[dict]:
    """Finished requests; `since` skips as many lines."""
    lines = log().read_text().splitlines()[since:]
    # The last line may be half written.
    return [event for event in (parse(line) for line in lines) if event and event["stage"] == "ResponseComplete"]


def parse(line: str) -> dict | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def length() -> int:
    return len(log().read_text().splitlines())


def by_operator(events: list[dict], namespace: str) -> list[str]:
    """What the operator asked for about a namespace or about none, watches left out: they are how it hears of changes; and
    its Lease, which it renews whatever happens. Other namespaces do not count: one that an earlier test has left is being emptied object by object meanwhile."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event["user"]["username"].startswith(OPERATOR)
        and event["verb"] != "watch"
        and event.get("objectRef", {}).get("resource") != "leases"
        and event.get("objectRef", {}).get("namespace", namespace) in (namespace, "papo-system")
    ]


def statuses(events: list[dict], namespace: str) -> list[float]:
    """When the operator wrote a ChatCluster's status."""
    return [
        finished(event)
        for event in events
        if event["user"]["username"].startswith(OPERATOR)
        and event["verb"] == "patch"
        and (found := event.get("objectRef", {})).get("subresource") == "status"
        and (found.get("resource"), found.get("namespace")) == ("chatclusters", namespace)
    ]


def finished(event: dict) -> float:
    return datetime.fromisoformat(event["stageTimestamp"].replace("Z", "+00:00")).timestamp()


def at(events: list[dict], resource: str, namespace: str, name: str, verbs: tuple[str, ...]) -> float | None:
    """When the first such request was answered."""
    for event in events:
        found = event.get("objectRef", {})
        if (found.get("resource"), found.get("namespace"), found.get("name")) == (resource, namespace, name) and event["verb"] in verbs and not found.get("subresource"):
            return finished(event)
    return None
