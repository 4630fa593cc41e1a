"""A candidate against the champion: both asked for the same rows, the newest whose outcome is known to neither.

Average precision says who ranks better, the Brier score and the number of failures expected against those that came say
whose probabilities hold. How far a difference is chance is told by drawing parts anew, with all their rows, since rows
of one part are no independent witnesses. A candidate is not worse where the lower end of every difference stays above
its margin, and no family of parts with enough failures is served worse beyond chance. Pure.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.features import labels
from forewarn.predict.base import Predictor
from forewarn.predict.evaluate import Judged
from forewarn.predict.figures import Drawn
from forewarn.predict.scored import JUDGED_HORIZON, horizon_of, judged, lines, measured
from forewarn.predict.shapes import Shape
from forewarn.predict.site_rows import SiteRows

Floats = NDArray[np.float64]
HORIZON = JUDGED_HORIZON[Shape.SITE]


@dataclass(frozen=True)
class ContestSettings:
    """When a candidate is not worse than the champion."""

    margin: float = 0.05
    """Share of the champion's figure by which the candidate's may be worse and still count as not worse."""
    confidence: float = 0.95
    """Confidence (0..1) with which it must not be worse by more than that."""
    failed_min: int = 5
    """Failed parts in the judged window, and in a family that is looked at by itself; fewer decide nothing."""
    draws: int = 400
    """Number of times that the parts are drawn anew."""
    seed: int = 7
    """Seed of what is drawn."""


@dataclass(frozen=True)
class Difference:
    """How much better the candidate is (negative: worse), with its one-sided lower and upper ends."""

    measure: str
    candidate: float
    champion: float
    better: float
    low: float
    high: float
    margin: float

    @property
    def not_worse(self) -> bool:
        return self.low >= -self.margin


@dataclass(frozen=True)
class Verdict:
    """What came of a contest. `refusal` says why the candidate may not take over by itself; empty where it may."""

    candidate: str
    champion: str
    horizon: str
    since: datetime
    until: datetime
    rows: int
    failures: int
    failed_parts: int
    differences: tuple[Difference, ...]
    families: tuple[Difference, ...]
    measures: dict[str, dict[str, Any]]
    refusal: str

    def told(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**asdict(self), "since": self.since.isoformat(), "until": self.until.isoformat()}


def contest(
    candidate: Predictor, champion: Predictor, rows: SiteRows, since: datetime, settings: ContestSettings | None = None
) -> Verdict:
    """Judge both on the rows from `since` on whose outcome within a week is known. What neither knows counts as 0."""
    settings = settings or ContestSettings()
    until = rows.until - horizon_of(HORIZON)
    asked = within(rows.frame, since, until)
    tables = [scored(one, asked, rows) for one in (candidate, champion)]
    both = [judged(table, HORIZON) for table in tables]
    failed_parts = len(np.unique(both[0].part[both[0].failed]))
    differences = _differences(both, settings) if failed_parts >= settings.failed_min else ()
    families = tuple(_by_family(tables, settings)) if differences else ()
    return Verdict(
        candidate=candidate.name,
        champion=champion.name,
        horizon=HORIZON,
        since=since,
        until=until,
        rows=asked.num_rows,
        failures=int(both[0].failed.sum()),
        failed_parts=failed_parts,
        differences=differences,
        families=families,
        measures={
            name: measured(table, HORIZON).numbers()
            for name, table in zip(("candidate", "champion"), tables, strict=True)
        },
        refusal=_refusal(failed_parts, differences, families, settings),
    )


def scored(predictor: Predictor, asked: pa.Table, rows: SiteRows) -> pa.Table:
    """A line per row, as `scored.lines` makes them."""
    became = labels.outcomes(asked.select(["time", "component"]), rows.lifetimes, rows.until)
    week = horizon_of(HORIZON)
    outcome: dict[str, NDArray[Any]] = {
        "failed_after_s": became.failed_after_s,
        "failed": became.within(week),
        # What was acted upon or swapped within the week is neither right nor wrong.
        "judged": became.within(week) | (became.watched_s >= week.total_seconds()),
        "reference": np.full(asked.num_rows, np.nan),
    }
    time, family, device = (asked.column(name).combine_chunks() for name in ("time", "model", "component"))
    return lines(device, predictor.curves(asked), outcome, time, family)


def within(frame: pa.Table, since: datetime, until: datetime) -> pa.Table:
    """The rows of the times within [since, until)."""
    seconds = frame.column("time").cast(pa.int64()).to_numpy() / 1e6
    return frame.filter(pa.array((seconds >= since.timestamp()) & (seconds < until.timestamp())))


def _differences(both: list[Judged], settings: ContestSettings) -> tuple[Difference, ...]:
    drawn = [Drawn(one, np.unique(one.part, return_inverse=True)[1]) for one in both]
    parts = len(np.unique(both[0].part))
    measures: dict[str, Callable[[Drawn, Floats], float]] = {
        "average precision": lambda one, weight: one.average_precision(weight),
        "Brier score": lambda one, weight: -one.brier(weight),
        "calibration": lambda one, weight: -one.off_by(weight),
    }
    random = np.random.default_rng(settings.seed)
    draws = (random.integers(0, parts, parts) for _ in range(settings.draws))
    weights = [np.ones(parts), *(np.bincount(draw, minlength=parts).astype(np.float64) for draw in draws)]
    found = []
    for name, measure in measures.items():
        values = np.array([[measure(one, weight) for one in drawn] for weight in weights])
        found.append(_difference(name, values, settings))
    return tuple(found)


def _difference(name: str, values: Floats, settings: ContestSettings) -> Difference:
    """From the measure of both, first on all rows and then for each drawing."""
    (candidate, champion), apart = values[0].tolist(), values[1:, 0] - values[1:, 1]
    known = apart[np.isfinite(apart)]
    low, high = (
        np.quantile(known, (1.0 - settings.confidence, settings.confidence)).tolist()
        if len(known)
        else (-np.inf, np.inf)
    )
    # The calibration is a factor's logarithm: its margin is the factor's own.
    margin = settings.margin * abs(champion) if name != "calibration" else np.log1p(settings.margin)
    return Difference(name, candidate, champion, candidate - champion, low, high, float(margin))


def _by_family(tables: list[pa.Table], settings: ContestSettings) -> list[Difference]:
    """The average precision within each family of parts that has enough failures."""
    found = []
    names = [name or "" for name in tables[0].column("family").to_pylist()]
    for family in sorted(set(names)):
        chosen = pa.array([name == family for name in names])
        both = [judged(table.filter(chosen), HORIZON) for table in tables]
        if len(np.unique(both[0].part[both[0].failed])) >= settings.failed_min:
            found.append(replace(_differences(both, settings)[0], measure=family))
    return found


def _refusal(
    failed: int, differences: tuple[Difference, ...], families: tuple[Difference, ...], settings: ContestSettings
) -> str:
    if failed < settings.failed_min:
        return f"{failed} parts failed in the judged window, {settings.failed_min} are needed to tell the two apart"
    worse = [one.measure for one in differences if not one.not_worse]
    if worse:
        return f"it cannot be ruled out that it is worse in {' and '.join(worse)}"
    served = [one.measure or "no model" for one in families if one.high < 0.0]
    return f"it is worse for parts of {', '.join(served)}" if served else ""
