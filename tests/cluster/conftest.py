"""papo on a real Kubernetes: `kubectl`, an installed operator, and ChatClusters that a test makes and unmakes.

hack/kube boots the cluster, or KUBECONFIG names one. Where neither is possible, every test is skipped, with the reason.
"""

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXEC = ROOT / "hack/kube/exec"
IMAGES = [ROOT / "dist/papo.tar", ROOT / "dist/papo-operator.tar"]
RELEASE = "papo"
OPERATOR_NAMESPACE = "papo-system"
# Exit status of hack/kube/up on a machine that cannot host Kubernetes.
CANNOT_HOST = 3
READY_SECONDS = 120


def wait_until(what: str, holds, seconds: float = READY_SECONDS):
    """The first true value of `holds()`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := holds():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


class Kube:
    """kubectl and helm, inside the cluster's network."""

    def run(self, *command, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [EXEC, *map(str, command)], input=input, capture_output=True, text=True, timeout=240, stdin=None if input is not None else subprocess.DEVNULL
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done

    def kubectl(self, *arguments, **options) -> str:
        return self.run("kubectl", *arguments, **options).stdout

    def get(self, *arguments) -> dict:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def find(self, *arguments) -> dict | None:
        text = self.kubectl("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def apply(self, manifest: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run("kubectl", "apply", "-f", "-", input=manifest, check=check)


@pytest.fixture(scope="session")
def kube() -> Kube:
    up = subprocess.run([ROOT / "hack/kube/up"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if up.returncode == CANNOT_HOST:
        pytest.skip(up.stdout.strip() or up.stderr.strip())
    assert up.returncode == 0, up.stdout + up.stderr
    missing = [image.name for image in IMAGES if not image.exists()]
    assert not missing, f"no images {missing}: run `make images`"
    subprocess.run([ROOT / "hack/kube/load", *IMAGES], check=True, stdin=subprocess.DEVNULL)
    return Kube()


@pytest.fixture(scope="session")
def operator(kube):
    """The chart, installed as a person would."""
    kube.run("helm", "upgrade", "--install", RELEASE, ROOT / "charts/papo", "--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s")
    yield kube
    # What runs is removed by the test that looks at the removal; an interrupted run leaves it to the next.


class ChatCluster:
    """One ChatCluster in a namespace of its own or a shared one."""

    def __init__(self, kube: Kube, name: str, namespace: str):
        self.kube, self.name, self.namespace = kube, name, namespace

    def manifest(self, **spec) -> str:
        return json.dumps(
            {
                "apiVersion": "papo.dev/v1alpha1",
                "kind": "ChatCluster",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": spec,
            }
        )

    def apply(self, **spec) -> None:
        self.kube.apply(self.manifest(**spec))

    def patch(self, **spec) -> None:
        self.kubectl("patch", "chatcluster", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def kubectl(self, *arguments, **options) -> str:
        return self.kube.kubectl("-n", self.namespace, *arguments, **options)

    def get(self, *arguments) -> dict:
        return self.kube.get("-n", self.namespace, *arguments)

    def find(self, *arguments) -> dict | None:
        return self.kube.find("-n", self.namespace, *arguments)

    def status(self) -> dict:
        return (self.find("chatcluster", self.name) or {}).get("status", {})

    def condition(self, kind: str) -> dict:
        return next((found for found in self.status().get("conditions", []) if found["type"] == kind), {})

    def is_ready(self) -> bool:
        found = self.find("chatcluster", self.name)
        status = found.get("status", {}) if found else {}
        current = status.get("observedGeneration") == (found or {}).get("metadata", {}).get("generation")
        return current and self.condition("Ready").get("status") == "True"

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        try:
            wait_until(f"{self.namespace}/{self.name} is Ready", self.is_ready, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(), indent=1)}\n{self.kubectl('get', 'pods', '-o', 'wide')}") from None

    def objects(self, kind: str) -> list[dict]:
        return self.get(kind, "-l", f"app.kubernetes.io/instance={self.name},app.kubernetes.io/name=papo")["items"]

    def pods(self, component: str | None = None) -> list[dict]:
        return [
            pod
            for pod in self.objects("pods")
            if component in (None, pod["metadata"]["labels"]["app.kubernetes.io/component"]) and "deletionTimestamp" not in pod["metadata"]
        ]

    def service(self, name: str) -> str:
        """The ClusterIP of a Service."""
        return self.get("service", name)["spec"]["clusterIP"]

    def delete(self) -> None:
        self.kubectl("delete", "chatcluster", self.name, "--ignore-not-found", "--wait=true")


@contextmanager
def fresh_namespace(kube: Kube, name: str):
    """A namespace, removed with everything in it. Pods must be admitted by the restricted standard."""
    kube.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
    kube.kubectl("create", "namespace", name)
    kube.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    if os.environ.get("PAPO_KEEP") != "1":
        kube.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def name_of(request) -> str:
    return "t-" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:50].strip("-").lower()


@pytest.fixture
def namespace(kube, request):
    with fresh_namespace(kube, name_of(request)) as name:
        yield name


@pytest.fixture
def other_namespace(kube, request):
    with fresh_namespace(kube, f"{name_of(request)}-b") as name:
        yield name


@pytest.fixture
def chat(operator, namespace):
    """A ChatCluster named `papo`, not yet applied."""
    return ChatCluster(operator, "papo", namespace)
