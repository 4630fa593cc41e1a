"""The words hold together: curves, indexes, identities and the catalogue's digest."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.domain.feature import Aggregate, Catalog, DerivedFeature, Feature, Formula
from forewarn.domain.inventory import Cluster, Component, Host, Kind, VirtualMachine, component_id
from forewarn.domain.metrics import IDENTITIES, METRICS
from forewarn.domain.plan import MoveState
from forewarn.domain.risk import HORIZON_NAMES, HORIZONS, FailureForecast, Risk
from forewarn.domain.situation import Situation, Workload
from forewarn.domain.telemetry import Metric

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def forecast(*probabilities: float) -> FailureForecast:
    return FailureForecast("disk:A", Kind.DISK, "h1", "sda", NOW, probabilities=probabilities)


curves = st.lists(st.floats(0, 1), min_size=6, max_size=6).map(lambda values: tuple(sorted(values)))


@given(curves, st.floats(60, 40 * 86400), st.floats(60, 40 * 86400))
def test_a_longer_horizon_never_has_a_smaller_probability(curve: tuple[float, ...], one: float, other: float) -> None:
    short, long = sorted((one, other))
    made = forecast(*curve)
    earlier, later = made.within(timedelta(seconds=short)), made.within(timedelta(seconds=long))
    assert earlier is not None
    assert later is not None
    assert 0 <= earlier <= later + 1e-9 <= 1 + 1e-9


@pytest.mark.parametrize(("horizon", "wanted"), list(zip(HORIZONS, (0.01, 0.02, 0.05, 0.1, 0.2, 0.4), strict=True)))
def test_each_horizon_reads_its_own_point(horizon: timedelta, wanted: float) -> None:
    assert forecast(0.01, 0.02, 0.05, 0.1, 0.2, 0.4).within(horizon) == wanted


def test_between_horizons_the_hazard_is_constant() -> None:
    made = forecast(0.1, 0.1, 0.1, 0.1, 0.1, 0.5)
    halfway = timedelta(days=7) + timedelta(days=23) / 2
    hazard = (math.log(1 / 0.9) + math.log(1 / 0.5)) / 2
    assert made.within(halfway) == pytest.approx(1 - math.exp(-hazard))
    assert made.within(timedelta(minutes=30)) == pytest.approx(1 - math.sqrt(0.9))
    assert made.within(timedelta(days=90)) == 0.5


def test_an_unknown_forecast_has_no_probability() -> None:
    made = replace(forecast(), unknown_because="no SMART attributes")
    assert made.unknown
    assert made.within(HORIZONS[0]) is None


def test_a_risk_exceeds_its_threshold_only_above_it() -> None:
    risk = Risk("disk:A", Kind.DISK, "h1", 0.2, HORIZONS[4], 0.2)
    assert not risk.exceeds
    assert replace(risk, probability=0.21).exceeds


def test_every_horizon_has_a_name() -> None:
    assert len(HORIZONS) == len(HORIZON_NAMES)


def test_a_part_keeps_its_name_when_it_moves_to_another_host() -> None:
    assert component_id(Kind.DISK, "h1", "sda", "ZA1") == component_id(Kind.DISK, "h2", "sdb", "ZA1") == "disk:ZA1"
    assert component_id(Kind.CPU, "h1", "") == "cpu:h1/cpu"


def test_a_cluster_finds_what_is_where() -> None:
    vm = VirtualMachine("v1", "web", "h1", 1, 2**30)
    lost = VirtualMachine("v2", "db", "h9", 1, 2**30)
    part = Component("disk:A", Kind.DISK, "h1", "sda")
    stray = Component("disk:B", Kind.DISK, "h9", "sda")
    cluster = Cluster(NOW, 1, (Host("h1"), Host("h2")), (part, stray), (vm, lost))
    assert cluster.host_by_name["h2"] == Host("h2")
    assert cluster.vm_by_id["v1"] is vm
    assert cluster.component_by_id["disk:A"] is part
    assert cluster.vms_by_host == {"h1": (vm,), "h2": (), "h9": (lost,)}
    assert cluster.components_by_host == {"h1": (part,), "h2": (), "h9": (stray,)}


def test_a_situation_finds_workloads_and_forecasts() -> None:
    made = forecast(*[0.1] * 6)
    workload = Workload("v1", 1.0, 1e6, 2**20)
    situation = Situation(Cluster(NOW), (made, replace(made, component="disk:B")), (workload,))
    assert situation.workload_by_vm == {"v1": workload}
    assert [f.component for f in situation.forecasts_by_host["h1"]] == ["disk:A", "disk:B"]


def test_only_the_last_four_states_of_a_move_are_final() -> None:
    assert [state for state in MoveState if not state.final] == [MoveState.INTENDED, MoveState.RUNNING]


METRIC = Metric("m", Kind.DISK, "some_metric", "words")
FEATURES = (
    Feature("m_last", Kind.DISK, "m", Aggregate.LAST, text="{value}"),
    Feature("c_last", Kind.CPU, "m", Aggregate.LAST),
)
DERIVED = (DerivedFeature("m_rank", Kind.DISK, Formula.PEER_RANK, ("m_last",)),)
CATALOG = Catalog((METRIC,), FEATURES, DERIVED)


def test_the_columns_of_a_kind_are_its_stored_and_then_its_computed_features() -> None:
    assert CATALOG.names(Kind.DISK) == ("m_last", "m_rank")
    assert CATALOG.names(Kind.CPU) == ("c_last",)
    assert CATALOG.metric_by_key == {"m": METRIC}


def test_the_digest_follows_meaning_and_not_words() -> None:
    reworded = Catalog((replace(METRIC, help="other"),), (replace(FEATURES[0], text="!"), FEATURES[1]), DERIVED)
    other_window = Catalog((METRIC,), (replace(FEATURES[0], aggregate=Aggregate.MAX), FEATURES[1]), DERIVED)
    other_metric = Catalog((replace(METRIC, counter=True),), FEATURES, DERIVED)
    other_kind = Catalog((METRIC,), (FEATURES[0],), DERIVED)
    assert reworded.digest(Kind.DISK) == CATALOG.digest(Kind.DISK) == other_kind.digest(Kind.DISK)
    assert other_window.digest(Kind.DISK) != CATALOG.digest(Kind.DISK) != other_metric.digest(Kind.DISK)


def test_every_metric_has_one_key_and_words() -> None:
    assert len({metric.key for metric in METRICS}) == len(METRICS)
    assert all(metric.help for metric in METRICS)
    assert {identity.kind for identity in IDENTITIES} == {Kind.DISK, Kind.NETWORK, Kind.VM}
