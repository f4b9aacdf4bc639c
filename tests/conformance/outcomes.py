"""What the suites' logs say about each test: of pytest with -v, of cargo test, and of node in TAP."""

import re
from pathlib import Path
from typing import NamedTuple

CLUSTER = Path(__file__).resolve().parents[1] / "cluster"
PYTEST = re.compile(r"^(\S+\.py)::(.+?) (PASSED|FAILED|ERROR|SKIPPED)(?: \((.*?)\.*\)?)?(?: +\[ *\d+%\])?$", re.M)
CARGO = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)\b", re.M)
CRATE = re.compile(r"^ +Running .*?/deps/(\w+)-[0-9a-f]+\)$", re.M)
TAP = re.compile(r"^(ok|not ok) \d+ - (.+?)( # SKIP.*)?$", re.M)
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
IN_WORDS = {"PASSED": PASSED, "FAILED": FAILED, "ERROR": FAILED, "SKIPPED": SKIPPED, "ok": PASSED, "ignored": SKIPPED, "not ok": FAILED}
# The worst counts: a test that passed may fail in the clearing up.
WORST_LAST = (PASSED, SKIPPED, FAILED)


class Test(NamedTuple):
    # A file of pytest's, a crate, or a log.
    where: str
    name: str

    @property
    def function(self) -> str:
        """Without the parameters."""
        return self.name.split("[")[0]


def read_outcomes(logs: Path) -> dict[Test, str]:
    outcomes: dict[Test, str] = {}

    def note(where: str, name: str, word: str) -> None:
        test, outcome = Test(where, name), IN_WORDS[word]
        outcomes[test] = max(outcome, outcomes.get(test, PASSED), key=WORST_LAST.index)

    for log in sorted(logs.glob("*.log")):
        text = log.read_text(errors="replace")
        for file, name, word, _ in PYTEST.findall(text):
            note(file, name, word)
        for word, name, skipped in TAP.findall(text):
            note(log.stem, name, "SKIPPED" if skipped else word)
        crates = CRATE.split(text)
        for crate, section in zip(crates[1::2], crates[2::2]):
            for name, word in CARGO.findall(section):
                note(crate, name, word)
    return outcomes


def tests_on_kubernetes() -> list[Test]:
    """Known by their source, since not every machine can run them."""
    return [
        Test(f"tests/cluster/{file.name}", name)
        for file in sorted(CLUSTER.glob("test_*.py"))
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    ]
