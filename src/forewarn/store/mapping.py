"""From samples as exporters name them to samples of components, as stores keep them.

A `Mapper` finds the metric that each series means, the part that stands behind its device name (by the info series that
it has seen of that host), and makes one value of several series of a device. What a name and its labels lead to is
remembered per host, so that a scrape of thousands of series is a matter of dictionary look-ups.

A collecting Prometheus spreads one scrape over several bodies, in any order. So the newest values are remembered, one
number per series and time: a later body of a scrape gives the value of all series of a device that came so far, and an
info series that comes late has what was filed under another part taken back and filed anew. What a device shows first
waits `settle_s` for a word on who it is, in memory alone: a process that is killed within that time loses it.
"""

import heapq
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forewarn.domain.inventory import COMPONENT_KINDS, Kind, component_id
from forewarn.domain.metrics import DISK, IDENTITIES, METRICS, SENSOR_LABEL, Identity
from forewarn.domain.redundancy import MEMBER, SPARES, Redundancy
from forewarn.domain.telemetry import Combine, Metric, Sample
from forewarn.store.base import Batch
from forewarn.store.identity import UNKNOWN, Part
from forewarn.store.layout import Layout, Series, Target, Value, joined, taken_back
from forewarn.store.scrapes import Host, Key, Recent, Resolution

_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class MappingSettings:
    """What is remembered of samples on their way into the store."""

    settle_s: float = 10.0
    """How long values of a device that is new wait for its serial number, seconds, where they come in bodies that may
    be parts of a scrape; a collecting Prometheus sends what it scraped at once within about 5 s."""
    values_max: int = 20_000_000
    """How many values are remembered so that later bodies of a scrape can be joined with them, 8 B each. The longest
    untouched are forgotten first; a body of a scrape that is forgotten is joined with nothing."""
    host_scrapes_max: int = 32
    """How many times of one host are remembered, those that were touched last."""
    host_series_max: int = 200_000
    """How many series one host may have shown; past it, all that is remembered of the host is begun anew."""


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


def _combined(target: Target, shown: Sequence[float]) -> Value:
    """One value for what several series show. NaN where none shows anything: it would end the whole series."""
    if not shown:
        return Value(target, math.nan, 0)
    values = [value % target.modulus for value in shown] if target.modulus else shown
    value = values[0] if len(values) == 1 else _COMBINERS[target.combine](values)
    return Value(target, float(value), len(values))


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

    def __init__(
        self,
        metrics: Sequence[Metric] = METRICS,
        identities: Sequence[Identity] = IDENTITIES,
        settings: MappingSettings | None = None,
    ) -> None:
        self._settings = settings or MappingSettings()
        self._matchers: dict[str, list[_Matcher]] = {}
        for metric in metrics:
            self._matchers.setdefault(metric.name, []).append(_Matcher(metric))
        self._identities: dict[str, list[tuple[int, Identity]]] = {}
        for rank, identity in enumerate(identities):
            self._identities.setdefault(identity.name, []).append((rank, identity))
        self._words = frozenset(
            (*self._identities, SENSOR_LABEL, MEMBER, SPARES)
        )  # series that say what others are about
        self._named = frozenset(identity.kind for identity in identities)  # kinds whose parts may have a serial
        self._hosts: dict[str, Host] = {}
        self._recent = Recent(self._settings.values_max, self._settings.host_scrapes_max)
        self._waiting: list[tuple[datetime, str, datetime]] = []  # a heap: until when values of a host and time wait
        self.unmapped: Counter[str] = Counter()
        self._mapping = threading.Lock()

    def map(self, host: str, samples: Iterable[Sample], time: datetime, *, whole: bool = True) -> Batch:
        """The batch of one host's samples; those without a time of their own get `time`, which is now.

        `whole` says that no sample of the host and of these times comes in another call. With the batch come values,
        of any host, that have waited long enough.
        """
        with self._mapping:
            known = self._host(host)
            found = self._map(known, tuple(samples), time, whole=whole)
            return joined([*found, *self._overdue(time), *self._forget(known)])

    def waiting(self) -> Batch:
        """All values that still wait: the process ends."""
        with self._mapping:
            return joined(self._overdue(_END))

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
                    component = component_id(
                        Kind(kind), host, device, known.identities.part(Kind(kind), device, _END).serial
                    )
                    other = found.get(component, redundancy)
                    found[component] = min(other, redundancy, key=lambda one: (one.spares, one.group))
            return found

    @property
    def words(self) -> frozenset[str]:
        """The names of info series: they say what others are about."""
        return self._words

    @property
    def names(self) -> frozenset[str]:
        """The names of all series that mean something."""
        return self._words.union(self._matchers)

    def means(self, name: str) -> bool:
        """Whether series of that name may lead to a component."""
        return name in self._matchers

    def hear(self, host: str, words: Iterable[Sample]) -> None:
        """Take in what info series of a host say, each with a time."""
        with self._mapping:
            known = self._host(host)
            news = [self._hear(known, word, word.time) for word in words if word.time]
            if any(news):
                known.resolutions.clear()

    def turns(self, host: str) -> Sequence[datetime]:
        """The times from which on another part sat behind some device name of a host."""
        with self._mapping:
            return self._host(host).identities.turns

    def targets(self, host: str, series: Sequence[Key], time: datetime) -> Sequence[Sequence[Target]]:
        """Where series of a host lead at a time; a series of an unknown name leads nowhere."""
        with self._mapping:
            known = self._host(host)
            slots = [known.slot(key) if key[0] in self._matchers else -1 for key in series]
            by_slot = self._resolution(known, time).by_slot
            found = [by_slot[slot] if slot >= 0 else () for slot in slots]
            self._forget(known)
            return found

    def _host(self, name: str) -> Host:
        return self._hosts.setdefault(name, Host(name))

    def _map(self, known: Host, samples: Sequence[Sample], now: datetime, *, whole: bool) -> list[Batch]:
        stored: dict[datetime, set[Series]] = {}
        news = [self._hear(known, sample, sample.time or now) for sample in samples if sample.name in self._words]
        if any(news):
            stored = {time: scrape.stored() for time, scrape in known.scrapes.items()}
            known.resolutions.clear()
        touched = self._take(known, samples, now)
        until = now + timedelta(seconds=0.0 if whole else self._settings.settle_s)
        batches = []
        for time in dict.fromkeys((*touched, *stored)):
            targets, gone = self._touched(known, time, touched.get(time, ())), set[Series]()
            if time in stored:
                shown = known.scrapes[time].targets(self._resolution(known, time))
                targets |= {target: None for target in shown if target.series not in stored[time]}
                gone = stored[time] - {target.series for target in shown}
            batches.append(_batch(known, time, self._settled(known, time, targets, now, until)))
            batches += [taken_back(time, gone)] if gone else []
            if whole and time in touched and not known.scrapes[time].waiting:  # other bodies may go on with the rest
                self._recent.drop(known, time)
        return batches

    def _hear(self, known: Host, sample: Sample, time: datetime) -> bool:
        """Take in what an info series says; whether series may lead elsewhere now."""
        if sample.name == SENSOR_LABEL:
            return known.call(*(sample.labels.get(name, "") for name in ("chip", "sensor", "label")))
        if sample.name in (MEMBER, SPARES):
            known.sets.learn(sample, time)
            return False
        news = False
        for rank, identity in self._identities[sample.name]:
            device = _device(sample.labels.get(identity.device_label, ""), identity.device_pattern) or ""
            serial = sample.labels.get(identity.serial_label, "").strip()
            model = sample.labels.get(identity.model_label, "").strip()
            if serial.strip("0:- "):  # an all-zero address is nobody's
                news |= known.identities.learn(identity.kind, device, Part(rank, serial, model), time)
        return news

    def _take(self, known: Host, samples: Sequence[Sample], now: datetime) -> dict[datetime, list[int]]:
        """Remember values; returns which series were touched at which times."""
        touched: dict[datetime, list[int]] = {}
        for sample in samples:
            if sample.name in self._matchers:
                time, slot = sample.time or now, known.slot((sample.name, tuple(sample.labels.items())))
                if time not in touched:
                    touched[time] = []
                    known.scrape(time)
                touched[time].append(slot)
                known.scrapes[time].put(slot, sample.value)
            elif sample.name not in self._words:
                self.unmapped[sample.name] += 1
        for time in touched:
            self._recent.touch(known, time)
        return touched

    def _touched(self, known: Host, time: datetime, slots: Sequence[int]) -> dict[Target, None]:
        """Where series lead, each once; those that lead nowhere are counted."""
        by_slot = self._resolution(known, time).by_slot if slots else ()
        found: dict[Target, None] = {}
        for slot in slots:
            if not by_slot[slot]:
                self.unmapped[known.keys[slot][0]] += 1
            for target in by_slot[slot]:
                found[target] = None
        return found

    def _settled(
        self, known: Host, time: datetime, targets: Iterable[Target], now: datetime, until: datetime
    ) -> Sequence[Target]:
        """Those targets whose part is known as well as it may be; others wait, those of a new device to `until`."""
        scrape = known.scrapes[time]
        scrape.filed = self._resolution(known, time)
        found = []
        for target in targets:
            device = (target.kind, target.device)
            settled = known.settled.setdefault(device, until) if target.kind in self._named else now
            if settled <= now:
                found.append(target)
            elif device not in scrape.waiting:
                scrape.waiting.add(device)
                heapq.heappush(self._waiting, (settled, known.name, time))
        return found

    def _overdue(self, now: datetime) -> list[Batch]:
        """The values that have waited until `now`, of any host."""
        batches = []
        while self._waiting and self._waiting[0][0] <= now:
            _, name, time = heapq.heappop(self._waiting)
            known = self._hosts.get(name)
            if known is not None and time in known.scrapes:
                batches.append(self._release(known, time, now))
        return batches

    def _release(self, known: Host, time: datetime, now: datetime) -> Batch:
        """A scrape's values of devices that need not wait any longer."""
        scrape = known.scrapes[time]
        due = {device for device in scrape.waiting if known.settled[device] <= now}
        scrape.waiting -= due
        shown = scrape.targets(self._resolution(known, time))
        return _batch(known, time, [target for target in shown if (target.kind, target.device) in due])

    def _forget(self, known: Host) -> list[Batch]:
        """Keep within what may be remembered; what still waited is filed as what it is."""
        batches = []
        while surplus := self._recent.surplus(known):
            name, time = surplus
            batches += self._drop(self._hosts[name], time)
        if len(known.keys) > self._settings.host_series_max:
            for time in tuple(known.scrapes):
                batches += self._drop(known, time)
            del self._hosts[known.name]
        return batches

    def _drop(self, known: Host, time: datetime) -> list[Batch]:
        batches = [self._release(known, time, _END)] if known.scrapes[time].waiting else []
        self._recent.drop(known, time)
        return batches

    def _resolution(self, known: Host, time: datetime) -> Resolution:
        """Where the host's series lead at a time."""
        found = known.resolutions.setdefault(known.identities.epoch(time), Resolution())
        for slot in range(len(found.by_slot), len(known.keys)):
            found.by_slot.append(self._targets(known, found, slot, time))
        return found

    def _targets(self, known: Host, resolution: Resolution, slot: int, time: datetime) -> tuple[Target, ...]:
        name, pairs = known.keys[slot]
        labels = known.labels(dict(pairs))
        found = []
        for matcher in self._matchers[name]:
            device = matcher.device(labels)
            if device is not None:
                key = (matcher.metric.key, device)
                if key not in resolution.interned:
                    resolution.interned[key] = _target(known, matcher.metric, device, time)
                resolution.interned[key].slots.append(slot)
                found.append(resolution.interned[key])
        return tuple(found)


def _target(known: Host, metric: Metric, device: str, time: datetime) -> Target:
    if metric.kind is Kind.HOST:
        device, part, component = known.name, UNKNOWN, component_id(Kind.HOST, known.name, known.name, known.name)
    else:
        part = known.identities.part(metric.kind, device, time)
        component = component_id(metric.kind, known.name, device, part.serial)
    modulus = float(1 << metric.low_bits) if metric.low_bits else 0.0
    return Target(component, metric.kind, device, part.model, metric.key, metric.combine, modulus)


def _batch(known: Host, time: datetime, targets: Sequence[Target]) -> Batch:
    """What the targets' series have shown at a time."""
    scrape, chosen = known.scrapes[time], tuple(targets)
    if known.layout is None or known.layout.targets != chosen:
        known.layout = Layout.of(known.name, chosen)
    return known.layout.batch(time, [_combined(target, scrape.shown(target)) for target in chosen])
