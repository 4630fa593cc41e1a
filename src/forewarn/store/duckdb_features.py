"""A feature question to the DuckDB store: chunk by chunk from rows to merged states, and from those to columns.

The compiler's SQL runs here, over tables of this question alone: which series stand behind its rows, and of which
buckets its windows are made. Where a window holds no sample, the newest state before its end is added: from the index
if nothing newer has come, else from the store.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Metric
from forewarn.store import duckdb_sql as sql
from forewarn.store.duckdb_file import ask
from forewarn.store.finish import NEEDS, STATE_FIELDS, TIME_FIELDS, Ask, Column, States, filled, finish
from forewarn.store.index import Heads, Numbers, SeriesIndex
from forewarn.store.windows import FOREVER, HOUR, NEVER, SECOND, Kept, Spans, Tier, Times, Window, cover, floor

_LAST = Window(0, 1)
_FROZEN_MAX = 32  # chunks of a live fleet: half a million parts

# Made once: pyarrow looks for pandas each time that it meets a Python value.
_EMPTY_TIME = {name: pa.scalar(int(filled(name, 1)[0])) for name in TIME_FIELDS}

Doubles: TypeAlias = "pa.Array[Any]"


@dataclass(frozen=True)
class Rows:
    """What is asked for: parts at times, and the host's own component beside each, -1 where unknown."""

    time: Times
    component: Numbers
    host: Numbers

    def where(self, chosen: Numbers) -> "Rows":
        return Rows(self.time[chosen], self.component[chosen], self.host[chosen])

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class Store:
    """What a question reads: a connection, the index, and what is rolled up, from coarse to fine.

    `frozen` holds what the last question for one time has left behind for the next, if anything.
    """

    connection: duckdb.DuckDBPyConnection
    index: SeriesIndex
    kept: Sequence[Kept]
    pairs_max: int
    frozen: "list[Frozen]"


Arrays: TypeAlias = dict[str, NDArray[Any]]
Merged: TypeAlias = "dict[tuple[int, Window], Arrays]"
Latest: TypeAlias = dict[tuple[int, int], tuple[Numbers, Heads]]  # per metric and unit: series, and their states

_NO_HEADS = (np.empty(0, np.int64), Heads(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)))


def values(store: Store, catalog: Catalog, features: Sequence[Feature], rows: Rows) -> dict[Feature, Column]:
    """The values of `features` for `rows`, NaN where unknown; features of which the store has no series are left out.

    Chunks of rows bound what is held at a time.
    """
    present = {key for key in {f.metric for f in features} if store.index.metrics.find(key) >= 0}
    asked = [feature for feature in features if feature.metric in present]
    if not asked or not len(rows):
        return {}
    pairs = np.cumsum(_pairs_of_rows(store, catalog, present, rows))
    if pairs[-1] <= store.pairs_max:
        return _Chunk(store, catalog, asked, rows).columns()
    found = {feature: np.full(len(rows), np.nan) for feature in asked}
    order = np.argsort(rows.time, kind="stable")
    pairs = np.cumsum(np.diff(pairs, prepend=0)[order])
    begin = 0
    while begin < len(rows):
        full = pairs[begin - 1] + store.pairs_max if begin else store.pairs_max
        end = max(begin + 1, int(np.searchsorted(pairs, full, side="right")))
        chunk = order[begin:end]
        for feature, column in _Chunk(store, catalog, asked, rows.where(chunk)).columns().items():
            found[feature][chunk] = column
        begin = end
    return found


def _pairs_of_rows(store: Store, catalog: Catalog, metrics: Iterable[str], rows: Rows) -> Numbers:
    """How many of some metrics the store has for each row."""
    number = np.zeros(len(rows), np.int64)
    for metric in metrics:
        components = rows.host if catalog.metric_by_key[metric].kind is Kind.HOST else rows.component
        number += store.index.find(components, metric) >= 0
    return number


def arrow(features: Sequence[Feature], found: dict[Feature, Column], rows: slice, size: int) -> dict[str, Doubles]:
    """Some rows of the values as Arrow columns, null where unknown; takes them out of `found` one by one."""
    unknown = pa.nulls(size, pa.float64())
    columns: dict[str, Doubles] = {feature.name: unknown for feature in features}
    for feature in features:
        if feature in found:
            column = found.pop(feature)[rows]
            columns[feature.name] = pa.array(column, pa.float64(), mask=np.isnan(column))
    return columns


@dataclass(frozen=True)
class Frozen:
    """What is known up to a full hour or day: as long as no sample comes to before `until`, it does not change.

    `states` are those of windows that end there; `latest`, per metric and unit, the newest states of series until then.
    """

    key: tuple[object, ...]
    until: int
    states: Merged
    latest: Latest = field(default_factory=dict)


@dataclass(frozen=True)
class _Pairs:
    """The rows for which a metric has a series: row by row, and the series."""

    row: Numbers
    series: Numbers


class _Chunk:
    """Some rows of a question."""

    def __init__(self, store: Store, catalog: Catalog, features: Sequence[Feature], rows: Rows) -> None:
        self._store = store
        self._features = features
        self._rows = rows
        self._times, self._time_number = np.unique(rows.time, return_inverse=True)
        self._metrics = [catalog.metric_by_key[key] for key in dict.fromkeys(f.metric for f in features)]
        self._metric_number = {metric.key: number for number, metric in enumerate(self._metrics)}
        self._windows = list(dict.fromkeys(Window.of(f.window) for f in features if f.aggregate is not Aggregate.LAST))
        self._pairs = [self._pairs_of(metric) for metric in self._metrics]
        self._latest: Latest = {}
        self._frozen: Frozen | None = None

    def _pairs_of(self, metric: Metric) -> _Pairs:
        components = self._rows.host if metric.kind is Kind.HOST else self._rows.component
        series = self._store.index.find(components, metric.key)
        born = np.where(series >= 0, self._store.index.first_time[series], FOREVER) <= self._rows.time
        row = np.flatnonzero(born)
        return _Pairs(row, series[row])

    def columns(self) -> dict[Feature, Column]:
        """Every feature's values; a merged state serves all aggregates of its metric and window."""
        merged = self._merged()
        found: dict[Feature, Column] = {}
        for (metric_number, window), features in self._by_state().items():
            states, ask = self._states(metric_number, window, merged)
            for feature in features:
                found[feature] = finish(feature.aggregate, states, ask)
        return found

    def _by_state(self) -> dict[tuple[int, Window], list[Feature]]:
        found: dict[tuple[int, Window], list[Feature]] = {}
        for feature in self._features:
            window = _LAST if feature.aggregate is Aggregate.LAST else Window.of(feature.window)
            found.setdefault((self._metric_number[feature.metric], window), []).append(feature)
        return found

    def _states(
        self, metric_number: int, window: Window, merged: Mapping[tuple[int, Window], Arrays]
    ) -> tuple[States, Ask]:
        size, pairs = len(self._rows), self._pairs[metric_number]
        end = window.ends(self._rows.time)
        hold = np.full(size, int(self._metrics[metric_number].hold_s * SECOND))
        hold[pairs.row[self._store.index.until_marked[pairs.series]]] = FOREVER
        states = States.unknown(size)
        sampled = np.zeros(size, np.bool_)
        if (found := merged.get((metric_number, window))) is not None:
            row = found["row"]
            sampled[row] = True
            for name, array in found.items():
                if name != "row":
                    getattr(states, name)[row] = array
        rest = ~sampled[pairs.row]
        if rest.any():
            latest = self._latest_states(metric_number, window.unit)
            row = pairs.row[rest]
            states.last[row] = latest.last[rest]
            states.last_time[row] = latest.last_time[rest]
            states.until[row] = latest.until[rest]
        return states, Ask(end - window.length, end, hold)

    def _merged(self) -> Merged:
        """The states of every window that holds samples, per metric and window."""
        if len(self._times) != 1:
            return self._ask(self._windows)
        time = int(self._times[0])
        parts = (self._rows.component.tobytes(), self._rows.host.tobytes())
        key = (time // HOUR, tuple(self._features), *parts)
        for frozen in self._store.frozen:
            if frozen.key == key:
                self._frozen = frozen
                return frozen.states | self._ask([window for window in self._windows if window.unit == 1])
        merged = self._ask(self._windows)
        whole = {about: arrays for about, arrays in merged.items() if about[1].unit > 1}
        until = time // HOUR * HOUR
        kept = [frozen for frozen in self._store.frozen if frozen.until == until]
        alike = [frozen.latest for frozen in kept if frozen.key[:2] == key[:2]]
        self._frozen = Frozen(key, until, whole, dict(alike[-1]) if alike else {})
        self._store.frozen[:] = [*kept[-_FROZEN_MAX:], self._frozen]
        return merged

    def _ask(self, windows: Sequence[Window]) -> Merged:
        tiers = self._cut(windows)
        if not tiers:
            return {}
        connection = self._store.connection
        connection.register("pairs", self._pairs_table(windows))
        connection.register("wants", self._wants_table(windows))
        connection.register("cuts", self._cuts_table(windows, tiers))
        fields = {name for f in self._features if Window.of(f.window) in windows for name in NEEDS[f.aggregate]}
        return self._split(windows, ask(connection, sql.window_states(tiers, fields)))

    def _split(self, windows: Sequence[Window], table: pa.Table) -> Merged:
        """The answer per metric and window; each column crosses from Arrow once, which costs more than cutting it."""
        key = table.column("metric").to_numpy() * len(windows) + table.column("span").to_numpy()
        names = [name for name in STATE_FIELDS if name in table.column_names]
        arrays = {"row": table.column("row").to_numpy(), **{name: _numpy(table, name) for name in names}}
        order = np.argsort(key, kind="stable")
        keys, begins = np.unique(key[order], return_index=True)
        ends = [*begins[1:], len(order)][: len(begins)]  # none where no window holds anything
        found = {}
        for number, begin, end in zip(keys.tolist(), begins.tolist(), ends, strict=True):
            metric, span = divmod(number, len(windows))
            cut = order[begin:end]
            found[metric, windows[span]] = {name: array[cut] for name, array in arrays.items()}
        return found

    def _cut(self, windows: Sequence[Window]) -> dict[Tier, Spans]:
        if not windows:
            return {}
        number = np.arange(len(self._times)) * len(windows)
        ends = [window.ends(self._times) for window in windows]
        asked = [
            Spans(end - window.length, end, number + span)
            for span, (window, end) in enumerate(zip(windows, ends, strict=True))
        ]
        return cover(Spans.joined(asked), self._store.kept)

    def _pairs_table(self, windows: Sequence[Window]) -> pa.Table:
        longest = max(window.length + window.unit for window in windows)
        parts: list[tuple[Numbers, Numbers, int]] = []
        for number, pairs in enumerate(self._pairs):
            recent = self._store.index.row_time[pairs.series] > self._rows.time[pairs.row] - longest
            parts.append((pairs.row[recent], pairs.series[recent], number))
        row = np.concatenate([part[0] for part in parts])
        metric = np.concatenate([np.full(len(part[0]), part[2], np.int32) for part in parts])
        return pa.table(
            {
                "row": pa.array(row),
                "series": pa.array(np.concatenate([part[1] for part in parts]).astype(np.int32)),
                "metric": pa.array(metric),
                "time": pa.array(self._time_number[row].astype(np.int32)),
            }
        )

    def _wants_table(self, windows: Sequence[Window]) -> pa.Table:
        wanted = {
            (self._metric_number[f.metric], windows.index(window))
            for f in self._features
            if f.aggregate is not Aggregate.LAST and (window := Window.of(f.window)) in windows
        }
        pairs = np.array(sorted(wanted), np.int32)
        return pa.table({"metric": pa.array(pairs[:, 0].copy()), "span": pa.array(pairs[:, 1].copy())})

    def _cuts_table(self, windows: Sequence[Window], tiers: Mapping[Tier, Spans]) -> pa.Table:
        cuts = Spans.joined(list(tiers.values()))
        number = np.repeat(np.array([sql.TIER_NUMBER[tier] for tier in tiers]), [len(s.key) for s in tiers.values()])
        time, span = np.divmod(cuts.key, len(windows))
        ends = np.stack([window.ends(self._times) for window in windows])
        return pa.table(
            {
                "time": pa.array(time.astype(np.int32)),
                "span": pa.array(span.astype(np.int32)),
                "tier": pa.array(number.astype(np.int32)),
                "start": pa.array(cuts.start),
                "stop": pa.array(cuts.end),
                "window_end": pa.array(ends[span, time]),
            }
        )

    def _latest_states(self, metric_number: int, unit: int) -> Heads:
        """The newest state of a metric's pairs at the asked times, floored to `unit`."""
        pairs = self._pairs[metric_number]
        kept = self._frozen.latest if self._frozen is not None and unit > 1 else self._latest
        known, heads = kept.get((metric_number, unit), _NO_HEADS)
        if not np.array_equal(known, pairs.series):
            at = floor(self._rows.time[pairs.row], unit)
            heads = _completed(self._store, known, heads, pairs.series, at)
            kept[metric_number, unit] = pairs.series, heads
        return heads


def _numpy(table: pa.Table, name: str) -> NDArray[np.float64] | Times:
    if name in TIME_FIELDS:
        return cast("Times", pc.fill_null(table.column(name), _EMPTY_TIME[name]).to_numpy())  # type: ignore[union-attr]
    return table.column(name).to_numpy().astype(np.float64)


def _latest(store: Store, series: Numbers, at: Times) -> Heads:
    """The newest state of each series at a time; later samples are not looked at."""
    index = store.index
    heads = index.heads(series)
    earlier = np.flatnonzero((index.row_time[series] > at) & (index.first_time[series] <= at))
    unborn = index.first_time[series] > at
    last = np.where(unborn, np.nan, heads.last)
    last_time = np.where(unborn, NEVER, heads.last_time)
    until = np.where(unborn, FOREVER, heads.until)
    if len(earlier):
        last[earlier], last_time[earlier], until[earlier] = np.nan, NEVER, FOREVER
        for found in _past(store, series[earlier], at[earlier]):
            row = earlier[found.column("number").to_numpy()]
            last[row] = found.column("last").to_numpy()
            last_time[row] = found.column("last_time").to_numpy()
            until[row] = found.column("until").to_numpy()
    return Heads(last, last_time, until)


def _completed(store: Store, known: Numbers, heads: Heads, series: Numbers, at: Times) -> Heads:
    """The newest states of `series`: taken from those known at the same one time, looked up where one is not."""
    if not len(known):
        return _latest(store, series, at)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], series), len(known) - 1)
    held = known[order][place] == series
    found = _latest(store, series[~held], at[~held])
    joined = []
    for name in ("last", "last_time", "until"):
        old, new = getattr(heads, name), getattr(found, name)
        column = np.empty(len(series), old.dtype)
        column[held], column[~held] = old[order][place[held]], new
        joined.append(column)
    return Heads(*joined)


def _past(store: Store, series: Numbers, at: Times) -> list[pa.Table]:
    """From the hours, and after them from the samples that no rolled-up hour holds yet."""
    rolled = next(kept.until for kept in store.kept if kept.tier is Tier.HOURS)
    whole = np.minimum(floor(at, HOUR), rolled)
    moments = {"number": np.arange(len(at)), "series": series, "whole": whole, "moment": at}
    store.connection.register("moments", pa.table({name: pa.array(column) for name, column in moments.items()}))
    found = [ask(store.connection, sql.LATEST_HOURS)]
    if (whole < at).any():
        bounds = [int(whole[whole < at].min()), int(at.max())]
        found.append(ask(store.connection, sql.LATEST_SAMPLES, bounds))
    return found
