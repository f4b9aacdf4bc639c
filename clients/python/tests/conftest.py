"""`papo local` as a fixture, and what several tests need."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import MANIFEST, Local

from papo_client import Message, Position
from papo_client.wire import Page


class Where:
    """Where a cluster is."""

    def __init__(self, local: Local) -> None:
        self.brokers: list[str] = [role.requests[0] for role in local.of_kind("broker")]
        self.proxies: list[str] = [role.subscriptions[0] for role in local.of_kind("proxy")]
        self.json_proxy: str = local.of_kind("proxy")[0].subscriptions[1]
        self._numbers = itertools.count()

    def name(self, what: str) -> str:
        """Of a user or channel that no other test has."""
        return f"{what}-{next(self._numbers)}"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Where]:
    """A whole cluster, with JSON at its proxy's second port. Tests use names of their own, and hurt nobody."""
    folder = Path(tmp_path_factory.mktemp("cluster"))
    manifest = folder / "chatcluster.yaml"
    manifest.write_text(f"{MANIFEST.read_text()}spec: {{compat: {{jsonPublications: alias}}}}\n")
    local = Local(os.environ.get("PAPO_BIN", "papo"), folder, manifest)
    local.start()
    try:
        yield Where(local)
    finally:
        local.stop()


@pytest.fixture
def message() -> Callable[[int], Message]:
    """A message for each number."""

    def make(number: int) -> Message:
        identity = number.to_bytes(16, "big")
        return Message(identity, "ana", f"n{number}", "geral", None, 0, number, Position(number, "server-1", "b", number))

    return make


@pytest.fixture
def page(message: Callable[[int], Message]) -> Callable[..., Page]:
    """A page with the messages of these numbers; its cursor is the last of them."""

    def make(*numbers: int, more: bool = False) -> Page:
        return Page([message(number) for number in numbers], str(numbers[-1:]).encode(), more)

    return make
