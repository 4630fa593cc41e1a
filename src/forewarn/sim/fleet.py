"""The telemetry of all simulated hosts at once, as arrays: what each quantity is at a time, and the series that say so.

Gauges are functions of time, load and noise; noise is a sum of sinusoids with drawn phases, so that it depends on the
time asked for alone. Counters gather their rates from call to call. Nothing here knows of faults: `world` adds them.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from forewarn.domain.inventory import Component, Host, Kind
from forewarn.domain.telemetry import Sample
from forewarn.sim.signals import DAY_S, Signal, host_signals, identities, part_signals

Array: TypeAlias = NDArray[np.float64]
Place: TypeAlias = tuple[str, Kind, str]  # host, kind, device

# Periods of the noise in seconds; none divides an hour, so hourly samples look as noisy as samples of each second.
_PERIODS_S = np.array([41.0, 613.0, 9677.0])
_WEEKEND_DIP = 0.25
_DAILY_SWING = 0.4


def place_of(part: Component) -> Place:
    """Where a part sits; a replacement sits in the same place."""
    return (part.host, part.kind, part.device)


@dataclass(frozen=True, slots=True)
class _Spot:
    """The signals of one place: their range in the arrays, and what sits there."""

    first: int
    signals: tuple[Signal, ...]
    component: str
    identities: tuple[Sample, ...] = ()

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + len(self.signals))


class Fleet:
    """Every signal of every host. Arrays are indexed by signal; a place owns a range of them."""

    def __init__(self, seed: int, hosts: Sequence[Host], parts: Sequence[Component]) -> None:
        self._rng = random.Random(f"fleet {seed}")
        self._hosts = [host.name for host in hosts]
        self._spots: dict[Place, _Spot] = {}
        count = 0
        for host in hosts:
            spot = _Spot(count, host_signals(host), f"host:{host.name}")
            self._spots[(host.name, Kind.HOST, "")], count = spot, spot.numbers.stop
        for part in parts:
            spot = _Spot(count, part_signals(self._rng, part), part.id, identities(part))
            self._spots[place_of(part)], count = spot, spot.numbers.stop
        self._places = {name: [place for place in self._spots if place[0] == name] for name in self._hosts}
        self._lay_out(count)

    def _lay_out(self, count: int) -> None:
        number_of = {name: number for number, name in enumerate(self._hosts)}
        chance = np.random.default_rng(self._rng.getrandbits(32))
        self._phases: Array = chance.uniform(0, 2 * np.pi, (len(_PERIODS_S), count))
        self._host_phases: Array = chance.uniform(-0.6, 0.6, len(self._hosts))
        self._host_of = np.zeros(count, dtype=np.intp)
        for (host, *_), spot in self._spots.items():
            self._host_of[spot.first : spot.numbers.stop] = number_of[host]
        self._level, self._load, self._used, self._wobble, self._count = np.zeros((5, count))
        self._counter, self._whole, self._boots = np.zeros((3, count), dtype=bool)
        for spot in self._spots.values():
            self._set(spot)

    def _set(self, spot: _Spot) -> None:
        for number, signal in enumerate(spot.signals, start=spot.first):
            shape = signal.shape
            self._level[number], self._load[number] = shape.level, shape.load
            self._used[number], self._wobble[number] = shape.used, shape.wobble
            self._count[number], self._counter[number] = shape.start, shape.counter
            self._whole[number], self._boots[number] = shape.whole, shape.boots

    def replace(self, place: Place, part: Component) -> None:
        """A new part of the same model sits in a place; all that the old one counted is gone."""
        spot = _Spot(self._spots[place].first, part_signals(self._rng, part), part.id, identities(part))
        self._spots[place] = spot
        self._set(spot)

    def boot(self, host: str) -> None:
        """The host's kernel starts its counters again."""
        self._count[self._boots & (self._host_of == self._hosts.index(host))] = 0.0

    def numbers_of(self, place: Place) -> Mapping[str, int]:
        """Where in the arrays each quantity of a place is."""
        spot = self._spots[place]
        return {signal.key: number for number, signal in zip(spot.numbers, spot.signals, strict=True)}

    def keys(self) -> Iterator[tuple[str, str]]:
        """Component and metric key of every signal, in the order of the arrays."""
        for spot in self._spots.values():
            for signal in spot.signals:
                yield spot.component, signal.key

    def heard(self, silent: Collection[str], missing: Collection[Place]) -> list[bool]:
        """Of every signal, in the order of the arrays, whether anything shows it."""
        return [
            place[0] not in silent and place not in missing for place, spot in self._spots.items() for _ in spot.signals
        ]

    def at(
        self,
        moment: datetime,
        elapsed_s: float,
        busy: Mapping[str, float],
        used: Mapping[str, float],
        still: Collection[str] = (),
    ) -> Array:
        """Let counters gather `elapsed_s` and return every signal's value at `moment`.

        `busy` is each host's mean share of busy CPU, `used` the share of its memory that VMs take. The counters of
        hosts that are `still` gather nothing.
        """
        time_s = moment.timestamp()
        load = self._loads(time_s, np.array([busy.get(name, 0.0) for name in self._hosts]))
        taken = np.array([used.get(name, 0.0) for name in self._hosts])
        noise = np.sin(self._phases + (2 * np.pi * time_s / _PERIODS_S)[:, None]).mean(axis=0)
        wanted = self._level + self._load * load[self._host_of]
        wanted += self._used * taken[self._host_of] + self._wobble * noise
        runs = self._counter & ~np.isin(self._hosts, list(still))[self._host_of]
        self._count += np.where(runs, np.maximum(wanted, 0.0) * elapsed_s, 0.0)
        return np.where(self._counter, self._count, wanted)

    def _loads(self, time_s: float, busy: Array) -> Array:
        """Each host's load now: a day's rhythm with its peak in the afternoon, calmer weekends, some noise."""
        day = np.sin(2 * np.pi * (time_s / DAY_S - 0.375) + self._host_phases)
        weekend = 1.0 - _WEEKEND_DIP * ((time_s // DAY_S + 3) % 7 >= 5)
        noise = np.sin(2 * np.pi * time_s / _PERIODS_S[:, None] + 9 * self._host_phases).mean(axis=0)
        loads: Array = np.clip(busy * weekend * (1 + _DAILY_SWING * day + 0.2 * noise), 0.01, 0.97)
        return loads

    def shown(self, values: Array) -> Array:
        """Values as exporters show them: never below zero, and whole where things are counted."""
        positive = np.maximum(values, 0.0)
        return np.where(self._whole, np.floor(positive + 1e-9), positive)

    def samples(self, host: str, shown: Array, missing: frozenset[Place] = frozenset()) -> list[Sample]:
        """What the exporters of a host show, without the parts at `missing` places."""
        found: list[Sample] = []
        for place in self._places[host]:
            if place not in missing:
                spot = self._spots[place]
                found.extend(spot.identities)
                found.extend(self._spot_samples(spot, shown))
        return found

    def _spot_samples(self, spot: _Spot, shown: Array) -> Iterator[Sample]:
        for signal, value in zip(spot.signals, shown[spot.first : spot.numbers.stop].tolist(), strict=True):
            for series in signal.series:
                yield Sample(series.name, series.labels, value * series.share + series.offset)
