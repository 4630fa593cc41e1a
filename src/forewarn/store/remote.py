"""A telemetry store over the database of time series that a site already runs: its samples stay there.

What features need of them is kept beside Forewarn in a cache: an embedded store, which is read from the database
span by span and lost without harm. So a span of time is asked for once, a window of thirty days is answered from
roll-ups, and all databases give the answer of one feature compiler. The newest span is read at every question; a full
hour is read once more when samples that were late by `late_s` have come too.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from forewarn.clock import Clock
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Sample
from forewarn.errors import QueryTooLarge, StoreUnavailable
from forewarn.store import bulk, own_series, recording
from forewarn.store.base import DEVICES, TAKEN_BACK, Batch
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.intake import weights_of
from forewarn.store.label_rules import LabelRules
from forewarn.store.labels import Located
from forewarn.store.mapping import Mapper
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings, Source
from forewarn.store.windows import DAY, HOUR, MINUTE, NEVER, SECOND, Window, microseconds

log = logging.getLogger(__name__)

_STEP_MIN = MINUTE  # no shorter span is asked for
_WORDS = 2 * HOUR  # how far back a new process asks what info series said
_FRESH_S = 30.0  # how long after it was written a sample may stay unseen in a database
_PLACES_MAX = 2_000_000


@dataclass(frozen=True)
class CacheSettings:
    """What is read from a site's database, and how far back."""

    history_days: float = 35.0
    """How far back the first start reads, days; features of longer windows fill as time passes."""
    history_step_s: float = 0.0
    """At which step history is read that is older than two days at the first start, seconds: the newest sample of each
    step alone. 0 reads every sample: 100 hosts show some 400 million a day at a scrape each 15 s."""
    late_s: float = 3600.0
    """How late samples may come, seconds: a full hour is read once more when they are in."""
    overlap_s: float = 60.0
    """How much of what was read last is read again with the newest span, seconds: scrapes that were on their way."""
    samples_max: int = 3_000_000
    """About how many samples are read at a time; bounds memory at about 100 B each."""
    budget_s: float = 45.0
    """How long one question may read before it gives up until the next one, seconds. What was read is kept."""


@dataclass
class _Covered:
    """What the cache holds of the database: everything in (since, until], in which hours up to `settled` are final."""

    source: str
    since: int
    until: int
    settled: int
    thinned: int  # up to here in steps alone


class RemoteStore:
    """A `TelemetryStore` whose samples lie in `source`. `folder` holds the cache; None keeps it in memory.

    Safe to use from several threads. Raises StoreUnavailable where the database does not answer.
    """

    def __init__(
        self,
        source: Source,
        folder: Path | None,
        clock: Clock,
        settings: CacheSettings | None = None,
        duckdb: DuckDBSettings | None = None,
        mapper: Mapper | None = None,
        rules: LabelRules | None = None,
    ) -> None:
        self._source, self._folder, self._clock = source, folder, clock
        self._settings = settings or CacheSettings()
        self._duckdb = duckdb or DuckDBSettings()
        self.mapper = mapper or Mapper()
        self.rules = rules or LabelRules()
        self._names = frozenset((*self.rules.asked(self.mapper.names), *own_series.NAMES))
        self._lean = self._names - recording.spared()  # what is asked where recording rules tell the rest
        self._recorded = False  # whether they do
        self._whole_at = NEVER  # the hour in which all was asked last
        self._lock = threading.RLock()
        self._revision = microseconds(clock.now())
        self._places: dict[Key, tuple[Located, ...]] = {}
        self._span = HOUR  # how long the next span is asked for
        self._fresh: deque[tuple[float, Batch]] = deque()  # written lately: a database may show it a little later
        self.refused = 0  # samples that the database did not take because of their time
        self._covered = self._load()
        self._cache = DuckDBStore(self._file, self._duckdb)
        known = self._cache.devices().to_pylist()
        self._sat = {own_series.place(row): (row["first_seen"], row["last_seen"]) for row in known}
        self._warm = False  # whether the mapper knows what info series said lately
        self.notices: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many series the cache knows."""
        return self._cache.size

    @property
    def _file(self) -> Path | None:
        return self._folder / "cache.duckdb" if self._folder else None

    @property
    def _note(self) -> Path | None:
        return self._folder / "cache.json" if self._folder else None

    @property
    def _identity(self) -> str:
        """What the cache depends on: another database, other rules or other series make another cache."""
        return f"{self._source.name} {self.rules.digest} {sorted(self._names)}"

    def _load(self) -> _Covered | None:
        """What an earlier process has read; a cache of something else is thrown away."""
        if self._note is None or self._file is None:
            return None
        try:
            covered = _Covered(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            covered = None
        if covered is not None and covered.source == self._identity and self._file.exists():
            return covered
        self._forget_files()
        return None

    def _forget_files(self) -> None:
        for path in (self._note, self._file, self._file and self._file.with_name(self._file.name + ".wal")):
            if path is not None:
                path.unlink(missing_ok=True)

    def _save(self) -> None:
        if self._note is not None and self._covered is not None:
            fresh = self._note.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(self._covered)), encoding="utf-8")
            fresh.replace(self._note)

    # --- the protocol

    def append(self, batch: Batch) -> int:
        """Write a batch to the database, and keep it in the cache. Returns the number of samples taken.

        Of what is there already only that is written which stands before it. Raises TelemetryError for a batch of
        another shape, StoreUnavailable if the database cannot take it now; then the cache does not have it either.
        """
        with self._lock:
            self._cache.check(batch)
            self._source_takes(own_series.strongest(batch))
            self._fresh.append((self._clock.monotonic(), batch))
            return self._cache.append(batch)

    def _source_takes(self, batch: Batch) -> None:
        held, held_weight = self._cache.held(batch.samples)
        value, weight = batch.samples.column("value").to_numpy(), weights_of(batch)
        there = held_weight >= 0
        same = (held_weight == weight) & ((held == value) | (np.isnan(held) & np.isnan(value)))
        stands = ~there | (weight == TAKEN_BACK) | ((weight >= held_weight) & ~same)
        mends = there[stands]
        if mends.any():
            self._revision += 1
        revision = np.where(mends, self._revision, 0)
        chosen = pa.array(stands)
        new = Batch(
            batch.samples.filter(chosen),
            self._unsaid(batch.devices),
            batch.until_marked,
            pa.chunked_array([pa.array(weight[stands])]),
        )
        self.refused += self._source.write(own_series.written(new, revision))
        for row in new.devices.to_pylist():
            place = own_series.place(row)
            first, last = self._sat.get(place, (row["first_seen"], row["last_seen"]))
            self._sat[place] = min(first, row["first_seen"]), max(last, row["last_seen"])

    def _unsaid(self, devices: pa.Table) -> pa.Table:
        """Where parts sat, as far as the database was not told so: it may take nothing that is long past again."""
        rows = []
        for row in devices.to_pylist():
            first, last = self._sat.get(own_series.place(row), (None, None))
            earlier, later = first is None or row["first_seen"] < first, last is None or row["last_seen"] > last
            if earlier or later:
                begin = row["first_seen"] if earlier else row["last_seen"]
                rows.append({**row, "first_seen": begin, "last_seen": row["last_seen"] if later else begin})
        return pa.Table.from_pylist(rows, schema=DEVICES)

    def write(self, samples: Sequence[Sample]) -> int:
        """Write series of our own, each with a time, under their own names; returns how many were refused."""
        return self._source.write(own_series.named(samples))

    def features(self, catalog: Catalog, kind: Kind, at: Sequence[datetime] | pa.Table) -> pa.Table:
        """The stored features of `kind`, for times or for a ROWS table; see `TelemetryStore`."""
        with self._lock:
            if isinstance(at, pa.Table):
                times = at.column("time").cast(pa.int64()).to_numpy()
            else:
                times = np.array([microseconds(time) for time in at], np.int64)
            if len(times):
                self._cover(int(times.min()) - _reach(catalog), int(times.max()))
            return self._cache.features(catalog, kind, at)

    def series(self, component: str, metric: str, start: datetime, end: datetime) -> pa.Table:
        """The samples of one series in (start, end]; where the cache has only hourly means, those.

        Only what the cache has no part of yet is read: charts need not wait for the newest minute.
        """
        with self._lock:
            since = microseconds(start)
            if self._covered is None or since < self._covered.since:
                self._cover(since, microseconds(end))
            return self._cache.series(component, metric, start, end)

    def devices(self, kind: Kind | None = None) -> pa.Table:
        """Every device that the cache knows, as DEVICES; a new cache is read first, as far as the database answers."""
        with self._lock:
            if self._covered is None and not self._fresh:
                now = microseconds(self._clock.now())
                try:
                    self._cover(NEVER, now)
                except StoreUnavailable as error:
                    log.warning("no device is known yet: %s", error)
            return self._cache.devices(kind)

    def roll_up(self, now: datetime) -> None:
        """Roll the cache up and drop what is past its retention there; the database keeps its own."""
        self._cache.roll_up(now)

    def close(self) -> None:
        """Close the cache and the connections."""
        with self._lock:
            self._cache.close()
            self._source.close()

    # --- reading

    def _cover(self, since: int, until: int) -> None:
        """See to it that the cache holds (since, until], as far as history is read and the clock has come."""
        now = microseconds(self._clock.now())
        since = max(since, until - int(self._settings.history_days * DAY)) // DAY * DAY
        if self._covered is None or since < self._covered.since:
            self._begin_anew(since, now)
        deadline = self._clock.monotonic() + self._settings.budget_s
        self._remember()
        self._read_on(min(until, now), now, deadline)
        self._settle(now, deadline)

    def _begin_anew(self, since: int, now: int) -> None:
        """Start the cache at `since`; what it held is read again."""
        self._cache.close()
        self._forget_files()
        self._cache = DuckDBStore(self._file, self._duckdb)
        thinned = max(since, (now - 2 * DAY) // DAY * DAY) if self._settings.history_step_s else since
        self._covered = _Covered(self._identity, since, since, since, thinned)
        for _, batch in self._fresh:
            self._cache.append(batch)

    def _remember(self) -> None:
        """Hear what info series said before the cache's end: a new process knows none of it."""
        covered = self._covered
        if not self._warm and covered is not None and covered.until > covered.since:
            words = self.rules.asked(self.mapper.words)
            found = self._source.read(words, covered.until - _WORDS, covered.until)
            bulk.hear(self.mapper, found, self._located(found))
        self._warm = True

    def _read_on(self, until: int, now: int, deadline: float) -> None:
        """Read from the cache's end, and a little before it, up to `until`."""
        covered = self._of_cache()
        if until <= covered.until:
            return
        begin = max(covered.since, covered.until - int(self._settings.overlap_s * SECOND))
        settled = (now - int(self._settings.late_s * SECOND)) // HOUR * HOUR
        while begin < until:
            begin = self._read(begin, until)
            if covered.settled >= covered.until:
                covered.settled = max(covered.settled, min(begin, settled))
            covered.until = max(covered.until, begin)
            self._save()
            self._hurry(begin, until, deadline)
        self._forget_fresh()

    def _settle(self, now: int, deadline: float) -> None:
        """Read full hours once more, when samples that were late have come."""
        covered = self._of_cache()
        until = min((now - int(self._settings.late_s * SECOND)) // HOUR * HOUR, covered.until)
        while covered.settled < until:
            covered.settled = self._read(covered.settled, until)
            self._save()
            self._hurry(covered.settled, until, deadline)

    def _hurry(self, begin: int, until: int, deadline: float) -> None:
        if begin < until and self._clock.monotonic() > deadline:
            days = (until - begin) / DAY
            raise StoreUnavailable(
                f"the history in {self._source.name} is still being read: {days:.1f} days to go", 1.0
            )

    def _forget_fresh(self) -> None:
        while self._fresh and self._fresh[0][0] < self._clock.monotonic() - _FRESH_S:
            self._fresh.popleft()

    def _of_cache(self) -> _Covered:
        if self._covered is None:
            raise StoreUnavailable("the cache covers nothing yet")
        return self._covered

    def _read(self, begin: int, until: int) -> int:
        """Read a span from `begin` on, as long as the limits allow; returns its end."""
        step, stop = 0, min(begin + self._span, until)
        thinned = self._of_cache().thinned
        if begin < thinned:
            step = int(self._settings.history_step_s * SECOND)
            stop = min(stop, thinned)
        while True:
            try:
                readings = self._source.read(self._asked(begin, step), begin, stop, step)
                break
            except QueryTooLarge:
                self._span = (stop - begin) // 2 // _STEP_MIN * _STEP_MIN
                if self._span < _STEP_MIN:
                    raise
                stop = begin + self._span
        if not step and len(readings):
            self._recorded = self._are_recorded(readings)
        self._take(readings)
        if len(readings) * 4 < self._settings.samples_max:
            self._span = min(2 * max(self._span, stop - begin), 32 * DAY)
        elif len(readings) > self._settings.samples_max:
            self._span = max(_STEP_MIN, (stop - begin) // 2 // _STEP_MIN * _STEP_MIN)
        return stop

    def _asked(self, begin: int, step: int) -> frozenset[str]:
        """The names to ask for: where recording rules tell of many series, those only once an hour, to compare."""
        if not self._recorded or step or begin // HOUR != self._whole_at:
            self._whole_at = begin // HOUR
            return self._names
        return self._lean

    def _are_recorded(self, readings: Readings) -> bool:
        """Whether recording rules tell of every host that shows what they spare."""
        spared, recorded = set[str](), set[str]()
        for name, pairs in readings.series:
            if name in recording.NAMES:
                recorded.add(self.rules.host(dict(pairs)))
            elif name not in self._lean:
                spared.add(self.rules.host(dict(pairs)))
        return bool(recorded) and spared <= recorded

    def _take(self, readings: Readings) -> None:
        """Put what was read into the cache."""
        own = np.array([name in own_series.NAMES for name, _ in readings.series], np.bool_)[readings.of]
        for batch in own_series.read(readings.where(own)):
            self._keep(batch)
        others = readings.where(~own)
        if len(others):
            self._keep(bulk.mapped(self.mapper, others, self._located(others)))

    def _keep(self, batch: Batch) -> None:
        """Append what the cache does not have yet."""
        held, held_weight = self._cache.held(batch.samples)
        value, weight = batch.samples.column("value").to_numpy(), weights_of(batch)
        same = (held_weight >= weight) & ((held == value) | (np.isnan(held) & np.isnan(value)))
        new = (weight == TAKEN_BACK) | (~same & (weight >= held_weight))
        weights = pa.chunked_array([pa.array(weight[new])])
        self._cache.append(Batch(batch.samples.filter(pa.array(new)), batch.devices, batch.until_marked, weights))

    def _located(self, readings: Readings) -> list[tuple[Located, ...]]:
        """Where each series belongs; remembered, until hosts are called otherwise."""
        if self.rules.learn(readings.series):
            self._places.clear()
        if len(self._places) > _PLACES_MAX:
            self._places.clear()
        for key in readings.series:
            if key not in self._places:
                self._places[key] = () if key[0] in own_series.NAMES else self.rules.locate(key)
        return [self._places[key] for key in readings.series]


def _reach(catalog: Catalog) -> int:
    """How far back of an asked time its features look, microseconds."""
    windows = [Window.of(feature.window) for feature in catalog.features]
    hold = max((metric.hold_s for metric in catalog.metrics), default=0.0)
    return max((window.length + window.unit for window in windows), default=0) + int(hold * SECOND)
