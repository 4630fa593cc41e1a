"""What is odd from one round to the next: a part that vanishes, a counter that runs backwards, a sensor that sticks.

It is asked once for all sources, by the agent, and knows nothing of what it compares but names and labels. `compare` is
pure: it takes what is remembered and one round, and gives what is worth telling and what to remember. A telemetry
exporter that shows the last value for ever looks well; here it does not.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from forewarn.collect.exposition import type_of
from forewarn.collect.lineup import Lineup, key_of
from forewarn.collect.tree import label_text, pattern
from forewarn.domain.telemetry import Sample

# The label that names the part a series is of; the first that a series has holds.
PART_LABELS = ("device", "chip", "dimm_label", "master", "cpu")
# Sensors and supplies of a BMC have a name instead.
SUPPLY, SENSOR = "forewarn_psu_", "ipmi_"
ANSWERS = "forewarn_telemetry_bmc_up"  # 0: what its collector does not show is not missing, it could not be asked
# Shares that are counters to smartctl_exporter, and fall as a drive wears or recovers.
SHARES = re.compile(r"smartctl_device_(available_spare(_threshold)?|percentage_used|critical_warning)")
# The kernel itself says that these may fall a little: time is accounted in another place than it is read.
MAY_FALL = {"node_cpu_seconds_total": 3.0, "node_cpu_guest_seconds_total": 3.0}
STUCK_TOLD_MAX = 50  # series named at a time; all of them are counted


@dataclass(frozen=True)
class ContinuitySettings:
    """What counts as odd from one round to the next."""

    sensors: str = (
        r"node_hwmon_temp_celsius|node_thermal_zone_temp|ipmi_temperature_celsius|smartctl_device_temperature"
    )
    """Regular expression over whole names of series that measure something that never stands still. By default
    temperatures: voltages and fans are measured so coarsely that they may not change for days."""

    stuck_after_s: float = 86400.0
    """Seconds for which a sensor shows the very same value, other than 0, before it is said to stick: a day and a night
    move every temperature that lives."""

    gone_for_s: float = 86400.0
    """Seconds for which a part that vanished is told; after that it has left, and only the count of losses remains."""

    series_max: int = 20_000
    """Most counters and sensors that are remembered, some 120 bytes each; those beyond are counted as not compared."""


@dataclass(frozen=True)
class Remembered:
    """What rounds so far leave behind. Series are known by collector and hash: they are compared, never shown."""

    counters: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    sensors: Mapping[str, Mapping[int, tuple[float, float]]] = field(default_factory=dict)  # value, and since when
    parts: Mapping[tuple[str, str], float] = field(default_factory=dict)  # collector and part: when it was seen last
    fallen: Mapping[tuple[str, str], int] = field(default_factory=dict)  # how often a counter of a part fell
    vanished: Mapping[str, int] = field(default_factory=dict)  # how often a part of a collector vanished
    asked: Mapping[str, float] = field(default_factory=dict)  # when each collector answered last


class Compared(NamedTuple):
    """A series that is compared: its hash, its place in the round, the part it is of, and how much it may fall."""

    series: int
    place: int
    part: str
    may_fall: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What is compared of the series of one collector, and the parts of which they are."""

    counters: tuple[Compared, ...]
    sensors: tuple[Compared, ...]
    answers: tuple[Compared, ...]  # of BMCs: whether each could be asked
    parts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Given:
    """What one collector gave in a round, and what is compared of it."""

    samples: Sequence[Sample]
    watched: Watched


def watch(samples: Sequence[Sample], settings: ContinuitySettings) -> Watched:
    """What of these series is to be compared; their values do not matter."""
    sensor = re.compile(settings.sensors)
    meanings = {name: _meaning(name, sensor) for name in {sample.name for sample in samples}}
    found: dict[str, list[Compared]] = {"counter": [], "sensor": [], "answers": [], "supply": [], "": []}
    for place, sample in enumerate(samples):
        compared = Compared(hash(key_of(sample)), place, _part(sample.labels), MAY_FALL.get(sample.name, 0.0))
        found[meanings[sample.name]].append(compared)
    parts = {compared.part for every in found.values() for compared in every}
    parts.update(samples[supply.place].labels.get("name", "") for supply in found["supply"])
    lasting = frozenset(part for part in parts if part and not part.startswith("/"))  # what is mounted comes and goes
    return Watched(tuple(found["counter"]), tuple(found["sensor"]), tuple(found["answers"]), lasting)


def _meaning(name: str, sensor: re.Pattern[str]) -> str:
    """`sensor`, `answers`, `supply`, `counter`, or nothing that could be compared."""
    if sensor.fullmatch(name):
        return "sensor"
    if name == ANSWERS:
        return "answers"
    if name.startswith(SUPPLY):
        return "supply"
    return "counter" if type_of(name) == "counter" and not SHARES.fullmatch(name) else ""


def _part(labels: Mapping[str, str]) -> str:
    """The part that labels name; empty where they name none."""
    return next(filter(None, map(labels.get, PART_LABELS)), "")


def compare(
    before: Remembered, given: Mapping[str, Given], now_s: float, settings: ContinuitySettings
) -> tuple[Remembered, tuple[Sample, ...]]:
    """One round beside those before it; `now_s` are seconds of a clock that never jumps.

    `given` holds the collectors that could be asked, also those that found nothing; of one that failed nothing is
    concluded.

    >>> settings, remembered = ContinuitySettings(), Remembered()
    >>> for now_s, seconds in ((0, 7.0), (15, 3.0)):
    ...     samples = [Sample("node_disk_io_time_seconds_total", {"device": "sda"}, seconds)]
    ...     given = {"disk": Given(samples, watch(samples, settings))}
    ...     remembered, told = compare(remembered, given, now_s, settings)
    >>> [(sample.name, sample.labels["device"], sample.value) for sample in told]
    [('forewarn_telemetry_backwards_total', 'sda', 1.0)]
    """
    comparison = _Comparison(before, now_s, settings)
    comparison.keep(before.asked.keys() - given.keys())
    for collector, found in given.items():
        comparison.take(collector, found)
    comparison.miss(given)
    return comparison.remembered(), tuple(comparison.told())


class _Comparison:
    """One round, while it is compared."""

    def __init__(self, before: Remembered, now_s: float, settings: ContinuitySettings) -> None:
        self._before, self._now_s, self._settings = before, now_s, settings
        self._counters: dict[str, Mapping[int, float]] = {}
        self._sensors: dict[str, Mapping[int, tuple[float, float]]] = {}
        self._room = settings.series_max
        self._parts: dict[tuple[str, str], float] = {}
        self._asked = dict(before.asked)
        self._fallen = Counter(before.fallen)
        self._vanished = Counter(before.vanished)
        self._stuck: dict[str, list[Sample]] = {}
        self._beyond: Counter[str] = Counter()
        self._silent: set[str] = set()

    def keep(self, failed: Iterable[str]) -> None:
        """Remember the series of collectors that could not be asked."""
        for collector in failed:
            self._counters[collector] = self._before.counters.get(collector, {})
            self._sensors[collector] = self._before.sensors.get(collector, {})
            self._room -= len(self._counters[collector]) + len(self._sensors[collector])

    def take(self, collector: str, given: Given) -> None:
        """Compare what one collector gave."""
        self._asked[collector] = self._now_s
        watched = given.watched
        sensors = watched.sensors[: max(0, self._room)]
        self._room -= len(watched.sensors)
        counters = watched.counters[: max(0, self._room)]
        self._room -= len(watched.counters)
        left = len(watched.sensors) + len(watched.counters) - len(sensors) - len(counters)
        if left:
            self._beyond[collector] = left
        self._sensors[collector] = self._sense(collector, sensors, given.samples)
        self._counters[collector] = self._count(collector, counters, given.samples)
        for part in watched.parts:
            self._parts[collector, part] = self._now_s
        if not all(given.samples[bmc.place].value for bmc in watched.answers):
            self._silent.add(collector)
            self._asked[collector] = self._before.asked.get(collector, self._now_s)

    def _count(self, collector: str, counters: Sequence[Compared], samples: Sequence[Sample]) -> Mapping[int, float]:
        """The counters as they stand now; those that fell are counted."""
        before = self._before.counters.get(collector, {})
        now: dict[int, float] = {}
        for series, place, part, may_fall in counters:
            value = now[series] = samples[place].value
            if value < before.get(series, value) - may_fall:
                self._fallen[collector, part] += 1
        return now

    def _sense(
        self, collector: str, sensors: Sequence[Compared], samples: Sequence[Sample]
    ) -> Mapping[int, tuple[float, float]]:
        """The sensors as they stand now, and since when; those that stick are noted."""
        before = self._before.sensors.get(collector, {})
        now: dict[int, tuple[float, float]] = {}
        for series, place, _, _ in sensors:
            sample = samples[place]
            value, since = before.get(series, (None, self._now_s))
            since = since if value == sample.value and sample.value else self._now_s
            now[series] = (sample.value, since)
            if self._now_s - since >= self._settings.stuck_after_s:
                self._stuck.setdefault(collector, []).append(sample)
        return now

    def miss(self, given: Mapping[str, Given]) -> None:
        """Find the parts that are gone; of collectors that could not be asked, keep all that is known."""
        for (collector, part), seen in self._before.parts.items():
            if (collector, part) in self._parts or self._now_s - seen > self._settings.gone_for_s:
                continue
            self._parts[collector, part] = seen
            if collector in given.keys() - self._silent and seen == self._before.asked.get(collector):
                self._vanished[collector] += 1

    def remembered(self) -> Remembered:
        """What the next round is compared with; a bounded number of parts and counts."""
        limit = self._settings.series_max
        parts = dict(sorted(self._parts.items(), key=lambda item: -item[1])[:limit])
        fallen = {key: count for key, count in self._fallen.items() if key in parts or not key[1]}
        return Remembered(self._counters, self._sensors, parts, fallen, dict(self._vanished), self._asked)

    def told(self) -> Iterator[Sample]:
        """What is odd; nothing where nothing is."""
        for (collector, part), seen in sorted(self._parts.items()):
            if seen < self._asked.get(collector, seen):
                labels = {"collector": collector, "device": label_text(part)}
                yield Sample("forewarn_telemetry_vanished_seconds", labels, self._now_s - seen)
        for collector, count in sorted(self._vanished.items()):
            yield Sample("forewarn_telemetry_vanished_total", {"collector": collector}, float(count))
        for (collector, part), count in sorted(self._fallen.items()):
            labels = {"collector": collector, "device": label_text(part)}
            yield Sample("forewarn_telemetry_backwards_total", labels, float(count))
        for collector, stuck in sorted(self._stuck.items()):
            yield Sample("forewarn_telemetry_stuck_sensors", {"collector": collector}, float(len(stuck)))
            for sample in stuck[:STUCK_TOLD_MAX]:
                device = label_text(_device(sample))
                labels = {"collector": collector, "device": device, "series": _written(sample)}
                yield Sample("forewarn_telemetry_stuck", labels, 1.0)
        for collector, count in sorted(self._beyond.items()):
            yield Sample("forewarn_telemetry_not_compared", {"collector": collector}, float(count))


def _device(sample: Sample) -> str:
    """The part that a sensor is of; where it names none, a BMC's own name of the sensor."""
    return _part(sample.labels) or (sample.labels.get("name", "") if sample.name.startswith(SENSOR) else "")


def _written(sample: Sample) -> str:
    labels = ",".join(f"{label}={value}" for label, value in sorted(sample.labels.items()))
    return label_text(f"{sample.name}{{{labels}}}")


class Continuity:
    """The rounds of one agent, each compared with those before."""

    def __init__(self, settings: ContinuitySettings) -> None:
        """Raises ConfigurationError for a setting that is no regular expression."""
        pattern("agent.continuity.sensors", settings.sensors)
        self._settings = settings
        self._remembered = Remembered()
        self._watched: dict[str, Lineup[Watched]] = {}

    def look(self, given: Mapping[str, Sequence[Sample]], now_s: float) -> tuple[Sample, ...]:
        """What is odd about this round, of the collectors that could be asked."""
        compared = {collector: Given(samples, self._watch(collector, samples)) for collector, samples in given.items()}
        self._remembered, told = compare(self._remembered, compared, now_s, self._settings)
        return told

    def _watch(self, collector: str, samples: Sequence[Sample]) -> Watched:
        lineup = self._watched.setdefault(collector, Lineup(lambda samples: watch(samples, self._settings)))
        return lineup.of(samples)
