"""Samples on their way in: put in order, freed of duplicates, and linked each to the state that it meets.

A linked sample knows the value before it, so that steps are summed later without a look at a neighbour. Pure arrays:
the store says what it already holds. Of several samples of a series at one time the one of the greatest weight stands,
of equals the later one; see `TelemetryStore.append`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.store.base import TAKEN_BACK, Batch
from forewarn.store.index import Heads, Numbers
from forewarn.store.windows import FOREVER, NEVER, Times

Values = NDArray[np.float64]
Weights = NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """Samples of numbered series."""

    series: Numbers
    time: Times
    value: Values
    weight: Weights

    def where(self, chosen: NDArray[np.bool_] | Numbers) -> "Rows":
        return Rows(self.series[chosen], self.time[chosen], self.value[chosen], self.weight[chosen])

    def after(self, held: "Rows") -> "Rows":
        """These rows behind those that are held already."""
        return Rows(
            np.concatenate((held.series, self.series)),
            np.concatenate((held.time, self.time)),
            np.concatenate((held.value, self.value)),
            np.concatenate((held.weight, self.weight)),
        )

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
            "weight": np.maximum(self.rows.weight, 0),
            "before": self.before,
            "before_time": self.before_time,
            "before_until": self.before_until,
        }
        return pa.table({name: pa.array(values[order]) for name, values in columns.items()})


def weights_of(batch: Batch) -> Weights:
    """Of how many series each sample of a batch was made."""
    if batch.weights is not None:
        return np.asarray(batch.weights.to_numpy(), np.int32)
    return np.where(np.isnan(batch.samples.column("value").to_numpy()), 0, 1).astype(np.int32)


def ordered(rows: Rows) -> Rows:
    """Samples by series and time, one for each; of equal weight the later one of `rows`."""
    same = rows.series[1:] == rows.series[:-1]
    if not ((rows.series[1:] > rows.series[:-1]) | (same & (rows.time[1:] > rows.time[:-1]))).all():
        strength = np.where(rows.weight == TAKEN_BACK, np.iinfo(np.int32).max, rows.weight)
        rows = rows.where(np.lexsort((strength, rows.time, rows.series)))  # stable: equals stay as they came
        final = np.r_[(rows.series[1:] != rows.series[:-1]) | (rows.time[1:] != rows.time[:-1]), True]
        rows = rows.where(final)
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
