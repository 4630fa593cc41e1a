"""The shipped model, joined with the signs that its recording did not hold, as a controller asks it."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forewarn.assemble.site import PredictSettings, build_forecaster, sources_sentence
from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.errors import ModelError
from forewarn.features import frame
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.joint import JointPredictor
from forewarn.predict.rules import RulePredictor
from forewarn.predict.trees import TreesPredictor
from forewarn.sim.play import ONCE, Simulation
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
WEEK = timedelta(days=7)
# A drive without any trouble, of a model of which the site has too few to compare.
CALM = {
    **{f"smart_{number}_last": 0.0 for number in (5, 10, 187, 188, 189, 196, 197, 198)},
    **{f"smart_{number}_grown_30d": 0.0 for number in (5, 10, 187, 188, 189, 196, 197, 198)},
    "smart_12_last": 12.0,
    "power_on_hours": 12_000.0,
    "disk_capacity_last": 4e12,
    "smart_status_last": 1.0,
    "disk_io_errors_increase_1h": 0.0,
}


@pytest.fixture(scope="module")
def trees() -> TreesPredictor:
    found = registry.starter(Kind.DISK, CATALOG)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def joint(trees: TreesPredictor) -> JointPredictor:
    return JointPredictor(trees, CATALOG)


def rows(*values: Mapping[str, float], kind: Kind = Kind.DISK) -> pa.Table:
    """A frame of drives; what is not given is missing."""
    keys: dict[str, list[object]] = {
        "time": [START] * len(values),
        "component": [f"disk:S{number}" for number in range(len(values))],
        "host": ["host01"] * len(values),
        "device": [f"sd{chr(97 + number)}" for number in range(len(values))],
        "model": ["M1"] * len(values),
    }
    columns = {name: [row.get(name, math.nan) for row in values] for name in CATALOG.names(kind)}
    return pa.table({**keys, **columns})


def test_the_shipped_model_is_small_and_says_whom_to_cite(trees: TreesPredictor) -> None:
    folder = resources.files("forewarn") / "models" / "disk"
    assert sum(len((folder / name).read_bytes()) for name in ("manifest.json", "trees.json")) < 2_000_000
    assert "Backblaze" in trees.learned_from
    assert "Backblaze" in trees.card.source
    assert registry.starter(Kind.MEMORY, CATALOG) is None


def test_only_signs_of_metrics_that_the_trees_do_not_know_are_added(joint: JointPredictor) -> None:
    added = {sign.feature for sign in joint.signs}
    assert {"disk_io_errors_increase_1h", "nvme_critical_warning_last", "smart_status_last"} <= added
    assert not {"smart_197_last", "smart_5_increase_30d", "smart_198_increase_30d"} & added


def test_a_drive_that_shows_no_such_sign_is_forecast_by_the_trees_alone(
    joint: JointPredictor, trees: TreesPredictor
) -> None:
    assert joint.forecast(rows(CALM)) == trees.forecast(rows(CALM))


def test_failed_requests_raise_the_risk_of_a_drive_whose_counters_are_calm(
    joint: JointPredictor, trees: TreesPredictor
) -> None:
    failing = {**CALM, "disk_io_errors_increase_1h": 50.0}
    (calm, made) = joint.forecast(rows(CALM, failing))
    (learned, _) = trees.forecast(rows(CALM, failing))
    threshold = joint.threshold(WEEK)
    assert threshold is not None
    assert (calm.within(WEEK) or 0.0) < threshold < (made.within(WEEK) or 0.0)
    assert made.reasons[0].feature == "disk_io_errors_increase_1h"
    assert made.model == f"{trees.name} and rules"
    assert made.learned_from == f"{trees.learned_from}; and rules"
    assert len(made.reasons) == 3
    for together, alone in zip(made.probabilities, learned.probabilities, strict=True):
        assert together > alone
    assert all(low <= p <= high for low, p, high in zip(made.low, made.probabilities, made.high, strict=True))


@pytest.mark.parametrize(
    ("values", "leaves"),
    [
        ({**CALM, "disk_io_errors_increase_1h": 1.0}, False),
        ({**CALM, "disk_io_errors_increase_1h": 10.0}, True),
        ({"smart_status_last": 1.0, "nvme_critical_warning_last": 2.0}, False),
        ({"smart_status_last": 1.0, "nvme_critical_warning_last": 4.0}, True),
        ({"smart_status_last": 1.0, "nvme_percentage_used_last": 130.0}, False),
        ({"smart_status_last": 1.0, "nvme_media_errors_increase_1d": 10.0}, True),
    ],
)
def test_signs_that_say_look_move_nothing_and_signs_that_say_act_do(
    joint: JointPredictor, values: Mapping[str, float], leaves: bool
) -> None:
    (made,) = build_forecaster().forecast({Kind.DISK: rows(values)})
    threshold = joint.threshold(WEEK)
    assert threshold is not None
    assert ((made.within(WEEK) or 0.0) > threshold) is leaves


def test_a_sign_that_adds_little_stands_behind_what_weighs_more(joint: JointPredictor) -> None:
    worn = {**CALM, "smart_197_last": 80.0, "smart_197_grown_30d": 80.0, "smart_187_last": 30.0}
    (alone, both) = joint.forecast(rows(worn, {**worn, "nvme_media_errors_increase_1d": 10.0}))
    assert both.probabilities > alone.probabilities
    assert both.reasons[0].feature != "nvme_media_errors_increase_1d"


def test_two_hazards_are_joined_as_independent_ones(joint: JointPredictor, trees: TreesPredictor) -> None:
    failing = rows({**CALM, "disk_io_errors_increase_1h": 50.0})
    learned = trees.curves(failing).probabilities
    shown = RulePredictor(Kind.DISK, joint.signs).shown(failing).probabilities
    joined = joint.curves(failing).probabilities
    assert np.allclose(1 - joined, (1 - learned) * (1 - shown))
    assert joint.forecast(failing)[0].probabilities == tuple(joined[0].tolist())


def test_trees_of_supplies_do_not_hold_a_lost_feed_against_the_supply(trees: TreesPredictor) -> None:
    names = CATALOG.names(Kind.POWER)
    columns = tuple(itertools.islice(itertools.cycle(names), len(trees.card.columns)))
    card = replace(trees.card, kind=Kind.POWER, columns=columns, telling=("psu_output_volts_last",))
    joint = JointPredictor(TreesPredictor(trees.booster, card, CATALOG), CATALOG)
    lost = {"psu_output_volts_last": 0.0, "psu_input_lost_max_1h": 1.0, "psu_input_lost_last": 1.0}
    supplies = rows({"psu_output_volts_last": 12.0}, lost, {}, kind=Kind.POWER)
    fed, unfed, silent = joint.forecast(supplies)
    assert (fed.model, silent.unknown) == (joint.name, True)
    assert (unfed.model, unfed.reasons[0].text) == ("rules", "input lost")
    assert unfed.look_at.startswith("the feed of sdb is lost")
    curves = joint.curves(supplies)
    assert tuple(curves.probabilities[1]) == unfed.probabilities
    assert curves.unknown.tolist() == [False, False, True]


def test_a_drive_that_the_trees_know_nothing_of_stays_unknown_to_them_and_is_forecast_by_rules(
    joint: JointPredictor,
) -> None:
    flash = rows({"nvme_critical_warning_last": 4.0, "smart_status_last": 1.0})
    assert joint.forecast(flash)[0].unknown
    forecaster = build_forecaster()
    (made,) = forecaster.forecast({Kind.DISK: flash})
    assert made.model == "rules"
    assert (made.within(WEEK) or 0.0) > forecaster.thresholds(WEEK)[Kind.DISK]
    (silent,) = forecaster.forecast({Kind.DISK: rows({})})
    assert silent.unknown


def test_the_default_forecaster_knows_every_kind_and_takes_the_evaluated_threshold(trees: TreesPredictor) -> None:
    thresholds = build_forecaster().thresholds(WEEK)
    assert set(thresholds) == set(COMPONENT_KINDS)
    assert thresholds[Kind.DISK] == trees.threshold(WEEK)


def test_a_site_names_its_own_model_or_the_rules(trees: TreesPredictor, tmp_path: Path) -> None:
    own = TreesPredictor(trees.booster, replace(trees.card, learned_from="our own drives"), CATALOG)
    registry.save(own, str(tmp_path / "own"))
    named = build_forecaster(PredictSettings({"disk": str(tmp_path / "own")})).sources()
    assert named[Kind.DISK] == (trees.name, "our own drives; and rules")
    ruled = build_forecaster(PredictSettings({"disk": "rules"}))
    (made,) = ruled.forecast({Kind.DISK: rows(CALM)})
    assert made.model == "rules"
    assert sources_sentence(ruled) == "Forecasts: cpu, memory, disk, network, power by rules."
    told = sources_sentence(build_forecaster())
    assert told.startswith("Forecasts: cpu, memory, network, power by rules; disk by trees ")
    assert trees.learned_from in told


def test_a_model_of_another_kind_and_a_kind_without_models_are_refused(trees: TreesPredictor, tmp_path: Path) -> None:
    registry.save(trees, str(tmp_path / "m"))
    with pytest.raises(ModelError, match="is a model of kind disk"):
        build_forecaster(PredictSettings({"power": str(tmp_path / "m")}))
    with pytest.raises(ModelError, match="holds no model"):
        build_forecaster(PredictSettings({"disk": str(tmp_path / "none")}))
    with pytest.raises(ValueError, match="models names host"):
        PredictSettings({"host": "x"})


def test_a_healthy_fleet_of_few_drives_per_model_raises_no_alarm(joint: JointPredictor, tmp_path: Path) -> None:
    clock = SimulatedClock(START)
    store = DuckDBStore(tmp_path / "telemetry.duckdb", DuckDBSettings())
    try:
        for batch in Simulation(11, clock, ONCE).world.history(30):
            store.append(batch)
        store.roll_up(clock.now())
        drives = frame.build(store.features(CATALOG, Kind.DISK, [clock.now()]), CATALOG, Kind.DISK)
    finally:
        store.close()
    curves = joint.curves(drives)
    threshold = joint.threshold(WEEK)
    assert threshold is not None
    weekly = curves.probabilities[~curves.unknown, 4]
    assert len(weekly) > 40
    assert (weekly < threshold).all()


@pytest.mark.parametrize("age_hours", [0.0, 100.0, 12_000.0, 40_000.0])
def test_on_the_first_day_when_nothing_has_a_past_yet_healthy_drives_raise_no_alarm(
    joint: JointPredictor, age_hours: float
) -> None:
    new = {name: value for name, value in CALM.items() if "_grown_" not in name} | {"power_on_hours": age_hours}
    sick = new | {"smart_187_last": 20.0, "smart_197_last": 80.0, "smart_198_last": 80.0}
    threshold = joint.threshold(WEEK)
    assert threshold is not None
    healthy, failing = joint.curves(rows(new, sick)).probabilities[:, 4]
    assert healthy < threshold < failing


def test_reasons_do_not_call_a_metric_unreported_when_only_its_peers_are_missing(trees: TreesPredictor) -> None:
    (made,) = trees.forecast(rows(CALM))
    assert not [reason.text for reason in made.reasons if reason.text.endswith("not reported")]
