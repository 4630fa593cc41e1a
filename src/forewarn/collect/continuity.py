"""What is odd from one round to the next: a part that vanishes, a counter that runs backwards, a sensor that sticks.

It is asked once for all sources, by the agent, and knows nothing of what it compares but names and labels. `compare` is
pure: it takes what is remembered and one round, and gives what is worth telling and what to remember. A telemetry
exporter that shows the last value for ever looks well; here it does not.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from forewarn.collect.exposition import LABELS_REMEMBERED, type_of
from forewarn.collect.tree import label_text, pattern
from forewarn.domain.telemetry import Sample

Key = tuple[str, tuple[tuple[str, str], ...]]  # a series: its name, and its labels in order
Given = Mapping[Key, Sample]  # what one collector gave in a round

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
    """What rounds so far leave behind. Series are known by their hash: they are compared, never shown."""

    counters: Mapping[int, float] = field(default_factory=dict)
    sensors: Mapping[int, tuple[float, float]] = field(default_factory=dict)  # the value, and since when it stands
    parts: Mapping[tuple[str, str], float] = field(default_factory=dict)  # collector and part: when it was seen last
    fallen: Mapping[tuple[str, str], int] = field(default_factory=dict)  # how often a counter of a part fell
    vanished: Mapping[str, int] = field(default_factory=dict)  # how often a part of a collector vanished
    asked: Mapping[str, float] = field(default_factory=dict)  # when each collector answered last


def compare(
    before: Remembered, given: Mapping[str, Given], now_s: float, settings: ContinuitySettings
) -> tuple[Remembered, tuple[Sample, ...]]:
    """One round beside those before it; `now_s` are seconds of a clock that never jumps.

    `given` holds the collectors that could be asked, also those that found nothing; of one that failed nothing is
    concluded.

    >>> key = ("node_disk_io_time_seconds_total", (("device", "sda"),))
    >>> before, after = (Sample(key[0], {"device": "sda"}, seconds) for seconds in (7.0, 3.0))
    >>> remembered, _ = compare(Remembered(), {"disk": {key: before}}, 0, ContinuitySettings())
    >>> _, told = compare(remembered, {"disk": {key: after}}, 15, ContinuitySettings())
    >>> [(sample.name, sample.labels["device"], sample.value) for sample in told]
    [('forewarn_telemetry_backwards_total', 'sda', 1.0)]
    """
    comparison = _Comparison(before, now_s, settings)
    if before.asked.keys() - given.keys():
        comparison.keep_series()
    for collector, samples in given.items():
        comparison.take(collector, samples)
    comparison.miss(given)
    return comparison.remembered(), tuple(comparison.told())


class _Comparison:
    """One round, while it is compared."""

    def __init__(self, before: Remembered, now_s: float, settings: ContinuitySettings) -> None:
        self._before, self._now_s, self._settings = before, now_s, settings
        self._sensor = re.compile(settings.sensors)
        self._counters: dict[int, float] = {}
        self._sensors: dict[int, tuple[float, float]] = {}
        self._parts: dict[tuple[str, str], float] = {}
        self._asked = dict(before.asked)
        self._fallen = Counter(before.fallen)
        self._vanished = Counter(before.vanished)
        self._stuck: dict[str, list[Sample]] = {}
        self._beyond: Counter[str] = Counter()
        self._silent: set[str] = set()

    def keep_series(self) -> None:
        """Remember every series, because it cannot be told which are those of a collector that failed."""
        self._counters, self._sensors = dict(self._before.counters), dict(self._before.sensors)

    def take(self, collector: str, samples: Given) -> None:
        """Compare what one collector gave."""
        self._asked[collector] = self._now_s
        meant: dict[str, str] = {}  # by name: counter, sensor, ... or nothing; a scrape has few names and many series
        parts: set[str] = set()
        for key, sample in samples.items():
            name, labels = key
            part = _part(labels)
            parts.add(part)
            meaning = meant.get(name)
            if meaning is None:
                meaning = meant[name] = self._meaning(name)
            if not meaning:
                continue
            if meaning == "supply":
                parts.add(_named(labels))
            elif meaning == "answers":
                self._hear(collector, sample)
            elif len(self._counters) + len(self._sensors) >= self._settings.series_max:
                self._beyond[collector] += 1
            elif meaning == "counter":
                self._count(collector, part, hash(key), sample)
            else:
                self._sense(collector, hash(key), sample)
        for part in parts:
            if part and not part.startswith("/"):  # what is mounted comes and goes
                self._parts[collector, part] = self._now_s

    def _meaning(self, name: str) -> str:
        if self._sensor.fullmatch(name):
            return "sensor"
        if name == ANSWERS:
            return "answers"
        if name.startswith(SUPPLY):
            return "supply"
        return "counter" if type_of(name) == "counter" and not SHARES.fullmatch(name) else ""

    def _hear(self, collector: str, sample: Sample) -> None:
        if not sample.value:
            self._silent.add(collector)
            self._asked[collector] = self._before.asked.get(collector, self._now_s)

    def _count(self, collector: str, part: str, series: int, sample: Sample) -> None:
        before = self._before.counters.get(series)
        self._counters[series] = sample.value
        if before is not None and sample.value < before - MAY_FALL.get(sample.name, 0.0):
            self._fallen[collector, part] += 1

    def _sense(self, collector: str, series: int, sample: Sample) -> None:
        value, since = self._before.sensors.get(series, (None, self._now_s))
        since = since if value == sample.value and sample.value else self._now_s
        self._sensors[series] = (sample.value, since)
        if self._now_s - since >= self._settings.stuck_after_s:
            self._stuck.setdefault(collector, []).append(sample)

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


@lru_cache(LABELS_REMEMBERED)
def _part(labels: tuple[tuple[str, str], ...]) -> str:
    """The part that labels name."""
    named = dict(labels)
    return next(filter(None, map(named.get, PART_LABELS)), "")


def _named(labels: tuple[tuple[str, str], ...]) -> str:
    return dict(labels).get("name", "")


def _device(sample: Sample) -> str:
    """The part that a sensor is of; where it names none, a BMC's own name of the sensor."""
    labels = tuple(sample.labels.items())
    return _part(labels) or (_named(labels) if sample.name.startswith(SENSOR) else "")


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

    def look(self, given: Mapping[str, Given], now_s: float) -> tuple[Sample, ...]:
        """What is odd about this round."""
        self._remembered, told = compare(self._remembered, given, now_s, self._settings)
        return told
