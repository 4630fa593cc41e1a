"""The embedded telemetry store: one DuckDB file, owned by one process.

A batch is stored in one transaction, so a killed process loses at most the batch in flight; the next start says in
`notices` that the last stop was not clean. Samples are rolled up to minutes (for windows under a day), hours and days;
each tier has its own retention. Late and repeated samples are put in place, and the buckets that they touch made anew.
SQL stands in `duckdb_sql`, roll-ups in `duckdb_buckets`, questions in `duckdb_frames` and `duckdb_features`, what
aggregates mean in `finish`.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import StoreUnavailable, TelemetryError
from forewarn.store import duckdb_sql as sql
from forewarn.store.base import DEVICES, SAMPLES, TIME, WEIGHT, Batch
from forewarn.store.duckdb_buckets import Buckets, Retention
from forewarn.store.duckdb_file import DuckDBFile, ask, damaged
from forewarn.store.duckdb_frames import Frames
from forewarn.store.index import Heads, Numbers, SeriesIndex
from forewarn.store.intake import Linked, Rows, link, ordered, runs, weights_of
from forewarn.store.places import Places
from forewarn.store.windows import DAY, SECOND, Times, microseconds


@dataclass(frozen=True)
class DuckDBSettings:
    """Machinery of the embedded store."""

    memory: str = "2GB"
    """What DuckDB may hold in memory before it spills beside its file; a size with unit."""
    threads: int = 2
    """Threads of one query; the cycle shares the machine with the guests of small sites."""
    raw_days: float = 7.0
    """How long single samples are kept, days. Windows under a day need two; the rest is for charts and late samples."""
    minute_hours: float = 30.0
    """How long minute buckets are kept, hours. The longest window that ends inside an hour is under a day."""
    hour_days: float = 400.0
    """How long hourly buckets are kept, days: windows under seven days can be asked for as far back."""
    day_days: float = 1900.0
    """How long daily buckets are kept, days: five years of a part's life to learn from."""
    settle_s: float = 60.0
    """How far roll-ups stay behind the newest sample, seconds: samples that are late by less cost nothing extra."""
    forget_device_days: float = 7.0
    """How long a part that is silent still gets rows (of unknowns) in live frames, days."""
    seen_lag_s: float = 300.0
    """How far a part's stored `last_seen` may lag, seconds: after a crash it may be older by as much."""
    pairs_max: int = 1_000_000
    """How many pairs of row and series a feature question holds at a time; bounds memory at about 1 kB each."""
    batch_max: int = 20_000_000
    """How many samples one batch may have."""
    series_max: int = 5_000_000
    """Series from which on samples of new ones are refused and counted, about 300 B each in memory: names that somebody
    invents cannot exhaust it. A host shows some hundred."""

    def retention(self) -> Retention:
        return Retention(self.raw_days, self.minute_hours, self.hour_days, self.day_days, self.settle_s)


class DuckDBStore:
    """A `TelemetryStore` in one file, or in memory where `path` is None. Safe to use from several threads.

    >>> from datetime import UTC, datetime
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> store = DuckDBStore(None)
    >>> rows = {"time": [now], "component": ["disk:A"], "metric": ["smart_5"], "value": [3.0]}
    >>> samples = pa.Table.from_pydict(rows, schema=SAMPLES)
    >>> store.append(Batch(samples, DEVICES.empty_table()))
    1
    >>> store.close()

    Raises StoreUnavailable if another process has the file open, TelemetryError if the file is not such a store.
    """

    def __init__(self, path: Path | None, settings: DuckDBSettings | None = None) -> None:
        self._settings = settings = settings or DuckDBSettings()
        self._lock = threading.RLock()
        self._closed = False
        self.refused = 0  # samples that came after their time was dropped, or of too many series
        self._file = DuckDBFile(path, settings.memory, settings.threads)
        self.notices = self._file.notices
        self._index = SeriesIndex()
        self._places = Places(self._index.components)
        self._buckets = Buckets(self._file, settings.retention())
        forget_s = settings.forget_device_days * DAY / SECOND
        self._frames = Frames(self._file, self._index, self._places, self._buckets, settings.pairs_max, forget_s)
        try:
            self._load()
        except duckdb.Error as error:
            self._file.abandon()
            raise damaged(path, error) from error

    def _load(self) -> None:
        connection = self._file.connection
        self._index.load(ask(connection, sql.KNOWN_SERIES))
        self._places.load(ask(connection, sql.KNOWN_PLACES))
        heads = ask(connection, sql.HEADS)
        numbers, row_time, first_time, last, last_time, until = (column.to_numpy() for column in heads.columns)
        self._index.set_heads(numbers.astype(np.int64), Heads(last, last_time, until), row_time, first_time)

    def close(self) -> None:
        """Flush and release the file; the next start finds a clean stop. A second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with self._file.available():
                    self._save_places(lag_s=0.0)
                    self._file.close()

    def append(self, batch: Batch) -> int:
        """Store a batch at once or not at all; returns the number of samples taken, duplicates and all.

        Samples older than what `raw_days` still keeps, and of series past `series_max`, are not taken; `refused` counts
        them.
        """
        self.check(batch)
        with self._lock, self._available():
            before = self._index.size
            try:
                return self._append(batch)
            except BaseException:
                self._index.forget_from(before)
                self._places.distrust()
                raise

    def check(self, batch: Batch) -> None:
        """Raises TelemetryError for a batch that `append` would refuse for what it is."""
        for table, schema, name in ((batch.samples, SAMPLES, "samples"), (batch.devices, DEVICES, "devices")):
            if not table.schema.equals(schema):
                raise TelemetryError(f"a batch's {name} have the columns {_shape(table.schema)}, not {_shape(schema)}")
            for column in schema.names:
                if table.column(column).null_count:
                    raise TelemetryError(f"a batch's {name} lack values in the column {column}")
        if batch.weights is not None and (batch.weights.type != WEIGHT or len(batch.weights) != batch.samples.num_rows):
            raise TelemetryError(f"a batch's weights are one {WEIGHT} for each of its samples")
        if batch.samples.num_rows > self._settings.batch_max:
            raise TelemetryError(f"a batch has {batch.samples.num_rows} samples; at most {self._settings.batch_max}")

    def _append(self, batch: Batch) -> int:
        samples, known = batch.samples, self._index.size
        full = known >= self._settings.series_max
        rows = Rows(
            self._index.number(samples.column("component"), samples.column("metric"), new=not full),
            samples.column("time").cast(pa.int64()).to_numpy(),
            samples.column("value").to_numpy(),
            weights_of(batch),
        )
        taken = rows.where((rows.time > self._buckets.raw_since) & (rows.series >= 0))
        with self._file.transaction():
            self._save_series(known, until_marked=batch.until_marked)
            linked = self._store(ordered(taken))
            self._places.see(self._known(batch.devices) if full else batch.devices)
            self._save_places(self._settings.seen_lag_s)
        for part in linked:
            self._index.set_heads(part.numbers, part.heads, part.row_time, part.first_time)
        self._index.until_marked[known : self._index.size] = batch.until_marked
        self._frames.forget(int(taken.time.min()) if len(taken) else self._index.newest())
        self.refused += len(rows) - len(taken)
        return len(taken)

    def _known(self, devices: pa.Table) -> pa.Table:
        """Those of a batch's devices that have series."""
        numbers = self._index.components.numbers(devices.column("component"), new=False)
        return devices.filter(pa.array(numbers >= 0))

    @property
    def size(self) -> int:
        """How many series there are."""
        return self._index.size

    def _store(self, rows: Rows) -> list[Linked]:
        """Insert samples; series with a sample that is not after all others of it are written anew from there."""
        if len(rows) == 0:
            return []
        begins = runs(rows)
        series, since = rows.series[begins], rows.time[begins]
        late = since <= self._index.row_time[series]
        linked = []
        if late.any():
            chosen = np.repeat(late, np.diff(np.r_[begins, len(rows)]))
            linked.append(self._rewrite(rows.where(chosen), series[late], since[late]))
            rows = rows.where(~chosen)
        if len(rows):
            linked.append(link(rows, self._index.heads(series[~late])))
        for part in linked:
            self._file.insert("samples", part.table())
        self._buckets.repair(series, since)
        return linked

    def _rewrite(self, rows: Rows, series: Numbers, since: Times) -> Linked:
        """Take out all samples of `series` from `since` on and link them anew together with late ones."""
        self._file.register("rewrites", {"series": series, "since": since})
        held = ask(self._file.connection, sql.REWRITTEN)
        self._file.connection.execute(sql.FORGET_REWRITTEN)
        of, time, value, before, before_time, before_until, weight = (column.to_numpy() for column in held.columns)
        prior = self._index.heads(series)  # stands where the newest sample is no longer kept
        first = np.flatnonzero(np.r_[True, of[1:] != of[:-1]][: len(of)])
        at = np.searchsorted(series, of[first])
        prior.last[at], prior.last_time[at], prior.until[at] = before[first], before_time[first], before_until[first]
        return link(ordered(rows.after(Rows(of, time, value, weight))), prior)

    def roll_up(self, now: datetime) -> None:
        """Bring roll-ups up to `now` and drop what is past its retention."""
        with self._lock, self._available():
            self._buckets.roll(microseconds(now), self._index.newest())
            self._buckets.drop(microseconds(now))
            self._save_places(self._settings.seen_lag_s)

    def features(self, catalog: Catalog, kind: Kind, at: Sequence[datetime] | pa.Table) -> pa.Table:
        """The stored features of `kind`, for times or for a ROWS table; see `TelemetryStore`."""
        with self._lock, self._available():
            if isinstance(at, pa.Table):
                return self._frames.of_rows(catalog, kind, at)
            return self._frames.of_times(catalog, kind, np.array([microseconds(time) for time in at], np.int64))

    def series(self, component: str, metric: str, start: datetime, end: datetime) -> pa.Table:
        """The samples of one series in (start, end]; where they are past their retention, hourly means stand in."""
        bounds: list[int | str] = [component, metric, microseconds(start), microseconds(end)]
        with self._available(), self._file.cursor() as cursor:
            found = ask(cursor, sql.SERIES, [*bounds, *bounds, self._buckets.raw_since])
        return found.set_column(0, "time", found.column("time").cast(TIME))

    def held(self, samples: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What is stored at the times of SAMPLES: for each row value and weight, NaN and -1 where there is nothing."""
        values, weights = np.full(samples.num_rows, np.nan), np.full(samples.num_rows, -1, np.int64)
        with self._lock, self._available(), self._file.cursor() as cursor:
            series = self._index.known(samples.column("component"), samples.column("metric"))
            time = samples.column("time").cast(pa.int64()).to_numpy()
            row = np.flatnonzero((series >= 0) & (self._index.row_time[series] >= time))
            if len(row):
                asked = {"row": pa.array(row), "series": pa.array(series[row]), "time": pa.array(time[row])}
                cursor.register("asked", pa.table(asked))
                found = ask(cursor, sql.HELD, [int(time[row].min()), int(time[row].max())])
                at = found.column("row").to_numpy()
                values[at], weights[at] = found.column("value").to_numpy(), found.column("weight").to_numpy()
        return values, weights

    def devices(self, kind: Kind | None = None) -> pa.Table:
        """Every known device, as DEVICES."""
        with self._lock:
            return self._places.devices(kind)

    def _save_series(self, known: int, *, until_marked: bool) -> None:
        new = np.arange(known, self._index.size)
        if len(new):
            components, metrics = self._index.named(new)
            held = np.full(len(new), until_marked)
            columns = {"id": pa.array(new), "component": components, "metric": metrics, "until_marked": pa.array(held)}
            self._file.insert("series", pa.table(columns))

    def _save_places(self, lag_s: float) -> None:
        numbers = self._places.unsaved(lag_s)
        if len(numbers):
            rows = self._places.table(numbers)
            self._file.connection.register("seen", rows)
            self._file.connection.execute(sql.FORGET_SEEN)
            self._file.connection.unregister("seen")
            self._file.insert("places", rows)
            self._places.saved(numbers)

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        """Tell a store that was closed from one that fails."""
        if self._closed:
            raise StoreUnavailable("the telemetry store is closed")
        with self._file.available():
            yield


def _shape(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
