"""The Python that these programs need: the environment of hack/deps, which has pyzmq and msgpack."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def enter() -> None:
    """Goes on in that environment, unless this interpreter has all that is needed."""
    if importlib.util.find_spec("zmq") and importlib.util.find_spec("msgpack"):
        return
    paths = subprocess.run([ROOT / "hack/deps", "path"], check=True, capture_output=True, text=True).stdout
    python = re.search(r"^PAPO_PYTHON=(.*)$", paths, re.M).group(1)
    if not Path(python).exists():
        subprocess.run([ROOT / "hack/deps"], check=True)
    os.execv(python, [python, *sys.argv])
