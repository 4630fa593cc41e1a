"""The numbers behind the charts of one component."""

import math
from dataclasses import replace
from datetime import timedelta

import httpx
import pyarrow as pa

from forewarn.domain.inventory import Kind, component_id
from forewarn.domain.risk import Reason
from forewarn.domain.situation import Snapshot
from forewarn.features.catalog import CATALOG
from forewarn.store.base import DEVICES, SAMPLES, Batch
from forewarn.store.duckdb import DuckDBStore
from forewarn.web.charts import curve_of, histories_of, metrics_of, since_it_moved, thinned
from forewarn.web.fleet import Fleet, fleet_of, key_of
from forewarn.web.settings import WebSettings
from tests.api.test_fleet import small
from tests.shown import NOW, Shelf, forecast_of, serving

SETTINGS = WebSettings()


def store_with(component: str, *metrics: str) -> DuckDBStore:
    """A store with ten hourly samples of each metric."""
    times = [NOW - timedelta(hours=hour) for hour in range(10, 0, -1)]
    rows = [(time, component, metric, float(i)) for metric in metrics for i, time in enumerate(times)]
    columns = [pa.array([row[i] for row in rows], SAMPLES.field(i).type) for i in range(4)]
    store = DuckDBStore(None)
    store.append(Batch(pa.Table.from_arrays(columns, schema=SAMPLES), DEVICES.empty_table()))
    return store


def test_the_curve_is_in_per_cent_with_its_threshold_and_the_fleets_median() -> None:
    fleet = fleet_of(small(("a", 0.2), ("b", 0.02), ("c", 0.02)))
    curve = curve_of(fleet, fleet.cells[0], fleet.snapshot.forecasts[0])
    assert curve is not None
    assert curve["horizons"] == ["1 hour", "6 hours", "24 hours", "3 days", "7 days", "30 days"]
    assert math.isclose(curve["risk"][4], 20.0)
    assert curve["risk"] == sorted(curve["risk"])
    assert all(low <= risk <= high for low, risk, high in zip(curve["low"], curve["risk"], curve["high"], strict=True))
    assert (curve["threshold"], curve["threshold_at"]) == (10.0, "7 days")
    assert math.isclose(curve["median"], 2.0)


def test_an_unknown_risk_has_no_curve() -> None:
    fleet = fleet_of(small(("a", 0.0), unknown="dark"))
    assert curve_of(fleet, fleet.cells[0], fleet.snapshot.forecasts[0]) is None
    assert curve_of(fleet, fleet.cells[0], None) is None


def test_a_curve_without_a_threshold_says_so() -> None:
    fleet = fleet_of(small(("a", 0.2), thresholds={}))
    curve = curve_of(fleet, fleet.cells[0], fleet.snapshot.forecasts[0])
    assert curve is not None
    assert curve["threshold"] is None


def test_a_derived_feature_leads_to_the_metrics_behind_it() -> None:
    for derived in CATALOG.derived:
        assert metrics_of(derived.name), derived.name


def of(fleet: Fleet, store: DuckDBStore, *features: str) -> list[str]:
    reasons = tuple(Reason(feature, "", 1.0) for feature in features)
    forecast = replace(fleet.snapshot.forecasts[0], reasons=reasons)
    found = histories_of(store, SETTINGS, fleet.cells[0], forecast, NOW)
    return [history["title"] for history in found]


def test_the_charts_show_the_telemetry_behind_the_reasons_first() -> None:
    fleet = fleet_of(small(("a", 0.2)))
    store = store_with("cpu:a", "cpu_frequency", "cpu_temperature")
    help_of = {key: metric.help for key, metric in CATALOG.metric_by_key.items()}
    assert of(fleet, store, "cpu_temperature_last") == [help_of["cpu_temperature"], help_of["cpu_frequency"]]
    assert of(fleet, store, "cpu_frequency_last", "cpu_temperature_last")[0] == help_of["cpu_frequency"]
    assert of(fleet, store, "no feature of ours") != []
    store.close()


def test_a_reason_stands_beside_the_telemetry_that_it_was_read_off_and_beside_no_other() -> None:
    fleet = fleet_of(small(("a", 0.2)))
    store = store_with("cpu:a", "cpu_frequency", "cpu_temperature")
    reason = Reason("cpu_temperature_last", "CPU reached 97 °C", 1.0)
    forecast = replace(fleet.snapshot.forecasts[0], reasons=(reason,))
    found = histories_of(store, SETTINGS, fleet.cells[0], forecast, NOW)
    assert [history["reasons"] for history in found] == [["CPU reached 97 °C"], []]
    store.close()


def test_without_samples_there_are_no_charts() -> None:
    fleet = fleet_of(small(("a", 0.2)))
    store = DuckDBStore(None)
    assert histories_of(store, SETTINGS, fleet.cells[0], None, NOW) == []
    store.close()


def test_a_gap_stays_a_gap() -> None:
    fleet = fleet_of(small(("a", 0.2)))
    store = store_with("cpu:a", "cpu_temperature")
    row = pa.Table.from_pylist(
        [{"time": NOW, "component": "cpu:a", "metric": "cpu_temperature", "value": math.nan}], schema=SAMPLES
    )
    store.append(Batch(row, DEVICES.empty_table()))
    (history,) = histories_of(store, SETTINGS, fleet.cells[0], None, NOW)
    assert history["value"][-1] is None
    assert history["value"][:3] == [0.0, 1.0, 2.0]
    store.close()


def test_a_chart_begins_shortly_before_its_values_moved() -> None:
    days = [(NOW - timedelta(days=30 - day), 0.0) for day in range(30)]
    minutes = [(NOW - timedelta(minutes=9 - minute), float(minute)) for minute in range(10)]
    shown = since_it_moved([*days, *minutes])
    assert shown == [days[-1], *minutes]
    assert since_it_moved(days) is days
    early = [(NOW - timedelta(days=30), 5.0), *days[1:], *minutes]
    assert since_it_moved(early) is early


def test_thinning_keeps_the_peaks() -> None:
    points = [(NOW + timedelta(seconds=i), float(i == 3333) - float(i == 7777)) for i in range(10_000)]
    kept = thinned(points, 200)
    assert len(kept) <= 200
    assert {value for _, value in kept} == {0.0, 1.0, -1.0}
    assert [time for time, _ in kept] == sorted(time for time, _ in kept)
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_thinning_leaves_short_series_and_outlives_gaps() -> None:
    points = [(NOW + timedelta(seconds=i), math.nan) for i in range(50)]
    assert thinned(points, 50) is points
    assert 0 < len(thinned(points, 8)) <= 8


def test_figures_are_served_by_the_components_key(busy: Snapshot) -> None:
    disk = component_id(Kind.CPU, "host03", "cpu0")
    forecast = forecast_of(busy.cluster.component_by_id[disk], 0.2)
    others = tuple(f for f in busy.forecasts if f.component != disk)
    store = store_with(disk, "cpu_temperature")
    with serving(Shelf(replace(busy, forecasts=(forecast, *others))).read, store=store) as server:
        answer = httpx.get(f"{server.address}/figures/{key_of('host03', disk)}").json()
    assert len(answer["curve"]["risk"]) == 6
    assert [len(history["value"]) for history in answer["histories"]] == [10]
    store.close()
