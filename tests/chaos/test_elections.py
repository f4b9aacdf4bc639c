"""Each scenario once: see elections, which says what is checked. How long it takes is measured there, on a machine that does nothing else."""

import pytest

RUNS = {
    "g03_g06_l04_server_3_is_killed_server_2_leads_and_server_1_agrees": "killed",
    "g06_of_five_servers_the_next_in_rank_leads": "killed-of-five",
    "g01_l08_the_lowest_leads_where_that_is_the_order": "killed-lowest",
    "a_coordinator_that_stops_hands_over": "stopped",
    "a_paused_coordinator_finds_itself_deposed": "paused",
    "a_coordinator_that_is_cut_off_is_replaced": "cut-one",
    "two_of_five_that_are_cut_off_are_replaced": "cut-two",
    "a_coordinator_that_reaches_only_ref_is_replaced": "only-ref-leader",
    "a_server_that_reaches_only_ref_deposes_nobody": "only-ref",
    "a_server_that_does_not_reach_ref_does_not_stand_in_the_way": "no-ref",
    "nothing_changes_while_ref_is_down": "ref-down",
    "the_last_of_three_leads": "two-dead",
    "an_older_ref_neither_blocks_nor_doubles_an_epoch": "ref-rolled-back",
}


@pytest.mark.parametrize("what", RUNS)
def test_elections(what, holds):
    holds("elections", "--runs", "1", "--watch-seconds", "12", "--only", RUNS[what])
