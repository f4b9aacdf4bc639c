"""The short form of the long run: see frozen, which says what is checked."""


def test_a_subscriber_that_never_reads_costs_the_proxy_its_bound_and_the_others_nothing(holds):
    holds("frozen", "--messages", "100000", "--measure-seconds", "2")
