"""The rows of rows.md, and how a test names the rows that it covers."""

import re
from pathlib import Path
from typing import NamedTuple

ROWS = Path(__file__).with_name("rows.md")
# An ID in a test's name stands between characters that are neither letters nor digits, and may be the first of a range.
ID = r"(?:[a-l]\d\d|m[1-9]|k)"
IN_A_NAME = re.compile(rf"(?<![a-z0-9])({ID})(?:_to_({ID}))?(?![a-z0-9])")


class Row(NamedTuple):
    id: str
    requirement: str
    ruling: str
    # Each is in the name of a passing test: both sides of a setting are tested.
    words: tuple[str, ...]


def read_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for line in ROWS.read_text().splitlines():
        if not re.match(rf"\| {ID} ", line, re.I):
            continue
        identity, requirement, ruling, words = (cell.strip() for cell in line.strip().removesuffix("|").split("|")[1:])
        assert identity not in rows, f"{ROWS.name} has {identity} twice"
        rows[identity] = Row(identity, requirement, ruling, tuple(words.split()))
    return rows


def ids_in(name: str) -> set[str]:
    """`test_a05_b01_c01_to_c03_...` covers A05, B01, C01, C02 and C03."""
    found = set()
    for first, last in IN_A_NAME.findall(name.lower()):
        numbers = range(int(first[1:]), int(last[1:]) + 1) if last else [None]
        found |= {first.upper() if number is None else f"{first[0].upper()}{number:02}" for number in numbers}
    return found
