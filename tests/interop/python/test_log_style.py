"""`--log-style seeds`: what the texts of the exercise grep for is in the logs (rows E05, E09, F07, G07, H15, J02, K, L09), and without it is not."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from clients import Client, rep_of
from conftest import PAPO, SERVERS, Cluster, wait_until

MANIFEST = """\
apiVersion: papo.dev/v1alpha1
kind: ChatCluster
metadata: {name: seeds}
spec: {replicas: 3, bots: {replicas: 1, channels: [general], pauseSeconds: {min: 1, max: 1}}, ref: {heartbeatSeconds: 1}}
"""


class Seeds(Cluster):
    def start(self) -> None:
        manifest = self.folder / "cluster.yaml"
        manifest.write_text(MANIFEST)
        super().start(manifest, "--log-style", "seeds")

    def log(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text()

    def says(self, name: str, line: str) -> re.Match:
        """Once it does; `line` is a pattern."""
        return wait_until(f"{name} logs `{line}`", lambda: re.search(line, self.log(name)), 60)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    cluster = Seeds(tmp_path_factory.mktemp("seeds"))
    cluster.start()
    yield cluster
    cluster.stop()


def lines_of(log: Path) -> list[str]:
    """The messages of a log; each of its lines is JSON."""
    lines = (line for line in log.read_text().splitlines() if line.startswith("{"))
    return [json.loads(line)["message"] for line in lines]


@pytest.fixture
def alone(tmp_path):
    """Starts a role by itself, on the addresses of the texts unless it is told otherwise; its log, once it says this line."""
    started = []

    def start(line: str, role: str, *options) -> Path:
        number = len(started)
        log = tmp_path / f"{role}-{number}.log"
        at = ["--http", f"127.0.0.1:{8090 + number}", "--log-style", "seeds", "--exit-on-stdin-close"]
        with log.open("wb") as stderr:
            started.append(subprocess.Popen([PAPO, role, *options, *at], stdin=subprocess.PIPE, stdout=stderr, stderr=stderr))
        wait_until(f"{role} says `{line}`", lambda: line in lines_of(log))
        return log

    yield start
    for process in reversed(started):
        process.communicate(timeout=20)


def test_k_the_broker_says_on_which_ports_its_router_and_dealer_are(alone):
    alone("[broker] ROUTER on tcp://*:5555 | DEALER on tcp://*:5556", "broker")


def test_k_the_proxy_says_on_which_ports_its_xsub_and_xpub_are(alone):
    """S1's own container had no 5560 beside 5558; other texts do."""
    alone("[proxy-go] XSUB on tcp://*:5557 | XPUB on tcp://*:5558", "proxy", "--listen", "*:5558")


def test_k_f07_ref_says_on_which_port_it_is(alone, tmp_path):
    alone("[ref] servidor de referência iniciado em tcp://*:6000", "ref", "--data", tmp_path / "ref-data")


def test_k_a_server_says_its_rank_and_the_first_coordinator(alone, tmp_path):
    """By the names that S1 gives its servers."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("clusterId: a/b\nmembers: [server-001]\nspec: {replicas: 1}\n")
    token = tmp_path / "token"
    token.write_text("a secret that this cluster alone knows")
    common = ["--settings", settings, "--token-file", token]
    alone("[ref] servidor de referência iniciado em tcp://*:6000", "ref", *common, "--data", tmp_path / "ref-data")
    server = ["--name", "server-001", "--data", tmp_path / "data", "--ref", "127.0.0.1:6000"]
    log = alone("[server-001] rank obtido: 1", "server", *common, *server)
    wait_until("it coordinates", lambda: "[server-001] coordenador inicial: server-001" in lines_of(log))
    # It takes no time from ref, and so does not say that it did (S1:158).
    assert "sincronizou clock com ref" not in log.read_text()


def test_k_f07_starts_of_a_whole_cluster_are_told(seeds):
    address = r"tcp://127\.0\.0\.1"
    seeds.says("broker-1", rf"\[broker\] ROUTER on {address}:5555 \| DEALER on {address}:5556")
    seeds.says("proxy-1", rf"\[proxy-go\] XSUB on {address}:5557 \| XPUB on {address}:5558")
    seeds.says("ref", rf"\[ref\] servidor de referência iniciado em {address}:6000")
    for number in SERVERS:
        seeds.says(f"server-{number}", rf"\[server-{number}\] rank obtido: {number}")
        seeds.says(f"server-{number}", rf"\[server-{number}\] coordenador inicial: server-")


def test_l09_every_server_beats_regularly(seeds):
    """No text quotes a line for it; ref tells when it heard each last."""
    asker = Client("tcp://127.0.0.1:6000")
    beats = lambda: {name: server["last_beat"] for name, server in asker.ask("list")["servers"].items()}
    before = wait_until("ref has heard all of them", lambda: found if len(found := beats()) == len(SERVERS) else None)
    for _ in range(2):
        wait_until("each has beaten again", lambda: all(last > before[name] for name, last in beats().items()))
        before = beats()


def test_h15_e05_l05_a_login_and_its_replication_are_told(seeds):
    client = Client(rep_of(1))
    client.must("login", user="teste_replicacao")
    client.must("login", user="teste_replicacao")
    seeds.says("server-1", r"✅ Novo usuário cadastrado: teste_replicacao \(clock: \d+\)")
    seeds.says("server-1", r"🔄 Replicando login para 2 servidores\.\.\.")
    for number in (2, 3):
        seeds.says("server-1", rf"   ✅ Replicado para server-{number}")
        seeds.says(f"server-{number}", r"🔄 Login replicado: teste_replicacao")
    assert len(re.findall("Novo usuário cadastrado: teste_replicacao", seeds.log("server-1"))) == 1


def test_e09_l03_ten_operations_make_a_berkeley_round(seeds):
    client = Client()
    client.must("login", user="berkeley")
    client.must("channel", channel="clocks")
    for number in range(10):
        client.must("publish", user="berkeley", channel="clocks", message=str(number))

    def coordinator():
        return next((f"server-{number}" for number in SERVERS if "concluída" in seeds.log(f"server-{number}") and "Berkeley" in seeds.log(f"server-{number}")), None)

    leader = wait_until("somebody holds a round", coordinator, 60)
    for line in (
        "🎯 Iniciando sincronização Berkeley como COORDENADOR",
        r"📊 Coletando timestamps de 3 servidores\.\.\.",
        r"   📥 server-\d: \d+",
        r"📊 Tempo médio calculado: \d+",
        r"   📤 Enviado ajuste de [+-][\d.]+s para server-\d",
        "✅ Sincronização Berkeley concluída",
    ):
        seeds.says(leader, line)


def test_j02_a_bot_is_told(seeds):
    seeds.says("bot-1", r"\[BOT\] user\d+ iniciado e enviando mensagens automáticas\.\.\.")
    # It hears itself once it writes to one of the channels that it follows, three of five.
    seeds.says("bot-1", r"\[(user\d+)\] <- \(#[a-z]+\d*\) auto-msg \d+ de \1")


def test_g07_l04_an_election_and_h15_a_synchronisation_are_told(seeds):
    """Last, since it stops a server for a while."""

    def coordinator():
        """Whom all name: not always the first, for a better server that comes later is given the office."""
        named = {json.loads(seeds.get(f"server-{number}", "/status")[1] or "{}").get("coordinator") for number in SERVERS}
        return named.pop() if len(named) == 1 else None

    leader = wait_until("all name one coordinator", coordinator)
    witness, heir = (f"server-{number}" for number in SERVERS if f"server-{number}" != leader)
    first = seeds.server(int(leader[-1]))
    os.kill(first, signal.SIGSTOP)
    try:
        seeds.says(heir, rf"⚠️ Coordenador {leader} não respondeu - iniciando eleição")
        seeds.says(heir, r"🗳️ Iniciando eleição Bully\.\.\.")
        seeds.says(heir, r"👑 Ninguém respondeu\. Me tornando coordenador!")
        seeds.says(heir, rf"\[{heir}\] novo coordenador eleito: {heir}")
        seeds.says(heir, r"📢 Anúncio de coordenador publicado no tópico 'servers'")
        seeds.says(witness, rf"\[{witness}\] recebeu aviso de novo coordenador: {heir}")
    finally:
        os.kill(first, signal.SIGKILL)
    seeds.says(leader, r"🔄 Solicitando sincronização completa de server-\d\.\.\.")
    seeds.says(leader, r"✅ Sincronização recebida: \d+ logins, \d+ canais, \d+ msgs canal, \d+ msgs diretas")
    seeds.says(leader, "🔄 Merge de dados locais com dados sincronizados")
    seeds.says(leader, "✅ Sincronização completa concluída")


def test_k_a_flag_wins_over_the_settings_and_plain_is_papos_own(tmp_path):
    for number, (style, flag, expected) in enumerate([("seeds", [], True), ("seeds", ["--log-style", "plain"], False), ("plain", ["--log-style", "seeds"], True)]):
        settings = tmp_path / f"settings-{number}.yaml"
        settings.write_text(f"clusterId: a/b\nmembers: [server-1]\nspec: {{replicas: 1, logging: {{style: {style}}}}}\n")
        at = ["--settings", settings, "--data", tmp_path / f"ref-{number}", "--listen", "127.0.0.1:6059", "--http", "127.0.0.1:8059"]
        log = tmp_path / f"log-{number}"
        with log.open("wb") as stderr:
            ref = subprocess.Popen([PAPO, "ref", *at, *flag, "--exit-on-stdin-close"], stdin=subprocess.PIPE, stderr=stderr)
        wait_until("ref has started", lambda: "reference service started" in log.read_text())
        ref.communicate(timeout=20)
        assert ("servidor de referência" in log.read_text()) == expected, log.read_text()


def test_k_each_word_that_the_texts_grep_for_is_in_a_log(seeds):
    """S3:640-669, 717-718. After the others, who have had everything happen."""
    logs = "".join(seeds.log(f"server-{number}") for number in SERVERS)
    for word in ("clock:", "Berkeley", "eleição", "Replicando", "replicado", "Coordenador"):
        assert word in logs, word
