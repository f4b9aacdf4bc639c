"""`papo chat` as a script: two people, each a process of their own, on the `zeromq` crate."""

import subprocess

import pytest

from conftest import PAPO

pytestmark = pytest.mark.usefixtures("cluster")


def chat(user: str, *lines: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [PAPO, "chat", "--user", user], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    process.stdin.write("".join(line + "\n" for line in lines))
    process.stdin.close()
    return process


def end(process: subprocess.Popen) -> tuple[int, str]:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait(), process.stdout.read()


def test_two_people_exchange_a_post_and_a_direct_message():
    ana = chat("ana", "/join roda", "bom dia", "/expect 30 trago café", "/msg bento obrigada")
    bento = chat("bento", "/join roda", "/expect 30 bom dia", "/msg ana trago café", "/expect 30 obrigada")
    (of_ana, ana_said), (of_bento, bento_said) = end(ana), end(bento)
    assert (of_ana, of_bento) == (0, 0), f"{ana_said}\n---\n{bento_said}"
    assert "trago café" in ana_said and "bom dia" in bento_said and "obrigada" in bento_said


def test_a_line_that_is_no_utf_8_ends_nothing():
    done = subprocess.run([PAPO, "chat", "--user", "latina"], input=b"caf\xe9\n/expect 20 caf\nfim\n/expect 20 latina: fim\n", capture_output=True, timeout=60)
    assert done.returncode == 0 and "latina: caf\ufffd\n" in done.stdout.decode() and "latina: fim\n" in done.stdout.decode(), done


def test_what_does_not_come_ends_the_script_with_a_status():
    status, said = end(chat("sozinha", "/join deserto", "/expect 0.5 alguém"))
    assert status == 1, said
    assert "alguém" in said
