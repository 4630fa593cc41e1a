"""What hosts showed lately: the newest values of each series, so that parts of one scrape can be joined.

One number per series and time, and bounds on all of it. It knows no metric; where series lead is the mapper's word.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from forewarn.domain import telemetry
from forewarn.store.identity import Identities
from forewarn.store.index import Numbers
from forewarn.store.intake import Values
from forewarn.store.layout import Device, Resolution, Series
from forewarn.store.sets import Sets

Key = tuple[str, tuple[tuple[str, str], ...]]  # a series: its name and its labels


@dataclass
class Scrape:
    """One host's values of one time, by the number of their series; NaN where there is none, or a marker."""

    values: Values = field(default_factory=lambda: np.empty(0))
    filed: Resolution | None = None  # as what its values were filed
    waiting: set[Device] = field(default_factory=set)  # whose values are not filed yet

    def put(self, slots: Numbers, values: Values, size: int) -> None:
        """Keep values, of the same series the later; a marker takes none away. `size` is how many series there are."""
        if size > len(self.values):
            self.values = np.concatenate((self.values, np.full(size - len(self.values), math.nan)))
        real = values == values
        self.values[slots[real]] = values[real]

    def stored(self) -> set[Series]:
        """The series under which a store has what was shown."""
        if self.filed is None:
            return set()
        targets = [self.filed.targets[number] for number in self.filed.shown(self.values)]
        return {target.series for target in targets if target.place not in self.waiting}


@dataclass
class Host:
    """What is known of one host: its parts, its series, where they lead in each epoch, and what they showed lately."""

    name: str
    identities: Identities = field(default_factory=Identities)
    sensors: dict[tuple[str, str], str] = field(default_factory=dict)  # labels of hwmon sensors, by chip and sensor
    slots: dict[Key, int] = field(default_factory=dict)
    by_series: dict[telemetry.Series, int] = field(default_factory=dict)  # likewise, or what else a series is
    keys: list[Key] = field(default_factory=list)  # by slot
    resolutions: dict[int, Resolution] = field(default_factory=dict)
    scrapes: OrderedDict[datetime, Scrape] = field(default_factory=OrderedDict)
    settled: dict[Device, datetime] = field(default_factory=dict)  # from when on a device's values need not wait
    sets: Sets = field(default_factory=Sets)

    @property
    def size(self) -> int:
        """How many names are remembered: of series, of devices, of sensors and of sets."""
        named = len(self.identities) + len(self.sensors) + len(self.settled) + len(self.sets)
        return max(len(self.keys), len(self.by_series) // 2) + named

    def call(self, chip: str, sensor: str, label: str) -> bool:
        """Take in what a sensor is called; whether that is news."""
        news = self.sensors.get((chip, sensor)) != label
        self.sensors[chip, sensor] = label
        return news

    def labels(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """A series' labels, with what its sensor is called."""
        label = self.sensors.get((labels.get("chip", ""), labels.get("sensor", "")))
        return {**labels, "label": label} if label else labels

    def slot(self, key: Key) -> int:
        """The number of a series; a new one for a new series."""
        slot = self.slots.get(key)
        if slot is None:
            slot = self.slots[key] = len(self.keys)
            self.keys.append(key)
        return slot

    def scrape(self, time: datetime) -> Scrape:
        """What was shown at a time; it counts as the newest from now on."""
        if time not in self.scrapes:
            self.scrapes[time] = Scrape()
        self.scrapes.move_to_end(time)
        return self.scrapes[time]


class Recent:
    """Which scrapes of all hosts are remembered, longest untouched first, and of how many values."""

    def __init__(self, values_max: int, host_scrapes_max: int) -> None:
        self._values_max, self._host_scrapes_max = values_max, host_scrapes_max
        self._sizes: OrderedDict[tuple[str, datetime], int] = OrderedDict()
        self.values = 0

    def touch(self, host: Host, time: datetime) -> None:
        """A scrape has new values."""
        size = len(host.scrapes[time].values)
        self.values += size - self._sizes.get((host.name, time), 0)
        self._sizes[host.name, time] = size
        self._sizes.move_to_end((host.name, time))

    def surplus(self, host: Host) -> tuple[str, datetime] | None:
        """A scrape that is too much, of `host` or of all."""
        if len(host.scrapes) > self._host_scrapes_max:
            return host.name, next(iter(host.scrapes))
        return next(iter(self._sizes)) if self.values > self._values_max else None

    def drop(self, host: Host, time: datetime) -> Scrape:
        """Forget a scrape."""
        self.values -= self._sizes.pop((host.name, time), 0)
        return host.scrapes.pop(time)
