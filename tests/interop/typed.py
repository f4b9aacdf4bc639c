"""What docs/compat.md says to type."""

import re

from conversation import ROOT

PAGE = ROOT / "docs" / "compat.md"


def commands(section: str) -> str:
    """The indented lines of a section, in order."""
    [text] = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return "".join(f"{line}\n" for line in re.findall(r"^    (.*)$", text, re.M))
