"""What Forewarn asks a site's own database of time series, and in which form such a database answers.

A `Source` keeps samples under the names of exporters. It knows no component and no feature; `remote.RemoteStore` makes
a telemetry store of it. Each database is one file that has one class.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.store.index import Numbers
from forewarn.store.scrapes import Key
from forewarn.store.windows import Times


@dataclass(frozen=True)
class Readings:
    """Samples of named series. `series` holds each name with its labels, sorted; the columns have one element a sample.

    `of` says which series a sample is of, `time` is in microseconds. A NaN is a marker: it ends the series' last value.
    """

    series: tuple[Key, ...]
    of: Numbers
    time: Times
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.of)

    def where(self, chosen: NDArray[np.bool_] | Numbers) -> "Readings":
        """Some of the samples, of the same series."""
        return Readings(self.series, self.of[chosen], self.time[chosen], self.value[chosen])

    def ordered(self) -> "Readings":
        """The same samples, by series and time."""
        return self.where(np.lexsort((self.time, self.of)))

    @staticmethod
    def none() -> "Readings":
        """No sample of no series."""
        return Readings((), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    @staticmethod
    def joined(parts: "Collection[Readings]") -> "Readings":
        """Several readings as one; a series that is in two of them becomes one."""
        if len(parts) == 1:
            return next(iter(parts))
        numbers: dict[Key, int] = {}
        of = [np.empty(0, np.int64)]
        for part in parts:
            own = np.array([numbers.setdefault(key, len(numbers)) for key in part.series], np.int64)
            of.append(own[part.of])
        return Readings(
            tuple(numbers),
            np.concatenate(of),
            np.concatenate([np.empty(0, np.int64), *(part.time for part in parts)]),
            np.concatenate([np.empty(0), *(part.value for part in parts)]),
        )


class Source(Protocol):
    """A database of time series. Every call raises StoreUnavailable where it does not answer, and says what to do."""

    @property
    def name(self) -> str:
        """What it is called in sentences, without secrets: `Prometheus at http://tsdb:9090`."""
        ...

    def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
        """Every sample in (start, end] of all series with one of these names; times are microseconds.

        With a `step` (microseconds; `start` and `end` are multiples) the newest sample of each step alone, at the
        step's end. Several samples of a series and time may come; the later one counts. Raises QueryTooLarge where the
        answer would go past a limit: ask for a shorter span.
        """
        ...

    def write(self, readings: Readings) -> int:
        """Keep samples; returns how many the database refused because of their time. NaN is written as a marker."""
        ...

    def check(self) -> str:
        """A word on the database's kind and version. Raises StoreUnavailable, ConfigurationError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
