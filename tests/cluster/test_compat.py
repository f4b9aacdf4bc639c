"""docs/compat.md, its section on Kubernetes: each command in order, in a namespace of its own (rows A15, J04, L05)."""

import shlex

from conversation import ROOT
from typed import commands


def test_j04_a15_l05_every_command_for_kubernetes_does_what_the_page_says(operator, namespace):
    script = f"cd {shlex.quote(str(ROOT))}\nkubectl() {{ command kubectl --namespace {namespace} \"$@\"; }}\n{commands('On Kubernetes')}"
    done = operator.run("bash", "-euxo", "pipefail", "-c", script, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✅ Login realizado: alice" in done.stdout and "✅ Mensagem publicada no canal aula" in done.stdout
    assert done.stdout.count("teste_replicacao\n") >= 3, "on the disk of each server"
