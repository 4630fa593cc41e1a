"""Frames of the DuckDB store: which rows a question has, where their parts sat, and the table that goes out.

A live cycle asks for one kind after the other at one time. Kinds that were asked for together at one time are therefore
computed together at the next, as long as they are small, and what cannot change within the hour is kept for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind, component_id
from forewarn.errors import TelemetryError
from forewarn.store.base import FRAME_KEYS, ROWS, TIME
from forewarn.store.duckdb_buckets import Buckets
from forewarn.store.duckdb_features import Doubles, Frozen, Rows, Store, arrow, values
from forewarn.store.duckdb_file import DuckDBFile
from forewarn.store.index import Numbers, SeriesIndex
from forewarn.store.places import Places
from forewarn.store.windows import Times

_TOGETHER_MAX = 5000  # parts of a kind, past which what a question costs by itself is nothing beside what its rows cost


@dataclass
class _Cycle:
    """The kinds asked for at one time, and frames that were computed along but not fetched yet."""

    catalog: Catalog
    time: int
    kinds: list[Kind] = field(default_factory=list)
    waiting: dict[Kind, pa.Table] = field(default_factory=dict)


class Frames:
    """Answers feature questions from a file, its index, places and buckets."""

    def __init__(
        self, file: DuckDBFile, index: SeriesIndex, places: Places, buckets: Buckets, pairs_max: int, forget_s: float
    ) -> None:
        self._file, self._index, self._places, self._buckets = file, index, places, buckets
        self._pairs_max, self._forget_s = pairs_max, forget_s
        self._frozen: list[Frozen] = []
        self._cycle: _Cycle | None = None

    def forget(self, since: int) -> None:
        """Samples from `since` on have come, or been put in order: what was kept of them is stale."""
        self._frozen[:] = [frozen for frozen in self._frozen if since > frozen.until]
        if self._cycle is not None:
            self._cycle.waiting.clear()

    def of_rows(self, catalog: Catalog, kind: Kind, rows: pa.Table) -> pa.Table:
        """The frame of a ROWS table, in its order."""
        if not rows.schema.equals(ROWS):
            raise TelemetryError(f"rows are asked for with the columns {rows.schema}, not {ROWS}".replace("\n", ", "))
        times = rows.column("time").cast(pa.int64()).to_numpy()
        components = self._index.components.numbers(rows.column("component"), new=False)
        return self._frames(catalog, (kind,), [(times, components)], rows.column("component").combine_chunks())[kind]

    def of_times(self, catalog: Catalog, kind: Kind, times: Times) -> pa.Table:
        """The frame of all parts known at each time."""
        known = self._known(kind, times)
        if len(times) != 1 or len(known[0]) > _TOGETHER_MAX:
            return self._frames(catalog, (kind,), [known])[kind]
        cycle, kinds = self._cycle_of(catalog, kind, int(times[0]))
        if kind not in cycle.waiting:
            cycle.waiting = self._frames(catalog, kinds, [self._known(one, times) for one in kinds])
        return cycle.waiting.pop(kind)

    def _cycle_of(self, catalog: Catalog, kind: Kind, time: int) -> tuple[_Cycle, tuple[Kind, ...]]:
        """Notes a question; returns it with those that will come after it, if the cycle goes on like the last one."""
        last = self._cycle
        along: tuple[Kind, ...] = (kind,)
        if last is not None and last.catalog is catalog and last.time != time:
            along = tuple(dict.fromkeys((kind, *last.kinds)))
        cycle = last if last is not None and last.catalog is catalog and last.time == time else _Cycle(catalog, time)
        cycle.kinds = [*cycle.kinds, kind] if kind not in cycle.kinds else cycle.kinds
        self._cycle = cycle
        return cycle, along

    def _known(self, kind: Kind, times: Times) -> tuple[Times, Numbers]:
        return self._places.known(kind, times, self._forget_s)

    def _frames(
        self,
        catalog: Catalog,
        kinds: Sequence[Kind],
        asked: Sequence[tuple[Times, Numbers]],
        names: "Doubles | None" = None,
    ) -> dict[Kind, pa.Table]:
        """The frames of several kinds from one question; `names` are the components' where the caller has them."""
        times = np.concatenate([part[0] for part in asked])
        components = np.concatenate([part[1] for part in asked])
        if len(times):
            self._buckets.roll(int(times.max()), self._index.newest())
        places = self._places.at(components, times)
        rows = Rows(times, components, self._host_components(places))
        features = [feature for kind in kinds for feature in catalog.stored(kind)]
        with self._file.cursor() as cursor:
            store = Store(cursor, self._index, self._buckets.kept, self._pairs_max, self._frozen)
            found = values(store, catalog, features, rows)
        keys = self._keys(times, components, places, names)
        frames, begin = {}, 0
        for kind, (part, _) in zip(kinds, asked, strict=True):
            chosen = slice(begin, begin + len(part))
            columns = arrow(catalog.stored(kind), found, chosen, len(part))
            schema = pa.schema([*FRAME_KEYS, *((name, pa.float64()) for name in columns)])
            here = {name: keys[name].slice(begin, len(part)) for name in FRAME_KEYS.names}
            frames[kind] = pa.table({**here, **columns}, schema=schema)
            begin += len(part)
        return frames

    def _host_components(self, places: Numbers) -> Numbers:
        names, of_row = self._places.hosts(places)
        numbers = [self._index.components.find(component_id(Kind.HOST, name, name, name)) for name in names]
        return np.array(numbers, np.int64)[of_row]

    def _keys(self, times: Times, components: Numbers, places: Numbers, names: "Doubles | None") -> dict[str, Doubles]:
        where = self._places.found(places)
        return {
            "time": pa.array(times).cast(TIME),
            "component": self._index.components.array().take(components) if names is None else names,
            "host": where.host,
            "device": where.device,
            "model": where.model,
        }
