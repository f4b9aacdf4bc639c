"""The breaks of mutants.toml fit the sources: who moves a rule moves its break, too. That each is noticed is for `mutants` itself."""

import tomllib
from pathlib import Path

from rows import read_rows

HERE = Path(__file__).resolve().parent


def test_each_break_finds_its_text_once_and_is_of_a_row():
    rows, misfits = read_rows(), []
    for mutant in tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]:
        count = (HERE.parents[1] / mutant["file"]).read_text().count(mutant["text"])
        if count != 1 or "BROKEN" not in mutant["replacement"] or mutant["row"] not in rows:
            misfits.append(f"{mutant['row']}, {mutant['so']}: {mutant['file']} holds the text {count} times")
    assert not misfits
