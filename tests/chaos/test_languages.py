"""The first seconds of the long run: see languages, which says what is checked."""


def test_l01_l02_l03_no_reply_is_lost_in_any_language_while_servers_are_killed_stopped_and_restarted(holds):
    holds("languages", "--seconds", "15", "--seed", "5")
