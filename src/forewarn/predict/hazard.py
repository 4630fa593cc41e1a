"""The hazard of failure in discrete time: from outcomes to person-periods, and from hazards to a curve.

The month after a row is cut into intervals. A row counts in each interval that its part enters alive and in which it
was watched to the end, or to its failure. A classifier of these person-periods is a hazard model; the chance to survive
is the product over intervals, so a curve never falls. Recordings know the day, not the hour: within the first day the
hazard is taken to be constant.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from forewarn.domain.risk import HORIZONS
from forewarn.features.labels import Outcomes

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

# The intervals end here; each is a horizon. Shorter horizons lie inside the first interval.
EDGES: tuple[timedelta, ...] = HORIZONS[2:]
EDGES_S: Floats = np.array([edge.total_seconds() for edge in EDGES])
RESOLUTION = EDGES[0]
_SHARES: Floats = np.array([horizon / RESOLUTION for horizon in HORIZONS[: len(HORIZONS) - len(EDGES)]])
WEEK = timedelta(days=7)
_SHARES_OF_WEEK: Floats = np.array([min(1.0, horizon / WEEK) for horizon in HORIZONS])


@dataclass(frozen=True)
class PersonPeriods:
    """Which row enters which interval alive, and whether it fails in it."""

    row: Numbers
    interval: Numbers
    failed: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "PersonPeriods":
        return PersonPeriods(self.row[chosen], self.interval[chosen], self.failed[chosen])


def person_periods(outcomes: Outcomes) -> PersonPeriods:
    """Every interval that can be judged: entered alive, and ended by a failure or watched to its end."""
    begins = np.concatenate(([0.0], EDGES_S[:-1]))
    failed_after = outcomes.failed_after_s[:, None]
    failed = (failed_after > begins) & (failed_after <= EDGES_S)
    survived = (failed_after > EDGES_S) & (outcomes.watched_s[:, None] >= EDGES_S)
    row, interval = np.nonzero(failed | survived)
    return PersonPeriods(row, interval, failed[row, interval])


def sampled(periods: PersonPeriods, keep: float, random: np.random.Generator) -> PersonPeriods:
    """All failures, and of the rest a share of `keep`, which `corrected` takes back."""
    return periods.where(periods.failed | (random.random(len(periods.row)) < keep))


def corrected(hazards: Floats, keep: float) -> Floats:
    """Hazards as they would be without the sampling of survivors.

    >>> float(corrected(np.array([0.5]), 1.0)[0])
    0.5
    >>> float(corrected(np.array([0.5]), 0.25)[0])
    0.2
    """
    return keep * hazards / (keep * hazards - hazards + 1.0)


def cumulative(hazards: Floats) -> Floats:
    """P(failure by the end of each interval), from hazards of shape (rows, intervals)."""
    cumulated: Floats = -np.expm1(np.cumsum(np.log1p(-np.minimum(hazards, 1.0 - 1e-9)), axis=1))
    return cumulated


def curve(by_edge: Floats) -> Floats:
    """The six horizons from the interval ends: never falling, and an even hazard within the first day.

    A single interval is the week of a label that says no more: its hazard is even, and nothing is known past it.

    >>> curve(np.array([[0.24, 0.3, 0.29, 0.5]])).round(3).tolist()
    [[0.011, 0.066, 0.24, 0.3, 0.3, 0.5]]
    """
    if by_edge.shape[1] == 1:
        return -np.expm1(np.log1p(-np.minimum(by_edge, 1.0 - 1e-12)) * _SHARES_OF_WEEK)
    rising = np.maximum.accumulate(by_edge, axis=1)
    within = -np.expm1(np.log1p(-np.minimum(rising[:, :1], 1.0 - 1e-12)) * _SHARES)
    return np.concatenate((within, rising), axis=1)
