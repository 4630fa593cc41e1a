"""The table of rules and how it is read."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.features.catalog import CATALOG
from forewarn.predict.rule_table import BASES, EXCUSES, SIGNS, TELLING
from forewarn.predict.rule_terms import Comparison, Sign
from forewarn.predict.rules import RulePredictor

NOW = datetime(2026, 1, 5, tzinfo=UTC)
WEEK, MONTH = timedelta(days=7), timedelta(days=30)
CALM: dict[Kind, dict[str, float]] = {
    Kind.CPU: {"cpu_temperature_max_1h": 60, "cpu_package_throttles_increase_1h": 0},
    Kind.MEMORY: {"dimm_corrected_last": 0, "dimm_uncorrected_last": 0},
    Kind.DISK: {"smart_status_last": 1},
    Kind.NETWORK: {"nic_frame_errors_increase_1h": 0, "nic_carrier_changes_increase_1h": 0},
    Kind.POWER: {"psu_state_last": 0, "psu_output_volts_last": 12.0},
}


def frame(kind: Kind, *rows: dict[str, float | None]) -> pa.Table:
    """A frame with all columns of the kind, null but for what the rows name."""
    keys: dict[str, list[datetime] | list[str]] = {
        "time": [NOW] * len(rows),
        "component": [f"{kind}:{n}" for n in range(len(rows))],
        "host": ["h"] * len(rows),
        "device": [f"d{n}" for n in range(len(rows))],
        "model": [""] * len(rows),
    }
    columns = {name: pa.array([row.get(name) for row in rows], pa.float64()) for name in CATALOG.names(kind)}
    table = pa.table(keys)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def forecast(kind: Kind, **values: float | None) -> FailureForecast:
    (made,) = RulePredictor(kind).forecast(frame(kind, {**CALM[kind], **values}))
    return made


def week(kind: Kind, **values: float | None) -> float:
    return forecast(kind, **values).probabilities[HORIZONS.index(WEEK)]


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.feature)
def test_every_sign_names_a_feature_of_the_catalogue_and_its_source(sign: Sign) -> None:
    assert sign.feature in CATALOG.names(sign.kind)
    assert sign.source
    assert sign.only_if is None or sign.only_if[0] in CATALOG.names(sign.kind)


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.feature)
def test_grades_go_from_mild_to_severe(sign: Sign) -> None:
    limits = [grade.limit for grade in sign.grades]
    probabilities = [grade.probability for grade in sign.grades]
    assert probabilities == sorted(probabilities)
    assert all(0 < probability < 1 for probability in probabilities)
    assert sign.comparison is Comparison.BIT or limits == sorted(limits, reverse=sign.comparison is Comparison.AT_MOST)


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
def test_every_kind_has_a_base_rate_signs_and_columns_that_tell_whether_anything_is_known(kind: Kind) -> None:
    assert BASES[kind].source
    assert [sign for sign in SIGNS if sign.kind == kind]
    assert {feature for feature, _ in TELLING[kind]} <= set(CATALOG.names(kind))


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
def test_a_part_without_any_sign_has_the_base_rate_of_its_kind_at_an_even_hazard(kind: Kind) -> None:
    made = forecast(kind)
    expected = [1 - (1 - BASES[kind].per_year) ** (horizon / timedelta(days=365.25)) for horizon in HORIZONS]
    assert made.probabilities == pytest.approx(expected)
    assert made.reasons[0].text == f"no sign of failure; {BASES[kind].per_year:.2%} of such parts fail in a year"


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
def test_a_part_that_shows_nothing_is_unknown_and_says_what_is_missing(kind: Kind) -> None:
    (made,) = RulePredictor(kind).forecast(frame(kind, {}))
    assert made.unknown
    assert made.reasons == ()
    assert made.unknown_because.startswith("no ")
    assert TELLING[kind][0][1] in made.unknown_because


def test_a_frame_without_the_columns_is_unknown_too() -> None:
    keys = frame(Kind.CPU, {}).select(["time", "component", "host", "device", "model"])
    (made,) = RulePredictor(Kind.CPU).forecast(keys)
    assert made.unknown_because == "no temperature and no package throttle counter and no core throttle counter"


def test_an_empty_frame_gives_no_forecasts() -> None:
    assert RulePredictor(Kind.CPU).forecast(frame(Kind.CPU)) == ()


def test_a_forecast_carries_the_row_s_keys_and_that_it_comes_from_rules() -> None:
    made = forecast(Kind.CPU)
    assert (made.component, made.kind, made.host, made.device, made.time) == ("cpu:0", Kind.CPU, "h", "d0", NOW)
    assert (made.model, made.learned_from) == ("rules", "rules")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.CPU, {"cpu_temperature_max_1h": 97}),
        (Kind.CPU, {"cpu_package_throttles_increase_1h": 12}),
        (Kind.CPU, {"cpu_core_throttles_increase_1h": 120}),
        (Kind.MEMORY, {"dimm_corrected_increase_1h": 150}),
        (Kind.MEMORY, {"dimm_uncorrected_increase_1h": 1}),
        (Kind.MEMORY, {"dimm_fault_mode_last": 4}),
        (Kind.MEMORY, {"dimm_multi_bit_increase_1h": 1}),
        (Kind.MEMORY, {"dimm_multi_bit_increase_1d": 1}),
        (Kind.MEMORY, {"dimm_multi_bit_increase_7d": 10}),
        (Kind.POWER, {"psu_failed_max_1h": 1}),
        (Kind.CPU, {"cpu_machine_checks_increase_1h": 1}),
        (Kind.CPU, {"cpu_machine_checks_increase_1d": 1}),
        (Kind.CPU, {"cpu_corrected_thresholds_increase_1h": 10}),
        (Kind.DISK, {"sas_grown_defects_increase_30d": 100}),
        (Kind.DISK, {"sas_read_uncorrected_increase_1h": 10}),
        (Kind.DISK, {"sas_write_uncorrected_increase_1d": 10}),
        (Kind.DISK, {"disk_io_timeouts_increase_1h": 10}),
        (Kind.DISK, {"disk_working_last": 0}),
        (Kind.DISK, {"disk_readonly_filesystems_last": 1}),
        (Kind.DISK, {"self_test_passed_last": 0}),
        (Kind.NETWORK, {"nic_crc_errors_increase_1h": 1000}),
        (Kind.NETWORK, {"nic_fec_uncorrectable_increase_1h": 1000}),
        (Kind.POWER, {"psu_failure_predicted_max_1h": 1}),
        (Kind.POWER, {"psu_present_last": 0, "psu_present_changes_1d": 1}),
        (Kind.POWER, {"psu_present_last": 0, "psu_present_changes_6h": 1}),
        (Kind.MEMORY, {"dimm_uncorrected_increase_1d": 1}),
        (Kind.DISK, {"smart_status_last": 0}),
        (Kind.DISK, {"disk_io_errors_increase_1h": 20}),
        (Kind.DISK, {"nvme_critical_warning_last": 4}),
        (Kind.DISK, {"nvme_critical_warning_last": 1}),
        (Kind.DISK, {"nvme_available_spare_last": 2}),
        (Kind.DISK, {"nvme_media_errors_increase_1d": 10}),
        (Kind.NETWORK, {"nic_frame_errors_increase_1h": 2000}),
        (Kind.NETWORK, {"nic_carrier_changes_increase_1h": 12}),
        (Kind.NETWORK, {"nic_up_last": 0, "nic_carrier_changes_increase_6h": 1}),
        (Kind.NETWORK, {"nic_up_last": 0, "nic_carrier_changes_increase_1d": 1}),
        (Kind.POWER, {"psu_state_max_1h": 2}),
        (Kind.POWER, {"psu_output_volts_share": 0.94}),
        (Kind.POWER, {"psu_output_volts_stddev_1h": 0.3}),
        (Kind.POWER, {"psu_fan_speed_share": 0.2}),
        (Kind.POWER, {"psu_temperature_max_1h": 80}),
        (Kind.POWER, {"board_volts_alarm_max_1h": 1}),
    ],
)
def test_a_grave_sign_passes_the_threshold_at_once(kind: Kind, values: dict[str, float]) -> None:
    threshold = RulePredictor(kind).threshold(WEEK)
    assert week(kind, **values) > threshold > week(kind)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.CPU, {"cpu_temperature_max_1h": 91}),
        (Kind.CPU, {"cpu_package_throttles_increase_1h": 1}),
        (Kind.MEMORY, {"dimm_corrected_increase_1h": 10}),
        (Kind.MEMORY, {"dimm_corrected_increase_1d": 30}),
        (Kind.DISK, {"nvme_percentage_used_last": 130}),
        (Kind.DISK, {"nvme_critical_warning_last": 2}),
        (Kind.NETWORK, {"nic_frame_errors_increase_1h": 40}),
        (Kind.NETWORK, {"nic_speed_share": 0.1}),
        (Kind.NETWORK, {"nic_speed_degraded_last": 1}),
        (Kind.NETWORK, {"nic_crc_errors_increase_1h": 40}),
        (Kind.DISK, {"nvme_error_entries_increase_1d": 1000}),
        (Kind.DISK, {"disk_vanished_last": 75}),
        (Kind.POWER, {"psu_vanished_last": 300}),
        (Kind.POWER, {"psu_state_max_1h": 1}),
        (Kind.POWER, {"psu_output_volts_share": 0.965}),
    ],
)
def test_a_mild_sign_is_worth_a_look_and_not_a_move(kind: Kind, values: dict[str, float]) -> None:
    threshold = RulePredictor(kind).threshold(WEEK)
    assert 0.5 * threshold < week(kind, **values) < threshold


def test_more_corrected_errors_mean_more_risk() -> None:
    risks = [week(Kind.MEMORY, dimm_corrected_increase_1h=errors) for errors in (0, 9, 10, 100, 1000)]
    assert risks[0] == risks[1] < risks[2] < risks[3] < risks[4]


def test_the_worst_bit_counts() -> None:
    assert week(Kind.DISK, nvme_critical_warning_last=6) == week(Kind.DISK, nvme_critical_warning_last=4)
    assert week(Kind.DISK, nvme_critical_warning_last=16) == week(Kind.DISK)


def test_old_entries_of_an_nvme_drive_s_error_log_are_no_sign_and_their_growth_is_one() -> None:
    assert week(Kind.DISK, nvme_error_entries_increase_1d=0) == week(Kind.DISK)
    assert [f for f in CATALOG.names(Kind.DISK) if f.startswith("nvme_error_entries") and "increase" not in f] == []
    grown = [week(Kind.DISK, nvme_error_entries_increase_1d=entries) for entries in (0, 1, 1000)]
    assert grown[0] < grown[1] < grown[2] < RulePredictor(Kind.DISK).threshold(WEEK)


def test_a_port_that_was_never_plugged_in_is_no_sign() -> None:
    assert week(Kind.NETWORK, nic_up_last=0) == week(Kind.NETWORK)
    assert week(Kind.NETWORK, nic_up_last=0, nic_carrier_changes_increase_1d=0) == week(Kind.NETWORK)


FEED_PULLED = {
    "psu_state_max_1h": 2.0, "psu_failed_max_1h": 1.0, "psu_output_volts_share": 0.4, "psu_output_volts_stddev_1h": 6.0,
    "psu_fan_speed_share": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "lost",
    [
        {"psu_input_lost_max_1h": 1.0, "psu_input_lost_last": 1.0},
        {"psu_input_volts_min_1h": 3.0, "psu_input_volts_last": 3.0},
    ],
)
def test_a_supply_without_its_feed_is_not_suspected_and_a_person_is_told_to_look_at_the_feed(
    lost: dict[str, float],
) -> None:
    assert week(Kind.POWER, **FEED_PULLED) > 0.7
    made = forecast(Kind.POWER, **FEED_PULLED, **lost)
    assert made.probabilities == forecast(Kind.POWER).probabilities
    assert [(reason.text, reason.contribution) for reason in made.reasons] == [("input lost", 0.0)]
    assert made.look_at.startswith("the feed of d0 is lost: look at the PDU")


def test_what_a_supply_showed_without_its_feed_says_nothing_for_as_long_as_it_is_looked_at() -> None:
    back = forecast(Kind.POWER, **FEED_PULLED, psu_input_lost_max_1h=1, psu_input_lost_last=0)
    assert back.probabilities == forecast(Kind.POWER).probabilities
    assert back.look_at == ""


@pytest.mark.parametrize(
    "values", [{"psu_input_volts_min_1h": -54.0}, {"psu_input_volts_min_1h": 207.0}, {"psu_input_lost_max_1h": 0.0}, {}]
)
def test_a_supply_that_fails_with_its_feed_there_is_suspected(values: dict[str, float]) -> None:
    assert week(Kind.POWER, **FEED_PULLED, **values) == week(Kind.POWER, **FEED_PULLED)


def test_a_prediction_and_heat_count_without_a_feed_too() -> None:
    lost = {"psu_input_lost_max_1h": 1.0}
    assert week(Kind.POWER, psu_failure_predicted_max_1h=1, **lost) == week(Kind.POWER, psu_failure_predicted_max_1h=1)
    assert week(Kind.POWER, psu_temperature_max_1h=90, **lost) > RulePredictor(Kind.POWER).threshold(WEEK)


def test_a_slot_that_was_always_empty_is_no_sign() -> None:
    assert week(Kind.POWER, psu_present_last=0) == week(Kind.POWER)
    assert week(Kind.POWER, psu_present_last=0, psu_present_changes_6h=0) == week(Kind.POWER)
    assert week(Kind.POWER, psu_present_last=1, psu_present_changes_6h=2) == week(Kind.POWER)


def test_the_wider_the_fault_of_a_dimm_the_greater_its_risk_and_a_cell_is_none() -> None:
    risks = [week(Kind.MEMORY, dimm_fault_mode_last=mode) for mode in range(6)]
    assert risks[0] == risks[1] < risks[2] < risks[3] < risks[4] < risks[5]
    threshold = RulePredictor(Kind.MEMORY).threshold(WEEK)
    assert [risk > threshold for risk in risks] == [False, False, False, False, True, True]


@pytest.mark.parametrize("kind", EXCUSES)
def test_every_excuse_names_features_of_the_catalogue_and_its_source(kind: Kind) -> None:
    for excuse in EXCUSES[kind]:
        assert {excuse.feature, excuse.now} <= set(CATALOG.names(kind))
        assert excuse.source
        assert "{device}" in excuse.look_at
    assert {excuse for sign in SIGNS if sign.kind == kind for excuse in sign.unless} == set(EXCUSES[kind])


def test_two_windows_of_one_trouble_count_once_and_two_troubles_add_up() -> None:
    hour, day = {"dimm_corrected_increase_1h": 100.0}, {"dimm_corrected_increase_1d": 1000.0}
    other = {"dimm_uncorrected_increase_7d": 1.0}
    assert week(Kind.MEMORY, **hour, **day) == week(Kind.MEMORY, **hour)
    both = (1 - week(Kind.MEMORY, **hour)) * (1 - week(Kind.MEMORY, **other)) / (1 - week(Kind.MEMORY))
    assert week(Kind.MEMORY, **hour, **other) == pytest.approx(1 - both)


def test_an_acute_sign_weighs_early_and_a_slow_one_evenly() -> None:
    acute = forecast(Kind.CPU, cpu_temperature_max_1h=101).probabilities
    slow = forecast(Kind.CPU, cpu_temperature_max_1h=91).probabilities
    assert acute[HORIZONS.index(timedelta(hours=6))] > 0.45 * acute[-1]
    assert slow[HORIZONS.index(timedelta(hours=6))] < 0.02 * slow[-1]


def test_low_and_high_are_a_factor_of_three_in_odds_away() -> None:
    made = forecast(Kind.CPU, cpu_temperature_max_1h=101)
    for low, middle, high in zip(made.low, made.probabilities, made.high, strict=True):
        odds = middle / (1 - middle)
        assert low / (1 - low) == pytest.approx(odds / 3)
        assert high / (1 - high) == pytest.approx(odds * 3)


def test_reasons_are_the_signs_in_words_the_weightiest_first() -> None:
    made = forecast(
        Kind.MEMORY, dimm_corrected_increase_1h=120, dimm_corrected_increase_1d=130, dimm_uncorrected_increase_1d=2
    )
    texts = [reason.text for reason in made.reasons]
    assert texts[:2] == ["2 new uncorrected memory errors within 1 d", "120 new corrected memory errors within 1 h"]
    assert made.reasons[0].contribution > made.reasons[1].contribution > made.reasons[2].contribution == 0.0
    assert made.reasons[0].feature == "dimm_uncorrected_increase_1d"


def test_no_forecast_names_more_than_three_reasons() -> None:
    made = forecast(Kind.POWER, psu_state_max_1h=2, psu_output_volts_share=0.9, psu_fan_speed_share=0.1,
                    psu_temperature_max_1h=90, board_volts_alarm_max_1h=2)  # fmt: skip
    assert len(made.reasons) == 3


def test_the_threshold_is_a_tenth_a_month_at_an_even_hazard() -> None:
    predictor = RulePredictor(Kind.POWER)
    assert predictor.threshold(MONTH) == pytest.approx(0.1)
    assert predictor.threshold(WEEK) == pytest.approx(1 - 0.9 ** (7 / 30))


def test_curves_and_forecasts_say_the_same() -> None:
    rows = frame(Kind.CPU, CALM[Kind.CPU], {}, {"cpu_temperature_max_1h": 99})  # type: ignore[arg-type]
    curves = RulePredictor(Kind.CPU).curves(rows)
    made = RulePredictor(Kind.CPU).forecast(rows)
    assert curves.unknown.tolist() == [each.unknown for each in made] == [False, True, False]
    for row in (0, 2):
        assert tuple(curves.probabilities[row]) == made[row].probabilities
        assert (tuple(curves.low[row]), tuple(curves.high[row])) == (made[row].low, made[row].high)


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
@given(data=st.data())
def test_no_curve_ever_falls_or_leaves_its_interval(kind: Kind, data: st.DataObject) -> None:
    values = st.one_of(st.none(), st.floats(0, 1e6), st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0, 100.0]))
    row = {sign.feature: data.draw(values) for sign in SIGNS if sign.kind == kind}
    curves = RulePredictor(kind).curves(frame(kind, {**CALM[kind], **row}))
    assert np.all(np.diff(curves.probabilities[0]) >= 0)
    assert np.all((curves.low > 0) & (curves.low <= curves.probabilities) & (curves.probabilities <= curves.high))
    assert np.all(curves.high < 1)
    assert all(math.isfinite(value) for value in curves.high[0])
