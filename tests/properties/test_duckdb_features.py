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

Reading = tuple[datetime, float]


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


# --- the plain reading


def window_of(asked: datetime, length: timedelta) -> tuple[datetime, datetime]:
    if length >= timedelta(days=7):
        end = asked.replace(hour=0, minute=0, second=0, microsecond=0)
    elif length >= timedelta(days=1):
        end = asked.replace(minute=0, second=0, microsecond=0)
    else:
        end = asked
    return end - length, end


def standing(readings: Sequence[Reading], at: datetime, until_marked: bool) -> Reading | None:
    """The value that holds at a time."""
    before = [reading for reading in readings if reading[0] <= at]
    if not before or math.isnan(before[-1][1]):
        return None
    time, _ = before[-1]
    return before[-1] if until_marked or at - time <= HOLD else None


def slope(inside: Sequence[Reading]) -> float:
    hours: dict[int, list[float]] = {}
    for time, value in inside:
        hours.setdefault(-((START - time) // timedelta(hours=1)), []).append(value)
    points = [(hour, sum(values) / len(values)) for hour, values in hours.items()]
    if len(points) < 2:
        return math.nan
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 24 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def naive(way: Way, asked: datetime, aggregate: Aggregate, length: timedelta) -> float:
    if aggregate is Aggregate.LAST:
        held = standing(way.readings, asked, way.until_marked)
        return held[1] if held else math.nan
    start, end = window_of(asked, length)
    inside = [r for r in way.readings if start < r[0] <= end and not math.isnan(r[1])]
    begin = standing(way.readings, start, way.until_marked)
    if aggregate is Aggregate.COUNT:
        ever = any(r[0] <= end and not math.isnan(r[1]) for r in way.readings)
        return float(len(inside)) if ever else math.nan
    if aggregate is Aggregate.SLOPE:
        return slope(inside)
    if not inside and begin is None:
        return math.nan
    return of_values([begin] if begin else [], inside, aggregate, end, length)


def of_values(
    begin: list[Reading], inside: list[Reading], aggregate: Aggregate, end: datetime, length: timedelta
) -> float:
    path = begin + inside
    values = [value for _, value in path]
    sampled = [value for _, value in inside] or values
    mean = sum(sampled) / len(sampled)
    steps = [(b[0], b[1] - a[1]) for a, b in itertools.pairwise(path)]
    changed = [time for time, step in steps if step != 0]
    age = (end - changed[-1]) if changed else length
    found = {
        Aggregate.FIRST: values[0],
        Aggregate.MIN: min(values),
        Aggregate.MAX: max(values),
        Aggregate.AVG: mean,
        Aggregate.STDDEV: math.sqrt(sum((value - mean) ** 2 for value in sampled) / len(sampled)),
        Aggregate.INCREASE: sum(max(0.0, step) for _, step in steps),
        Aggregate.DELTA: values[-1] - values[0],
        Aggregate.CHANGES: float(len(changed)),
        Aggregate.AGE: age.total_seconds(),
    }
    return found[aggregate]


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
    for feature in CATALOG.features:
        expected = naive(way, asked, feature.aggregate, feature.window)
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
