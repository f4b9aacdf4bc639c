"""The first seconds of the long runs: see failover, which says what is checked."""

import pytest

RUNS = {
    "servers are killed, stopped and restarted": (),
    "servers are restarted in turn": ("--faults", "term"),
    "brokers are restarted in turn": ("--faults", "term", "--victims", "brokers"),
    "one of two proxies is killed again and again": ("--faults", "kill", "--victims", "proxies"),
}


@pytest.mark.parametrize("what", RUNS)
def test_nothing_is_lost_doubled_or_refused_while(what, holds):
    holds("failover", "--seconds", "15", "--clients", "64", "--seed", "5", *RUNS[what])
