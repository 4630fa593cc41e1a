"""What a mapper makes of a scrape: the batch, whose columns are made once as long as the series stay the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Combine
from forewarn.store.base import DEVICES, SAMPLES, TAKEN_BACK, TIME, WEIGHT, Batch

_Column: TypeAlias = "pa.Array[Any]"
Series = tuple[str, str]  # as a store has it: a component and a metric
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where values of a host's series go; there is one object for each place and metric. `slots` numbers the series."""

    component: str
    kind: Kind
    device: str
    model: str
    metric: str
    combine: Combine
    modulus: float = 0.0  # of packed values, that of the part that is meant; 0 for the whole
    slots: list[int] = field(default_factory=list)

    @property
    def series(self) -> Series:
        return self.component, self.metric


@dataclass(frozen=True, slots=True)
class Value:
    """What a target's series make together, and how many they are; a marker is made of none."""

    target: Target
    value: float
    weight: int


@dataclass(frozen=True)
class Layout:
    """The columns that a host's scrapes share as long as they show the same series."""

    targets: tuple[Target, ...]
    components: _Column
    metrics: _Column
    places: pa.Table  # DEVICES without times

    @classmethod
    def of(cls, host: str, targets: tuple[Target, ...]) -> "Layout":
        places = {(target.component, target.device): target for target in targets}.values()
        columns = {
            "component": [target.component for target in places],
            "kind": [str(target.kind) for target in places],
            "host": [host] * len(places),
            "device": [target.device for target in places],
            "model": [target.model for target in places],
        }
        texts = {name: pa.array(column, pa.string()) for name, column in columns.items()}
        components = pa.array([target.component for target in targets], pa.string())
        return cls(targets, components, pa.array([target.metric for target in targets], pa.string()), pa.table(texts))

    def batch(self, time: datetime, values: Sequence[Value]) -> Batch:
        """The batch of one scrape: a value for each target."""
        times = _times(time, len(values))
        numbers = pa.array(np.array([value.value for value in values], np.float64))
        weights = pa.array(np.array([value.weight for value in values], np.int32))
        samples = pa.Table.from_arrays([times, self.components, self.metrics, numbers], schema=SAMPLES)
        seen = _times(time, self.places.num_rows)
        devices = self.places.append_column("first_seen", seen).append_column("last_seen", seen)
        return Batch(samples, devices.cast(DEVICES), weights=pa.chunked_array([weights]))


def taken_back(time: datetime, series: Collection[Series]) -> Batch:
    """What was stored of these series at a time was of another part."""
    gone = sorted(series)
    columns = [
        _times(time, len(gone)),
        pa.array([component for component, _ in gone], pa.string()),
        pa.array([metric for _, metric in gone], pa.string()),
        pa.array(np.full(len(gone), np.nan)),
    ]
    weights = pa.chunked_array([pa.array(np.full(len(gone), TAKEN_BACK, np.int32))])
    return Batch(pa.Table.from_arrays(columns, schema=SAMPLES), DEVICES.empty_table(), weights=weights)


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches with weights as one, in their order."""
    if len(batches) == 1:
        return batches[0]
    samples = pa.concat_tables([SAMPLES.empty_table(), *(batch.samples for batch in batches)])
    devices = pa.concat_tables([DEVICES.empty_table(), *(batch.devices for batch in batches)])
    weights: list[_Column] = [chunk for batch in batches if batch.weights is not None for chunk in batch.weights.chunks]
    return Batch(samples, devices, weights=pa.chunked_array([pa.array([], WEIGHT), *weights]))


def _times(time: datetime, number: int) -> _Column:
    column: _Column = pa.array(np.full(number, (time - _EPOCH) // timedelta(microseconds=1))).cast(TIME)
    return column
