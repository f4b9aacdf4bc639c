"""Our endpoints against every other ZeroMQ, listening and connecting: each cell of the table is a test, and each exclusion is proved.

The programs and what they are put through are in socket_peers.py. All pairs play side by side, since most of the time they wait.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

import socket_peers
from socket_peers import LIBRARIES, LIBZMQ, Match, Pair

# Pairs at once, and how many of them may compute: a crowd of busy processes would miss its heartbeats.
PAIRS_AT_ONCE = 48
BUSY_AT_ONCE = threading.Semaphore(4)

# (theirs, ours)
SOCKETS = (
    ("REQ", "ROUTER"),
    ("REQ", "REP"),
    ("DEALER", "ROUTER"),
    ("REP", "REQ"),
    ("REP", "DEALER"),
    ("ROUTER", "DEALER"),
    ("PUB", "SUB"),
    ("PUB", "XSUB"),
    ("SUB", "PUB"),
    ("SUB", "XPUB"),
)
BUSY_TRIALS = ("a_thousand_small", "five_of_5_megabytes", "their_restart", "our_restart")
WAITING_TRIALS = ("silence_with_heartbeats", "their_freeze", "our_freeze")


@dataclass(frozen=True)
class Exclusion:
    """A trial that another library cannot stand, and one that fails because of the same."""

    reason: str
    trial: str
    covers: Callable[[Match], bool]
    # This trial fails so, with libzmq in our place.
    proof: str
    fails_with: str
    # One pair of sockets stands for all when the library, not the socket, lacks something.
    proved_by: Callable[[Match], bool] = lambda match: match.theirs == "DEALER"


WITHOUT_HEARTBEATS = ("go-zeromq", "zeromq_crate")
EXCLUSIONS = (
    Exclusion(
        "it answers no PING: who beats would take it for dead, so ours beats only to peers that greeted ZMTP 3.1",
        trial="their_freeze",
        covers=lambda match: match.foreign in WITHOUT_HEARTBEATS,
        proof="silence_with_heartbeats",
        fails_with="a silent link was replaced",
    ),
    Exclusion(
        "it has no heartbeats of its own: it waits for a frozen peer for ever",
        trial="our_freeze",
        covers=lambda match: match.foreign in WITHOUT_HEARTBEATS,
        proof="our_freeze",
        fails_with="they give up our frozen end",
    ),
    Exclusion(
        "it loses every second timeout of its heartbeats: a timer set again while its cancelled self still waits is dropped with it",
        trial="our_freeze",
        covers=lambda match: match.foreign == "JeroMQ",
        proof="our_freeze_again_and_again",
        fails_with="they give up our frozen end",
    ),
    Exclusion(
        "of its sockets only SUB connects again when the listener was away",
        trial="our_restart",
        covers=lambda match: match.foreign == "zeromq_crate" and match.we_listen and match.theirs != "SUB",
        proof="our_restart",
        fails_with="no `up`",
        proved_by=lambda match: True,
    ),
)


@dataclass(frozen=True)
class Cell:
    match: Match
    trial: str

    def __str__(self) -> str:
        return f"{self.match}-{self.trial}"

    def exclusion(self) -> Exclusion | None:
        return next((one for one in EXCLUSIONS if self.trial == one.trial and one.covers(self.match)), None)


MATCHES = [Match(foreign, we_listen, *sockets) for foreign in LIBRARIES for we_listen in (True, False) for sockets in SOCKETS]
CELLS = [Cell(match, trial) for match in MATCHES for trial in BUSY_TRIALS + WAITING_TRIALS]
POSSIBLE = [cell for cell in CELLS if not cell.exclusion()]
PROVED = [cell for cell in CELLS if (exclusion := cell.exclusion()) and exclusion.proved_by(cell.match)]


@pytest.fixture(scope="session")
def outcomes(request):
    """Plays every cell that was asked for; for each a future that holds what went wrong."""
    wanted: dict[tuple[Match, Exclusion | None], list[Cell]] = {}
    for item in request.session.items:
        if "outcomes" in item.fixturenames:
            cell = item.callspec.params["cell"]
            wanted.setdefault((cell.match, cell.exclusion()), []).append(cell)
    results = {cell: Future() for cells in wanted.values() for cell in cells}
    with ThreadPoolExecutor(PAIRS_AT_ONCE) as pool:
        for (match, exclusion), cells in wanted.items():
            if exclusion:
                pool.submit(prove, match, exclusion, results[cells[0]])
            else:
                pool.submit(play, match, {cell.trial: results[cell] for cell in cells})
        yield results
        pool.shutdown(cancel_futures=True)


def play(match: Match, results: dict[str, Future]) -> None:
    """One pair goes through its trials; after a failed one a fresh pair goes on."""
    pair = None
    for trial, result in results.items():
        try:
            with BUSY_AT_ONCE:
                pair = pair or Pair(match)
            with nullcontext() if trial in WAITING_TRIALS else BUSY_AT_ONCE:
                getattr(socket_peers, trial)(pair)
            result.set_result(None)
        except BaseException as error:
            if pair:
                error.add_note(pair.said())
                pair.close()
            pair = None
            result.set_exception(error)
    if pair:
        pair.close()


def prove(match: Match, exclusion: Exclusion, result: Future) -> None:
    try:
        with BUSY_AT_ONCE:
            pair = Pair(match, LIBZMQ)
        try:
            pair.doubt()
            getattr(socket_peers, exclusion.proof)(pair)
        finally:
            pair.close()
        result.set_result(None)
    except BaseException as error:
        result.set_exception(error)


@pytest.mark.parametrize("cell", POSSIBLE, ids=str)
def test_talks_with(cell, outcomes):
    outcomes[cell].result()


@pytest.mark.parametrize("cell", PROVED, ids=str)
def test_is_excluded_since_the_library_cannot(cell, outcomes):
    exclusion = cell.exclusion()
    error = outcomes[cell].exception()
    assert error, f"take the exclusion out of the table; no longer true: {exclusion.reason}"
    assert exclusion.fails_with in str(error), error
