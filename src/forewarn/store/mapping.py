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
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from forewarn.domain import telemetry
from forewarn.domain.inventory import COMPONENT_KINDS, Kind, component_id
from forewarn.domain.metrics import DISK, IDENTITIES, METRICS, SENSOR_LABEL, Identity
from forewarn.domain.redundancy import MEMBER, SPARES, Redundancy
from forewarn.domain.telemetry import Metric, Sample, Shown
from forewarn.store.base import Batch
from forewarn.store.identity import UNKNOWN
from forewarn.store.identity import Part as Named
from forewarn.store.index import Numbers
from forewarn.store.layout import Device, Part, Resolution, Series, TakenBack, Target, batch
from forewarn.store.matching import Matcher, by_time, columns_of, device_of
from forewarn.store.scrapes import Host, Key, Recent

_END = datetime.max.replace(tzinfo=UTC)
# What a series is that has no number: not looked at yet, a word on what others are about, or meant by nobody.
_NEW, _WORD, _UNMAPPED = -3, -2, -1
_NONE = np.zeros(0, np.int64)
OTHERS = "others"  # the name under which unmapped samples of too many names are counted


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
    """How many series, devices, sensors and sets one host may have named; past it, all that is remembered of the host
    is begun anew."""
    series_max: int = 5_000_000
    """How many that may be of all hosts together, about 1 kB each; past it, the hosts longest not heard of are
    forgotten."""
    unmapped_max: int = 10_000
    """Names of series whose unmapped samples are counted each for itself; those of more names are counted together."""


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
        self._matchers: dict[str, list[Matcher]] = {}
        for metric in metrics:
            self._matchers.setdefault(metric.name, []).append(Matcher(metric))
        self._identities: dict[str, list[tuple[int, Identity]]] = {}
        for rank, identity in enumerate(identities):
            self._identities.setdefault(identity.name, []).append((rank, identity))
        self._words = frozenset(
            (*self._identities, SENSOR_LABEL, MEMBER, SPARES)
        )  # series that say what others are about
        self._named = frozenset(identity.kind for identity in identities)  # kinds whose parts may have a serial
        self._hosts: OrderedDict[str, Host] = OrderedDict()  # the one heard of last at the end
        self._sizes: dict[str, int] = {}
        self._size = 0
        self._recent = Recent(self._settings.values_max, self._settings.host_scrapes_max)
        self._waiting: list[tuple[datetime, str, datetime]] = []  # a heap: until when values of a host and time wait
        self.unmapped: Counter[str] = Counter()
        self._mapping = threading.Lock()

    def map(self, host: str, samples: Iterable[Sample], time: datetime, *, whole: bool = True) -> Batch:
        """The batch of one host's samples; those without a time of their own get `time`, which is now."""
        return self.map_all({host: samples}, time, whole=whole)

    def map_all(self, shown: Mapping[str, Iterable[Sample]], time: datetime, *, whole: bool = True) -> Batch:
        """The batch of several hosts' samples.

        `whole` says that no sample of the hosts and of these times comes in another call. With the batch come values,
        of any host, that have waited long enough.
        """
        parts: list[Part | TakenBack] = []
        with self._mapping:
            for host, samples in shown.items():
                known = self._host(host)
                columns = samples if isinstance(samples, Shown) else columns_of(samples)
                parts += self._map(known, columns, time, whole=whole)
                parts += self._forget(known)
            parts += self._overdue(time)
            return batch(parts)

    @property
    def size(self) -> int:
        """How many series, devices, sensors and sets are remembered of all hosts."""
        return self._size

    def waiting(self) -> Batch:
        """All values that still wait: the process ends."""
        with self._mapping:
            return batch(self._overdue(_END))

    def redundancy(self, since: datetime) -> Mapping[str, Redundancy]:
        """By component's id, the set to which it belongs, of hosts that have told of it since then.

        Of a part in several sets, as a drive with partitions in two arrays, the one counts that may lose the fewest.
        """
        with self._mapping:
            found: dict[str, Redundancy] = {}
            for host, known in self._hosts.items():
                for kind, named, redundancy in known.sets.standing(since):
                    device = device_of(named, DISK) if kind == Kind.DISK else named
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
            resolution = self._resolution(known, time)
            numbers = [resolution.by_slot[slot] if slot >= 0 else () for slot in slots]
            found = [[resolution.targets[number] for number in each] for each in numbers]
            self._forget(known)
            return found

    def _host(self, name: str) -> Host:
        known = self._hosts.setdefault(name, Host(name))
        self._hosts.move_to_end(name)
        return known

    def _map(self, known: Host, columns: Shown, now: datetime, *, whole: bool) -> list[Part | TakenBack]:
        stored: dict[datetime, set[Series]] = {}
        slots = self._slots(known, columns.series)
        words = [columns.sample(row) for row in np.flatnonzero(slots == _WORD).tolist()]
        news = [self._hear(known, word, word.time or now) for word in words]
        if any(news):
            stored = {time: scrape.stored() for time, scrape in known.scrapes.items()}
            known.resolutions.clear()
        touched = self._take(known, columns, slots, now)
        until = now + timedelta(seconds=0.0 if whole else self._settings.settle_s)
        parts: list[Part | TakenBack] = []
        for time in dict.fromkeys((*touched, *stored)):
            targets, gone = self._touched(known, time, touched.get(time, _NONE)), set[Series]()
            resolution, scrape = self._resolution(known, time), known.scrapes[time]
            if time in stored:
                shown = {number: resolution.targets[number].series for number in resolution.shown(scrape.values)}
                lacking = [number for number, series in shown.items() if series not in stored[time]]
                targets = np.union1d(targets, np.array(lacking, np.int64))
                gone = stored[time] - set(shown.values())
            parts.append(_part(known, time, resolution, self._settled(known, time, targets, now, until)))
            parts += [TakenBack(time, gone)] if gone else []
            if whole and time in touched and not known.scrapes[time].waiting:  # other bodies may go on with the rest
                self._recent.drop(known, time)
        return parts

    def _slots(self, known: Host, series: Sequence[telemetry.Series]) -> Numbers:
        """The numbers of series among those of the host, or what else they are."""
        found = [known.by_series.get(one, _NEW) for one in series]
        if _NEW in found:
            found = [self._slot(known, one) for one in series]
        return np.array(found, np.int64)

    def _slot(self, known: Host, series: telemetry.Series) -> int:
        slot = known.by_series.get(series)
        if slot is None:
            slot = _WORD if series.name in self._words else _UNMAPPED
            if series.name in self._matchers:
                slot = known.slot((series.name, tuple(series.labels.items())))
            if series.host:  # one that somebody remembers, so that it comes again
                known.by_series[series] = slot
        return slot

    def _hear(self, known: Host, sample: Sample, time: datetime) -> bool:
        """Take in what an info series says; whether series may lead elsewhere now."""
        if sample.name == SENSOR_LABEL:
            return known.call(*(sample.labels.get(name, "") for name in ("chip", "sensor", "label")))
        if sample.name in (MEMBER, SPARES):
            known.sets.learn(sample, time)
            return False
        news = False
        for rank, identity in self._identities[sample.name]:
            device = device_of(sample.labels.get(identity.device_label, ""), identity.device_pattern) or ""
            serial = sample.labels.get(identity.serial_label, "").strip()
            model = sample.labels.get(identity.model_label, "").strip()
            if serial.strip("0:- "):  # an all-zero address is nobody's
                news |= known.identities.learn(identity.kind, device, Named(rank, serial, model), time)
        return news

    def _take(self, known: Host, shown: Shown, slots: Numbers, now: datetime) -> dict[datetime, Numbers]:
        """Remember values; returns which series were touched at which times."""
        if (slots == _UNMAPPED).any():
            self._leave([shown.series[row].name for row in np.flatnonzero(slots == _UNMAPPED).tolist()])
        touched: dict[datetime, Numbers] = {}
        values = np.array(shown.values, np.float64)
        for time, rows in by_time(shown.times, now).items():
            meant = slots[rows] >= 0
            if not meant.any():
                continue
            touched[time] = slots[rows][meant]
            known.scrape(time).put(touched[time], values[rows][meant], len(known.keys))
            self._recent.touch(known, time)
        return touched

    def _leave(self, names: Sequence[str]) -> None:
        """Count what no metric means."""
        if len(self.unmapped) < self._settings.unmapped_max:
            self.unmapped.update(names)
        else:
            self.unmapped.update([name if name in self.unmapped else OTHERS for name in names])

    def _touched(self, known: Host, time: datetime, slots: Numbers) -> Numbers:
        """Where series lead, each once; those that lead nowhere are counted."""
        if not len(slots):
            return slots
        targets, nowhere = self._resolution(known, time).touched(slots)
        self._leave([known.keys[slot][0] for slot in nowhere.tolist()])
        return targets

    def _settled(self, known: Host, time: datetime, targets: Numbers, now: datetime, until: datetime) -> Numbers:
        """Those targets whose part is known as well as it may be; others wait, those of a new device to `until`."""
        scrape, resolution = known.scrapes[time], self._resolution(known, time)
        scrape.filed = resolution
        if resolution.settled:
            return targets
        ready: dict[Device, bool] = {}
        for number in targets.tolist():
            place = resolution.targets[number].place
            if place not in ready:
                settled = known.settled.setdefault(place, until) if place[0] in self._named else now
                ready[place] = settled <= now
                if settled > now and place not in scrape.waiting:
                    scrape.waiting.add(place)
                    heapq.heappush(self._waiting, (settled, known.name, time))
        if all(ready.values()):
            places = {target.place for target in resolution.targets if target.kind in self._named}
            resolution.settled = all(known.settled.get(place, _END) <= now for place in places)
            return targets
        found = [number for number in targets.tolist() if ready[resolution.targets[number].place]]
        return np.array(found, np.int64)

    def _overdue(self, now: datetime) -> list[Part]:
        """The values that have waited until `now`, of any host."""
        parts = []
        while self._waiting and self._waiting[0][0] <= now:
            _, name, time = heapq.heappop(self._waiting)
            known = self._hosts.get(name)
            if known is not None and time in known.scrapes:
                parts.append(self._release(known, time, now))
        return parts

    def _release(self, known: Host, time: datetime, now: datetime) -> Part:
        """A scrape's values of devices that need not wait any longer."""
        scrape, resolution = known.scrapes[time], self._resolution(known, time)
        due = {device for device in scrape.waiting if known.settled[device] <= now}
        scrape.waiting -= due
        shown = [number for number in resolution.shown(scrape.values) if resolution.targets[number].place in due]
        return _part(known, time, resolution, np.array(shown, np.int64))

    def _forget(self, known: Host) -> list[Part]:
        """Keep within what may be remembered; what still waited is filed as what it is."""
        parts = []
        while surplus := self._recent.surplus(known):
            name, time = surplus
            parts += self._drop(self._hosts[name], time)
        self._size += known.size - self._sizes.get(known.name, 0)
        self._sizes[known.name] = known.size
        if known.size > self._settings.host_series_max:
            parts += self._forget_host(known)
        while self._size > self._settings.series_max:
            parts += self._forget_host(next(iter(self._hosts.values())))
        return parts

    def _forget_host(self, known: Host) -> list[Part]:
        parts = [part for time in tuple(known.scrapes) for part in self._drop(known, time)]
        del self._hosts[known.name]
        self._size -= self._sizes.pop(known.name)
        return parts

    def _drop(self, known: Host, time: datetime) -> list[Part]:
        parts = [self._release(known, time, _END)] if known.scrapes[time].waiting else []
        self._recent.drop(known, time)
        return parts

    def _resolution(self, known: Host, time: datetime) -> Resolution:
        """Where the host's series lead at a time."""
        found = known.resolutions.setdefault(known.identities.epoch(time), Resolution(known.name))
        for slot in range(len(found.by_slot), len(known.keys)):
            found.by_slot.append(self._targets(known, found, slot, time))
        return found

    def _targets(self, known: Host, resolution: Resolution, slot: int, time: datetime) -> tuple[int, ...]:
        name, pairs = known.keys[slot]
        labels = known.labels(dict(pairs))
        found = []
        for matcher in self._matchers[name]:
            device = matcher.device(labels)
            if device is not None:
                number = resolution.numbers.get((matcher.metric.key, device))
                if number is None:
                    target = _target(known, matcher.metric, device, time)
                    number = resolution.number((matcher.metric.key, device), target)
                found.append(number)
        return tuple(found)


def _target(known: Host, metric: Metric, device: str, time: datetime) -> Target:
    if metric.kind is Kind.HOST:
        device, part, component = known.name, UNKNOWN, component_id(Kind.HOST, known.name, known.name, known.name)
    else:
        part = known.identities.part(metric.kind, device, time)
        component = component_id(metric.kind, known.name, device, part.serial)
    modulus = float(1 << metric.low_bits) if metric.low_bits else 0.0
    return Target(component, metric.kind, device, part.model, metric.key, metric.combine, modulus)


def _part(known: Host, time: datetime, resolution: Resolution, numbers: Numbers) -> Part:
    """What some targets' series have shown at a time."""
    shape = resolution.shape
    return Part(time, shape, numbers, *shape.combined(numbers, known.scrapes[time].values))
