"""What ChatClusters cost, on the real API server of hack/kube with the operator installed. Prints one line of JSON.

    eval "$(hack/deps path)"; hack/kube/up; make sure that dist/ has the images
    "$PAPO_PYTHON" tests/cluster/cost.py 100          so many ChatClusters
    "$PAPO_PYTHON" tests/cluster/cost.py idle 600     one, whose pods run, left alone for so many seconds

Of many, nobody makes pods: the controller manager stands still meanwhile.

- `crToStatefulSet`: from the answer to the creation of a ChatCluster to that of its servers' StatefulSet, by the audit log, made one
  at a time at the end, when all the others are there.
- `noop`: the p99 of a reconcile that changes nothing (the upper end of its bucket), and the requests that all of them sent.
- `memoryMiB`, `peakMiB`: resident, of the operator's process, at the end, and at most; the same of one that was `restarted` then.
- `requests` of the one that is left alone: the operator's, beside watches and the Lease.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import audit
from conftest import EXEC, IMAGES, OPERATOR_NAMESPACE, RELEASE, ROOT, ChatCluster, Kube, wait_until

NAMESPACE = f"t-cost-{os.getpid()}"
# ChatClusters that are timed one by one.
TIMED = 20
# Each ChatCluster is some twenty objects.
SECONDS_PER_CLUSTER = 5
# Until a cluster that is Ready has come to rest: a better server takes the office over after a minute of contact.
SETTLE_SECONDS = 120


def metrics(kube: Kube) -> str:
    pod = kube.get("-n", OPERATOR_NAMESPACE, "pods", "-l", f"app.kubernetes.io/instance={RELEASE}")["items"][0]["metadata"]["name"]
    return kube.kubectl("get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod}:8080/proxy/metrics")


def buckets(text: str) -> dict[float, float]:
    found = re.findall(r'papo_operator_reconcile_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    return {float(bound.replace("+Inf", "inf")): float(count) for bound, count in found}


def total(text: str, name: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def operator() -> tuple[int, dict]:
    """The largest process of the operator's name, as others of this machine may have one, too: its id, and its memory now and at most."""
    found = [(0, {"memoryMiB": 0, "peakMiB": 0})]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if "papo-operator" in text.splitlines()[0] and "VmRSS" in text:
            mebibytes = lambda field: round(int(re.search(rf"{field}:\s+(\d+)", text).group(1)) / 1024, 1)
            found.append((int(status.parent.name), {"memoryMiB": mebibytes("VmRSS"), "peakMiB": mebibytes("VmHWM")}))
    return max(found, key=lambda process: process[1]["memoryMiB"])


def restarted(kube: Kube, quiet) -> dict:
    """The memory of an operator that starts where all of them are: it is killed, and the kubelet starts it again."""
    before, _ = operator()
    os.kill(before, signal.SIGKILL)
    answers = lambda: kube.run("kubectl", "-n", OPERATOR_NAMESPACE, "wait", "pod", "--for=condition=Ready", "-l", f"app.kubernetes.io/instance={RELEASE}", "--timeout=1s", check=False).returncode == 0
    wait_until("it has begun anew", lambda: operator()[0] not in (0, before) and answers())
    wait_until("it is at rest", quiet, 300)
    return operator()[1]


def main(what: str, seconds: str = "") -> None:
    subprocess.run([ROOT / "hack/kube/up"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([ROOT / "hack/kube/load", *IMAGES], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kube = Kube()
    kube.run("helm", "upgrade", "--install", RELEASE, ROOT / "charts/papo", "--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait")
    kube.kubectl("create", "namespace", NAMESPACE)
    try:
        if what == "idle":
            print(json.dumps(idle(kube, int(seconds))))
            return
        manager = audit.process("controller-manager")
        os.kill(manager, signal.SIGSTOP)
        try:
            print(json.dumps(measure(kube, int(what))))
        finally:
            os.kill(manager, signal.SIGCONT)
    finally:
        kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def idle(kube: Kube, seconds: int) -> dict:
    chat = ChatCluster(kube, "idle", NAMESPACE)
    chat.apply()
    chat.wait_ready(300)
    time.sleep(SETTLE_SECONDS)
    since = audit.length()
    time.sleep(seconds)
    return {"seconds": seconds, "pods": len(chat.pods()), "requests": audit.by_operator(audit.requests(since), NAMESPACE)}


def measure(kube: Kube, clusters: int) -> dict:
    manifests = [json.loads(ChatCluster(kube, f"c{number}", NAMESPACE).manifest()) for number in range(clusters)]
    began = time.monotonic()
    subprocess.run([EXEC, "kubectl", "create", "-f", "-"], input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}), text=True, check=True, stdout=subprocess.DEVNULL)
    sets = lambda: len(kube.kubectl("-n", NAMESPACE, "get", "statefulsets", "-l", "app.kubernetes.io/component=server", "-o", "name").split())
    wait_until("every ChatCluster has its servers", lambda: sets() == clusters, clusters * SECONDS_PER_CLUSTER + 60)
    all_made = time.monotonic() - began

    since, times = audit.length(), []
    for number in range(TIMED):
        kube.apply(ChatCluster(kube, f"timed{number}", NAMESPACE).manifest())
        wait_until("its servers", lambda number=number: kube.find("-n", NAMESPACE, "statefulset", f"timed{number}-server"))
    events = audit.requests(since)
    for number in range(TIMED):
        made = audit.at(events, "chatclusters", NAMESPACE, f"timed{number}", ("create", "patch"))
        has = audit.at(events, "statefulsets", NAMESPACE, f"timed{number}-server", ("create", "patch"))
        times.append((has - made) * 1000)

    # Until nothing moves any more.
    quiet = lambda: (before := total(metrics(kube), "papo_operator_reconciles_total"), time.sleep(3), total(metrics(kube), "papo_operator_reconciles_total") == before)[-1]
    wait_until("the operator is at rest", quiet, clusters * SECONDS_PER_CLUSTER + 60)
    before, since = metrics(kube), audit.length()
    kube.kubectl("-n", NAMESPACE, "label", "chatclusters", "--all", "touched=yes")
    wait_until("each was looked at", lambda: total(metrics(kube), "papo_operator_reconciles_total") >= total(before, "papo_operator_reconciles_total") + clusters, clusters + 60)
    after = metrics(kube)
    counts = {bound: count - buckets(before)[bound] for bound, count in buckets(after).items()}
    looks = counts[float("inf")]
    memory = operator()[1]
    return {
        "clusters": clusters,
        "allMadeSeconds": round(all_made, 1),
        "crToStatefulSet": {"p50Ms": round(sorted(times)[TIMED // 2]), "worstMs": round(max(times))},
        "noop": {
            "looks": int(looks),
            "p99AtMostMs": min(bound for bound, count in counts.items() if count >= 0.99 * looks) * 1000,
            "requests": len(audit.by_operator(audit.requests(since), NAMESPACE)),
        },
        **memory,
        "restarted": restarted(kube, quiet),
    }


main(*sys.argv[1:])
