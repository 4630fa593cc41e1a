"""What DuckDB computes is what a plain reading of the definitions gives, whatever way the samples took."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Metric
from forewarn.store.base import DEVICES, ROWS, SAMPLES, Batch
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from tests.plain_reading import PlainSeries, Reading

START = datetime(2026, 1, 1, tzinfo=UTC)
HOLD = timedelta(hours=1)
WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 72, 168, 240))
METRIC = Metric("errors", Kind.DISK, "errors_total", "errors", counter=True, hold_s=HOLD.total_seconds())
CATALOG = Catalog(
    (METRIC,),
    tuple(
        Feature(f"{aggregate}_{window // timedelta(hours=1)}h", Kind.DISK, METRIC.key, aggregate, window)
        for aggregate in Aggregate
        for window in WINDOWS
    ),
)


@dataclass(frozen=True)
class Way:
    """Samples, the batches in which they came, and when the store was rolled up in between."""

    batches: tuple[tuple[Reading, ...], ...]
    rolled: tuple[datetime | None, ...]
    until_marked: bool
    asked: tuple[datetime, ...]

    @property
    def readings(self) -> list[Reading]:
        """What stands in the end: of two values of one time the later one, and any value before a marker."""
        kept: dict[datetime, float] = {}
        for time, value in (reading for batch in self.batches for reading in batch):
            held = kept.get(time, math.nan)
            kept[time] = held if math.isnan(value) else value
        return sorted(kept.items())


# --- what is drawn

VALUES = st.one_of(
    st.integers(0, 4).map(float),
    st.sampled_from([0.0, 1.0, 7.25, 1000.0]),
    st.just(math.nan),
)
SPACINGS = (timedelta(seconds=20), timedelta(minutes=10), timedelta(minutes=59), timedelta(hours=5), timedelta(days=1))


@st.composite
def readings(draw: st.DrawFn) -> list[Reading]:
    """Bursts of samples: dense, sparse, with gaps, resets, repeated times and markers, often on a boundary."""
    found, time = [], START
    for _ in range(draw(st.integers(1, 4))):
        spacing = draw(st.sampled_from(SPACINGS))
        for value in draw(st.lists(VALUES, min_size=1, max_size=6)):
            found.append((time, value))
            time += spacing * draw(st.integers(0, 2))
        time += draw(st.sampled_from([timedelta(0), timedelta(minutes=30), timedelta(hours=3), timedelta(days=3)]))
    return found


@st.composite
def ways(draw: st.DrawFn) -> Way:
    drawn = draw(readings())
    order = draw(st.permutations(drawn)) if draw(st.booleans()) else drawn
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=3)))
    borders = [0, *cuts, len(order)]
    batches = tuple(tuple(order[a:b]) for a, b in itertools.pairwise(borders))
    end = max(time for time, _ in drawn)
    moments = st.one_of(
        st.sampled_from([time for time, _ in drawn]),
        st.integers(0, 60 * 24 * 14).map(lambda minutes: START + timedelta(minutes=minutes)),
        st.just(end + timedelta(seconds=1)),
        st.just((end + timedelta(days=1)).replace(hour=0, minute=0, second=0)),
    )
    rolled = tuple(draw(st.one_of(st.none(), moments)) for _ in batches)
    asked = tuple(draw(st.lists(moments, min_size=1, max_size=3, unique=True)))
    return Way(batches, rolled, draw(st.booleans()), asked)


# --- what the store says


def batch_of(component: str, found: Sequence[Reading], until_marked: bool) -> Batch:
    rows = [{"time": time, "component": component, "metric": METRIC.key, "value": value} for time, value in found]
    device = {"component": component, "kind": "disk", "host": "host01", "device": "sda", "model": "M"}
    seen = {"first_seen": START - timedelta(days=400), "last_seen": START + timedelta(days=400)}
    return Batch(
        pa.Table.from_pylist(rows, schema=SAMPLES),
        pa.Table.from_pylist([device | seen], schema=DEVICES),
        until_marked,
    )


def filled(way: Way, settings: DuckDBSettings) -> DuckDBStore:
    store = DuckDBStore(None, settings)
    for found, rolled in zip(way.batches, way.rolled, strict=True):
        store.append(batch_of("disk:A", found, way.until_marked))
        store.append(batch_of("disk:B", found[:1], way.until_marked))
        if rolled is not None:
            store.features(CATALOG, Kind.DISK, [rolled])
    return store


def answers(table: pa.Table, component: str) -> Iterator[dict[str, float]]:
    for row in table.to_pylist():
        if row["component"] == component:
            yield {f.name: math.nan if row[f.name] is None else row[f.name] for f in CATALOG.features}


def assert_same(found: dict[str, float], way: Way, asked: datetime) -> None:
    plain = PlainSeries(way.readings, None if way.until_marked else HOLD)
    for feature in CATALOG.features:
        expected = plain.value(asked, feature.aggregate, feature.window)
        got = found[feature.name]
        same = (math.isnan(got) and math.isnan(expected)) or math.isclose(got, expected, rel_tol=1e-6, abs_tol=1e-6)
        assert same, f"{feature.name} at {asked}: {got} instead of {expected}"


GAP_OVER_A_WINDOWS_START = Way(
    (((START, 5.0), (START + timedelta(hours=30), 9.0)),),
    (None,),
    False,
    (START + timedelta(hours=30, minutes=10),),
)


@settings(max_examples=25)  # each fills a store and asks every aggregate of it
@given(ways(), st.sampled_from([0.0, 60.0]), st.sampled_from([2.0, 30.0]))
@example(GAP_OVER_A_WINDOWS_START, 60.0, 30.0)
def test_every_aggregate_is_what_its_definition_says_by_whatever_way_samples_came(
    way: Way, settle_s: float, minute_hours: float
) -> None:
    store = filled(way, DuckDBSettings(settle_s=settle_s, minute_hours=minute_hours, threads=1, forget_device_days=500))
    for asked in way.asked:
        (found,) = answers(store.features(CATALOG, Kind.DISK, [asked]), "disk:A")
        assert_same(found, way, asked)
    store.close()


@settings(max_examples=25)
@given(ways())
def test_rows_and_times_get_the_same_answers(way: Way) -> None:
    settings = DuckDBSettings(threads=1, pairs_max=2, forget_device_days=500)
    store = filled(way, settings)
    by_times = store.features(CATALOG, Kind.DISK, list(way.asked))
    rows = by_times.select(ROWS.names).take(pa.array(range(by_times.num_rows - 1, -1, -1)))
    by_rows = store.features(CATALOG, Kind.DISK, rows)
    backwards = by_rows.take(pa.array(range(by_rows.num_rows - 1, -1, -1)))
    assert repr(by_times.to_pylist()) == repr(backwards.to_pylist())
    store.close()
