"""A hazard model of trees, boosted or a forest: one classifier of person-periods gives each part's whole curve.

What is forecast is `hazard.curve` of the calibrated chances to fail by the end of each interval. A row of which none of
the telling columns is known is unknown. Other columns may be missing: trees learn which way to go then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost
from numpy.typing import NDArray

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast, Reason
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
CHUNK_ROWS = 200_000
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
    columns: tuple[str, ...]  # of the frame, in the order of the trees' features; the interval's number follows
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

    def threshold(self, horizon: timedelta) -> float | None:
        """The risk at which the evaluated rate of alarms is reached; between horizons as a forecast is read."""
        at = FailureForecast("", self.kind, "", "", datetime(1970, 1, 1, tzinfo=UTC), self.card.thresholds)
        return at.within(horizon)

    def curves(self, frame: pa.Table) -> Curves:
        """The forecasts of all rows as arrays."""
        return self.curves_of(matrix(frame, self.card.columns))

    def curves_of(self, values: Singles) -> Curves:
        """The forecasts of rows given as a matrix, its columns those of the card."""
        raw = raw_curves(self.booster, self.card, values)
        maps = self.card.calibration
        calibrated = np.stack([m.apply(raw[:, i]) for i, m in enumerate(maps)], axis=1)
        ends = [m.interval(calibrated[:, i]) for i, m in enumerate(maps)]
        low, high = (hazard.curve(np.stack([end[side] for end in ends], axis=1)) for side in (0, 1))
        curve = hazard.curve(calibrated)
        unknown = np.logical_and.reduce(np.isnan(values[:, self._telling]), axis=1, initial=bool(self._telling))
        return Curves(curve, np.minimum(low, curve), np.maximum(high, curve), unknown)

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
        asked = xgboost.DMatrix(with_interval(values, min(EXPLAINED, len(self.card.baseline) - 1)))
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


def matrix(frame: pa.Table, columns: Sequence[str]) -> Singles:
    """The named columns of a frame, whatever others it has and in whatever order; missing values are NaN.

    Raises FrameError that names what is not there or not finite.
    """
    missing = sorted(set(columns) - set(frame.column_names), key=columns.index)
    if missing:
        raise FrameError(f"the frame lacks the columns {', '.join(missing)}: ask the store with this catalogue")
    values = np.empty((frame.num_rows, len(columns)), dtype=np.float32)
    for number, name in enumerate(columns):
        column = frame.column(name).to_numpy()
        if np.isinf(column).any():
            row = int(np.flatnonzero(np.isinf(column))[0])
            raise FrameError(f"{name} of {frame.column('component')[row]} is infinite: no model can read that")
        values[:, number] = column
    return values


def with_interval(values: Singles, interval: int | NDArray[np.int64]) -> Singles:
    """A matrix with the interval's number as its last column."""
    last = np.broadcast_to(np.asarray(interval, dtype=np.float32), (len(values),))
    joined: Singles = np.concatenate((values, last[:, None]), axis=1)
    return joined


def raw_curves(booster: xgboost.Booster, card: Card, values: Singles) -> Floats:
    """P(failure by the end of each interval) before calibration."""
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


def _chunks(rows: int) -> Iterator[slice]:
    return (slice(begin, begin + CHUNK_ROWS) for begin in range(0, rows, CHUNK_ROWS))
