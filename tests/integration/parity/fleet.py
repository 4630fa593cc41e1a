"""The telemetry that every store is given: 400 drives, 10 metrics, 40 days at 15 minutes, some 15 million samples.

Made of a seed, by numpy, in about two seconds. A scrape (one drive at one time) is the unit in which samples arrive:
in time order across drives, but for those that come up to an hour late or twice. Drives come, go and return; scrapes
and single metrics are missing; counters start anew; a NaN ends a series. Every fifth drive is asked on the quarter of
the hour exactly, where windows begin and end; the others have a time of their own and waver by some milliseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind, component_id
from forewarn.domain.metrics import METRICS
from forewarn.domain.telemetry import Metric
from forewarn.store.base import DEVICES, SAMPLES, TIME, Batch
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, STEP_S = 40, 900
DRIVES, DRIVES_PER_HOST = 400, 8
KEYS = (
    "smart_5",
    "smart_187",
    "smart_197",
    "disk_temperature",
    "disk_power_on_seconds",
    "nvme_percentage_used",
    "disk_reads",
    "disk_writes",
    "disk_read_seconds",
    "disk_io_errors",
)
WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 72, 168, 720))

Times = NDArray[np.int64]
Values = NDArray[np.float64]
Chosen = NDArray[np.bool_]


def metrics() -> tuple[Metric, ...]:
    known = {metric.key: metric for metric in METRICS}
    return tuple(known[key] for key in KEYS)


def catalog() -> Catalog:
    """Every aggregate of every metric over every window. A wavering of a clock of years is asked of no store."""
    features = [
        Feature(f"{key}_{aggregate}_{window // timedelta(hours=1)}h", Kind.DISK, key, aggregate, window)
        for key in KEYS
        for aggregate in Aggregate
        for window in (WINDOWS if aggregate is not Aggregate.LAST else WINDOWS[:1])
        if not (aggregate is Aggregate.STDDEV and key == "disk_power_on_seconds")
    ]
    return Catalog(metrics(), tuple(features))


ASKED = (
    START + timedelta(days=21, hours=6, minutes=15),
    START + timedelta(days=36),
    START + timedelta(days=39, hours=13, minutes=47, seconds=11),
    START + timedelta(days=40, minutes=40),
)


@dataclass(frozen=True)
class Drive:
    """One drive and where it sits."""

    serial: str
    host: str
    device: str
    model: str

    @property
    def component(self) -> str:
        return component_id(Kind.DISK, self.host, self.device, self.serial)


@dataclass(frozen=True)
class Arrivals:
    """Scrapes in the order in which they come: which step and drive each is, and when it comes (ms)."""

    step: Times
    drive: Times
    at: Times

    def __len__(self) -> int:
        return len(self.step)

    def cut(self, begin: int, end: int) -> "Arrivals":
        return Arrivals(self.step[begin:end], self.drive[begin:end], self.at[begin:end])


@dataclass(frozen=True)
class Fleet:
    """Samples as arrays: `time_ms` per step and drive; `value` and `present` per step, drive and metric."""

    drives: tuple[Drive, ...]
    time_ms: Times
    value: Values
    present: Chosen
    arrivals: Arrivals

    @classmethod
    def made(cls, drives: int = DRIVES, days: int = DAYS, seed: int = 7) -> "Fleet":
        chance = np.random.default_rng(seed)
        steps = days * 86400 // STEP_S
        time_ms = _times(chance, steps, drives)
        value = _values(chance, steps, drives)
        present = _present(chance, steps, drives)
        here: Any = present.any(axis=2)
        arrivals = _arrivals(chance, time_ms, here)
        return cls(_drives(drives), time_ms, value, present, arrivals)

    @property
    def samples(self) -> int:
        """How many different samples there are."""
        return int(self.present.sum())

    def chunks(self, hours: float) -> Iterator[Arrivals]:
        """What arrives, in pieces of so many hours."""
        width = int(hours * 3_600_000)
        number = self.arrivals.at // width
        borders = np.flatnonzero(np.r_[True, number[1:] != number[:-1], True])
        for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            yield self.arrivals.cut(begin, end)

    def batch(self, arrived: Arrivals) -> Batch:
        """Arrived scrapes as the embedded store takes them."""
        at = (arrived.step, arrived.drive)
        here = self.present[at]
        row, column = np.nonzero(here)
        names = pa.array([drive.component for drive in self.drives])
        samples = {
            "time": pa.array(self.time_ms[at][row] * 1000).cast(TIME),
            "component": names.take(arrived.drive[row]),
            "metric": pa.array(KEYS).take(column),
            "value": pa.array(self.value[at][here]),
        }
        return Batch(pa.table(samples, schema=SAMPLES), self._devices(arrived))

    def _devices(self, arrived: Arrivals) -> pa.Table:
        time = self.time_ms[arrived.step, arrived.drive] * 1000
        rows = []
        for number in np.unique(arrived.drive).tolist():
            drive, seen = self.drives[number], time[arrived.drive == number]
            first, last = seen.min(), seen.max()
            rows.append((drive.component, "disk", drive.host, drive.device, drive.model, first, last))
        columns = zip(DEVICES.names, zip(*rows, strict=True), strict=True)
        return pa.table({name: pa.array(column) for name, column in columns}).cast(DEVICES)

    def readings(self, arrived: Arrivals) -> Readings:
        """Arrived scrapes as exporters' series, as they came; each eighth scrape of a drive says which one it is."""
        at = (arrived.step, arrived.drive)
        here = self.present[at]
        row, column = np.nonzero(here)
        told = self.told(arrived)
        return Readings(
            self._series,
            np.concatenate(
                [arrived.drive[row] * len(KEYS) + column, len(self.drives) * len(KEYS) + arrived.drive[told]]
            ),
            np.concatenate([self.time_ms[at][row], self.time_ms[at][told]]) * 1000,
            np.concatenate([self.value[at][here], np.ones(len(told))]),
        )

    def told(self, arrived: Arrivals) -> Times:
        """Which of the scrapes say which drive it is."""
        return np.flatnonzero((arrived.step % 8 == 0) | (arrived.step == self._first_step[arrived.drive]))

    @cached_property
    def _first_step(self) -> Times:
        here: Any = self.present.any(axis=2)
        first: Times = here.argmax(axis=0)
        return first

    @cached_property
    def _series(self) -> tuple[Key, ...]:
        """Each drive's metrics, and behind them what tells its serial number."""
        found = [_key(metric.name, drive, dict(metric.where)) for drive in self.drives for metric in metrics()]
        words = [{"serial_number": drive.serial, "model_name": drive.model} for drive in self.drives]
        told = [_key("smartctl_device", drive, said) for drive, said in zip(self.drives, words, strict=True)]
        return (*found, *told)

    def standing(self, drive: int, metric: int) -> list[tuple[datetime, float]]:
        """What stands of one series in the end, for the plain reading."""
        here = np.flatnonzero(self.present[:, drive, metric])
        times, values = self.time_ms[here, drive].tolist(), self.value[here, drive, metric].tolist()
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return [(epoch + timedelta(milliseconds=time), value) for time, value in zip(times, values, strict=True)]


def _key(name: str, drive: Drive, labels: dict[str, str]) -> Key:
    named = {**labels, "device": drive.device, "instance": f"{drive.host}:9633"}
    return name, tuple(sorted(named.items()))


def _drives(number: int) -> tuple[Drive, ...]:
    return tuple(
        Drive(
            f"ZA{drive:06d}",
            f"hv{drive // DRIVES_PER_HOST:03d}",
            f"sd{'abcdefgh'[drive % DRIVES_PER_HOST]}",
            f"MODEL {drive % 3}",
        )
        for drive in range(number)
    )


def _times(chance: np.random.Generator, steps: int, drives: int) -> Times:
    grid = int(START.timestamp() * 1000) + np.arange(steps, dtype=np.int64)[:, None] * STEP_S * 1000
    phase = chance.integers(1, STEP_S * 1000 - 100, drives)
    waver = chance.integers(0, 50, (steps, drives))
    exact = np.arange(drives) % 5 == 0
    return np.where(exact[None, :], grid, grid + phase[None, :] + waver)


def _values(chance: np.random.Generator, steps: int, drives: int) -> Values:
    shape = (steps, drives)

    def counter(steps_per_change: Any, size: Any, begin: Any) -> Values:
        """Steps that are rare or common; now and then the count starts anew."""
        grown = np.cumsum((chance.random(shape) < steps_per_change) * size, axis=0) + begin
        reset = chance.random(shape) < 0.0003
        base = np.maximum.accumulate(np.where(reset, grown, -np.inf), axis=0)
        found: Values = np.where(np.isfinite(base), grown - base, grown)
        return found

    def walk(step: float, begin: Any, low: float, high: float) -> Values:
        moved = np.cumsum(chance.integers(-1, 2, shape) * step, axis=0) + begin
        found: Values = np.round(np.clip(moved, low, high), 1)
        return found

    sick = np.where(np.arange(drives) % 7 == 0, 0.02, 0.0002)
    columns = (
        counter(sick, chance.integers(1, 8, shape), 0),
        counter(sick / 2, 1, chance.integers(0, 3, drives)),
        np.maximum(0, np.cumsum((chance.random(shape) < sick) * chance.integers(-3, 5, shape), axis=0)).astype(float),
        walk(0.5, chance.integers(28, 45, drives), 18, 70),
        (np.arange(steps) * STEP_S)[:, None] + chance.integers(0, 90_000_000, drives),
        np.floor(np.arange(steps)[:, None] / 1500 + chance.random(drives) * 90),
        counter(0.97, chance.integers(1, 4000, shape), chance.integers(0, 10**6, drives)),
        counter(0.97, chance.integers(1, 9000, shape), chance.integers(0, 10**6, drives)),
        np.round(np.cumsum(chance.random(shape) * 9, axis=0), 3),
        counter(sick / 4, 1, 0),
    )
    value = np.stack(columns, axis=2).astype(np.float64)
    value[chance.random(value.shape) < 0.003] = np.nan
    return value


def _present(chance: np.random.Generator, steps: int, drives: int) -> Chosen:
    present = chance.random((steps, drives, len(KEYS))) > 0.002
    here = chance.random((steps, drives)) > 0.004
    step = np.arange(steps)[:, None]
    for _ in range(2):  # gaps of an hour to two days
        begin = chance.integers(0, steps, drives)
        length = (4 * 48 ** chance.random(drives)).astype(np.int64)
        here &= ~((step >= begin) & (step < begin + length))
    kind = chance.random(drives)  # some come, some go for good, some go and return, and some of those are short
    comes = np.where(kind < 0.06, chance.integers(0, steps, drives), 0)
    goes = np.where((kind > 0.04) & (kind < 0.08), chance.integers(0, steps, drives), steps)
    away = np.where((kind > 0.08) & (kind < 0.12), chance.integers(0, steps, drives), steps)
    here &= (step >= comes) & (step < goes) & ~((step >= away) & (step < away + steps // 4))
    here[steps // 2] |= ~here.any(axis=0)  # no drive is quite without telemetry
    present &= here[:, :, None]
    return present


def _arrivals(chance: np.random.Generator, time_ms: Times, here: Chosen) -> Arrivals:
    step, drive = np.nonzero(here)
    time = time_ms[step, drive]
    late = chance.random(len(step)) < 0.005
    at = time + np.where(late, chance.integers(1, 3_600_000, len(step)), 0)
    twice = np.flatnonzero(chance.random(len(step)) < 0.002)
    step, drive = np.r_[step, step[twice]], np.r_[drive, drive[twice]]
    at = np.r_[at, time[twice] + chance.integers(1, 3_600_000, len(twice))]
    order = np.argsort(at, kind="stable")
    return Arrivals(step[order], drive[order], at[order])
