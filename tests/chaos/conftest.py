"""Runs the programs of this folder as tests do: for a short time, and with all that they print in the report of a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from network import CANNOT

HERE = Path(__file__).parent
PAPO = os.environ.get("PAPO_BIN", "papo")


@pytest.fixture(scope="session", autouse=True)
def program():
    """Says what is wrong once, instead of in every test."""
    try:
        subprocess.run([PAPO, "local", "--help"], check=True, capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.exit(f"PAPO_BIN={PAPO} does not run `papo local`: {error}", returncode=1)


@pytest.fixture
def holds(capfd):
    """Runs a program of this folder that says with its exit status whether all held."""

    def run(name: str, *options: str) -> None:
        command = [sys.executable, str(HERE / name), *options]
        done = subprocess.run(command, env=os.environ | {"PAPO_BIN": PAPO}, stdin=subprocess.DEVNULL, text=True)
        said = capfd.readouterr().out
        if done.returncode == CANNOT:
            pytest.skip(said.strip())
        assert done.returncode == 0, said

    return run
