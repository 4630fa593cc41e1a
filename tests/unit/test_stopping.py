"""Now or later, in numbers."""

import pytest

from forewarn.decide.stopping import StoppingSettings, at_best, in_time, waits

SETTINGS = StoppingSettings(vm_ends_per_epoch=0.01, alarm_clears_per_epoch=0.04, delay_value=0.05)


def test_a_move_of_no_length_is_always_in_time_and_a_long_one_fights_the_hazard() -> None:
    assert in_time(0.9, 0.0) == 1.0
    assert in_time(0.75, 1800.0) == pytest.approx(0.5)
    assert in_time(0.0, 1e9) == 1.0
    assert in_time(1.0, 60.0) == 0.0


def test_at_best_a_sure_failure_spares_the_beginning_of_its_hour() -> None:
    assert at_best(1.0, 0.0) == 1.0
    assert at_best(0.8, 900.0) == pytest.approx(0.8)
    assert at_best(0.75, 3600.0) == pytest.approx(0.25)
    assert at_best(0.75, 7200.0) == in_time(0.75, 7200.0) == pytest.approx(0.0625)


def test_waiting_wins_up_to_the_point_where_the_failure_of_an_epoch_outweighs_what_it_saves() -> None:
    stake, cost = 30.0, 3.0  # moving now wins where q * 27 >= 3 * 0.1
    assert waits(0.0110, stake, cost, SETTINGS)
    assert not waits(0.0112, stake, cost, SETTINGS)


def test_a_free_move_never_waits() -> None:
    assert not waits(0.0, 30.0, 0.0, SETTINGS)


def test_a_move_that_costs_more_than_it_could_save_waits() -> None:
    assert waits(1.0, 1.0, 2.0, SETTINGS)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("epoch_s", 0.0, "epoch_s is 0; it lies above 0"),
        ("vm_ends_per_epoch", 1.5, "vm_ends_per_epoch is 1.5; it lies from 0 to 1"),
        ("alarm_clears_per_epoch", -0.1, "alarm_clears_per_epoch is -0.1; it lies from 0 to 1"),
        ("finish_chance_min", 2.0, "finish_chance_min is 2; it lies from 0 to 1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(name: str, value: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        StoppingSettings(**{name: value})
