"""From columns of exporters' samples to a batch of components' samples: the mapper's work on whole spans at once.

A site's database answers with hours of many series. Where a series leads is asked of the mapper once per series and
part, not once per sample; the rest is arithmetic on columns. What comes out is what `Mapper.map` makes of the same
scrapes, each given to it whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.telemetry import Combine, Sample
from forewarn.store.base import DEVICES, SAMPLES, TIME, Batch
from forewarn.store.index import Numbers
from forewarn.store.labels import Located
from forewarn.store.layout import Target
from forewarn.store.mapping import Mapper
from forewarn.store.source import Readings
from forewarn.store.windows import FOREVER, NEVER, Times, microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GATHERED: dict[Combine, Callable[[NDArray[np.float64], Numbers], NDArray[np.float64]]] = {
    Combine.SUM: np.add.reduceat,
    Combine.MAX: np.maximum.reduceat,
    Combine.MIN: np.minimum.reduceat,
    Combine.AVG: np.add.reduceat,
}


def moment(time: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=time)


@dataclass(frozen=True)
class _Piece:
    """Samples begin:end of the ordered readings, which lead to one target."""

    target: int
    begin: int
    end: int
    scale: float


@dataclass
class _Found:
    """The targets of a span, numbered, with the host of each."""

    targets: list[Target] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    pieces: list[_Piece] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)  # by the target's identity: there is one object for each

    def number(self, host: str, target: Target) -> int:
        number = self._numbers.setdefault(id(target), len(self.targets))
        if number == len(self.targets):
            self.targets.append(target)
            self.hosts.append(host)
        return number


Places = Sequence[Sequence[Located]]
"""For each series of readings, where it belongs: nowhere if its host is not known, or with several meanings."""
_Placed = Sequence[tuple[int, Located]]


def mapped(mapper: Mapper, readings: Readings, places: Places) -> Batch:
    """The batch of a span's samples."""
    readings = readings.ordered()
    bounds = np.searchsorted(readings.of, np.arange(len(readings.series) + 1))
    found = _Found()
    for host, located in _by_host(places, bounds).items():
        mapper.hear(host, _words(mapper, readings, bounds, located))
        _resolve(mapper, host, readings, bounds, located, found)
    return _batch(found, readings)


def hear(mapper: Mapper, readings: Readings, places: Places) -> None:
    """Take in what info series say, and nothing else."""
    readings = readings.ordered()
    bounds = np.searchsorted(readings.of, np.arange(len(readings.series) + 1))
    for host, located in _by_host(places, bounds).items():
        mapper.hear(host, _words(mapper, readings, bounds, located))


def _by_host(places: Places, bounds: Numbers) -> dict[str, list[tuple[int, Located]]]:
    """The series that have samples, numbered."""
    found: dict[str, list[tuple[int, Located]]] = {}
    for number, meanings in enumerate(places):
        if bounds[number] < bounds[number + 1]:
            for place in meanings:
                found.setdefault(place.host, []).append((number, place))
    return found


def _words(mapper: Mapper, readings: Readings, bounds: Numbers, located: _Placed) -> Sequence[Sample]:
    """What info series say, in the order of time.

    Of one that speaks alone of its device the first and the last word, of several that speak of one device all.
    """
    said: list[tuple[int, Sample]] = []
    claims: dict[tuple[str, str], int] = {}
    chosen = [(number, place) for number, place in located if place.name in mapper.words]
    for _, place in chosen:
        subject = (place.name, place.subject)
        claims[subject] = claims.get(subject, 0) + 1
    for number, place in chosen:
        begin, end = int(bounds[number]), int(bounds[number + 1])
        rows = range(begin, end) if claims[place.name, place.subject] > 1 else dict.fromkeys((begin, end - 1))
        labels = dict(place.labels)
        for row in rows if end > begin else ():
            time = int(readings.time[row])
            said.append((time, Sample(place.name, labels, float(readings.value[row]), moment(time))))
    said.sort(key=lambda one: one[0])
    return [sample for _, sample in said if sample.value == sample.value]


def _resolve(
    mapper: Mapper,
    host: str,
    readings: Readings,
    bounds: Numbers,
    located: _Placed,
    found: _Found,
) -> None:
    """Cut the samples of a host where a part was changed, and note where each cut leads."""
    chosen = [(number, place) for number, place in located if mapper.means(place.name)]
    if not chosen:
        return
    keys = [place.key for _, place in chosen]
    for since, until in _epochs(mapper.turns(host), readings.time):
        leads = mapper.targets(host, keys, moment(max(since, int(readings.time.min()))))
        for (number, place), targets in zip(chosen, leads, strict=True):
            begin, end = int(bounds[number]), int(bounds[number + 1])
            if since != NEVER or until != FOREVER:
                cut = np.searchsorted(readings.time[begin:end], (since, until))
                begin, end = begin + int(cut[0]), begin + int(cut[1])
            if begin < end:
                found.pieces += [_Piece(found.number(host, target), begin, end, place.scale) for target in targets]


def _epochs(turns: Sequence[datetime], times: Times) -> Iterator[tuple[int, int]]:
    """The intervals [since, until) in which no part was changed, as far as they hold any of the times."""
    if not len(times):
        return
    first, last = int(times.min()), int(times.max())
    inside = [turn for turn in map(microseconds, turns) if first < turn <= last]
    borders = [NEVER, *inside, FOREVER]
    yield from pairwise(borders)


def _batch(found: _Found, readings: Readings) -> Batch:
    if not found.pieces:
        return Batch(SAMPLES.empty_table(), DEVICES.empty_table(), weights=pa.chunked_array([pa.array([], pa.int32())]))
    lengths = np.array([piece.end - piece.begin for piece in found.pieces])
    offsets = np.cumsum(lengths) - lengths
    begins = np.array([piece.begin for piece in found.pieces])
    row = np.arange(int(lengths.sum())) + np.repeat(begins - offsets, lengths)
    target = np.repeat(np.array([piece.target for piece in found.pieces]), lengths)
    scale = np.repeat(np.array([piece.scale for piece in found.pieces]), lengths)
    time, value = readings.time[row], readings.value[row] * scale
    modulus = np.array([one.modulus for one in found.targets])[target]
    value = np.where(modulus > 0, np.mod(value, np.where(modulus > 0, modulus, 1.0)), value)
    weight = (~np.isnan(value)).astype(np.int32)
    shared = np.bincount(np.array([piece.target for piece in found.pieces]), minlength=len(found.targets)) > 1
    if shared.any():
        target, time, value, weight = _combined(found.targets, shared, target, time, value)
    return _table(found, target, time, value, weight)


def _combined(
    targets: Sequence[Target],
    shared: NDArray[np.bool_],
    target: Numbers,
    time: Times,
    value: NDArray[np.float64],
) -> tuple[Numbers, Times, NDArray[np.float64], NDArray[np.int32]]:
    """One value for the samples of one target and time; NaN where none shows anything."""
    order = np.lexsort((np.isnan(value), time, target))  # markers after values
    target, time, value = target[order], time[order], value[order]
    begins = np.flatnonzero(np.r_[True, (target[1:] != target[:-1]) | (time[1:] != time[:-1])])
    real = ~np.isnan(value)
    count = np.add.reduceat(real.astype(np.int32), begins)
    result = value[begins]
    several = np.flatnonzero((count > 1) & shared[target[begins]])
    for combine, gather in _GATHERED.items():
        chosen = several[np.array([targets[one].combine is combine for one in target[begins[several]]], np.bool_)]
        if len(chosen):
            result[chosen] = _gathered(gather, value, begins[chosen], count[chosen])
            if combine is Combine.AVG:
                result[chosen] /= count[chosen]
    return target[begins], time[begins], result, count.astype(np.int32)


def _gathered(
    gather: Callable[[NDArray[np.float64], Numbers], NDArray[np.float64]],
    value: NDArray[np.float64],
    begins: Numbers,
    count: Numbers,
) -> NDArray[np.float64]:
    """What becomes of the first `count` values from each of `begins` on."""
    offsets = np.cumsum(count) - count
    rows = np.arange(int(count.sum())) + np.repeat(begins - offsets, count)
    return gather(value[rows], offsets)


def _table(found: _Found, target: Numbers, time: Times, value: NDArray[np.float64], weight: NDArray[np.int32]) -> Batch:
    components = pa.array([one.component for one in found.targets], pa.string())
    metrics = pa.array([one.metric for one in found.targets], pa.string())
    columns: list[pa.Array[Any]] = [
        pa.array(time).cast(TIME),
        components.take(target),
        metrics.take(target),
        pa.array(value),
    ]
    samples = pa.Table.from_arrays(columns, schema=SAMPLES)
    return Batch(samples, _devices(found, target, time), weights=pa.chunked_array([pa.array(weight.astype(np.int32))]))


def _devices(found: _Found, target: Numbers, time: Times) -> pa.Table:
    first = np.full(len(found.targets), FOREVER, np.int64)
    last = np.full(len(found.targets), NEVER, np.int64)
    np.minimum.at(first, target, time)
    np.maximum.at(last, target, time)
    places: dict[tuple[str, str, str, str, str], tuple[int, int]] = {}
    for number, one in enumerate(found.targets):
        place = (one.component, str(one.kind), found.hosts[number], one.device, one.model)
        begin, end = places.get(place, (FOREVER, NEVER))
        places[place] = min(begin, int(first[number])), max(end, int(last[number]))
    names = ("component", "kind", "host", "device", "model")
    columns: dict[str, Any] = {
        name: pa.array([place[at] for place in places], pa.string()) for at, name in enumerate(names)
    }
    for at, name in enumerate(("first_seen", "last_seen")):
        columns[name] = pa.array([seen[at] for seen in places.values()], pa.int64()).cast(TIME)
    return pa.table(columns, schema=DEVICES)
