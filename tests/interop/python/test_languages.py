"""A whole cluster and a small program in each language: the same conversation, with messages up to the limits and beyond.

The programs, and what they are to say, are in ../conversation.py.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import conftest
from clients import BROKER, PROXY
from conversation import PROGRAMS, expected

# With two logins, a channel and a note these are more than the ten operations after which the servers agree on the time (row L03).
SIZES = (12, 5_000_000, 7_000_000, 12, 12, 12, 12, 12, 12)
REQUEST_BYTES = 6_000_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that takes requests of 6 MB, and whose servers look at the time after ten operations alone."""
    folder = tmp_path_factory.mktemp("roomy")
    manifest = folder / "manifest.yaml"
    limits = f"limits: {{requestBytes: {REQUEST_BYTES}, queueBytes: 67108864}}"
    manifest.write_text(conftest.MANIFEST.read_text().rstrip() + f"\nspec: {{clockSync: {{everySeconds: 3600}}, {limits}}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "MANIFEST", manifest)
        yield from conftest.start_cluster(folder)


def rounds(cluster) -> float:
    """How often the servers agreed on the time, whoever coordinated it."""
    metrics = [cluster.get(f"server-{number}", "/metrics")[1] for number in conftest.SERVERS]
    return sum(float(line.split()[-1]) for text in metrics for line in text.splitlines() if line.startswith("papo_server_clock_rounds_total"))


def converse(language: str, names: list[str], sizes: tuple[int, ...]) -> list[str]:
    command = [*PROGRAMS[language](), BROKER, PROXY, *map(str, sizes)]
    done = subprocess.run(command, input="".join(f"{name}\n" for name in names), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("language", PROGRAMS)
def test_a13_l01_l02_l03_a_program_in_each_language_chats_in_5_MB_and_is_told_what_is_too_large(language, cluster):
    before = rounds(cluster)
    assert converse(language, [language], SIZES) == expected(language, SIZES, largest=REQUEST_BYTES)
    conftest.wait_until("ten operations have made a round of the clocks", lambda: rounds(cluster) > before)


def test_l02_all_languages_chat_at_once_under_one_name_after_the_other_and_hear_only_what_is_theirs(cluster):
    """Whoever heard what is another's would say so in the wrong place."""
    names = {language: [f"{language}-{number}" for number in range(10)] for language in PROGRAMS}
    with ThreadPoolExecutor() as pool:
        said = {language: pool.submit(converse, language, names[language], (12,)) for language in PROGRAMS}
    for language, outcome in said.items():
        assert outcome.result() == [line for name in names[language] for line in expected(name, (12,))]
