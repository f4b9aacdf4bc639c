"""Reads dialects.toml: bytes as docs/wire.md writes them, and patterns of bytes.

A pattern matches a whole message. What it names in `<>` is found once and must be the same bytes wherever the name stands again.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLES = tomllib.loads(Path(__file__).with_name("dialects.toml").read_text())

# How MessagePack writes a whole number, in the fewest bytes.
UINT = rb"(?:[\x00-\x7f]|\xcc.|\xcd..|\xce.{4}|\xcf.{8})"
# What may stand for a name in `<>`. Digits at a name's end are part of the name only.
IN_MESSAGE_PACK = {
    "seconds": rb".{4}",
    "fraction": rb".{8}",
    "millis": rb".{8}",
    "iso": rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}",
    "zulu": rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "clock": UINT,
    "lamport": UINT,
    "epoch": UINT,
    "seq": UINT,
    "id": rb".{16}",
    "hex": rb"[0-9a-f]{32}",
    "boot": rb"[0-9a-f]{16}",
    "list": rb"[\x90-\x9f\xdc\xdd].*?",
    "cursor": rb"\xc4..*?",
}
IN_JSON = {
    "seconds": rb"\d{10}",
    "fraction": rb"\d{10}(?:\.\d+)?",
    "millis": rb"\d{13}",
    "iso": IN_MESSAGE_PACK["iso"],
    "zulu": IN_MESSAGE_PACK["zulu"],
    "clock": rb"\d+",
    "lamport": rb"\d+",
    "epoch": rb"\d+",
    "seq": rb"\d+",
    "id": rb"[A-Za-z0-9_-]{22}",
    "hex": IN_MESSAGE_PACK["hex"],
    "boot": IN_MESSAGE_PACK["boot"],
    "list": rb"\[.*?\]",
    "cursor": rb"[A-Za-z0-9_-]+",
}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    json: bool
    fields: dict

    def __str__(self) -> str:
        return self.name

    def bytes(self, field: str) -> bytes:
        """What is sent."""
        text = expand(self.fields[field])
        return text.encode() if self.json else b"".join(literal(token) for token in tokens(text))

    def pattern(self, field: str, json: bool | None = None) -> re.Pattern:
        """What must come."""
        json = self.json if json is None else json
        text = expand(self.fields[field])
        kinds = IN_JSON if json else IN_MESSAGE_PACK
        parts = re.findall(r"<\w+>|[^<]+", text) if json else tokens(text)
        seen: set[str] = set()
        found = [piece(part, kinds, seen, json) for part in parts]
        return re.compile(b"".join(found), re.DOTALL)


def table(name: str) -> list[Row]:
    """The rows of one table, each with a name of its own."""
    rows = [Row(fields["name"], fields.get("json", False), fields) for fields in TABLES[name]]
    assert len({row.name for row in rows}) == len(rows), f"two rows of `{name}` have one name"
    return rows


def expand(text: str) -> str:
    """With the parts in place of their names."""
    while "$" in text:
        text = re.sub(r"\$(\w+)", lambda found: TABLES["parts"][found[1]], text)
    return text


def tokens(text: str) -> list[str]:
    """Quoted text, names in `<>`, and runs of hexadecimal digits."""
    found = re.findall(r'"[^"]*"|<\w+>|[0-9a-f]+|\S', text)
    for token in found:
        assert token[0] in '"<' or re.fullmatch(r"(?:[0-9a-f]{2})+", token), f"`{token}` is no bytes, in: {text}"
    return found


def literal(token: str) -> bytes:
    return token[1:-1].encode() if token.startswith('"') else bytes.fromhex(token)


def piece(part: str, kinds: dict[str, bytes], seen: set[str], json: bool) -> bytes:
    if not part.startswith("<"):
        return re.escape(part.encode() if json else literal(part))
    name = part[1:-1]
    if name in seen:
        return b"(?P=%s)" % name.encode()
    seen.add(name)
    return b"(?P<%s>%s)" % (name.encode(), kinds[name.rstrip("0123456789")])
