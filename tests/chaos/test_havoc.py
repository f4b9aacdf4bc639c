"""The short form of the long run: see havoc, which says what is checked. Each kind of fault is there once, in one order."""

import pytest


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_whatever_happens_to_hosts_links_and_volumes(holds):
    # Other suites run beside this one: how soon servers agree is for the long run to say.
    holds("havoc", "--seconds", "25", "--hold", "1.5,3", "--clients", "32", "--seed", "22", "--patience", "10")
