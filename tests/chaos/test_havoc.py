"""The short form of the long run: see havoc, which says what is checked. Each kind of fault is there once, in one order."""


def test_nothing_is_lost_or_doubled_whatever_happens_to_hosts_links_and_volumes(holds):
    holds("havoc", "--seconds", "25", "--clients", "32", "--seed", "52")
