"""A hazard model of trees, boosted or a forest: one classifier of person-periods gives each part's whole curve.

What is forecast is `hazard.curve` of the calibrated chances to fail by the end of each interval. Either the trees look
at the interval too and are asked once for each, or hazards are proportional: one score, from which all else follows by
a table. A row of which none of the telling columns is known is unknown. Other columns may be missing: trees learn which
way to go then.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost
from numpy.typing import NDArray

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import HORIZONS, FailureForecast, Reason
from forewarn.errors import FrameError
from forewarn.predict import hazard
from forewarn.predict.base import Curves
from forewarn.predict.calibrate import Calibration
from forewarn.predict.explain import Explainer
from forewarn.store.outages import OutageLog

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

REASONS = 3
NAMED = 3  # missing metrics that an unknown forecast names
CHUNK_ROWS = 32_768  # fits a core's cache together with the trees
THREADS = 2  # that score chunks side by side
SCORE_MAX = 16.0  # log-odds either way of the baseline beyond which a score says no more
SCORE_STEPS = 512  # of the table per log-odds
TINY = 1e-7  # the least chance that a forest gives, whose leaves may have seen no failure
# Reasons are those of the interval that ends at the default horizon, a week.
EXPLAINED = hazard.EDGES.index(timedelta(days=7))


@dataclass(frozen=True)
class Card:
    """All that a model says of itself beside its trees."""

    kind: Kind
    version: str  # of its content: the start of a checksum
    learned_from: str
    source: str  # whom to cite
    columns: tuple[str, ...]  # of the frame, in the order of the trees' features; an interval follows, if any
    telling: tuple[str, ...]  # a row that knows none of these is unknown
    digest: str  # of the catalogue that computes these columns
    baseline: tuple[float, ...]  # log-odds of the hazard of each interval, to which the trees add
    keep: float  # the share of surviving person-periods that was fitted on
    calibration: tuple[Calibration, ...]  # per interval's end
    thresholds: tuple[float, ...]  # per horizon, at the alarm rate of `alarms_per_1000_weeks`
    alarms_per_1000_weeks: float
    rows_since: datetime
    calibrated_by_rows_until: datetime  # the calibration is that of the same trees grown on rows before this
    calibrate_since: datetime
    rows_until: datetime
    outcomes_until: datetime  # nothing from here on has been looked at
    periods: int
    failures: int
    seed: int
    settings: str  # the training's settings as JSON
    versions: str  # of the libraries that fitted it
    # What models that were made before there was more than one shape and algorithm do not say.
    shape: str = "drives"  # of the recording, `shapes.Shape`
    algorithm: str = "boosting"
    offset: str = ""  # a column, in log-odds, that is added to the baseline; the trees correct it
    rates: dict[str, float] = field(default_factory=dict)  # per system, "" for all: failures per node-day, frozen
    data: str = ""  # digest of the rows of a site's own history; the same rows give the same model
    reference: dict[str, list[list[float]]] = field(default_factory=dict)  # per column: bins and shares, for drift
    caution: str = ""  # what whoever reads a forecast must know of where it comes from
    proportional: bool = False  # whether trees give one score that moves the hazard of all intervals alike

    @property
    def features(self) -> int:
        """The number of features that the trees have."""
        return len(self.columns) + (not self.proportional)


class TreesPredictor:
    """Forecasts components by a fitted booster and its card."""

    def __init__(
        self, booster: xgboost.Booster, card: Card, catalog: Catalog, history: OutageLog | None = None
    ) -> None:
        """Take what was fitted; `history` is the outage log that a log to be judged may continue."""
        self.booster, self.card, self.history = booster, card, history
        self.kind, self.learned_from = card.kind, card.learned_from
        self.name = f"trees {card.version}"
        self._catalog = catalog
        self._explainer = Explainer(catalog, card.kind, card.columns)
        self._telling = [card.columns.index(name) for name in card.telling]
        self._table = _table(card) if card.proportional else None

    def threshold(self, horizon: timedelta) -> float | None:
        """The risk at which the evaluated rate of alarms is reached; between horizons as a forecast is read."""
        at = FailureForecast("", self.kind, "", "", datetime(1970, 1, 1, tzinfo=UTC), self.card.thresholds)
        return at.within(horizon)

    def curves(self, frame: pa.Table) -> Curves:
        """The forecasts of all rows as arrays."""
        check(frame, self.card.columns)
        return self._in_chunks(frame.num_rows, lambda some: self._scored(matrix(_part(frame, some), self.card.columns)))

    def curves_of(self, values: Singles) -> Curves:
        """The forecasts of rows given as a matrix, its columns those of the card."""
        return self._in_chunks(len(values), lambda some: self._scored(values[some]))

    def _in_chunks(self, rows: int, scored: Callable[[slice], Curves]) -> Curves:
        """Chunks side by side; what a row is forecast does not depend on its neighbours."""
        if rows <= CHUNK_ROWS:
            return scored(slice(0, rows))
        curve, low, high = (np.empty((rows, len(HORIZONS))) for _ in range(3))
        found = Curves(curve, low, high, np.empty(rows, np.bool_))

        def fill(some: slice) -> None:
            for whole, part in zip(vars(found).values(), vars(scored(some)).values(), strict=True):
                whole[some] = part

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(fill, _chunks(rows)))
        return found

    def _scored(self, values: Singles) -> Curves:
        unknown = np.logical_and.reduce(np.isnan(values[:, self._telling]), axis=1, initial=bool(self._telling))
        if self._table is not None:
            ends = _looked_up(self._table, scores(self.booster, self.card, values))
        else:
            ends = _curves(self.card, raw_curves(self.booster, self.card, values))
        curve, low, high = np.split(ends, 3, axis=1)
        return Curves(curve, low, high, unknown)

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        """One forecast per row, with the three things that moved it most."""
        values = matrix(frame, self.card.columns)
        curves = self.curves_of(values)
        reasons = self._reasons(values, np.flatnonzero(~curves.unknown))
        keys = frame.select(["component", "host", "device", "time"]).to_pylist()
        likely, low, high = (array.tolist() for array in (curves.probabilities, curves.low, curves.high))
        made = []
        for row, key in enumerate(keys):
            if curves.unknown[row]:
                made.append(self._forecast(key, unknown_because=self._missing()))
            else:
                made.append(self._forecast(key, tuple(likely[row]), tuple(low[row]), tuple(high[row]), reasons[row]))
        return tuple(made)

    def _forecast(
        self,
        key: dict[str, Any],
        probabilities: tuple[float, ...] = (),
        low: tuple[float, ...] = (),
        high: tuple[float, ...] = (),
        reasons: tuple[Reason, ...] = (),
        unknown_because: str = "",
    ) -> FailureForecast:
        return FailureForecast(
            component=key["component"],
            kind=self.kind,
            host=key["host"],
            device=key["device"],
            time=key["time"],
            probabilities=probabilities,
            low=low,
            high=high,
            reasons=reasons,
            model=self.name,
            learned_from=self.learned_from,
            unknown_because=unknown_because,
            only_watch=bool(self.card.caution),
        )

    def _missing(self) -> str:
        metrics = {feature.name: feature.metric for feature in self._catalog.stored(self.kind)}
        words = [self._catalog.metric_by_key[metrics[name]].help for name in self.card.telling]
        more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
        return f"none of these is reported: {', '.join(words[:NAMED])}{more}"

    def _reasons(self, values: Singles, rows: NDArray[np.int64]) -> dict[int, tuple[Reason, ...]]:
        found: dict[int, tuple[Reason, ...]] = {}
        for begin in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[begin : begin + CHUNK_ROWS]
            contributions, seen = self._contributions(values[chunk]), values[chunk].astype(np.float64)
            made = self._explainer.reasons(contributions, seen, REASONS)
            found.update(zip(chunk.tolist(), made, strict=True))
        return found

    def _contributions(self, values: Singles) -> Floats:
        """What each column adds to the log-odds of failure: (rows, columns)."""
        looked_at = min(EXPLAINED, len(self.card.baseline) - 1)
        asked = xgboost.DMatrix(values if self.card.proportional else with_interval(values, looked_at))
        whole = self.booster.predict(asked, pred_contribs=True).astype(np.float64)
        contributions: Floats = whole[:, : len(self.card.columns)]
        if self.card.algorithm == "forest":
            # A forest adds up probabilities; a small step of one is this step in log-odds.
            mean = np.clip(whole.sum(axis=1), TINY, 1.0 - TINY)
            contributions = contributions / (mean * (1.0 - mean))[:, None]
        if self.card.offset:
            place = self.card.columns.index(self.card.offset)
            contributions[:, place] += values[:, place]
        return contributions


def check(frame: pa.Table, columns: Sequence[str]) -> None:
    """Raise FrameError that names the columns which are not there."""
    missing = sorted(set(columns) - set(frame.column_names), key=columns.index)
    if missing:
        raise FrameError(f"the frame lacks the columns {', '.join(missing)}: ask the store with this catalogue")


def matrix(frame: pa.Table, columns: Sequence[str]) -> Singles:
    """The named columns of a frame, whatever others it has and in whatever order; missing values are NaN.

    Raises FrameError that names what is not there or not finite.
    """
    check(frame, columns)
    values = np.empty((len(columns), frame.num_rows), dtype=np.float32)
    with np.errstate(over="ignore"):
        for number, name in enumerate(columns):
            values[number] = frame.column(name).to_numpy()
    if (infinite := np.isinf(values)).any():
        number, row = (int(place[0]) for place in np.nonzero(infinite))
        raise FrameError(f"{columns[number]} of {frame.column('component')[row]} is infinite: no model can read that")
    return np.ascontiguousarray(values.T)


def _part(frame: pa.Table, some: slice) -> pa.Table:
    return frame.slice(some.start, some.stop - some.start)


def with_interval(values: Singles, interval: int | NDArray[np.int64]) -> Singles:
    """A matrix with the interval's number as its last column."""
    last = np.broadcast_to(np.asarray(interval, dtype=np.float32), (len(values),))
    joined: Singles = np.concatenate((values, last[:, None]), axis=1)
    return joined


def scores(booster: xgboost.Booster, card: Card, values: Singles) -> Floats:
    """What the trees add to the log-odds of each interval's baseline, the offset with it; for proportional hazards."""
    found = np.empty(len(values))
    for some in _chunks(len(values)):
        start = values[some, card.columns.index(card.offset)] if card.offset else 0.0
        found[some] = booster.inplace_predict(values[some], predict_type="margin").astype(np.float64) + start
    return found


def raw_curves(booster: xgboost.Booster, card: Card, values: Singles) -> Floats:
    """P(failure by the end of each interval) before calibration."""
    if card.proportional:
        return _raw_of(card, scores(booster, card, values))
    hazards = np.empty((len(values), len(card.baseline)))
    for chunk in _chunks(len(values)):
        start = values[chunk, card.columns.index(card.offset)] if card.offset else 0.0
        for interval, baseline in enumerate(card.baseline):
            margin = booster.inplace_predict(with_interval(values[chunk], interval), predict_type="margin")
            margin = margin.astype(np.float64)
            if card.algorithm == "forest":
                hazards[chunk, interval] = np.clip(margin, TINY, 1.0 - TINY)
            else:
                hazards[chunk, interval] = 1.0 / (1.0 + np.exp(-(margin + start + baseline)))
    return hazard.cumulative(hazard.corrected(hazards, card.keep))


def _raw_of(card: Card, score: Floats) -> Floats:
    hazards = 1.0 / (1.0 + np.exp(-(score[:, None] + np.array(card.baseline))))
    return hazard.cumulative(hazard.corrected(hazards, card.keep))


def _curves(card: Card, raw: Floats) -> Floats:
    """Calibrated curve, its low and its high end side by side: (rows, 3 x horizons)."""
    calibrated = np.stack([one.apply(raw[:, i]) for i, one in enumerate(card.calibration)], axis=1)
    ends = [one.interval(calibrated[:, i]) for i, one in enumerate(card.calibration)]
    low, high = (hazard.curve(np.stack([end[side] for end in ends], axis=1)) for side in (0, 1))
    curve = hazard.curve(calibrated)
    return np.concatenate((curve, np.minimum(low, curve), np.maximum(high, curve)), axis=1)


def _table(card: Card) -> Floats:
    """`_curves` at evenly spaced scores: all that a forecast is follows from its one score."""
    span = int(SCORE_MAX * SCORE_STEPS)
    return _curves(card, _raw_of(card, np.arange(-span, span + 1) / SCORE_STEPS))


def _looked_up(table: Floats, score: Floats) -> Floats:
    """Between the table's rows by straight lines, which keep what rises rising."""
    place = (np.clip(score, -SCORE_MAX, SCORE_MAX) + SCORE_MAX) * SCORE_STEPS
    row = np.minimum(place.astype(np.int64), len(table) - 2)
    low, high = np.take(table, row, axis=0), np.take(table, row + 1, axis=0)
    high -= low
    high *= (place - row)[:, None]
    low += high
    return low


def _chunks(rows: int) -> Iterator[slice]:
    return (slice(begin, min(begin + CHUNK_ROWS, rows)) for begin in range(0, rows, CHUNK_ROWS))
