"""The embedded telemetry store: one DuckDB file, owned by one process.

A batch is stored in one transaction, so a killed process loses at most the batch in flight; the next start says in
`notices` that the last stop was not clean. Samples are rolled up to minutes (for windows under a day), hours and days;
each tier has its own retention. Late and repeated samples are put in place, and the buckets that they touch made anew.
SQL stands in `duckdb_sql`, a feature question in `duckdb_features`, what aggregates mean in `finish`.
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

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind, component_id
from forewarn.errors import StoreUnavailable, TelemetryError
from forewarn.store import duckdb_sql as sql
from forewarn.store.base import DEVICES, FRAME_KEYS, ROWS, SAMPLES, TIME, Batch
from forewarn.store.duckdb_features import Doubles, Store, ask, columns
from forewarn.store.duckdb_features import Rows as AskedRows
from forewarn.store.index import Heads, Numbers, SeriesIndex
from forewarn.store.intake import Linked, Rows, link, ordered, runs
from forewarn.store.places import Places, Texts
from forewarn.store.windows import (
    DAY,
    HOUR,
    MINUTE,
    NEVER,
    SECOND,
    WIDTH,
    Kept,
    Tier,
    Times,
    microseconds,
)


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
    """How far roll-ups stay behind, seconds: samples that are late by less cost nothing extra."""
    forget_device_days: float = 7.0
    """How long a part that is silent still gets rows (of unknowns) in live frames, days."""
    seen_lag_s: float = 300.0
    """How far a part's stored `last_seen` may lag, seconds: after a crash it may be older by as much."""
    pairs_max: int = 1_000_000
    """How many pairs of row and series a feature question holds at a time; bounds memory at about 1 kB each."""
    batch_max: int = 20_000_000
    """How many samples one batch may have."""


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
        self._path = path
        self._settings = settings or DuckDBSettings()
        self._lock = threading.RLock()
        self._closed = False
        self.notices: tuple[str, ...] = ()
        self.refused = 0
        self._connection = _connect(path, self._settings)
        self._index = SeriesIndex()
        self._places = Places(self._index.components)
        try:
            self._open()
        except duckdb.Error as error:
            self._connection.close()
            raise TelemetryError(f"{path} is damaged: {_sentence(error)} Move it away to start anew.") from error

    # --- opening and closing

    def _open(self) -> None:
        tables = {str(row[0]) for row in self._connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if not tables:
            self._create()
        elif "forewarn" not in tables:
            raise self._foreign("is a DuckDB file of something else")
        state = dict(self._connection.execute("SELECT key, value FROM forewarn").fetchall())
        if state.get("version") != sql.SCHEMA_VERSION:
            raise self._foreign(f"is a store of version {state.get('version')}, this is for {sql.SCHEMA_VERSION}")
        self._rolled = {tier: int(state[f"rolled_{tier}"]) for tier in WIDTH}
        self._minutes_since = int(state["minutes_since"])
        self._raw_since = int(state["raw_since"])
        if state["open"] == "yes":
            self.notices = (
                f"the telemetry store {self._path} was not closed: samples on their way when it stopped are lost",
            )
        self._load()
        self._note({"open": "yes"})

    def _foreign(self, what: str) -> TelemetryError:
        self._connection.close()
        return TelemetryError(f"{self._path} {what}; name another file for the telemetry store, or move it away")

    def _create(self) -> None:
        with self._transaction(self._connection):
            for statement in sql.SCHEMA:
                self._connection.execute(statement)
            first = {"version": sql.SCHEMA_VERSION, "open": "no", "minutes_since": str(NEVER), "raw_since": str(NEVER)}
            rolled = {f"rolled_{tier}": str(NEVER // WIDTH[tier] * WIDTH[tier]) for tier in WIDTH}
            self._connection.executemany("INSERT INTO forewarn VALUES (?, ?)", list({**first, **rolled}.items()))

    def _load(self) -> None:
        self._index.load(self._table("SELECT component, metric, until_marked FROM series ORDER BY id"))
        self._places.load(self._table("SELECT * FROM places"))
        heads = self._table(sql.HEADS)
        numbers = heads.column("series").to_numpy().astype(np.int64)
        found = Heads(*(heads.column(name).to_numpy() for name in ("last", "last_time", "until")))
        self._index.set_heads(
            numbers, found, heads.column("row_time").to_numpy(), heads.column("first_time").to_numpy()
        )

    def close(self) -> None:
        """Flush and release the file; the next start finds a clean stop. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with self._transaction(self._connection):
                self._save_places(lag_s=0.0)
                self._note({"open": "no"})
            self._connection.close()

    # --- writing

    def append(self, batch: Batch) -> int:
        """Store a batch at once or not at all; returns the number of samples taken, duplicates and all.

        Samples older than what `raw_days` still keeps are not taken; `refused` counts them.
        """
        self._check(batch)
        with self._lock, self._available():
            before = self._index.size
            try:
                return self._append(batch)
            except BaseException:
                self._index.forget_from(before)
                raise

    def _check(self, batch: Batch) -> None:
        for table, schema, name in ((batch.samples, SAMPLES, "samples"), (batch.devices, DEVICES, "devices")):
            if not table.schema.equals(schema):
                raise TelemetryError(f"a batch's {name} have the columns {_shape(table.schema)}, not {_shape(schema)}")
            for column in schema.names:
                if table.column(column).null_count:
                    raise TelemetryError(f"a batch's {name} lack values in the column {column}")
        if batch.samples.num_rows > self._settings.batch_max:
            raise TelemetryError(f"a batch has {batch.samples.num_rows} samples; at most {self._settings.batch_max}")

    def _append(self, batch: Batch) -> int:
        samples, known = batch.samples, self._index.size
        rows = Rows(
            self._index.number(samples.column("component"), samples.column("metric")),
            samples.column("time").cast(pa.int64()).to_numpy(),
            samples.column("value").to_numpy(),
        )
        taken = rows.where(rows.time > self._raw_since) if len(rows) and rows.time.min() <= self._raw_since else rows
        with self._transaction(self._connection):
            self._save_series(known, batch.until_marked)
            linked = self._store(ordered(taken))
            self._places.see(batch.devices)
            self._save_places(self._settings.seen_lag_s)
        for part in linked:
            self._index.set_heads(part.numbers, part.heads, part.row_time, part.first_time)
        if batch.until_marked:
            self._index.until_marked[np.unique(rows.series)] = True
        self.refused += len(rows) - len(taken)
        return len(taken)

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
            self._insert("samples", part.table(), sql.SAMPLE_COLUMNS)
        self._repair(series, since)
        return linked

    def _rewrite(self, rows: Rows, series: Numbers, since: Times) -> Linked:
        """Take out all samples of `series` from `since` on and link them anew together with late ones."""
        self._register("rewrites", {"series": series, "since": since})
        held = self._table(sql.REWRITTEN)
        old = _rows(held)
        self._connection.execute(sql.FORGET_REWRITTEN)
        first = np.lexsort((old.time, old.series))
        first = first[np.r_[True, old.series[first][1:] != old.series[first][:-1]][: len(first)]]
        prior = self._index.heads(series)  # stands where the newest sample is no longer kept
        at = np.searchsorted(series, old.series[first])
        for name, array in (("before", prior.last), ("before_time", prior.last_time), ("before_until", prior.until)):
            array[at] = held.column(name).to_numpy()[first]
        both = Rows(
            np.concatenate((rows.series, old.series)),
            np.concatenate((rows.time, old.time)),
            np.concatenate((rows.value, old.value)),
        )
        return link(ordered(both), prior)

    def _repair(self, series: Numbers, since: Times) -> None:
        """Make the buckets anew that samples from `since` on fall into, if they were made already."""
        stale = since <= max(self._rolled.values())
        if not stale.any():
            return
        self._register("repairs", {"series": series[stale], "since": since[stale] - 1})
        for tier in WIDTH:
            self._connection.execute(sql.forget_repaired(tier))
        earliest = int(since[stale].min()) - 1
        for tier, source in ((Tier.MINUTES, Tier.SAMPLES), (Tier.HOURS, Tier.SAMPLES), (Tier.DAYS, Tier.HOURS)):
            floor = earliest // WIDTH[tier] * WIDTH[tier]
            begin = max(floor, self._minutes_since) if tier is Tier.MINUTES else floor
            self._connection.execute(sql.roll_up(tier, source, repair=True), [begin, self._rolled[tier]])

    def roll_up(self, now: datetime) -> None:
        """Bring roll-ups up to `now` and drop what is past its retention."""
        with self._lock, self._available():
            self._roll(microseconds(now))
            self._drop(microseconds(now))
            with self._transaction(self._connection):
                self._save_places(lag_s=0.0)

    def _roll(self, now: int) -> None:
        """Make every bucket that ended by `now`, but for the newest samples, which get time to settle."""
        until = min(now, self._index.newest() - int(self._settings.settle_s * SECOND))
        targets = {tier: until // width * width for tier, width in WIDTH.items()}
        if all(targets[tier] <= self._rolled[tier] for tier in WIDTH):
            return
        with self._transaction(self._connection):
            minutes_since = self._roll_minutes(targets)
            self._roll_hours(targets[Tier.HOURS], minutes_since)
            self._extend(Tier.DAYS, Tier.HOURS, self._rolled[Tier.DAYS], targets[Tier.DAYS])
            rolled = {tier: max(targets[tier], self._rolled[tier]) for tier in WIDTH}
            self._note({f"rolled_{tier}": str(rolled[tier]) for tier in WIDTH} | {"minutes_since": str(minutes_since)})
        self._rolled, self._minutes_since = rolled, minutes_since

    def _roll_minutes(self, targets: dict[Tier, int]) -> int:
        """Minutes are made for the latest hours alone; returns since when they are complete."""
        horizon = targets[Tier.HOURS] - int(self._settings.minute_hours * HOUR) // HOUR * HOUR
        since = self._minutes_since if self._rolled[Tier.MINUTES] >= horizon else horizon
        begin = max(self._rolled[Tier.MINUTES], since)
        self._extend(Tier.MINUTES, Tier.SAMPLES, begin, targets[Tier.MINUTES])
        return max(since, self._minutes_since)

    def _roll_hours(self, until: int, minutes_since: int) -> None:
        """Hours come from samples as far as there are no minutes, and from minutes after that."""
        begin = self._rolled[Tier.HOURS]
        border = min(max(begin, minutes_since), until)
        self._extend(Tier.HOURS, Tier.SAMPLES, begin, border)
        self._extend(Tier.HOURS, Tier.MINUTES, max(begin, border), until)

    def _extend(self, tier: Tier, source: Tier, begin: int, until: int) -> None:
        if begin < until:
            self._connection.execute(sql.roll_up(tier, source), [begin, until])

    def _drop(self, now: int) -> None:
        keep = self._settings
        raw_since = min((now - int(keep.raw_days * DAY)) // DAY * DAY, self._rolled[Tier.DAYS])
        minutes_since = (now - int(keep.minute_hours * HOUR)) // HOUR * HOUR
        limits = {
            "samples": raw_since,
            "minutes": minutes_since,
            "hours": (now - int(keep.hour_days * DAY)) // DAY * DAY,
            "days": (now - int(keep.day_days * DAY)) // DAY * DAY,
        }
        with self._transaction(self._connection):
            for table, limit in limits.items():
                self._connection.execute(sql.forget(table), [limit])
            raw_since, minutes_since = max(raw_since, self._raw_since), max(minutes_since, self._minutes_since)
            self._note({"raw_since": str(raw_since), "minutes_since": str(minutes_since)})
        self._raw_since, self._minutes_since = raw_since, minutes_since

    # --- reading

    def features(self, catalog: Catalog, kind: Kind, at: Sequence[datetime] | pa.Table) -> pa.Table:
        """The stored features of `kind`, for times or for a ROWS table; see `TelemetryStore`."""
        with self._lock, self._available():
            times, components = self._asked(kind, at)
            if len(times):
                self._roll(int(times.max()))
            places = self._places.at(components, times)
            rows = AskedRows(times, components, self._host_components(places))
            cursor = self._connection.cursor()
            try:
                store = Store(cursor, self._index, self._kept(), self._settings.pairs_max)
                found = columns(store, catalog, kind, rows)
            finally:
                cursor.close()
            return self._frame(at, rows, places, found)

    def _asked(self, kind: Kind, at: Sequence[datetime] | pa.Table) -> tuple[Times, Numbers]:
        if not isinstance(at, pa.Table):
            times = np.array([microseconds(time) for time in at], np.int64)
            return self._places.known(kind, times, self._settings.forget_device_days * DAY / SECOND)
        if not at.schema.equals(ROWS):
            raise TelemetryError(f"rows are asked for with the columns {_shape(at.schema)}, not {_shape(ROWS)}")
        times = at.column("time").cast(pa.int64()).to_numpy()
        return times, self._index.components.numbers(at.column("component"), new=False)

    def _host_components(self, places: Numbers) -> Numbers:
        names, of_row = self._places.hosts(places)
        numbers = [self._index.components.find(component_id(Kind.HOST, name, name, name)) for name in names]
        return np.array(numbers, np.int64)[of_row]

    def _kept(self) -> tuple[Kept, ...]:
        return (
            Kept(Tier.DAYS, NEVER // DAY * DAY, self._rolled[Tier.DAYS]),
            Kept(Tier.HOURS, NEVER // HOUR * HOUR, self._rolled[Tier.HOURS]),
            Kept(Tier.MINUTES, max(self._minutes_since, NEVER // MINUTE * MINUTE), self._rolled[Tier.MINUTES]),
        )

    def _frame(
        self,
        at: Sequence[datetime] | pa.Table,
        rows: AskedRows,
        places: Numbers,
        found: dict[str, Doubles],
    ) -> pa.Table:
        where = self._places.found(places)
        component: Texts
        if isinstance(at, pa.Table):
            component = at.column("component").combine_chunks()
        else:
            component = pa.array(self._index.components.names, pa.string()).take(rows.component)
        keys: dict[str, Doubles | Texts] = {
            "time": pa.array(rows.time).cast(TIME),
            "component": component,
            "host": where.host,
            "device": where.device,
            "model": where.model,
        }
        schema = pa.schema([*FRAME_KEYS, *((name, pa.float64()) for name in found)])
        return pa.table({**keys, **found}, schema=schema)

    def series(self, component: str, metric: str, start: datetime, end: datetime) -> pa.Table:
        """The samples of one series in (start, end]; where they are past their retention, hourly means stand in."""
        with self._available():
            cursor = self._connection.cursor()
            bounds: list[int | str] = [component, metric, microseconds(start), microseconds(end)]
            try:
                found = ask(cursor, sql.SERIES, [*bounds, *bounds, self._raw_since])
            finally:
                cursor.close()
        return found.set_column(0, "time", found.column("time").cast(TIME))

    def devices(self, kind: Kind | None = None) -> pa.Table:
        """Every known device, as DEVICES."""
        with self._lock:
            return self._places.devices(kind)

    # --- small change

    def _save_series(self, known: int, until_marked: bool) -> None:
        new = range(known, self._index.size)
        if not new:
            return
        components, metrics = self._index.named(new)
        self._insert(
            "series",
            pa.table(
                {
                    "id": pa.array(new, pa.int32()),
                    "component": components,
                    "metric": metrics,
                    "until_marked": pa.array([until_marked] * len(new)),
                }
            ),
            ("id", "component", "metric", "until_marked"),
        )

    def _save_places(self, lag_s: float) -> None:
        numbers = self._places.unsaved(lag_s)
        if len(numbers):
            self._connection.register("seen", self._places.table(numbers))
            self._connection.execute(sql.FORGET_SEEN)
            self._connection.execute(sql.insert("places", "seen", (*sql.PLACE_TEXTS, "first_seen", "last_seen")))
            self._connection.unregister("seen")
            self._places.saved(numbers)

    def _insert(self, table: str, rows: pa.Table, names: Sequence[str]) -> None:
        self._connection.register("incoming", rows)
        self._connection.execute(sql.insert(table, "incoming", names))
        self._connection.unregister("incoming")

    def _register(self, name: str, table: dict[str, Numbers]) -> None:
        self._connection.register(name, pa.table({column: pa.array(values) for column, values in table.items()}))

    def _table(self, query: str) -> pa.Table:
        return ask(self._connection, query)

    def _note(self, entries: dict[str, str]) -> None:
        for key, value in entries.items():
            self._connection.execute("UPDATE forewarn SET value = ? WHERE key = ?", [value, key])

    @contextlib.contextmanager
    def _transaction(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        connection.begin()
        try:
            yield
        except BaseException:
            connection.rollback()
            raise
        connection.commit()

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        """Tell a store that fails from one that was closed."""
        if self._closed:
            raise StoreUnavailable("the telemetry store is closed")
        try:
            yield
        except duckdb.Error as error:
            raise StoreUnavailable(f"the telemetry store {self._path} failed: {_sentence(error)}") from error


def _connect(path: Path | None, settings: DuckDBSettings) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": settings.memory,
        "threads": settings.threads,
        "preserve_insertion_order": False,
        "python_enable_replacements": False,
    }
    try:
        return duckdb.connect(str(path) if path else ":memory:", config=config)
    except duckdb.IOException as error:
        text = str(error)
        if "lock" in text.lower():
            raise StoreUnavailable(f"{path} is in use by another process: stop it, or ask it over its API") from error
        if "not a valid DuckDB" in text:
            raise TelemetryError(f"{path} is no telemetry store: name another file, or move it away") from error
        raise StoreUnavailable(f"{path} cannot be opened: {_sentence(error)}") from error
    except duckdb.Error as error:
        raise TelemetryError(f"{path} is damaged: {_sentence(error)} Move it away to start anew.") from error


def _rows(table: pa.Table) -> Rows:
    series, time, value = (table.column(name).to_numpy() for name in ("series", "time", "value"))
    return Rows(series.astype(np.int64), time.astype(np.int64), value.astype(np.float64))


def _sentence(error: duckdb.Error) -> str:
    """The first line of what DuckDB says."""
    return str(error).partition("\n")[0].strip().rstrip(".") + "."


def _shape(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
