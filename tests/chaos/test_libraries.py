"""The short form of the long run: see libraries, which says what is checked. One role of each kind is hurt."""


def test_streams_of_both_libraries_miss_and_repeat_nothing_while_servers_brokers_and_proxies_die(holds):
    holds("libraries", "--seconds", "15", "--seed", "7")
