"""The embedded store keeps what it is given, in one file, whatever order it comes in."""

import math
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import METRICS
from forewarn.errors import StoreUnavailable, TelemetryError
from forewarn.features.catalog import CATALOG
from forewarn.store.base import DEVICES, FRAME_KEYS, SAMPLES, TAKEN_BACK, WEIGHT, Batch
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from tests.telemetry import NOON, batch, device, devices, every, rows, samples

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LAST = Feature("last", Kind.DISK, "disk_temperature", Aggregate.LAST)
HEAT = Catalog(
    METRICS,
    (
        LAST,
        *(
            Feature(f"{aggregate}_{hours}", Kind.DISK, "disk_temperature", aggregate, timedelta(hours=hours))
            for aggregate in (Aggregate.INCREASE, Aggregate.COUNT, Aggregate.MAX, Aggregate.AVG)
            for hours in (1, 24, 240)
        ),
    ),
)


def heat(values: list[tuple[datetime, float]], component: str = "disk:A") -> Batch:
    return batch(component, "disk_temperature", values)


def row(store: DuckDBStore, at: datetime, catalog: Catalog = HEAT) -> dict[str, float | None]:
    names = [feature.name for feature in catalog.features]
    (found,) = store.features(catalog, Kind.DISK, [at]).select(names).to_pylist()
    return found


def held(store: DuckDBStore) -> list[float]:
    """The samples of the last hour before noon."""
    return list(store.series("disk:A", "disk_temperature", NOON - HOUR, NOON)["value"].to_numpy())


# --- keeping


def test_what_was_appended_is_there_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.duckdb"
    store = DuckDBStore(path)
    assert store.append(heat(every(NOON - 3 * DAY, 30 * MINUTE, [float(n) for n in range(144)]))) == 144
    store.roll_up(NOON)
    before = row(store, NOON), store.devices().to_pylist()
    store.close()
    again = DuckDBStore(path)
    assert again.notices == ()
    assert (row(again, NOON), again.devices().to_pylist()) == before
    again.append(heat([(NOON, 200.0)]))
    assert row(again, NOON)["increase_1"] == 200.0 - 142.0
    again.close()


def test_the_raw_samples_of_a_series_are_those_after_the_start_up_to_the_end() -> None:
    store = DuckDBStore(None)
    store.append(heat(every(NOON, MINUTE, [1.0, 2.0, 3.0, 4.0])))
    found = store.series("disk:A", "disk_temperature", NOON, NOON + 2 * MINUTE)
    assert found.to_pylist() == [
        {"time": NOON + MINUTE, "value": 2.0},
        {"time": NOON + 2 * MINUTE, "value": 3.0},
    ]
    assert store.series("disk:B", "disk_temperature", NOON, NOON + DAY).num_rows == 0


def test_metrics_outside_the_catalogue_are_kept_too() -> None:
    store = DuckDBStore(None)
    store.append(batch("disk:A", "forewarn_risk", [(NOON, 0.25)]))
    assert store.series("disk:A", "forewarn_risk", NOON - HOUR, NOON).column("value").to_pylist() == [0.25]


def test_an_empty_batch_is_no_trouble() -> None:
    store = DuckDBStore(None)
    assert store.append(Batch(SAMPLES.empty_table(), DEVICES.empty_table())) == 0
    assert store.features(CATALOG, Kind.DISK, [NOON]).num_rows == 0
    assert store.features(CATALOG, Kind.DISK, []).num_rows == 0


@pytest.mark.parametrize(
    "wrong",
    [
        Batch(pa.table({"time": [NOON]}), DEVICES.empty_table()),
        Batch(SAMPLES.empty_table(), SAMPLES.empty_table()),
        Batch(pa.Table.from_pylist([{"time": NOON, "component": "disk:A"}], schema=SAMPLES), DEVICES.empty_table()),
        heat(every(NOON, MINUTE, [1.0] * 11)),
    ],
)
def test_a_batch_of_another_shape_is_refused_whole(wrong: Batch) -> None:
    store = DuckDBStore(None, DuckDBSettings(batch_max=10))
    with pytest.raises(TelemetryError, match="a batch"):
        store.append(wrong)
    assert store.devices().num_rows == 0


def test_a_batch_that_cannot_be_stored_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.duckdb"
    DuckDBStore(path).close()
    with duckdb.connect(str(path)) as inside:
        inside.execute(
            "CREATE OR REPLACE TABLE samples(series INTEGER, time BIGINT, value DOUBLE CHECK (value < 100),"
            " before DOUBLE, before_time BIGINT, before_until BIGINT, weight INTEGER)"
        )
    store = DuckDBStore(path)
    store.append(heat([(NOON, 1.0)]))
    with pytest.raises(StoreUnavailable, match="failed: Constraint Error"):
        store.append(heat([(NOON + MINUTE, 100.0)], "disk:B"))
    store.append(heat([(NOON + MINUTE, 3.0)], "disk:C"))
    store.close()
    with duckdb.connect(str(path)) as inside:
        series = inside.execute("SELECT id, component FROM series ORDER BY id").fetchall()
    assert series == [(0, "disk:A"), (1, "disk:C")]
    again = DuckDBStore(path)
    assert again.features(HEAT, Kind.DISK, [NOON + MINUTE]).column("last").to_pylist() == [1.0, 3.0]
    again.close()


# --- late, doubled, too late


def test_a_late_sample_is_put_in_place_and_the_buckets_are_made_anew() -> None:
    store = DuckDBStore(None)
    store.append(heat([(NOON - 3 * HOUR, 10.0), (NOON - HOUR, 10.0), (NOON, 10.0)]))
    store.roll_up(NOON)
    assert row(store, NOON)["increase_24"] == 0.0
    store.append(heat([(NOON - 2 * HOUR, 4.0)]))
    assert row(store, NOON)["increase_24"] == 6.0
    assert row(store, NOON)["count_24"] == 4.0


def test_samples_that_come_twice_count_once() -> None:
    store = DuckDBStore(None)
    values = every(NOON - HOUR, 10 * MINUTE, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    store.append(heat(values))
    first = row(store, NOON)
    store.append(heat(values))
    assert row(store, NOON) == first
    assert store.series("disk:A", "disk_temperature", NOON - DAY, NOON).num_rows == 7


def test_samples_past_their_retention_are_refused_and_counted() -> None:
    store = DuckDBStore(None, DuckDBSettings(raw_days=2))
    store.append(heat(every(NOON - 5 * DAY, HOUR, [1.0] * 121)))
    store.roll_up(NOON)
    assert store.append(heat([(NOON - 4 * DAY, 99.0), (NOON + MINUTE, 1.0)])) == 1
    assert store.refused == 1
    assert row(store, NOON + MINUTE)["max_240"] == 1.0


def test_each_tier_is_dropped_when_its_own_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.duckdb"
    store = DuckDBStore(path, DuckDBSettings(raw_days=1, minute_hours=26, hour_days=5, day_days=8))
    store.append(heat(every(NOON - 10 * DAY, HOUR, [float(n) for n in range(241)])))
    store.roll_up(NOON)
    assert row(store, NOON)["count_240"] == 8 * 24
    store.close()
    with duckdb.connect(str(path)) as inside:
        tables = ("samples", "minutes", "hours", "days")
        counts = {table: inside.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables}  # noqa: S608
    assert counts["samples"] == 24 + 12
    assert counts["minutes"] == 26 - 1  # the newest is not settled
    assert counts["hours"] == 5 * 24 + 11
    assert counts["days"] == 8


def test_where_samples_are_past_their_retention_hourly_means_stand_in_for_a_chart() -> None:
    store = DuckDBStore(None, DuckDBSettings(raw_days=1))
    store.append(heat(every(NOON - 3 * DAY, 30 * MINUTE, [float(n % 2) for n in range(145)])))
    store.roll_up(NOON)
    found = store.series("disk:A", "disk_temperature", NOON - 3 * DAY, NOON)
    times = found.column("time").cast(pa.int64()).to_numpy()
    assert (times[1:] > times[:-1]).all()
    assert found.column("value").to_pylist()[1] == 0.5
    assert len(times) < 145


def test_roll_ups_change_no_answer() -> None:
    rolled, plain = DuckDBStore(None), DuckDBStore(None, DuckDBSettings(settle_s=100 * 86400))
    for number in range(0, 600, 50):
        values = [float((n * 7) % 13) for n in range(number, number + 50)]
        part = heat(every(NOON - 10 * DAY + number * 24 * MINUTE, 24 * MINUTE, values))
        rolled.append(part)
        plain.append(part)
        rolled.roll_up(NOON - 10 * DAY + (number + 50) * 24 * MINUTE)
    assert row(rolled, NOON) == pytest.approx(row(plain, NOON))


# --- live


def test_a_jump_is_seen_at_once_in_windows_under_a_day() -> None:
    store = DuckDBStore(None)
    store.append(heat(every(NOON - 2 * HOUR, MINUTE, [20.0] * 121)))
    store.features(HEAT, Kind.DISK, [NOON])
    store.append(heat([(NOON + timedelta(seconds=15), 75.0)]))
    assert row(store, NOON + timedelta(seconds=16))["increase_1"] == 55.0


def test_a_series_that_falls_silent_has_no_last_value_but_its_windows_keep_what_they_saw() -> None:
    store = DuckDBStore(None)
    store.append(heat(every(NOON - 3 * HOUR, MINUTE, [20.0, 30.0])))
    found = row(store, NOON)
    assert (found["last"], found["max_24"], found["count_1"]) == (None, 30.0, 0.0)


def test_kinds_asked_one_after_the_other_get_what_each_would_get_alone() -> None:
    catalog = Catalog(
        METRICS,
        (
            LAST,
            Feature("hour", Kind.DISK, "disk_temperature", Aggregate.INCREASE, HOUR),
            Feature("hour", Kind.CPU, "cpu_temperature", Aggregate.INCREASE, HOUR),
            Feature("day", Kind.CPU, "cpu_temperature", Aggregate.MAX, DAY),
        ),
    )
    together, alone = DuckDBStore(None), DuckDBStore(None)
    for store in (together, alone):
        store.append(heat(every(NOON - 2 * DAY, MINUTE * 10, [float(n) for n in range(288)])))
        store.append(
            batch("cpu:h/cpu", "cpu_temperature", every(NOON - DAY, MINUTE * 7, [float(n) for n in range(200)]))
        )
    for number in range(4):
        at = NOON + number * 20 * MINUTE
        for store in (together, alone):
            store.append(heat([(at, 500.0 + number)]))
        frames = [together.features(catalog, kind, [at]) for kind in (Kind.DISK, Kind.CPU)]
        again = [alone.features(catalog, kind, [at, at + MINUTE]).slice(0, 1) for kind in (Kind.DISK, Kind.CPU)]
        assert [frame.to_pylist() for frame in frames] == [frame.to_pylist() for frame in again]


def test_what_is_kept_within_the_hour_is_forgotten_when_a_sample_of_before_it_comes() -> None:
    store = DuckDBStore(None)
    store.append(heat(every(NOON - DAY, HOUR, [1.0] * 24)))
    assert row(store, NOON + MINUTE)["max_24"] == 1.0
    store.append(heat([(NOON - timedelta(seconds=5), 9.0)]))
    assert row(store, NOON + 2 * MINUTE)["max_24"] == 9.0
    assert row(store, NOON + 2 * MINUTE)["max_24"] == 9.0  # asked twice at a time


def test_values_older_than_a_window_are_the_same_whether_looked_up_or_kept_as_parts_come() -> None:
    def standing(component: str, values: list[tuple[datetime, float]]) -> Batch:
        made = heat(values, component)
        return Batch(made.samples, made.devices, until_marked=True)

    store = DuckDBStore(None)
    for number in (3, 1):
        store.append(standing(f"disk:{number}", every(NOON - 20 * DAY, HOUR, [10.0 * number, 10.0 * number + 1])))
    for minute in range(1, 9):
        at = NOON + minute * MINUTE
        if minute in (3, 6):
            store.append(standing(f"disk:{minute % 5}{minute}", [(at - timedelta(seconds=30), 70.0)]))
        for number in (3, 1):
            store.append(standing(f"disk:{number}", [(at - timedelta(seconds=20), float(minute))]))
        kept = store.features(HEAT, Kind.DISK, [at])
        looked_up = store.features(HEAT, Kind.DISK, [at, at + MINUTE]).slice(0, kept.num_rows)
        assert kept.to_pylist() == looked_up.to_pylist()
        by_part = {found["component"]: found for found in kept.to_pylist()}
        assert (by_part["disk:1"]["max_240"], by_part["disk:3"]["max_240"]) == (11.0, 31.0)


def test_metrics_of_the_host_are_joined_where_the_part_sits() -> None:
    catalog = Catalog(METRICS, (Feature("total", Kind.MEMORY, "memory_total", Aggregate.LAST),))
    store = DuckDBStore(None)
    for name, size in (("host01", 64.0), ("host02", 128.0)):
        store.append(Batch(samples(f"host:{name}", "memory_total", [(NOON, size)]), DEVICES.empty_table()))
        store.append(batch(f"memory:{name}/A1", "dimm_corrected", [(NOON, 0.0)], host=name))
    found = store.features(catalog, Kind.MEMORY, [NOON])
    assert found.column("total").to_pylist() == [64.0, 128.0]
    asked = rows((NOON, "memory:host02/A1"), (NOON, "memory:nobody/A1"))
    assert store.features(catalog, Kind.MEMORY, asked).column("total").to_pylist() == [128.0, None]


# --- parts and places


def test_a_fleet_outgrows_what_was_reserved_for_it() -> None:
    store = DuckDBStore(None)
    metrics = [metric.key for metric in METRICS if metric.kind is Kind.DISK]
    columns = [(f"disk:{number:03}", metric) for number in range(150) for metric in metrics]
    table: dict[str, list[Any]] = {
        "time": [NOON] * len(columns),
        "component": [component for component, _ in columns],
        "metric": [metric for _, metric in columns],
        "value": [float(number) for number in range(len(columns))],
    }
    parts = devices(*(device(f"disk:{number:03}", "host01", NOON, NOON) for number in range(150)))
    store.append(Batch(pa.Table.from_pydict(table, schema=SAMPLES), parts))
    heats = store.features(HEAT, Kind.DISK, [NOON]).column("last").to_pylist()
    at = metrics.index("disk_temperature")
    assert heats == [float(number * len(metrics) + at) for number in range(150)]
    for number in range(70):
        store.append(batch("disk:000", f"forewarn_{number}", [(NOON, float(number))]))
    assert store.series("disk:000", "forewarn_69", NOON - HOUR, NOON).column("value").to_pylist() == [69.0]
    assert store.features(HEAT, Kind.DISK, [NOON]).column("last").to_pylist() == heats


def test_a_part_has_rows_from_when_it_was_first_seen_until_it_is_forgotten() -> None:
    store = DuckDBStore(None, DuckDBSettings(forget_device_days=1))
    store.append(heat([(NOON, 1.0)]))
    times = [NOON - MINUTE, NOON, NOON + DAY, NOON + DAY + MINUTE]
    assert [store.features(HEAT, Kind.DISK, [time]).num_rows for time in times] == [0, 1, 1, 0]
    assert store.features(HEAT, Kind.CPU, [NOON]).num_rows == 0


def test_a_part_that_was_moved_is_where_it_was_at_the_asked_time() -> None:
    store = DuckDBStore(None)
    store.append(
        Batch(samples("disk:A", "disk_temperature", [(NOON, 1.0)]), devices(device("disk:A", "host01", NOON, NOON)))
    )
    moved = device("disk:A", "host02", NOON + DAY, NOON + DAY)
    store.append(Batch(samples("disk:A", "disk_temperature", [(NOON + DAY, 1.0)]), devices(moved)))
    asked = rows((NOON - DAY, "disk:A"), (NOON + HOUR, "disk:A"), (NOON + DAY, "disk:A"), (NOON, "disk:unheard"))
    found = store.features(HEAT, Kind.DISK, asked)
    assert found.column("host").to_pylist() == ["host01", "host01", "host02", ""]
    assert store.features(HEAT, Kind.DISK, [NOON + DAY]).column("host").to_pylist() == ["host02"]
    store.append(Batch(SAMPLES.empty_table(), devices(device("disk:A", "host01", NOON + 2 * DAY, NOON + 2 * DAY))))
    assert store.features(HEAT, Kind.DISK, [NOON + 2 * DAY]).column("host").to_pylist() == ["host01"]


def test_a_model_that_becomes_known_later_is_taken_over_and_never_forgotten(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "telemetry.duckdb")
    for model in ("", "ST4000", ""):
        store.append(Batch(SAMPLES.empty_table(), devices(device("disk:A", "host01", NOON, NOON, model=model))))
    assert store.features(HEAT, Kind.DISK, [NOON]).column("model").to_pylist() == ["ST4000"]
    store.close()
    again = DuckDBStore(tmp_path / "telemetry.duckdb")
    assert again.devices(Kind.DISK).column("model").to_pylist() == ["ST4000"]
    again.close()


def test_the_frame_has_its_keys_and_then_the_features_in_the_catalogues_order() -> None:
    store = DuckDBStore(None)
    store.append(heat([(NOON, 1.0)]))
    found = store.features(CATALOG, Kind.DISK, [NOON, NOON + MINUTE])
    assert found.schema.equals(pa.schema([*FRAME_KEYS, *((f.name, pa.float64()) for f in CATALOG.stored(Kind.DISK))]))
    assert found.column("time").to_pylist() == [NOON, NOON + MINUTE]
    with pytest.raises(TelemetryError, match="rows are asked for with the columns"):
        store.features(CATALOG, Kind.DISK, found)


def test_a_question_in_chunks_has_the_answers_of_one_in_whole() -> None:
    answers = []
    for pairs_max in (1, 1_000_000):
        store = DuckDBStore(None, DuckDBSettings(pairs_max=pairs_max))
        for name in "ABC":
            store.append(heat(every(NOON - 5 * DAY, 6 * HOUR, [float(n) for n in range(21)]), f"disk:{name}"))
        asked = rows(*((NOON - number * DAY, f"disk:{name}") for name in "CAB" for number in (0, 3, 1)))
        answers.append(store.features(HEAT, Kind.DISK, asked).to_pylist())
    assert answers[0] == answers[1]
    assert [found["component"] for found in answers[0]] == [f"disk:{name}" for name in "CCCAAABBB"]


# --- files


def test_a_file_that_is_in_use_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **__: object) -> None:
        raise duckdb.IOException('Could not set lock on file "telemetry.duckdb": Conflicting lock is held')

    monkeypatch.setattr(duckdb, "connect", locked)
    with pytest.raises(StoreUnavailable, match="in use by another process: stop it"):
        DuckDBStore(tmp_path / "telemetry.duckdb")


def test_a_file_is_opened_once_in_a_process(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "telemetry.duckdb")
    with pytest.raises(StoreUnavailable, match="is open already"):
        DuckDBStore(tmp_path / "." / "telemetry.duckdb")
    store.close()
    DuckDBStore(tmp_path / "telemetry.duckdb").close()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.duckdb"
    text.write_text("not a database " * 1000)
    with pytest.raises(TelemetryError, match="is no telemetry store: name another file"):
        DuckDBStore(text)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as inside:
        inside.execute("CREATE TABLE bills(total INTEGER)")
    with pytest.raises(TelemetryError, match="is a DuckDB file of something else: name another file"):
        DuckDBStore(other)
    with duckdb.connect(str(other)) as inside:
        assert inside.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("bills",)]


def test_a_store_of_the_first_version_is_taken_over_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.duckdb"
    store = DuckDBStore(path)
    store.append(heat([(NOON - MINUTE, math.nan), (NOON, 5.0)]))
    store.close()
    with duckdb.connect(str(path)) as inside:
        inside.execute("ALTER TABLE samples DROP COLUMN weight")
        inside.execute("DROP TABLE sixths")
        inside.execute("DELETE FROM forewarn WHERE key = 'rolled_sixths'")
        inside.execute("UPDATE forewarn SET value = '1' WHERE key = 'version'")
    for _ in range(2):
        again = DuckDBStore(path)
        again.append(heat([(NOON, math.nan), (NOON - MINUTE, 4.0)]))
        assert held(again) == [4.0, 5.0]
        assert again.features(HEAT, Kind.DISK, [NOON]).num_rows == 1
        again.close()


def test_of_several_samples_of_one_time_the_heaviest_stands_and_of_equals_the_later() -> None:
    store = DuckDBStore(None)

    def stands(value: float, weight: int) -> float:
        weights = pa.chunked_array([pa.array([weight], WEIGHT)])
        store.append(replace(heat([(NOON, value)]), weights=weights))
        return held(store)[0]

    assert stands(7.0, 4) == 7.0
    assert stands(100.0, 2) == 7.0  # a part of a value
    assert stands(-9.0, 4) == -9.0  # a body that came again
    assert stands(107.0, 6) == 107.0
    assert stands(math.nan, 0) == 107.0
    assert math.isnan(stands(math.nan, TAKEN_BACK))
    assert stands(3.0, 1) == 3.0
    store.close()


@pytest.mark.parametrize("weights", [pa.array([1, 1], WEIGHT), pa.array([1.0])])
def test_weights_of_another_shape_are_refused(weights: "pa.Array[Any]") -> None:
    store = DuckDBStore(None)
    with pytest.raises(TelemetryError, match="weights are one int32 for each of its samples"):
        store.append(replace(heat([(NOON, 1.0)]), weights=pa.chunked_array([weights])))
    store.close()


def test_a_store_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.duckdb"
    DuckDBStore(path).close()
    with duckdb.connect(str(path)) as inside:
        inside.execute("UPDATE forewarn SET value = '99' WHERE key = 'version'")
    with pytest.raises(TelemetryError, match="is a store of version 99"):
        DuckDBStore(path)


@pytest.mark.parametrize("keep", [5_000, 12_288 + 100])
def test_a_store_that_was_cut_off_or_overwritten_is_said_to_be_damaged(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "telemetry.duckdb"
    store = DuckDBStore(path)
    store.append(heat(every(NOON, MINUTE, [float(number) for number in range(1000)])))
    store.close()
    whole = path.read_bytes()
    for broken in (whole[:keep], whole[:keep] + bytes(len(whole) - keep)):
        path.write_bytes(broken)
        with pytest.raises(TelemetryError, match=r"is damaged: .* Move it away"):
            DuckDBStore(path)
    path.write_bytes(whole)
    DuckDBStore(path).close()


@pytest.mark.parametrize("change", ["DROP TABLE series", "ALTER TABLE forewarn RENAME COLUMN key TO lost"])
def test_a_store_that_lacks_something_is_said_to_be_damaged(tmp_path: Path, change: str) -> None:
    path = tmp_path / "telemetry.duckdb"
    DuckDBStore(path).close()
    with duckdb.connect(str(path)) as inside:
        inside.execute(change)
    with pytest.raises(TelemetryError, match=r"is damaged: .* Move it away"):
        DuckDBStore(path)


def test_a_folder_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        DuckDBStore(tmp_path / "nowhere" / "telemetry.duckdb")


def test_a_closed_store_says_so_and_closing_twice_is_fine() -> None:
    store = DuckDBStore(None)
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.append(heat([(NOON, 1.0)]))
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.series("disk:A", "disk_temperature", NOON, NOON)


def test_readers_and_a_writer_can_work_at_once() -> None:
    store = DuckDBStore(None)
    store.append(heat([(NOON, 0.0)]))
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                store.series("disk:A", "disk_temperature", NOON - DAY, NOON + DAY)
                store.features(HEAT, Kind.DISK, [NOON])
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 40):
        store.append(heat([(NOON + number * MINUTE, float(number))]))
    for reader in readers:
        reader.join()
    assert failures == []
    assert store.series("disk:A", "disk_temperature", NOON - DAY, NOON + DAY).num_rows == 40


def test_a_marker_ends_the_last_value() -> None:
    store = DuckDBStore(None)
    store.append(heat([(NOON, 5.0), (NOON + MINUTE, math.nan)]))
    assert row(store, NOON + timedelta(seconds=30))["last"] == 5.0
    assert row(store, NOON + MINUTE)["last"] is None


def test_of_too_many_series_what_is_known_goes_on_and_what_is_new_is_refused_and_counted() -> None:
    store = DuckDBStore(None, DuckDBSettings(series_max=2))
    for number in range(4):
        store.append(heat([(NOON, float(number))], f"disk:{number}"))
    assert store.append(heat([(NOON + MINUTE, 5.0)], "disk:1")) == 1
    assert (store.size, store.refused) == (2, 2)
    assert store.devices().column("component").to_pylist() == ["disk:0", "disk:1"]
    assert store.features(HEAT, Kind.DISK, [NOON + MINUTE]).column("last").to_pylist() == [0.0, 5.0]
    store.close()
