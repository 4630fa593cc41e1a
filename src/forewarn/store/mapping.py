"""From samples as exporters name them to samples of components, as stores keep them.

A `Mapper` finds the metric that each series means, the part that stands behind its device name (by the info series that
it has seen of that host), and makes one value of several series of a device. What a name and its labels lead to is
remembered per host, so that a scrape of thousands of series is a matter of dictionary look-ups. It keeps no samples.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from forewarn.domain.inventory import Kind, component_id
from forewarn.domain.metrics import IDENTITIES, METRICS, Identity
from forewarn.domain.telemetry import Combine, Metric, Sample
from forewarn.store.base import DEVICES, SAMPLES, Batch

_Key = tuple[str, tuple[tuple[str, str], ...]]  # a series: its name and its labels


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a series' values go."""

    component: str
    kind: Kind
    device: str
    model: str
    metric: str
    combine: Combine


@dataclass(frozen=True, slots=True)
class _Part:
    """What an info series says of a device. A lower rank stands earlier in the table of identities."""

    rank: int
    serial: str
    model: str


@dataclass
class _Host:
    """What is known of one host: its parts by kind and device, and where each of its series leads."""

    parts: dict[tuple[Kind, str], _Part] = field(default_factory=dict)
    targets: dict[_Key, tuple[_Target, ...]] = field(default_factory=dict)

    def learn(self, kind: Kind, device: str, part: _Part) -> None:
        """Take in what an info series says; where it is news, every series is looked up anew."""
        known = self.parts.get((kind, device))
        if part != known and (known is None or part.rank <= known.rank):
            self.parts[kind, device] = part
            self.targets.clear()

    def part(self, kind: Kind, device: str) -> _Part:
        """The part behind a device name. A serial that two devices claim (a bond and its links) tells neither apart."""
        part = self.parts.get((kind, device), _Part(0, "", ""))
        claims = sum(1 for (of, _), other in self.parts.items() if of == kind and other.serial == part.serial)
        return part if claims <= 1 else _Part(part.rank, "", part.model)


class _Matcher:
    """One metric's conditions, compiled."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._where = tuple((label, re.compile(pattern)) for label, pattern in metric.where)
        self._device = re.compile(metric.device_pattern) if metric.device_pattern else None

    def device(self, labels: Mapping[str, str]) -> str | None:
        """The device that a series is about, or None if the series is not meant."""
        if any(not pattern.fullmatch(labels.get(label, "")) for label, pattern in self._where):
            return None
        if not self.metric.device_label:
            return str(self.metric.kind)
        named = labels.get(self.metric.device_label, "")
        if self._device is None:
            return named or None
        found = self._device.match(named)
        return found.group(1) if found else None


_COMBINERS: dict[Combine, Callable[[Sequence[float]], float]] = {
    Combine.SUM: math.fsum,
    Combine.MAX: max,
    Combine.MIN: min,
    Combine.AVG: lambda values: math.fsum(values) / len(values),
}


def _combined(combine: Combine, values: Sequence[float]) -> float:
    """One value for several series. NaN stands only where nothing else does: it would end the whole series."""
    known = [value for value in values if value == value]
    return float(_COMBINERS[combine](known)) if known else math.nan


class Mapper:
    """Maps samples of hosts to batches.

    >>> from datetime import UTC, datetime
    >>> mapper = Mapper()
    >>> scrape = [Sample("node_network_up", {"device": "eth0"}, 1.0)]
    >>> batch = mapper.map("host03", scrape, datetime(2026, 1, 1, tzinfo=UTC))
    >>> batch.samples.to_pylist()[0]["component"], batch.samples.to_pylist()[0]["metric"]
    ('network:host03/eth0', 'nic_up')

    `unmapped` counts, per name, the samples that no metric meant: ignoring most of a scrape is normal, ignoring all
    of it is not.
    """

    def __init__(self, metrics: Sequence[Metric] = METRICS, identities: Sequence[Identity] = IDENTITIES) -> None:
        self._matchers: dict[str, list[_Matcher]] = {}
        for metric in metrics:
            self._matchers.setdefault(metric.name, []).append(_Matcher(metric))
        self._identities: dict[str, list[tuple[int, Identity]]] = {}
        for rank, identity in enumerate(identities):
            self._identities.setdefault(identity.name, []).append((rank, identity))
        self._hosts: dict[str, _Host] = {}
        self.unmapped: Counter[str] = Counter()

    def map(self, host: str, samples: Iterable[Sample], time: datetime) -> Batch:
        """The batch of one host's samples; those without a time of their own get `time`."""
        samples = tuple(samples)
        known = self._hosts.setdefault(host, _Host())
        for sample in samples:
            if sample.name in self._identities:
                self._learn(known, sample)
        grouped: dict[tuple[_Target, datetime], list[float]] = {}
        for sample in samples:
            key = (sample.name, tuple(sample.labels.items()))
            targets = known.targets.get(key)
            if targets is None:
                targets = known.targets[key] = self._targets(host, known, sample)
            if not targets and sample.name not in self._identities:
                self.unmapped[sample.name] += 1
            for target in targets:
                grouped.setdefault((target, sample.time or time), []).append(sample.value)
        return _batch(host, grouped)

    def _learn(self, known: _Host, sample: Sample) -> None:
        for rank, identity in self._identities[sample.name]:
            device = sample.labels.get(identity.device_label, "")
            serial = sample.labels.get(identity.serial_label, "").strip()
            model = sample.labels.get(identity.model_label, "").strip()
            if serial.strip("0:- "):  # an all-zero address is nobody's
                known.learn(identity.kind, device, _Part(rank, serial, model))

    def _targets(self, host: str, known: _Host, sample: Sample) -> tuple[_Target, ...]:
        found = []
        for matcher in self._matchers.get(sample.name, ()):
            device = matcher.device(sample.labels)
            if device is not None:
                found.append(_target(host, known, matcher.metric, device))
        return tuple(found)


def _target(host: str, known: _Host, metric: Metric, device: str) -> _Target:
    if metric.kind is Kind.HOST:
        component = component_id(Kind.HOST, host, host, host)
        return _Target(component, Kind.HOST, host, "", metric.key, metric.combine)
    part = known.part(metric.kind, device)
    component = component_id(metric.kind, host, device, part.serial)
    return _Target(component, metric.kind, device, part.model, metric.key, metric.combine)


def _batch(host: str, grouped: Mapping[tuple[_Target, datetime], list[float]]) -> Batch:
    places: dict[tuple[str, str], list[datetime]] = {}
    devices: dict[tuple[str, str], _Target] = {}
    times, components, metrics, values = [], [], [], []
    for (target, time), found in grouped.items():
        times.append(time)
        components.append(target.component)
        metrics.append(target.metric)
        values.append(found[0] if len(found) == 1 else _combined(target.combine, found))
        place = (target.component, target.device)
        devices[place] = target
        places.setdefault(place, []).append(time)
    columns: dict[str, list[Any]] = {"time": times, "component": components, "metric": metrics, "value": values}
    samples = pa.Table.from_pydict(columns, schema=SAMPLES)
    return Batch(samples, _devices(host, devices, places))


def _devices(
    host: str,
    devices: Mapping[tuple[str, str], _Target],
    places: Mapping[tuple[str, str], Sequence[datetime]],
) -> pa.Table:
    rows = [
        {
            "component": target.component,
            "kind": str(target.kind),
            "host": host,
            "device": target.device,
            "model": target.model,
            "first_seen": min(places[place]),
            "last_seen": max(places[place]),
        }
        for place, target in devices.items()
    ]
    return pa.Table.from_pylist(rows, schema=DEVICES)
