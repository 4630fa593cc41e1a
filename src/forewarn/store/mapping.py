"""From samples as exporters name them to samples of components, as stores keep them.

A `Mapper` finds the metric that each series means, the part that stands behind its device name (by the info series that
it has seen of that host), and makes one value of several series of a device. What a name and its labels lead to is
remembered per host, so that a scrape of thousands of series is a matter of dictionary look-ups. It keeps no samples.
"""

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from forewarn.domain.inventory import COMPONENT_KINDS, Kind, component_id
from forewarn.domain.metrics import DISK, IDENTITIES, METRICS, SENSOR_LABEL, Identity
from forewarn.domain.redundancy import HOLDING, MEMBER, SPARES, Redundancy
from forewarn.domain.telemetry import Combine, Metric, Sample
from forewarn.store.base import DEVICES, SAMPLES, TIME, Batch

_Texts: TypeAlias = "pa.Array[Any]"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Key = tuple[str, tuple[tuple[str, str], ...]]  # a series: its name and its labels


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """Where values of a host's series go; there is one object for each place and metric."""

    component: str
    kind: Kind
    device: str
    model: str
    metric: str
    combine: Combine
    modulus: float = 0.0  # of packed values, that of the part that is meant; 0 for the whole


@dataclass(frozen=True, slots=True)
class _Part:
    """What an info series says of a device. A lower rank stands earlier in the table of identities."""

    rank: int
    serial: str
    model: str


@dataclass
class _Sets:
    """The sets of a host whose parts stand in for each other, each fact with the time when it was told last."""

    members: dict[tuple[str, str, str], tuple[str, datetime]] = field(default_factory=dict)  # kind, set, device: state
    spares: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)  # kind, set

    def learn(self, sample: Sample, time: datetime) -> None:
        """Take in a series of redundancy."""
        kind, group = sample.labels.get("kind", ""), sample.labels.get("group", "")
        if sample.name == SPARES:
            self.spares[kind, group] = (max(0, int(sample.value)) if sample.value == sample.value else 0, time)
        else:
            self.members[kind, group, sample.labels.get("device", "")] = (sample.labels.get("state", ""), time)

    def standing(self, since: datetime) -> Iterator[tuple[str, str, Redundancy]]:
        """Kind and device of every part that holds what its set holds; nothing that was last told before `since`."""
        for (kind, group, device), (state, told) in sorted(self.members.items()):
            spares = self.spares.get((kind, group))
            if state in HOLDING and told >= since and spares is not None and spares[1] >= since:
                yield kind, device, Redundancy(group, spares[0])


@dataclass
class _Host:
    """What is known of one host: its parts by kind and device, and where each of its series leads."""

    parts: dict[tuple[Kind, str], _Part] = field(default_factory=dict)
    sensors: dict[tuple[str, str], str] = field(default_factory=dict)  # labels of hwmon sensors, by chip and sensor
    targets: dict[_Key, tuple[_Target, ...]] = field(default_factory=dict)
    interned: dict[tuple[str, str], _Target] = field(default_factory=dict)  # by metric and device
    sets: _Sets = field(default_factory=_Sets)
    layout: "_Layout | None" = None

    def learn(self, kind: Kind, device: str, part: _Part) -> None:
        """Take in what an info series says; where it is news, every series is looked up anew."""
        known = self.parts.get((kind, device))
        if part != known and (known is None or part.rank <= known.rank):
            self.parts[kind, device] = part
            self.targets.clear()
            self.interned.clear()

    def call(self, chip: str, sensor: str, label: str) -> None:
        """Take in what a sensor is called."""
        if self.sensors.get((chip, sensor)) != label:
            self.sensors[chip, sensor] = label
            self.targets.clear()

    def labels(self, sample: Sample) -> Mapping[str, str]:
        """A sample's labels, with what its sensor is called."""
        label = self.sensors.get((sample.labels.get("chip", ""), sample.labels.get("sensor", "")))
        return {**sample.labels, "label": label} if label else sample.labels

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
        self._device = metric.device_pattern

    def device(self, labels: Mapping[str, str]) -> str | None:
        """The device that a series is about, or None if the series is not meant."""
        if any(not pattern.fullmatch(labels.get(label, "")) for label, pattern in self._where):
            return None
        if not self.metric.device_label:
            return str(self.metric.kind)
        return _device(labels.get(self.metric.device_label, ""), self._device)


def _device(named: str, pattern: str) -> str | None:
    """The device that a label names, read by a pattern whose first group it is; None if it names none."""
    if not pattern:
        return named or None
    found = re.match(pattern, named)
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

    Safe to use from several threads: one host's samples are mapped at a time.

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
        self._understood = {*self._identities, SENSOR_LABEL, MEMBER, SPARES}
        self._hosts: dict[str, _Host] = {}
        self.unmapped: Counter[str] = Counter()
        self._mapping = threading.Lock()

    def map(self, host: str, samples: Iterable[Sample], time: datetime) -> Batch:
        """The batch of one host's samples; those without a time of their own get `time`."""
        with self._mapping:
            return self._map(host, tuple(samples), time)

    def _map(self, host: str, samples: Sequence[Sample], time: datetime) -> Batch:
        known = self._hosts.setdefault(host, _Host())
        for sample in samples:
            if sample.name in self._identities:
                self._learn(known, sample)
            elif sample.name == SENSOR_LABEL:
                known.call(*(sample.labels.get(name, "") for name in ("chip", "sensor", "label")))
            elif sample.name in (MEMBER, SPARES):
                known.sets.learn(sample, sample.time or time)
        grouped: dict[datetime, dict[_Target, list[float]]] = {}
        for sample in samples:
            key = (sample.name, tuple(sample.labels.items()))
            targets = known.targets.get(key)
            if targets is None:
                targets = known.targets[key] = self._targets(host, known, sample)
            if not targets and sample.name not in self._understood:
                self.unmapped[sample.name] += 1
            for target in targets:
                value = sample.value % target.modulus if target.modulus else sample.value
                grouped.setdefault(sample.time or time, {}).setdefault(target, []).append(value)
        return _batch(host, known, grouped)

    def redundancy(self, since: datetime) -> Mapping[str, Redundancy]:
        """By component's id, the set to which it belongs, of hosts that have told of it since then.

        Of a part in several sets, as a drive with partitions in two arrays, the one counts that may lose the fewest.
        """
        with self._mapping:
            found: dict[str, Redundancy] = {}
            for host, known in self._hosts.items():
                for kind, named, redundancy in known.sets.standing(since):
                    device = _device(named, DISK) if kind == Kind.DISK else named
                    if kind not in COMPONENT_KINDS or not device:
                        continue
                    component = component_id(Kind(kind), host, device, known.part(Kind(kind), device).serial)
                    other = found.get(component, redundancy)
                    found[component] = min(other, redundancy, key=lambda one: (one.spares, one.group))
            return found

    def _learn(self, known: _Host, sample: Sample) -> None:
        for rank, identity in self._identities[sample.name]:
            device = _device(sample.labels.get(identity.device_label, ""), identity.device_pattern) or ""
            serial = sample.labels.get(identity.serial_label, "").strip()
            model = sample.labels.get(identity.model_label, "").strip()
            if serial.strip("0:- "):  # an all-zero address is nobody's
                known.learn(identity.kind, device, _Part(rank, serial, model))

    def _targets(self, host: str, known: _Host, sample: Sample) -> tuple[_Target, ...]:
        found, labels = [], known.labels(sample)
        for matcher in self._matchers.get(sample.name, ()):
            device = matcher.device(labels)
            if device is not None:
                found.append(_target(host, known, matcher.metric, device))
        return tuple(found)


def _target(host: str, known: _Host, metric: Metric, device: str) -> _Target:
    key = (metric.key, device)
    if key not in known.interned:
        if metric.kind is Kind.HOST:
            device, part, component = host, _Part(0, "", ""), component_id(Kind.HOST, host, host, host)
        else:
            part = known.part(metric.kind, device)
            component = component_id(metric.kind, host, device, part.serial)
        modulus = float(1 << metric.low_bits) if metric.low_bits else 0.0
        known.interned[key] = _Target(component, metric.kind, device, part.model, metric.key, metric.combine, modulus)
    return known.interned[key]


@dataclass(frozen=True)
class _Layout:
    """The columns that a host's scrapes share as long as they show the same series: made once, not at each scrape."""

    targets: tuple[_Target, ...]
    components: _Texts
    metrics: _Texts
    places: pa.Table  # DEVICES without times

    @classmethod
    def of(cls, host: str, targets: tuple[_Target, ...]) -> "_Layout":
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

    def batch(self, time: datetime, values: Sequence[float]) -> Batch:
        """The batch of one scrape: a value for each target."""
        number = (time - _EPOCH) // timedelta(microseconds=1)
        times = pa.array(np.full(len(values), number)).cast(TIME)
        columns = [times, self.components, self.metrics, pa.array(np.array(values, np.float64))]
        seen = pa.array(np.full(self.places.num_rows, number)).cast(TIME)
        devices = self.places.append_column("first_seen", seen).append_column("last_seen", seen)
        return Batch(pa.Table.from_arrays(columns, schema=SAMPLES), devices.cast(DEVICES))


def _batch(host: str, known: _Host, grouped: Mapping[datetime, Mapping[_Target, Sequence[float]]]) -> Batch:
    batches = []
    for time, found in grouped.items():
        targets = tuple(found)
        if known.layout is None or known.layout.targets != targets:
            known.layout = _Layout.of(host, targets)
        values = [
            values[0] if len(values) == 1 else _combined(target.combine, values) for target, values in found.items()
        ]
        batches.append(known.layout.batch(time, values))
    if len(batches) == 1:
        return batches[0]
    tables = ([SAMPLES.empty_table()], [DEVICES.empty_table()])
    for batch in batches:
        tables[0].append(batch.samples)
        tables[1].append(batch.devices)
    return Batch(pa.concat_tables(tables[0]), pa.concat_tables(tables[1]))
