"""The table itself: what it takes for a row's test, and what fails it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from outcomes import FAILED, PASSED, SKIPPED, read_outcomes
from rows import ids_in, read_rows

TABLE = Path(__file__).with_name("table")
PYTEST = "tests/interop/python/test_x.py::{} {} [ 50%]\n"


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("test_a05_every_server_answers", {"A05"}),
        ("test_e05_l03_the_clock_is_in_the_logs", {"E05", "L03"}),
        ("reply::tests::c01_to_c03_each_reply_and_h15_too", {"C01", "C02", "C03", "H15"}),
        ("test_elections[g03_g06_server_3_is_killed]", {"G03", "G06"}),
        ("a13 l01: a client", {"A13", "L01"}),
        ("test_k_m7_and_no_more", {"K", "M7"}),
        ("test_base64_of_2b01_is_read", set()),
    ],
)
def test_a_name_says_which_rows_it_covers(name, ids):
    assert ids_in(name) == ids


def test_the_outcome_of_each_runner_is_read_and_the_worst_counts(tmp_path):
    (tmp_path / "python.log").write_text(
        PYTEST.format("test_a01_x[a b]", "PASSED") + PYTEST.format("test_a02_x", "PASSED") + PYTEST.format("test_a02_x", "ERROR")
        + PYTEST.format("test_a03_x", "SKIPPED (no Java here)")
    )
    (tmp_path / "rust.log").write_text(
        "     Running unittests src/lib.rs (/t/debug/deps/papo_zmtp-0a1b)\n\ntest tests::a04_x ... ok\ntest tests::a05_x ... FAILED\n"
    )
    (tmp_path / "node.log").write_text("ok 1 - a06: x\nnot ok 2 - a07: x\nok 3 - a08: x # SKIP\n")
    outcomes = {(test.where, test.name): outcome for test, outcome in read_outcomes(tmp_path).items()}
    assert outcomes == {
        ("tests/interop/python/test_x.py", "test_a01_x[a b]"): PASSED,
        ("tests/interop/python/test_x.py", "test_a02_x"): FAILED,
        ("tests/interop/python/test_x.py", "test_a03_x"): SKIPPED,
        ("papo_zmtp", "tests::a04_x"): PASSED,
        ("papo_zmtp", "tests::a05_x"): FAILED,
        ("node", "a06: x"): PASSED,
        ("node", "a07: x"): FAILED,
        ("node", "a08: x"): SKIPPED,
    }


def table(folder: Path, *lines: str) -> subprocess.CompletedProcess:
    (folder / "all.log").write_text("".join(lines))
    return subprocess.run([sys.executable, TABLE, folder], capture_output=True, text=True)


def whole() -> dict[str, str]:
    """A line for each row, by which all of it passes."""
    return {row.id: PYTEST.format("_".join(["test", row.id.lower(), *row.words]), "PASSED") for row in read_rows().values()}


def test_a_run_passes_when_every_row_has_a_passing_test_with_its_words(tmp_path):
    done = table(tmp_path, *whole().values())
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == f"{len(read_rows())} rows: {len(read_rows())} passed, 0 failed, 0 not run"


@pytest.mark.parametrize(
    ("row", "line", "says"),
    [
        ("B05", "", "no test bears this ID"),
        ("B05", PYTEST.format("test_b05_login", "FAILED"), "test_b05_login"),
        ("C02", PYTEST.format("test_c02_unique", "PASSED"), "no passing test of this row has `idempotent` in its name"),
        ("B05", PYTEST.format("test_b05_b07_login", "PASSED"), "is no row of rows.md"),
    ],
)
def test_a_run_fails_for(tmp_path, row, line, says):
    done = table(tmp_path, *(whole() | {row: line}).values())
    assert done.returncode == 1 and says in done.stdout, done.stdout


def test_what_a_machine_cannot_run_is_told_and_fails_nothing(tmp_path):
    lines = whole() | {"A13": PYTEST.format("test_a13_x", "SKIPPED (no Java here)")}
    done = table(tmp_path, *lines.values())
    assert done.returncode == 0 and "1 not run" in done.stdout and "On a real Kubernetes, not run here: A01" in done.stdout


def test_each_break_has_its_place():
    """All that is made sure of here: `mutants` itself takes half an hour."""
    mutants = runpy.run_path(str(TABLE.with_name("mutants")))
    mutants["broken_tree"](mutants["read_mutants"]())
