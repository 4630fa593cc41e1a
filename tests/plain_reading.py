"""What aggregates mean, read plainly: one value at a time, from a list of readings, without arrays or buckets.

Slow, and written apart from what the stores do: what they compute is compared with it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forewarn.domain.feature import Aggregate

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Reading = tuple[datetime, float]  # NaN: a marker


@dataclass(frozen=True)
class PlainSeries:
    """What stands of one series, in time order, and for how long a value holds; None: until a marker."""

    readings: Sequence[Reading]
    hold: timedelta | None

    def value(self, asked: datetime, aggregate: Aggregate, length: timedelta) -> float:
        """The aggregate over the window that belongs to the asked time, NaN where unknown."""
        if aggregate is Aggregate.LAST:
            held = self._standing(asked)
            return held[1] if held else math.nan
        start, end = _window(asked, length)
        inside = [r for r in self.readings if start < r[0] <= end and not math.isnan(r[1])]
        begin = self._standing(start)
        if aggregate is Aggregate.COUNT:
            ever = any(r[0] <= end and not math.isnan(r[1]) for r in self.readings)
            return float(len(inside)) if ever else math.nan
        if aggregate is Aggregate.SLOPE:
            return _slope(inside)
        if not inside and begin is None:
            return math.nan
        return _of_values([begin] if begin else [], inside, aggregate, end, length)

    def _standing(self, at: datetime) -> Reading | None:
        """The value that holds at a time."""
        before = [reading for reading in self.readings if reading[0] <= at]
        if not before or math.isnan(before[-1][1]):
            return None
        return before[-1] if self.hold is None or at - before[-1][0] <= self.hold else None


def _window(asked: datetime, length: timedelta) -> tuple[datetime, datetime]:
    if length >= timedelta(days=7):
        end = asked.replace(hour=0, minute=0, second=0, microsecond=0)
    elif length >= timedelta(days=1):
        end = asked.replace(minute=0, second=0, microsecond=0)
    else:
        end = asked
    return end - length, end


def _slope(inside: Sequence[Reading]) -> float:
    hours: dict[int, list[float]] = {}
    for time, value in inside:
        hours.setdefault(-((EPOCH - time) // timedelta(hours=1)), []).append(value)
    points = [(hour, sum(values) / len(values)) for hour, values in hours.items()]
    if len(points) < 2:
        return math.nan
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 24 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def _of_values(
    begin: list[Reading], inside: list[Reading], aggregate: Aggregate, end: datetime, length: timedelta
) -> float:
    path = begin + inside
    values = [value for _, value in path]
    sampled = [value for _, value in inside] or values
    mean = sum(sampled) / len(sampled)
    steps = [(b[0], b[1] - a[1]) for a, b in itertools.pairwise(path)]
    changed = [time for time, step in steps if step != 0]
    age = (end - changed[-1]) if changed else length
    found = {
        Aggregate.FIRST: values[0],
        Aggregate.MIN: min(values),
        Aggregate.MAX: max(values),
        Aggregate.AVG: mean,
        Aggregate.STDDEV: math.sqrt(sum((value - mean) ** 2 for value in sampled) / len(sampled)),
        Aggregate.INCREASE: sum(max(0.0, step) for _, step in steps),
        Aggregate.DELTA: values[-1] - values[0],
        Aggregate.CHANGES: float(len(changed)),
        Aggregate.AGE: age.total_seconds(),
    }
    return found[aggregate]
