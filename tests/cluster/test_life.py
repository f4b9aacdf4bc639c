"""Acceptance of part 2, lines 1 and 2: install, chat, survive, remove; two clusters beside each other."""

import sys
from pathlib import Path

from conftest import OPERATOR_NAMESPACE, RELEASE, ROOT, ChatCluster, wait_until

TALK = Path(__file__).parent / "talk.py"


def talk(chat, mark: str, *options) -> str:
    return chat.kube.run(sys.executable, TALK, chat.service("papo-broker"), chat.service("papo-proxy"), mark, *options).stdout


def test_a_minimal_cluster_chats_survives_and_leaves_only_its_volumes(chat):
    chat.apply()
    chat.wait_ready()
    assert talk(chat, "um").strip() == "heard"

    for pod in chat.pods():
        name, spec = pod["metadata"]["name"], pod["spec"]
        assert spec["securityContext"]["runAsUser"] == 65532 and spec["securityContext"]["runAsNonRoot"], name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"], name
            assert context["capabilities"]["drop"] == ["ALL"], name

    # A deleted server pod comes back, as another pod, with what it had.
    victim = next(pod for pod in chat.pods("server") if pod["metadata"]["name"].endswith("-2"))
    chat.kubectl("delete", "pod", victim["metadata"]["name"])
    def is_back() -> bool:
        found = chat.find("pod", victim["metadata"]["name"])
        return bool(found) and found["metadata"]["uid"] != victim["metadata"]["uid"] and any(
            condition["type"] == "Ready" and condition["status"] == "True" for condition in found["status"].get("conditions", [])
        )
    wait_until("the deleted pod is back", is_back)
    # What is shown is on disk at most a second later.
    exported = lambda: chat.kubectl("exec", victim["metadata"]["name"], "--", "/papo", "export", "--data", "/data", "publications.jsonl")
    wait_until("the post is in the new pod's export", lambda: "oi um" in exported(), 30)
    assert "oi um" in talk(chat, "um", "--read")

    chat.delete()
    for kind in ("pods", "services", "statefulsets", "deployments", "configmaps", "secrets", "poddisruptionbudgets", "serviceaccounts"):
        wait_until(f"no {kind} are left", lambda kind=kind: not chat.objects(kind), 90)
    volumes = chat.get("persistentvolumeclaims")["items"]
    assert len(volumes) == 4, [volume["metadata"]["name"] for volume in volumes]

    # The same name again finds its data again.
    chat.apply()
    chat.wait_ready()
    assert "oi um" in talk(chat, "um", "--read")


def test_a01_a06_a07_a08_each_server_and_every_name_of_the_seeds_is_a_service(chat):
    chat.apply()
    chat.wait_ready()
    ports = lambda name: {port["port"] for port in chat.get("service", name)["spec"]["ports"]}
    assert {5555, 5556, 5557, 5558} <= ports("papo-broker")
    assert {5556, 5557, 5558, 5560} <= ports("papo-proxy")
    for name in ("papo-ref", "papo-reference", "papo-referencia", "ref", "reference", "referencia"):
        assert ports(name) == {5559, 6000}, name
    for number in (1, 2, 3):
        assert 5555 in ports(f"papo-server-{number}")
        assert 5555 in ports(f"server-{number}")
    assert {5555, 5556, 5557, 5558} <= ports("broker")
    # The broker's name answers the proxy's ports too (row A01).
    address = chat.service("broker")
    assert chat.kube.run(sys.executable, TALK, address, address, "dois").stdout.strip() == "heard"


def test_two_clusters_in_one_namespace_and_one_in_another_all_work(operator, namespace, other_namespace):
    first, second = ChatCluster(operator, "papo", namespace), ChatCluster(operator, "outro", namespace)
    first.apply()
    first.wait_ready()
    second.apply(replicas=1)
    second.wait_ready()
    broker = operator.get("-n", namespace, "service", "broker")
    assert broker["metadata"]["labels"]["app.kubernetes.io/instance"] == "papo", "the first keeps the plain name"
    taken = second.condition("AliasTaken")
    assert taken["status"] == "True" and "broker" in taken["message"], taken
    assert first.condition("AliasTaken").get("status") != "True"
    heard = operator.run(sys.executable, TALK, second.service("outro-broker"), second.service("outro-proxy"), "tres").stdout
    assert heard.strip() == "heard"
    assert talk(first, "quatro").strip() == "heard"
    elsewhere = ChatCluster(operator, "papo", other_namespace)
    elsewhere.apply(replicas=1)
    elsewhere.wait_ready()
    assert elsewhere.condition("AliasTaken").get("status") != "True", "names are a namespace's own"
    assert talk(elsewhere, "cinco").strip() == "heard"
    for said, chat in (("quatro", first), ("cinco", elsewhere)):
        heard = talk(chat, said, "--read")
        assert f"oi {said}" in heard and heard.count("oi ") == heard.count(f"oi {said}"), "each hears its own only"


def test_helm_uninstall_is_clean_and_keeps_the_definition(operator):
    operator.run("helm", "uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s")
    left = operator.get("-n", OPERATOR_NAMESPACE, "deployments,serviceaccounts,services,configmaps", "-l", f"app.kubernetes.io/instance={RELEASE}")["items"]
    assert not left, [item["metadata"]["name"] for item in left]
    for kind in ("clusterroles", "clusterrolebindings"):
        left = operator.get(kind, "-l", f"app.kubernetes.io/instance={RELEASE}")["items"]
        assert not left, [item["metadata"]["name"] for item in left]
    assert operator.find("crd", "chatclusters.papo.dev"), "the definition is kept, and the ChatClusters with it"
    operator.run("helm", "upgrade", "--install", RELEASE, "charts/papo", "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s")


def test_an_upgrade_from_the_first_chart_takes_over_what_is_there(operator, chat, tmp_path):
    """What the first chart rendered, installed as a chart of its own; a ChatCluster under its definition; then today's chart."""
    templates = tmp_path / "first/templates"
    templates.mkdir(parents=True)
    (tmp_path / "first/Chart.yaml").write_text("apiVersion: v2\nname: papo\nversion: 0.0.1\n")
    objects = (ROOT / "operator/tests/upgrade/first_install.yaml").read_text().split("\n---\n")
    (templates / "all.yaml").write_text("\n---\n".join(text for text in objects if "\nkind: Namespace\n" not in text))
    operator.run("helm", "uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s")
    operator.kubectl("delete", "crd", "chatclusters.papo.dev", "--wait=true")
    operator.run("helm", "install", RELEASE, tmp_path / "first", "--namespace", OPERATOR_NAMESPACE)
    wait_until("the first definition is in force", lambda: operator.run("kubectl", "get", "chatclusters", "-A", check=False).returncode == 0, 30)
    chat.apply(replicas=1, broker={"replicas": 1}, proxy={"replicas": 1}, storage={"size": "1Gi"}, durability="all")
    before = chat.get("chatcluster", "papo")
    assert "expose" not in before["spec"], "the first definition knows less"
    operator.run("helm", "upgrade", RELEASE, ROOT / "charts/papo", "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s")
    chat.wait_ready()
    after = chat.get("chatcluster", "papo")
    assert after["metadata"]["uid"] == before["metadata"]["uid"] and after["spec"]["durability"] == "all"
    assert chat.condition("Valid")["reason"] == "Checked"
    assert talk(chat, "seis").strip() == "heard"
