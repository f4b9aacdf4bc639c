"""The short forms of the long runs: see clocks and idle, which say what is checked."""

import pytest


@pytest.mark.timeout(300)
def test_e07_e08_servers_agree_on_the_time_and_a_liar_moves_nobody(holds):
    holds("clocks", "--seconds", "8")


@pytest.mark.timeout(300)
def test_e07_no_time_runs_backwards_when_servers_are_killed_and_links_are_slow(holds):
    holds("clocks", "--seconds", "25", "--delay", "10", "--restart-every", "8")


@pytest.mark.timeout(300)
def test_an_idle_cluster_says_little(holds):
    # Not an optimised build: its processor time is for the long run to judge.
    holds("idle", "--seconds", "15", "--no-processor")
