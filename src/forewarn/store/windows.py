"""Which buckets make up a window: the arithmetic of time that every store shares.

Times are whole microseconds since 1970, UTC. A bucket of a tier is left-open and named by its end, as windows are: the
hour bucket 13:00 holds (12:00, 13:00]. Nothing here knows a database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND

# Before and after every sample; far from the ends of int64, so that a window's length may be added.
NEVER, FOREVER = -(2**62), 2**62

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(time: datetime) -> int:
    """A time with a zone as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def floor(time: Times, width: int) -> Times:
    """The last boundary of buckets of `width` at or before `time`."""
    return time // width * width


def ceiling(time: Times, width: int) -> Times:
    """The first boundary of buckets of `width` at or after `time`."""
    return -(-time // width) * width


@dataclass(frozen=True, slots=True)
class Window:
    """A window's length, and the boundary at which it ends: a multiple of `unit` at or before the asked time."""

    length: int
    unit: int

    @classmethod
    def of(cls, length: timedelta) -> "Window":
        """Ends at the asked time if under a day, at the last full hour if under seven days, else at a full day."""
        microseconds = length // timedelta(microseconds=1)
        return cls(microseconds, 1 if microseconds < DAY else HOUR if microseconds < 7 * DAY else DAY)

    def ends(self, times: Times) -> Times:
        return floor(times, self.unit)


class Tier(StrEnum):
    """Where states are kept, from coarse to fine."""

    DAYS = "days"
    HOURS = "hours"
    SIXTHS = "sixths"  # of an hour
    MINUTES = "minutes"
    SAMPLES = "samples"


WIDTH = {Tier.DAYS: DAY, Tier.HOURS: HOUR, Tier.SIXTHS: HOUR // 6, Tier.MINUTES: MINUTE}


@dataclass(frozen=True, slots=True)
class Kept:
    """The buckets of a tier are complete in (since, until]; both are boundaries of the tier."""

    tier: Tier
    since: int
    until: int


@dataclass(frozen=True)
class Spans:
    """Intervals (start, end], each with the key of the question that it belongs to."""

    start: Times
    end: Times
    key: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> "Spans":
        return Spans(self.start[chosen], self.end[chosen], self.key[chosen])

    @staticmethod
    def joined(parts: Sequence["Spans"]) -> "Spans":
        return Spans(
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.end for part in parts]),
            np.concatenate([part.key for part in parts]),
        )


def cover(asked: Spans, kept: Sequence[Kept]) -> dict[Tier, Spans]:
    """Cut intervals into the coarsest buckets kept, down to single samples; `kept` runs from coarse to fine."""
    found: dict[Tier, Spans] = {}
    rest = asked
    for tier in kept:
        width = WIDTH[tier.tier]
        start = np.minimum(ceiling(np.maximum(rest.start, tier.since), width), rest.end)
        end = np.maximum(np.minimum(floor(rest.end, width), tier.until), start)
        whole = Spans(start, end, rest.key)
        found[tier.tier] = whole.where(start < end)
        rest = Spans.joined([Spans(rest.start, start, rest.key), Spans(end, rest.end, rest.key)])
        rest = rest.where(rest.start < rest.end)
    found[Tier.SAMPLES] = rest
    return {tier: spans for tier, spans in found.items() if len(spans.key)}
