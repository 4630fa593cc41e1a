"""What a predictor does, and the forecaster that asks the right one for each component.

A predictor sees a frame (see `store.base.FRAME_KEYS` and the catalogue's columns) and nothing else: no clock, no store.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Forecasts of many rows as arrays: shape (rows, 6) in the order of `HORIZONS`; `unknown` has shape (rows,).

    Where `unknown` holds, the other three mean nothing.
    """

    probabilities: Floats
    low: Floats
    high: Floats
    unknown: NDArray[np.bool_]


class Predictor(Protocol):
    """Forecasts components of one kind."""

    name: str  # with its version; shown beside each forecast
    kind: Kind
    learned_from: str

    def threshold(self, horizon: timedelta) -> float | None:
        """The risk within `horizon` above which to act, as evaluated; None if that was never evaluated."""
        ...

    def curves(self, frame: pa.Table) -> Curves:
        """The forecasts of all rows as arrays, without reasons: for evaluation and speed."""
        ...

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        """One forecast per row, in its order, with reasons; unknown where the row tells too little.

        Raises FrameError for a frame without the columns that it needs.
        """
        ...


class Forecaster:
    """For each component the first predictor of its kind that does not say unknown."""

    def __init__(self, predictors: Mapping[Kind, Sequence[Predictor]]) -> None:
        self._predictors = predictors

    def forecast(self, frames: Mapping[Kind, pa.Table]) -> tuple[FailureForecast, ...]:
        """One forecast per row of every frame, kind by kind."""
        return tuple(made for kind, frame in frames.items() for made in self._of_kind(kind, frame))

    def having(self, kind: Kind, predictors: Sequence[Predictor]) -> "Forecaster":
        """The same, but that these are asked for a kind."""
        return Forecaster({**self._predictors, kind: tuple(predictors)})

    def thresholds(self, horizon: timedelta) -> dict[Kind, float]:
        """The default threshold of each kind: that of the first predictor which was evaluated for it."""
        found = ((kind, self._threshold(predictors, horizon)) for kind, predictors in self._predictors.items())
        return {kind: threshold for kind, threshold in found if threshold is not None}

    def sources(self) -> dict[Kind, tuple[str, str]]:
        """Who answers first for each kind, and what it learned from."""
        return {kind: (asked[0].name, asked[0].learned_from) for kind, asked in self._predictors.items() if asked}

    def _of_kind(self, kind: Kind, frame: pa.Table) -> Iterator[FailureForecast]:
        """Ask the predictors in turn, each for the rows that are still unknown."""
        forecasts: list[FailureForecast] = []
        waiting = np.arange(frame.num_rows)
        for predictor in self._predictors.get(kind, ()):
            made = predictor.forecast(frame if not forecasts else frame.take(waiting))
            if not forecasts:
                forecasts = list(made)
            for row, forecast in zip(waiting, made, strict=True):
                if not forecast.unknown:
                    forecasts[row] = forecast
            waiting = np.array([row for row in waiting if forecasts[row].unknown], dtype=np.int64)
        return iter(forecasts)

    @staticmethod
    def _threshold(predictors: Sequence[Predictor], horizon: timedelta) -> float | None:
        evaluated = (predictor.threshold(horizon) for predictor in predictors)
        return next((threshold for threshold in evaluated if threshold is not None), None)
