"""What a single series means by its name and labels, and a scrape's samples as columns."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from forewarn.domain import telemetry
from forewarn.domain.telemetry import Metric, Sample, Shown
from forewarn.store.index import Numbers


class Matcher:
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
        return device_of(labels.get(self.metric.device_label, ""), self._device)


def device_of(named: str, pattern: str) -> str | None:
    """The device that a label names, read by a pattern whose first group it is; None if it names none."""
    if not pattern:
        return named or None
    found = re.match(pattern, named)
    return found.group(1) if found else None


def columns_of(samples: Iterable[Sample]) -> Shown:
    """Samples as columns, each of a series of its own."""
    kept = tuple(samples)
    series = [telemetry.Series(sample.name, sample.labels) for sample in kept]
    return Shown(series, [sample.time for sample in kept], [sample.value for sample in kept])


def by_time(times: Sequence[datetime | None], now: datetime) -> dict[datetime, Numbers]:
    """The rows of each time, in the order in which times come."""
    first = times[0] if times else None
    if times.count(first) == len(times):
        return {first or now: np.arange(len(times))} if times else {}
    found: dict[datetime, list[int]] = {}
    for row, time in enumerate(times):
        found.setdefault(time or now, []).append(row)
    return {time: np.array(rows, np.int64) for time, rows in found.items()}
