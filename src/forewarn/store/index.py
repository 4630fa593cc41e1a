"""What a store remembers of its series: their numbers, and the newest state of each.

All of it is held in arrays, so that a batch of a million samples is numbered and linked without a loop over samples.
It is a cache of what the store's tables say, rebuilt when a store is opened.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.store.windows import FOREVER, NEVER, Times

Numbers = NDArray[np.int64]
Texts: TypeAlias = "pa.Array[Any]"
_Column: TypeAlias = "pa.ChunkedArray[Any]"


@dataclass(frozen=True)
class Heads:
    """States of series, one element per series: the last value, its time, and the marker that ended it."""

    last: NDArray[np.float64]
    last_time: Times
    until: Times


class Names:
    """Numbers for names, in the order in which they came."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._array: Texts = pa.array([], pa.string())
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The name's number; a new one for a new name."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def find(self, name: str) -> int:
        """The name's number, or -1."""
        return self._numbers.get(name, -1)

    def array(self) -> Texts:
        """All names as an Arrow column; made again only where there are new ones."""
        if len(self._array) != len(self.names):
            self._array = pa.array(self.names, pa.string())
        return self._array

    def numbers(self, names: _Column, *, new: bool) -> Numbers:
        """The numbers of a column of names."""
        encoded = names.combine_chunks().dictionary_encode()
        lookup = self.number if new else self.find
        numbers = np.array([lookup(str(name)) for name in encoded.dictionary.to_pylist()], np.int64)
        found: Numbers = numbers[encoded.indices.to_numpy(zero_copy_only=False)]
        return found


class SeriesIndex:
    """Numbers series by component and metric, and keeps the head of each."""

    def __init__(self) -> None:
        self.components = Names()
        self.metrics = Names()
        self.size = 0
        self._table = np.full((64, 64), -1, np.int64)
        self._component = np.zeros(64, np.int64)
        self._metric = np.zeros(64, np.int64)
        self.until_marked = np.zeros(64, np.bool_)
        self.first_time = np.full(64, FOREVER, np.int64)  # of the series' first row
        self.row_time = np.full(64, NEVER, np.int64)  # of the series' newest row, marker or not
        self._last = np.full(64, np.nan)
        self._last_time = np.full(64, NEVER, np.int64)
        self._until = np.full(64, FOREVER, np.int64)

    def load(self, series: pa.Table) -> None:
        """Take over series that a store already has; their numbers must be 0, 1, 2, ..."""
        found = self.number(series.column("component"), series.column("metric"))
        self.until_marked[found] = series.column("until_marked").to_numpy()

    def number(self, components: _Column, metrics: _Column, *, new: bool = True) -> Numbers:
        """The series' numbers of a batch, row by row; unknown ones are numbered on from `size`, or -1 without `new`."""
        rows = self.components.numbers(components, new=new)
        columns = self.metrics.numbers(metrics, new=new)
        self._reserve_table()
        found = np.where((rows >= 0) & (columns >= 0), self._table[rows, columns], -1)
        if new and (unknown := found < 0).any():
            self._add(rows[unknown], columns[unknown])
            found = self._table[rows, columns]
        return found

    def _add(self, rows: Numbers, columns: Numbers) -> None:
        width = len(self.metrics.names)
        _, order = np.unique(rows * width + columns, return_index=True)
        order.sort()
        added = len(order)
        self._reserve(self.size + added)
        numbers = np.arange(self.size, self.size + added)
        self._component[numbers], self._metric[numbers] = rows[order], columns[order]
        self._table[rows[order], columns[order]] = numbers
        self.size += added

    def forget_from(self, size: int) -> None:
        """Undo numbers from `size` on: their batch was not stored."""
        gone = np.arange(size, self.size)
        self._table[self._component[gone], self._metric[gone]] = -1
        self.size = size

    def named(self, numbers: Numbers) -> tuple[Texts, Texts]:
        """The components and metrics of series."""
        components = self.components.array().take(self._component[numbers])
        return components, self.metrics.array().take(self._metric[numbers])

    def find(self, components: Numbers, metric: str) -> Numbers:
        """The series of one metric for numbered components, -1 where there is none."""
        column = self.metrics.find(metric)
        known = (components >= 0) & (components < len(self._table))
        if column < 0 or column >= self._table.shape[1]:
            return np.full(len(components), -1, np.int64)
        return np.where(known, self._table[np.where(known, components, 0), column], -1)

    def known(self, components: _Column, metrics: _Column) -> Numbers:
        """The series' numbers, row by row, -1 where there is none yet."""
        rows, columns = self.components.numbers(components, new=False), self.metrics.numbers(metrics, new=False)
        height, width = self._table.shape
        known = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
        return np.where(known, self._table[np.where(known, rows, 0), np.where(known, columns, 0)], -1)

    def heads(self, numbers: Numbers) -> Heads:
        return Heads(self._last[numbers], self._last_time[numbers], self._until[numbers])

    def set_heads(self, numbers: Numbers, heads: Heads, row_time: Times, first_time: Times) -> None:
        """Note the newest state of series, and widen the time in which they have rows."""
        self._last[numbers], self._last_time[numbers], self._until[numbers] = heads.last, heads.last_time, heads.until
        self.row_time[numbers] = row_time
        self.first_time[numbers] = np.minimum(self.first_time[numbers], first_time)

    def newest(self) -> int:
        """The time of the newest row of all."""
        return int(self.row_time.max())

    def _reserve_table(self) -> None:
        rows, columns = self._table.shape
        wanted = (_grown(rows, len(self.components.names)), _grown(columns, len(self.metrics.names)))
        if wanted != (rows, columns):
            table = np.full(wanted, -1, np.int64)
            table[:rows, :columns] = self._table
            self._table = table

    def _reserve(self, size: int) -> None:
        more = _grown(len(self._component), size) - len(self._component)
        if more:
            self._component = np.pad(self._component, (0, more))
            self._metric = np.pad(self._metric, (0, more))
            self.until_marked = np.pad(self.until_marked, (0, more))
            self.first_time = np.pad(self.first_time, (0, more), constant_values=FOREVER)
            self.row_time = np.pad(self.row_time, (0, more), constant_values=NEVER)
            self._last = np.pad(self._last, (0, more), constant_values=np.nan)
            self._last_time = np.pad(self._last_time, (0, more), constant_values=NEVER)
            self._until = np.pad(self._until, (0, more), constant_values=FOREVER)


def _grown(size: int, needed: int) -> int:
    while size < needed:
        size *= 2
    return size
