"""The first lines of the long runs: see failover and frozen, which say what is checked."""

SHORT = ("--seconds", "20", "--clients", "64", "--seed", "5")


def test_servers_that_are_killed_stopped_and_restarted_lose_and_double_nothing(holds):
    holds("failover", *SHORT)


def test_a_rolling_restart_of_the_servers_is_not_noticed(holds):
    holds("failover", *SHORT, "--faults", "term")


def test_a_rolling_restart_of_the_brokers_loses_nothing_for_clients_that_repeat(holds):
    holds("failover", *SHORT, "--faults", "term", "--victims", "brokers")
