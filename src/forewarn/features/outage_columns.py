"""What is known of a node at midnight from the outages before it: one row per slot and day, as arrays.

Pure. Everything is computed from outages that began before the row's midnight, on a grid of slots and days per system.
Rates are decayed sums (half-lives of 10 to 365 days) of failures over node-days, drawn towards the rate of all systems
by the weight of `PRIOR` failures: a system that has just begun is taken to be like the others. `pooled_rate` is what
the trees start from; the other columns correct it. A day counts a cause once per slot. Rows know the day alone, so
there is no column for the hour.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Metric
from forewarn.store.outages import CAUSES, LEARNABLE, OutageLog, micros

Grid = NDArray[np.float64]
Days = NDArray[np.int64]

OFFSET = "pooled_rate"  # ln of failures per 1,000 node-days
PRIOR = 2.0  # failures' worth of evidence for the rate of all systems
PRIOR_DAYS = 2000.0  # node-days for which the rate of all systems is first taken to be one failure
HALF_LIVES = (10, 30, 90, 365)
POOLED = 90
WINDOWS = (1, 7, 30, 90)
_GLOBAL_HALF_LIFE = 180
_REACH = (4, 16)  # slots on either side that are neighbours
_OTHERS = ("hardware", "software", "facilities", "undetermined")
_FAILING = ("cpu", "memory", "power", "network")
_ORDERED = ("first_other", "second_other", "third_other")
EXCESSES = (60, 200)
_NEVER = -(10**6)
_UNKNOWN = -(10**6)  # day in production of a slot of which nothing is known
_DAY_US = 86_400_000_000


_Described = Iterator[tuple[str, str, str, int]]  # name, its metric's words, how it is said, window in days (0: none)


def _described() -> _Described:
    rate = "the system's failure rate"
    yield OFFSET, rate, "ln {value} failures of this kind in 1,000 node-days of the system", POOLED
    for life in (life for life in HALF_LIVES if life != POOLED):
        yield f"system_rate_{life}d", rate, "the system's rate over {window}: ln {value}", life
    yield "all_rate", "the rate of all systems", "rate of all systems: ln {value}", _GLOBAL_HALF_LIFE
    yield from _described_own()
    yield from _described_others()
    yield "down_30d", "hours down", "{value} hours down within {window}", 30
    yield "repaired_since", "time since the last repair", "{value} days since the last repair ended", 0
    yield "age", "age", "{value} days in production", 0
    yield "weekday", "weekday", "weekday {value}", 0
    yield "first_slot", "place in the system", "first node of its system: {value}", 0
    yield "nodes", "size of the system", "{value} nodes in the system", 0
    for name, words in (("processors", "processors"), ("memory", "GB of memory"), ("interconnects", "interconnects")):
        yield name, "type of node", f"{{value}} {words}", 0
    yield "graphics", "purpose", "a node for graphics: {value}", 0


def _described_own() -> _Described:
    part, lately = "earlier failures of this part", "the system's failures lately"
    for days in WINDOWS:
        yield f"own_{days}d", part, "{value} failures of this kind within {window}", days
        yield f"system_own_{days}d", lately, "{value} such failures per node in {window}", days
    yield "own_ever", part, "{value} failures of this kind since production", 0
    yield "own_since", "time since this part failed", "{value} days since the last failure of this kind", 0
    yield "system_since", lately, "{value} days since such a failure in the system", 0
    for life in (*EXCESSES, 0):
        name = f"excess_{life}d" if life else "excess_ever"
        yield name, "failures against the system's rate", "ln {value} times the system's rate", life
    for reach in _REACH:
        for days in WINDOWS[1:]:
            yield f"near{reach}_{days}d", "neighbours' failures", "{value} such failures per neighbour, {window}", days


def _described_others() -> _Described:
    for other in _ORDERED:
        for days in WINDOWS[1:]:
            yield f"{other}_{days}d", "failures of other parts", "{value} failures of another part in {window}", days
        yield f"{other}_since", "failures of other parts", "{value} days since another part failed", 0
    for cause in (*_OTHERS, "any"):
        words = f"outages ({cause})"
        for days in WINDOWS[1:]:
            yield f"{cause}_{days}d", words, f"{{value}} {words} within {{window}}", days
        for days in WINDOWS[:2]:
            yield f"system_{cause}_{days}d", words, f"{{value}} {words} per node of the system", days
        yield f"{cause}_since", words, f"{{value}} days since the last of {words}", 0


def _catalog() -> Catalog:
    """The same columns for every kind; what "this part" is, the kind says."""
    described = tuple(_described())
    metrics = tuple(
        Metric(f"outages_{kind}_{words}", kind, f"outages_{kind}", words, hold_s=0.0)
        for kind in LEARNABLE
        for words in dict.fromkeys(words for _, words, _, _ in described)
    )
    features = tuple(
        Feature(name, kind, f"outages_{kind}_{words}", Aggregate.LAST, timedelta(days=days), text)
        for kind in LEARNABLE
        for name, words, text, days in described
    )
    return Catalog(metrics, features)


OUTAGE_CATALOG = _catalog()
COLUMNS = OUTAGE_CATALOG.names(Kind.CPU)


@dataclass(frozen=True)
class SystemRows:
    """The rows of one system: its name, and per row slot, day since 1970 and the values of `COLUMNS`."""

    system: str
    node: Days
    day: Days
    values: NDArray[np.float32]


@dataclass(frozen=True)
class _System:
    """One system's grid: `causes` and `alive` have the shape (slots, days); the first day is `first`."""

    name: str
    slots: pa.Table
    first: int
    alive: NDArray[np.bool_]
    since: Days  # first day of each slot, and _UNKNOWN where nothing is known of it
    causes: dict[str, Grid]
    down_h: Grid
    repaired: Grid  # outages whose end is known, on the day of the end

    @property
    def days(self) -> int:
        return len(self.alive[0])


def rows(log: OutageLog, kind: Kind, until: datetime) -> Iterator[SystemRows]:
    """All slots in production, day by day until `until` (exclusive)."""
    last = _day(until)
    systems = [_system(log, str(name), last) for name in log.slots["system"].unique().to_pylist()]
    everywhere = _rate_of_all(systems, kind, last)
    for system in systems:
        if not system.alive.any():
            continue
        columns = dict(_columns(system, kind, everywhere[system.first - last :]))
        alive = system.alive
        filled = [np.broadcast_to(columns[name], alive.shape)[alive].astype(np.float32) for name in COLUMNS]
        slot, day = np.nonzero(alive)
        node = system.slots["node"].to_numpy()[slot]
        yield SystemRows(system.name, node, day + system.first, np.stack(filled, axis=1))


def _day(time: datetime) -> int:
    days: int = math.floor(time.timestamp() / 86_400)
    return days


def _system(whole: OutageLog, name: str, last: int) -> _System:
    log = whole.where(name)
    known = _days(log.slots["since"], _UNKNOWN)
    begin = np.maximum(known, _day(log.start))
    end = np.minimum(_days(log.slots["until"], last), last)
    first = min(int(begin.min()), last - 1)
    day = first + np.arange(last - first)
    alive = (day >= begin[:, None]) & (day < end[:, None])
    slot = np.searchsorted(log.slots["node"].to_numpy(), log.outages["node"].to_numpy())
    when = micros(log.outages["time"]) / _DAY_US
    down = np.nan_to_num(log.outages["down_s"].to_numpy()) / 86_400.0
    bits = log.outages["causes"].to_numpy()
    counted = {cause: _grid(slot, when, (bits & bit) > 0, first, alive) for cause, bit in CAUSES.items()}
    counted["any"] = _grid(slot, when, np.ones(len(bits)), first, alive)
    causes = {cause: np.minimum(grid, 1.0) for cause, grid in counted.items()}
    repaired = _grid(slot, when + down, down > 0, first, alive)
    return _System(name, log.slots, first, alive, known, causes, _grid(slot, when, down * 24.0, first, alive), repaired)


def _days(column: "pa.ChunkedArray[Any]", missing: int) -> Days:
    return micros(column, missing * _DAY_US) // _DAY_US


def _grid(slot: Days, when: Grid, weight: NDArray[np.generic], first: int, alive: NDArray[np.bool_]) -> Grid:
    """Weights added up per slot and day; what lies outside the slot's life is left out."""
    day = np.floor(when).astype(np.int64) - first
    inside = (day >= 0) & (day < alive.shape[1])
    grid = np.zeros(alive.shape)
    np.add.at(grid, (slot[inside], day[inside]), weight[inside].astype(np.float64))
    return grid * alive


def _rate_of_all(systems: list[_System], kind: Kind, last: int) -> Grid:
    """Failures per node-day of all systems, on each day from the first one of any system."""
    first = min(system.first for system in systems)
    failed, lived = np.zeros(last - first), np.zeros(last - first)
    for system in systems:
        failed[system.first - first :] += system.causes[kind].sum(axis=0)
        lived[system.first - first :] += system.alive.sum(axis=0)
    rate: Grid = (_decayed(failed, _GLOBAL_HALF_LIFE) + 1.0) / (_decayed(lived, _GLOBAL_HALF_LIFE) + PRIOR_DAYS)
    return rate


def _columns(system: _System, kind: Kind, everywhere: Grid) -> Iterator[tuple[str, Grid]]:
    own, alive = system.causes[kind], system.alive.astype(np.float64)
    lived = alive.sum(axis=0)
    yield "all_rate", np.log(everywhere * 1000.0)
    rates = {life: _pooled(own.sum(axis=0), lived, life, everywhere) for life in HALF_LIVES}
    for life, rate in rates.items():
        yield OFFSET if life == POOLED else f"system_rate_{life}d", np.log(rate * 1000.0)
    before = _before(own)
    for days in WINDOWS:
        within = _within(before, days)
        yield f"own_{days}d", within
        yield f"system_own_{days}d", within.sum(axis=0) / np.maximum(lived, 1.0)
        if days > 1:
            yield from ((f"near{reach}_{days}d", _near(within, reach)) for reach in _REACH)
    yield "own_ever", before[:, :-1]
    yield "own_since", _since(own)
    yield "system_since", _since(own.max(axis=0, keepdims=True))
    expected = np.cumsum(alive, axis=1) * rates[365]
    yield "excess_ever", np.log((before[:, :-1] + 1.0) / (expected + 1.0))
    for life in EXCESSES:
        due = _decayed(alive, life) * rates[POOLED]
        yield f"excess_{life}d", np.log((_decayed(own, life) + 1.0) / (due + 1.0))
    yield from _of_others(system, kind, lived)
    yield from _of_the_slot(system)


def _of_others(system: _System, kind: Kind, lived: Grid) -> Iterator[tuple[str, Grid]]:
    others = [cause for cause in _FAILING if cause != kind]
    for name, cause in zip(_ORDERED, others, strict=True):
        before = _before(system.causes[cause])
        yield from ((f"{name}_{days}d", _within(before, days)) for days in WINDOWS[1:])
        yield f"{name}_since", _since(system.causes[cause])
    for cause in (*_OTHERS, "any"):
        before = _before(system.causes[cause])
        yield from ((f"{cause}_{days}d", _within(before, days)) for days in WINDOWS[1:])
        for days in WINDOWS[:2]:
            yield f"system_{cause}_{days}d", _within(before, days).sum(axis=0) / np.maximum(lived, 1.0)
        yield f"{cause}_since", _since(system.causes[cause])


def _of_the_slot(system: _System) -> Iterator[tuple[str, Grid]]:
    day = system.first + np.arange(system.days)
    yield "down_30d", _within(_before(system.down_h), 30)
    yield "repaired_since", _since(system.repaired)
    yield "age", np.where(system.since[:, None] == _UNKNOWN, np.nan, day - system.since[:, None])
    yield "weekday", np.asarray((day + 3) % 7, dtype=np.float64)
    nodes = system.slots["node"].to_numpy()
    yield "first_slot", (nodes == nodes.min()).astype(np.float64)[:, None]
    for name in ("nodes", "processors", "memory", "interconnects", "graphics"):
        yield name, system.slots[name].to_numpy().astype(np.float64)[:, None]


def _decayed(values: Grid, half_life: int) -> Grid:
    """Sums over the days before each day, their weight halved every `half_life` days."""
    kept, total = 0.5 ** (1.0 / half_life), np.zeros(values.shape[:-1])
    sums = np.empty(values.shape)
    for day in range(values.shape[-1]):
        sums[..., day] = total
        total = total * kept + values[..., day]
    return sums


def _pooled(failed: Grid, lived: Grid, half_life: int, everywhere: Grid) -> Grid:
    """The system's failures per node-day, drawn towards the rate of all."""
    rate: Grid = (_decayed(failed, half_life) + PRIOR) / (_decayed(lived, half_life) + PRIOR / everywhere)
    return rate


def _before(values: Grid) -> Grid:
    """Sums of all days before each day, and of all days at the end: one day more than `values`."""
    sums: Grid = np.concatenate((np.zeros((len(values), 1)), np.cumsum(values, axis=1)), axis=1)
    return sums


def _within(before: Grid, days: int) -> Grid:
    """Sums over so many days before each day."""
    day = np.arange(before.shape[1] - 1)
    return before[:, :-1] - before[:, np.maximum(day - days, 0)]


def _since(values: Grid) -> Grid:
    """Days from the last one above 0 before each day; missing where there was none."""
    day = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(values > 0, day, _NEVER), axis=1)
    before = np.concatenate((np.full((len(values), 1), _NEVER), last[:, :-1]), axis=1)
    since: Grid = np.where(before < 0, np.nan, day - before)
    return since


def _near(within: Grid, reach: int) -> Grid:
    """The mean over the slots at most `reach` places away, without the slot itself."""
    sums = np.concatenate((np.zeros((1, within.shape[1])), np.cumsum(within, axis=0)))
    place = np.arange(len(within))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(within))
    near: Grid = (sums[high] - sums[low] - within) / np.maximum(high - low - 1, 1)[:, None]
    return near
