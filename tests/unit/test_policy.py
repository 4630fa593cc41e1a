"""The ladder up and down, and settings that refuse to be wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.decide.policy import PolicySettings, climb, next_ladder, with_default_thresholds
from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.situation import LadderStep, Rung
from tests.clusters import NOW, forecast, host, part, situation

CPU = part("h")
SETTINGS = PolicySettings(thresholds={"cpu": 0.1}, hold_up_cycles=2, hold_down_cycles=3)


def rungs(*risks: float | None, settings: PolicySettings = SETTINGS) -> str:
    """The ladder's course under these risks, one letter per cycle."""
    step, course = None, ""
    for cycle, risk in enumerate(risks):
        step = climb(step, forecast(CPU, risk), settings, NOW + timedelta(minutes=cycle))
        course += step.rung[0]
    return course


def test_one_cycle_above_the_threshold_is_watched_and_the_second_moves() -> None:
    assert rungs(0.01, 0.2, 0.2, 0.2) == "cwmm"


def test_a_hold_of_one_cycle_moves_at_once() -> None:
    assert rungs(0.01, 0.2, settings=replace(SETTINGS, hold_up_cycles=1)) == "cm"


def test_a_lone_peak_never_moves() -> None:
    assert rungs(0.2, 0.01, 0.2, 0.01, 0.2) == "wwwww"


def test_the_threshold_itself_is_not_above_the_threshold() -> None:
    assert rungs(0.1, 0.1, 0.1) == "www"


def test_half_the_threshold_is_watched_without_waiting() -> None:
    assert rungs(0.04, 0.051, 0.051) == "cww"


def test_stepping_back_takes_as_many_cycles_of_clearly_lower_risk() -> None:
    assert rungs(0.2, 0.2, 0.06, 0.06, 0.06, 0.06) == "wmmmww"


def test_a_risk_just_under_the_threshold_does_not_step_back() -> None:
    assert rungs(0.2, 0.2, *[0.09] * 6) == "wm" + "m" * 6


def test_an_interrupted_calm_starts_counting_again() -> None:
    assert rungs(0.2, 0.2, 0.01, 0.01, 0.2, 0.01, 0.01, 0.01) == "wmmmmmmc"


def test_a_very_low_risk_steps_back_to_clear_at_once_after_the_hold() -> None:
    assert rungs(0.2, 0.2, 0.01, 0.01, 0.01) == "wmmmc"


def test_a_watched_part_clears_only_clearly_below_the_watch_mark() -> None:
    assert rungs(0.06, 0.045, 0.045, 0.045, 0.045) == "wwwww"
    assert rungs(0.06, 0.03, 0.03, 0.03) == "wwwc"


def test_an_unknown_risk_is_watched_and_never_moves() -> None:
    assert rungs(*[None] * 5, settings=replace(SETTINGS, hold_up_cycles=1)) == "wwwww"


def test_telemetry_that_vanishes_does_not_prove_health() -> None:
    assert rungs(0.2, 0.2, None, None, None, None) == "wmmmmm"


def test_a_part_that_was_unknown_clears_like_any_other() -> None:
    assert rungs(None, 0.01, 0.01, 0.01) == "wwwc"


def test_since_is_the_time_of_the_last_change_of_rung() -> None:
    step = LadderStep(CPU.id, Rung.WATCH, NOW)
    later = NOW + timedelta(hours=1)
    assert climb(step, forecast(CPU, 0.06), SETTINGS, later).since == NOW
    assert climb(replace(step, cycles_above=1), forecast(CPU, 0.2), SETTINGS, later).since == later


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
def test_a_part_reaches_move_only_after_the_hold(risks: list[float | None]) -> None:
    step, streak = None, 0
    for risk in risks:
        before = step.rung if step else Rung.CLEAR
        step = climb(step, forecast(CPU, risk), SETTINGS, NOW)
        streak = streak + 1 if risk is not None and risk > 0.1 else 0
        assert step.rung is not Rung.MOVE or before is Rung.MOVE or streak >= 2


def test_a_part_without_forecast_keeps_its_step_and_leaves_with_the_inventory() -> None:
    kept, gone = LadderStep(CPU.id, Rung.MOVE, NOW), LadderStep("cpu:gone/cpu", Rung.MOVE, NOW)
    seen = replace(situation([host("h")], ladder=[kept, gone]), forecasts=())
    assert next_ladder(seen, SETTINGS, NOW) == (kept,)


def test_the_ladder_is_ordered_by_part() -> None:
    made = next_ladder(situation([host("b"), host("a")]), SETTINGS, NOW)
    assert [step.component for step in made] == ["cpu:a/cpu", "cpu:b/cpu"]


def test_thresholds_not_named_come_from_the_models_and_then_from_the_fallback() -> None:
    settings = with_default_thresholds(PolicySettings(thresholds={"cpu": 0.3}), {Kind.CPU: 0.1, Kind.DISK: 0.02})
    assert [settings.threshold(kind) for kind in (Kind.CPU, Kind.DISK, Kind.POWER)] == [0.3, 0.02, 0.05]


def test_a_policy_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="policy is 'treshold'; known are: threshold"):
        PolicySettings(policy="treshold")


@pytest.mark.parametrize("horizon_s", [0.0, -1.0, 31 * 86400.0])
def test_a_horizon_that_no_forecast_reaches_is_refused(horizon_s: float) -> None:
    with pytest.raises(ValueError, match="horizon_s is"):
        PolicySettings(horizon_s=horizon_s)


def test_a_threshold_of_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="thresholds names disc"):
        PolicySettings(thresholds={"disc": 0.1})


def test_a_threshold_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"thresholds\.disk is 5; it lies above 0 and at most at 1"):
        PolicySettings(thresholds={"disk": 5.0})


def test_a_criticality_without_a_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="weights lacks low"):
        PolicySettings(weights={Criticality.HIGH: 1.0, Criticality.NORMAL: 1.0})


@pytest.mark.parametrize("name", ["hold_up_cycles", "hold_down_cycles", "moves_per_plan"])
def test_a_count_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; it is at least 1"):
        PolicySettings(**{name: 0})  # type: ignore[arg-type]


def test_what_was_learned_from_simulated_faults_never_goes_past_watch_on_a_real_host() -> None:
    sure = replace(forecast(CPU, 0.9), only_watch=True)
    settings = replace(SETTINGS, hold_up_cycles=1)
    real, unreal = host("h"), replace(host("h"), simulated=True)
    for machine, rung in ((real, Rung.WATCH), (unreal, Rung.MOVE)):
        seen = replace(situation([machine]), forecasts=(sure,))
        assert [step.rung for step in next_ladder(seen, settings, NOW)] == [rung]
    calm = replace(situation([real]), forecasts=(replace(forecast(CPU, 0.001), only_watch=True),))
    assert [step.rung for step in next_ladder(calm, settings, NOW)] == [Rung.CLEAR]
    trusted = replace(situation([real]), forecasts=(replace(sure, only_watch=False),))
    assert [step.rung for step in next_ladder(trusted, settings, NOW)] == [Rung.MOVE]
