"""Whether a model still sees what it learned on: how far its columns have drifted, and whether it still keeps its word.

The population stability index of a column is the sum over bins of (p - q) ln(p / q), with shares p now and q as learned
(Siddiqi, Credit Risk Scorecards, 2006: below 0.1 nothing, above 0.25 another population). Missing values are a bin of
their own. Pure: numbers in, numbers out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

BINS = 10
_LEAST = 1e-3  # share that an empty bin counts as, so that a single row is no drift without end


@dataclass(frozen=True)
class Drift:
    """One column's index."""

    column: str
    psi: float


def reference(values: Singles, columns: Sequence[str]) -> dict[str, list[list[float]]]:
    """Per column the edges of its bins, and the share of rows in each; the last share is that of missing values."""
    found = {}
    for place, name in enumerate(columns):
        known = values[~np.isnan(values[:, place]), place].astype(np.float64)
        edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, BINS + 1)[1:-1])) if len(known) else np.empty(0)
        found[name] = [edges.tolist(), _shares(values[:, place], edges).tolist()]
    return found


def drifted(values: Singles, columns: Sequence[str], learned: Mapping[str, Sequence[Sequence[float]]]) -> list[Drift]:
    """The index of each column for which the model knows what it learned on, the worst first."""
    found = []
    for place, name in enumerate(columns):
        if name in learned and len(values):
            edges, shares = (np.array(part) for part in learned[name])
            now, before = (np.maximum(part, _LEAST) for part in (_shares(values[:, place], edges), shares))
            found.append(Drift(name, float(((now - before) * np.log(now / before)).sum())))
    return sorted(found, key=lambda drift: (-drift.psi, drift.column))


def breaks_its_word(said: Sequence[float], confirmed: int) -> float:
    """The chance that so few of the judged forecasts come true if all were right; 1 where nothing was judged.

    The number that comes true is taken as binomial at the mean of what was said, which is the widest that it can be.

    >>> breaks_its_word([0.5] * 20, 1) < 0.001, breaks_its_word([], 0)
    (True, 1.0)
    """
    return float(binom.cdf(confirmed, len(said), float(np.mean(said)))) if said else 1.0


def _shares(values: Singles, edges: Floats) -> Floats:
    missing = np.isnan(values)
    places = np.searchsorted(edges, values[~missing].astype(np.float64), side="right")
    counts = np.bincount(np.concatenate((places, np.full(missing.sum(), len(edges) + 1))), minlength=len(edges) + 2)
    shares: Floats = counts / max(1, len(values))
    return shares
