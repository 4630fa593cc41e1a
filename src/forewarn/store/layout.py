"""Where a host's series lead, as columns that are made once: from what a scrape shows to the batch that is stored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Combine
from forewarn.store.base import DEVICES, SAMPLES, TAKEN_BACK, TIME, WEIGHT, Batch
from forewarn.store.index import Numbers
from forewarn.store.intake import Values, Weights
from forewarn.store.windows import microseconds

_Column: TypeAlias = "pa.Array[Any]"
Series = tuple[str, str]  # as a store has it: a component and a metric
Device = tuple[Kind, str]

_NO_TEXT: _Column = pa.array([], pa.string())
_TEXTS = ("component", "kind", "host", "device", "model")


@dataclass(frozen=True, slots=True)
class Target:
    """Where values of a host's series go."""

    component: str
    kind: Kind
    device: str
    model: str
    metric: str
    combine: Combine
    modulus: float = 0.0  # of packed values, that of the part that is meant; 0 for the whole

    @property
    def series(self) -> Series:
        return self.component, self.metric

    @property
    def place(self) -> Device:
        return self.kind, self.device


@dataclass
class Resolution:
    """Where the series of a host lead while no part is changed. Series and targets go by number."""

    host: str
    targets: list[Target] = field(default_factory=list)
    by_slot: list[tuple[int, ...]] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)  # by metric and device
    settled: bool = False  # whether nothing of all this waits
    _shape: "_Shape | None" = None

    def number(self, key: tuple[str, str], target: Target) -> int:
        """The number of a new target."""
        number = self.numbers[key] = len(self.targets)
        self.targets.append(target)
        return number

    @property
    def shape(self) -> "_Shape":
        if self._shape is None or self._shape.slots != len(self.by_slot):
            self._shape = _Shape(self.host, tuple(self.targets), self.by_slot)
            self.settled = False
        return self._shape

    def touched(self, slots: Numbers) -> tuple[Numbers, Numbers]:
        """The targets to which some series lead, and those of the series that lead nowhere."""
        shape = self.shape
        chosen = np.zeros(shape.slots, np.bool_)
        chosen[slots] = True
        hit = np.zeros(len(self.targets), np.bool_)
        hit[shape.edge_target[chosen[shape.edge_slot]]] = True
        return np.flatnonzero(hit), slots[shape.leads[slots] == 0]

    def shown(self, values: Values) -> list[int]:
        """The targets of which anything was shown."""
        number = np.arange(len(self.targets))
        return np.flatnonzero(self.shape.combined(number, values)[1]).tolist() if len(number) else []


class _Shape:
    """A resolution in arrays. An edge leads from a series to a target; edges are in the targets' order."""

    def __init__(self, host: str, targets: tuple[Target, ...], by_slot: Sequence[tuple[int, ...]]) -> None:
        self.slots = len(by_slot)
        self.leads = np.array([len(numbers) for numbers in by_slot], np.int64)
        target = np.array([number for numbers in by_slot for number in numbers], np.int64)
        order = np.argsort(target, kind="stable")
        self.edge_target = target[order]
        self.edge_slot = np.repeat(np.arange(self.slots), self.leads)[order]
        self._host, self._targets = host, targets
        self._lengths = np.bincount(self.edge_target, minlength=len(targets))
        self._modulus = np.array([target.modulus for target in targets])
        self._how = np.array([target.combine for target in targets])

    def combined(self, numbers: Numbers, values: Values) -> tuple[Values, Weights]:
        """One value for each of some targets, and of how many series it is made; NaN where none shows anything."""
        lengths = self._lengths[numbers]
        if len(numbers) == len(self._targets):
            slots, moduli = self.edge_slot, self._edge_modulus
        else:
            chosen = np.zeros(len(self._targets), np.bool_)
            chosen[numbers] = True
            edges = chosen[self.edge_target]
            slots, moduli = self.edge_slot[edges], self._edge_modulus[edges]
        shown = np.full(len(slots), np.nan)
        known = slots < len(values)
        shown[known] = values[slots[known]]
        packed = np.flatnonzero(moduli)
        with np.errstate(invalid="ignore"):
            shown[packed] = np.mod(shown[packed], moduli[packed])
        return _merged(shown, lengths, self._how[numbers])

    @cached_property
    def _edge_modulus(self) -> Values:
        return self._modulus[self.edge_target]

    @cached_property
    def components(self) -> _Column:
        return pa.array([target.component for target in self._targets], pa.string())

    @cached_property
    def metrics(self) -> _Column:
        return pa.array([target.metric for target in self._targets], pa.string())

    @cached_property
    def places(self) -> tuple[Numbers, tuple[_Column, ...]]:
        """Which place each target is about, and the places' texts."""
        found: dict[tuple[str, str], int] = {}
        firsts: list[Target] = []
        of_target = []
        for target in self._targets:
            number = found.setdefault((target.component, target.device), len(firsts))
            if number == len(firsts):
                firsts.append(target)
            of_target.append(number)
        rows = [(one.component, str(one.kind), self._host, one.device, one.model) for one in firsts]
        texts = tuple(pa.array([row[at] for row in rows], pa.string()) for at in range(len(_TEXTS)))
        return np.array(of_target, np.int64), texts


def _merged(shown: Values, lengths: Numbers, how: "NDArray[Any]") -> tuple[Values, Weights]:
    """Runs of values made one each, by how each run's target wants it; what is NaN was not shown."""
    real = shown == shown
    if len(shown) == len(lengths):
        return shown, real.astype(np.int32)
    begins = np.cumsum(lengths) - lengths
    weights = np.add.reduceat(real, begins, dtype=np.int32)
    value = np.add.reduceat(np.where(real, shown, 0.0), begins)
    ways = {Combine.MAX: np.fmax, Combine.MIN: np.fmin}
    with np.errstate(invalid="ignore", divide="ignore"):
        for one, way in ways.items():
            if (chosen := how == one).any():
                value[chosen] = way.reduceat(shown, begins)[chosen]
        value = np.where(how == Combine.AVG, value / weights, value)
    return np.where(weights > 0, value, np.nan), weights


@dataclass(frozen=True)
class Part:
    """What some targets of a host show at a time."""

    time: datetime
    shape: _Shape
    numbers: Numbers
    values: Values
    weights: Weights


@dataclass(frozen=True)
class TakenBack:
    """What was stored of these series at a time was of another part."""

    time: datetime
    series: Collection[Series]


def batch(parts: Sequence[Part | TakenBack]) -> Batch:
    """The batch of what hosts show, in the order of its parts."""
    samples, places = list(map(_samples, parts)), list(map(_places, parts))
    times = [pa.array(np.full(len(one[0]), microseconds(part.time))) for part, one in zip(parts, samples, strict=True)]
    seen = [pa.array(np.full(len(one[0]), microseconds(part.time))) for part, one in zip(parts, places, strict=True)]
    columns = [times, *([one[at] for one in samples] for at in range(4))]
    *shown, weights = (_chunked(column, kind) for column, kind in zip(columns, (*SAMPLES.types, WEIGHT), strict=True))
    texts = [[one[at] for one in places] for at in range(len(_TEXTS))]
    devices = [_chunked(column, kind) for column, kind in zip((*texts, seen, seen), DEVICES.types, strict=True)]
    return Batch(
        pa.Table.from_arrays(shown, schema=SAMPLES), pa.Table.from_arrays(devices, schema=DEVICES), weights=weights
    )


def _samples(part: Part | TakenBack) -> tuple[_Column, ...]:
    """Components, metrics, values and weights."""
    if isinstance(part, TakenBack):
        gone = sorted(part.series)
        names, metrics = (pa.array([pair[at] for pair in gone], pa.string()) for at in (0, 1))
        weights = pa.array(np.full(len(gone), TAKEN_BACK, np.int32))
        return names, metrics, pa.array(np.full(len(gone), np.nan)), weights
    components, keys = part.shape.components, part.shape.metrics
    if len(part.numbers) != len(components):
        components, keys = components.take(part.numbers), keys.take(part.numbers)
    return components, keys, pa.array(part.values), pa.array(part.weights)


def _places(part: Part | TakenBack) -> tuple[_Column, ...]:
    """The texts of the places that a part is about."""
    if isinstance(part, TakenBack):
        return (_NO_TEXT,) * len(_TEXTS)
    of_target, texts = part.shape.places
    if len(part.numbers) == len(of_target):
        return texts
    chosen = np.unique(of_target[part.numbers])
    return tuple(column.take(chosen) for column in texts)


def _chunked(pieces: list[_Column], kind: "pa.DataType") -> "pa.ChunkedArray[Any]":
    held = pa.int64() if kind == TIME else kind
    column: pa.ChunkedArray[Any] = pa.chunked_array(pieces, held)  # type: ignore[call-overload]
    return column.cast(kind) if kind == TIME else column


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches with weights as one, in their order."""
    if len(batches) == 1:
        return batches[0]
    samples = pa.concat_tables([SAMPLES.empty_table(), *(batch.samples for batch in batches)])
    devices = pa.concat_tables([DEVICES.empty_table(), *(batch.devices for batch in batches)])
    weights: list[_Column] = [chunk for batch in batches if batch.weights is not None for chunk in batch.weights.chunks]
    return Batch(samples, devices, weights=pa.chunked_array([pa.array([], WEIGHT), *weights]))
