"""`papo chat --menu`: the numbered menu of the exercise's interactive clients, and `papo chat LINE...`, which is one command (rows J03, J04, C13).

The program is driven as a person would: it is given an answer when it has asked.
"""

import codecs
import os
import pty
import subprocess
import threading
import time

import pytest

from clients import BROKER, Client, rep_of
from conftest import PAPO, wait_until

pytestmark = pytest.mark.usefixtures("cluster")

PATIENCE_SECONDS = 30
CHOOSE = "Escolha uma opção: "


class Menu:
    """One person at a menu."""

    def __init__(self, *options: str, on_terminal: bool = False):
        self.said, self.read, self.news = "", 0, threading.Condition()
        command = [PAPO, "chat", "--menu", *options]
        if on_terminal:
            self.enter = "\r"
            keyboard, terminal = pty.openpty()
            self.process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
            os.close(terminal)
            self.input = self.output = open(keyboard, "rb+", buffering=0)
        else:
            self.enter = "\n"
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
            self.input, self.output = self.process.stdin, self.process.stdout
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self) -> None:
        letters = codecs.getincrementaldecoder("utf-8")()
        try:
            while piece := self.output.read(65536):
                with self.news:
                    self.said += letters.decode(piece)
                    self.news.notify_all()
        except OSError:
            pass  # A terminal that nobody writes to any more.

    def sees(self, *texts: str) -> None:
        """Each comes, one after the other."""
        for text in texts:
            deadline = time.monotonic() + PATIENCE_SECONDS
            with self.news:
                while (at := self.said.find(text, self.read)) < 0:
                    assert self.news.wait(max(0, deadline - time.monotonic())), f"no `{text}` in:\n{self.said[self.read:]}"
                self.read = at + len(text)

    def chooses(self, number: int, *answers: tuple[str, str]) -> None:
        """`answers` are what it is asked, and what it is told."""
        self.sees(CHOOSE)
        self.types(str(number))
        for question, answer in answers:
            self.sees(question)
            self.types(answer)

    def types(self, line: str) -> None:
        self.input.write(f"{line}{self.enter}".encode())

    def logs_in(self, name: str) -> None:
        self.chooses(1, ("Nome de usuário: ", name))
        self.sees(f"✅ Login realizado: {name}")

    def leaves(self) -> int:
        self.chooses(0)
        return self.ends()

    def ends(self) -> int:
        if self.process.stdin:
            self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.listener.join(PATIENCE_SECONDS)


def until_posted(channel: str, text: str) -> None:
    """Until the server that happens to be asked shows it too."""
    posts = lambda: [post["message"] for post in Client().ask("history", channel=channel).get("messages", [])]
    wait_until(f"{channel} holds `{text}` alone", lambda: posts() == [text])


def test_j03_the_menu_has_the_numbers_and_words_of_the_exercise():
    menu = Menu()
    menu.sees("MENU", "1. Login", "2. Listar usuários", "3. Criar canal", "4. Listar canais", "5. Inscrever em canal")
    menu.sees("6. Publicar mensagem", "7. Enviar mensagem direta", "0. Sair")
    assert menu.leaves() == 0


def test_j03_l01_login_create_a_channel_list_channels_and_users():
    menu = Menu()
    menu.logs_in("menu-alice")
    menu.chooses(3, ("Canal: ", "menu-geral"))
    menu.sees("✅ Canal criado: menu-geral")
    menu.chooses(4)
    menu.sees("Canais disponíveis", "- menu-geral")
    menu.chooses(2)
    menu.sees("Usuários cadastrados", "- menu-alice (você)")
    assert menu.leaves() == 0, menu.said
    wait_until("every server shows the channel", lambda: "menu-geral" in Client().ask("channels")["channels"])


def test_j03_l02_two_people_subscribe_publish_and_answer_with_a_direct_message():
    alice, bob = Menu(), Menu()
    alice.logs_in("menu-ana")
    bob.logs_in("menu-bento")
    alice.chooses(3, ("Canal: ", "menu-roda"))
    for person in (alice, bob):
        person.chooses(5, ("Canal: ", "menu-roda"))
        person.sees("✅ Inscrito no canal menu-roda", "Canais inscritos: menu-roda")
    alice.chooses(6, ("Canal: ", "menu-roda"), ("Mensagem: ", "bom dia"))
    alice.sees("✅ Mensagem publicada no canal menu-roda")
    # It comes while the menu waits for a number, and the question stands again after it.
    bob.sees("📺 [#menu-roda] menu-ana: bom dia", CHOOSE)
    bob.types("7")
    bob.sees("Destinatário: ")
    bob.types("menu-ana")
    bob.sees("Mensagem: ")
    bob.types("bom dia, Ana!")
    bob.sees("✅ Mensagem enviada para menu-ana")
    alice.sees("💬 [DM de menu-bento]: bom dia, Ana!")
    assert (alice.leaves(), bob.leaves()) == (0, 0)
    assert alice.said.count("bom dia, Ana!") == 1 and bob.said.count("] menu-ana: bom dia") == 1


def test_c13_subscribing_verifies_that_the_channel_exists():
    menu = Menu("--user", "menu-carla")
    menu.sees("✅ Login realizado: menu-carla", "Canais inscritos: nenhum")
    menu.chooses(5, ("Canal: ", "menu-nenhures"))
    menu.sees("❌ O canal menu-nenhures não existe", "Canais inscritos: nenhum")
    menu.chooses(4)
    assert menu.leaves() == 1, "a choice that failed is told by the exit status, too"
    assert "- menu-nenhures" not in menu.said, "nothing was created"


def test_j03_what_cannot_be_done_is_said_and_the_menu_goes_on():
    menu = Menu()
    for number in (2, 3, 4, 5, 6, 7):
        menu.chooses(number)
        menu.sees("❌ Faça login primeiro (opção 1)")
    menu.chooses(9)
    menu.sees("❌ Opção inválida: 9")
    menu.chooses(1, ("Nome de usuário: ", ""))
    menu.sees("❌ Nada foi escrito")
    menu.chooses(1, ("Nome de usuário: ", "servers"))
    menu.sees("❌ Erro no login: ")
    menu.logs_in("menu-davi")
    menu.chooses(1)
    menu.sees("❌ Já fez login como menu-davi")
    menu.chooses(6, ("Canal: ", "menu-nenhures"), ("Mensagem: ", "alguém?"))
    menu.sees("❌ Erro ao publicar: ")
    menu.chooses(7, ("Destinatário: ", "menu-ninguem"), ("Mensagem: ", "alguém?"))
    menu.sees("❌ Erro ao enviar: ")
    assert menu.leaves() == 1


def test_j03_on_a_terminal_a_message_comes_above_the_line_that_is_typed():
    menu = Menu("--user", "menu-iris", on_terminal=True)
    menu.sees("✅ Login realizado: menu-iris", "Canais inscritos: nenhum", CHOOSE)
    other = Client()
    other.must("login", user="menu-joel")
    # Nobody knows when its subscription has come into force.
    def heard() -> bool:
        other.must("message", src="menu-joel", dst="menu-iris", message="viste?")
        return "💬 [DM de menu-joel]: viste?" in menu.said

    wait_until("it is told", heard)
    menu.sees("💬 [DM de menu-joel]: viste?", CHOOSE)
    menu.types("0")
    assert menu.ends() == 0


def test_j03_a_script_that_ends_without_leaving_ends_the_menu():
    script = "1\nmenu-eva\n3\nmenu-lista\n5\nmenu-lista\n6\nmenu-lista\noi\n"
    done = subprocess.run([PAPO, "chat", "--menu"], input=script, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout
    assert "Mensagem: oi\n" in done.stdout, "what was answered stands behind its question"
    until_posted("menu-lista", "oi")


def one_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PAPO, "chat", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=os.environ | environment
    )


def test_j04_one_command_does_one_thing_and_tells_by_its_status():
    done = one_command("--user", "linha", "/create linha-canal", "/join linha-canal", "oi da linha", "/users")
    assert done.returncode == 0, done.stdout
    assert "* created #linha-canal" in done.stdout and "linha" in done.stdout
    until_posted("linha-canal", "oi da linha")
    assert one_command("--user", "linha", "/msg ninguem-mesmo oi").returncode == 1
    menu = one_command("--menu", "1", "linha", "5", "linha-canal", "0")
    assert menu.returncode == 0 and "✅ Inscrito no canal linha-canal" in menu.stdout


def test_a16_l05_server_url_names_the_server_that_is_asked():
    done = one_command("--menu", "1", "menu-direta", "0", SERVER_URL=rep_of(2))
    assert done.returncode == 0, done.stdout
    nobody = one_command("--user", "menu-direta", "/who", SERVER_URL=rep_of(2))
    assert "asking the server at 127.0.0.1:5602" in nobody.stdout
    named = one_command("--user", "menu-direta", "/who", BROKER_URL=BROKER, PROXY_XPUB="tcp://127.0.0.1:5560")
    assert named.returncode == 0 and "asking the broker at 127.0.0.1:5555" in named.stdout
