"""Samples on their way in: put in order, freed of duplicates, and linked each to the state that it meets.

A linked sample knows the value before it, so that steps are summed later without a look at a neighbour. Pure arrays:
the store says what it already holds. Of two samples of a series at one time the lower value stands, and any value
stands before a marker: whatever the order of arrival, the outcome is the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.store.index import Heads, Numbers
from forewarn.store.windows import FOREVER, NEVER, Times

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Samples of numbered series."""

    series: Numbers
    time: Times
    value: Values

    def where(self, chosen: NDArray[np.bool_] | Numbers) -> "Rows":
        return Rows(self.series[chosen], self.time[chosen], self.value[chosen])

    def __len__(self) -> int:
        return len(self.series)


@dataclass(frozen=True)
class Linked:
    """Samples in order, each with the state that it meets; `heads` and `numbers` are of the series, in order."""

    rows: Rows
    before: Values
    before_time: Times
    before_until: Times
    numbers: Numbers
    heads: Heads
    first_time: Times
    row_time: Times

    def table(self) -> pa.Table:
        """The rows as the store keeps them, in the order of time."""
        order: slice | Numbers = slice(None)
        if len(self.rows) and self.rows.time[0] != self.rows.time[-1]:
            order = np.argsort(self.rows.time, kind="stable")
        columns: dict[str, NDArray[Any]] = {
            "series": self.rows.series.astype(np.int32),
            "time": self.rows.time,
            "value": self.rows.value,
            "before": self.before,
            "before_time": self.before_time,
            "before_until": self.before_until,
        }
        return pa.table({name: pa.array(values[order]) for name, values in columns.items()})


def ordered(rows: Rows) -> Rows:
    """Samples by series and time, one for each."""
    same = rows.series[1:] == rows.series[:-1]
    if not ((rows.series[1:] > rows.series[:-1]) | (same & (rows.time[1:] > rows.time[:-1]))).all():
        rows = rows.where(np.lexsort((rows.value, rows.time, rows.series)))
        fresh = np.r_[True, (rows.series[1:] != rows.series[:-1]) | (rows.time[1:] != rows.time[:-1])]
        rows = rows.where(fresh)
    return rows


def runs(rows: Rows) -> Numbers:
    """Where each series begins in ordered samples."""
    return np.flatnonzero(np.r_[True, rows.series[1:] != rows.series[:-1]][: len(rows)])


def link(rows: Rows, prior: Heads) -> Linked:
    """Link ordered samples. `prior` is the state of each of their series before its first sample."""
    begins = runs(rows)
    lengths = np.diff(np.r_[begins, len(rows)])
    run = np.repeat(np.arange(len(begins)), lengths)
    begin, at = begins[run], np.arange(len(rows))
    real = ~np.isnan(rows.value)
    newest = np.maximum.accumulate(np.where(real, at, -1))
    previous = np.r_[-1, newest[:-1]][: len(rows)]
    inside = previous >= begin
    before = np.where(inside, rows.value[previous], prior.last[run])
    before_time = np.where(inside, rows.time[previous], prior.last_time[run])
    # All rows between a value and the next are markers: the first of them ended it.
    marked = np.where(inside, previous + 1, begin)
    ended = np.where(marked < at, rows.time[np.minimum(marked, len(rows) - 1)] if len(rows) else 0, FOREVER)
    carried = ~inside & ((prior.until[run] != FOREVER) | (before_time == NEVER))
    before_until = np.where(carried, prior.until[run], ended)
    final = begins + lengths - 1
    heads = Heads(
        np.where(real[final], rows.value[final], before[final]),
        np.where(real[final], rows.time[final], before_time[final]),
        np.where(real[final], FOREVER, np.minimum(before_until[final], rows.time[final])),
    )
    return Linked(
        rows, before, before_time, before_until, rows.series[begins], heads, rows.time[begins], rows.time[final]
    )
