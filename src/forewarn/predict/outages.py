"""Models of hazards learned from a site's outage log: rows of nodes, day by day, and what became of them.

The trees start from the system's failure rate, pooled with that of all systems, and correct it by what happened to the
node and around it. The log goes into the model: a log that continues it in time is read with all that came before, and
slots which it does not name are forecast too.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.inventory import Kind
from forewarn.errors import FrameError
from forewarn.features import labels, outage_columns
from forewarn.features.labels import Split
from forewarn.features.outage_columns import OFFSET, OUTAGE_CATALOG
from forewarn.predict import cards, registry
from forewarn.predict.fitting import Block, learn
from forewarn.predict.history import Progress
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.shapes import Shape
from forewarn.predict.trees import TreesPredictor
from forewarn.store.base import ROWS, TIME
from forewarn.store.outages import CAUSES, OutageLog, keys, micros, read_outages
from forewarn.store.recordings import LIFETIMES

CAUTION = "learned from the outage log of a foreign site, without telemetry: never past watch by itself"

_DAY_US = 86_400_000_000
_MINUTE_US = 60_000_000
_FOR_EVER_US = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
Days = NDArray[np.int64]


def train(
    path: Path, kind: Kind, progress: Progress, until: datetime | None, settings: TrainingSettings
) -> TreesPredictor:
    """Fit a model on the daily rows before `until`."""
    log = read(path, progress)
    last = min(until or log.end, log.end - settings.embargo)
    split = labels.chronological(log.start, last, timedelta(days=settings.calibrate_days), settings.embargo)
    known = log.before(split.outcomes_until)
    lives = lifetimes(log, kind)
    blocks = [block.within(None, split.until) for block in rows(log, kind, split.until)]
    progress(f"{sum(len(block.values) for block in blocks):,} node-days of {log.slots.num_rows:,} slots")
    subject = cards.Subject(Shape.OUTAGES, kind, OUTAGE_CATALOG, outage_columns.COLUMNS, offset=OFFSET, caution=CAUTION)
    years = f"outages recorded {log.start:%Y-%m} to {split.until:%Y-%m}"
    card = cards.empty(subject, years, split, settings)
    card = replace(card, rates=frozen_rates(blocks, lives, split))
    final = learn(blocks, lives, split, card, settings, progress)
    sealed = registry.sealed(final.card, final.booster)
    return TreesPredictor(final.booster, sealed, OUTAGE_CATALOG, history=known)


def read(path: Path, progress: Progress) -> OutageLog:
    """The log, and what was left out of it told."""
    log = read_outages(path)
    said = "".join(f", {count:,} rows {why} and are left out" for why, count in log.left_out.items())
    progress(f"read {log.outages.num_rows:,} outages of {log.slots.num_rows:,} slots from {log.name}{said}")
    return log


def rows(log: OutageLog, kind: Kind, until: datetime) -> Iterator[Block]:
    """All slots in production, every day before `until`, system by system."""
    for system in outage_columns.rows(log, kind, until):
        yield Block(system.values, pa.table([_times(system.day), _named(kind, system)], schema=ROWS))


def _times(day: Days) -> "pa.Array[Any]":
    return pa.array(day * _DAY_US).cast(TIME)


def _named(kind: Kind, system: outage_columns.SystemRows) -> "pa.Array[Any]":
    numbers, place = np.unique(system.node, return_inverse=True)
    names = np.array([f"{kind}:{system.system}-{number}" for number in numbers.tolist()], dtype=object)
    return pa.array(names[place], pa.string())


def system_of(component: str) -> str:
    """The system in a component's or a device's name.

    >>> system_of("power:18-1003"), system_of("2-7")
    ('18', '2')
    """
    return component.rpartition(":")[2].rpartition("-")[0]


def lifetimes(log: OutageLog, kind: Kind) -> pa.Table:
    """LIFETIMES of all slots: each failure ends a life and begins the next, for nodes are repaired.

    An outage at midnight counts to the day that begins, one minute later.
    """
    when: dict[tuple[str, int], set[int]] = defaultdict(set)
    hit = (log.outages["causes"].to_numpy() & CAUSES[kind]) > 0
    failed, times = log.outages.filter(pa.array(hit)), micros(log.outages["time"])[hit]
    later = np.where(times % _DAY_US == 0, times + _MINUTE_US, times)
    for key, time in zip(keys(failed), later.tolist(), strict=True):
        when[key].add(time)
    start = int(log.start.timestamp() * 1e6)
    begins = np.maximum(micros(log.slots["since"], start), start)
    ends = np.maximum(micros(log.slots["until"], _FOR_EVER_US), begins + 1)
    found: list[dict[str, Any]] = []
    for key, begin, end in zip(keys(log.slots), begins.tolist(), ends.tolist(), strict=True):
        inside = sorted(time for time in when[key] if begin < time < end)
        for number, (since, until) in enumerate(pairwise([begin, *inside, end])):
            life = {"component": f"{kind}:{key[0]}-{key[1]}", "start": since, "end": until}
            found.append({**life, "failed": number < len(inside)})
    return _lives(found)


def _lives(found: list[dict[str, Any]]) -> pa.Table:
    columns = {name: pa.array([one[name] for one in found]) for name in LIFETIMES.names}
    return pa.table(
        {name: columns[name].cast(LIFETIMES.field(name).type) for name in LIFETIMES.names}, schema=LIFETIMES
    )


def frozen_rates(blocks: list[Block], lives: pa.Table, split: Split) -> dict[str, float]:
    """Per system the share of training's node-days that failed within the day, one failure's worth of all added.

    This is what a forecast that never learns again would say; "" is the share over all systems.
    """
    failed: dict[str, float] = {}
    lived: dict[str, float] = {}
    for block in blocks:
        system = system_of(str(block.rows.column("component")[0])) if len(block.values) else ""
        became = labels.outcomes(block.rows, lives, split.outcomes_until)
        failed[system] = failed.get(system, 0.0) + float(became.within(timedelta(days=1)).sum())
        lived[system] = lived.get(system, 0.0) + len(block.values)
    if not sum(failed.values()):
        raise FrameError(f"no failure is recorded before {split.outcomes_until:%Y-%m-%d}: there is nothing to learn")
    overall = sum(failed.values()) / sum(lived.values())
    rates = {system: (failed[system] + 1.0) / (lived[system] + 1.0 / overall) for system in failed if system}
    return {**rates, "": overall}
