"""Models of DIMMs, learned from corrected errors at a time that is not told, and what became of each within a week.

Case-control data: parts are drawn by their outcome, so all probabilities and figures hold at the table's base rate.
There is no time to split along, so folds are made of whole DIMMs, and each calibrates trees that have not seen it. A
row of a DIMM that fails later, drawn before its last week, is no sound DIMM either: it is learned from as failing by
`EARLIER`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from forewarn.domain.inventory import Kind
from forewarn.domain.risk import HORIZONS
from forewarn.errors import ConfigurationError, FrameError
from forewarn.features import labels
from forewarn.features.dimm_columns import COLUMNS, DIMM_CATALOG, TELLING
from forewarn.predict import cards, hazard, registry
from forewarn.predict.base import Floats
from forewarn.predict.calibrate import calibrate, threshold
from forewarn.predict.fitting import Fit, grown, numbered
from forewarn.predict.history import Progress
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.shapes import Shape
from forewarn.predict.trees import Card, Singles, TreesPredictor, raw_curves, with_interval
from forewarn.store.dimms import DimmTable, read_dimms

FOLDS = 5
EARLIER = 0.3
CAUTION = (
    "learned from a case-control table without times: probabilities hold at its base rate of failures, and past a"
    " week nothing is known"
)
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def train(path: Path, progress: Progress, settings: TrainingSettings, until: datetime | None = None) -> TreesPredictor:
    """Fit a model on all rows."""
    if until:
        raise ConfigurationError(f"--until has no meaning for {path}: its rows have no time")
    table = read_dimms(path, COLUMNS)
    columns = tuple(name for name in COLUMNS if name in table.values.column_names)
    values, part = matrix_of(table, columns), numbered([table.serial])
    failed = table.failed
    parts = len(np.unique(part))
    if len(np.unique(part[failed])) < FOLDS:
        raise FrameError(f"{path} has {int(failed.sum())} failed DIMMs: too few to learn from")
    progress(f"fitting {settings.trees} trees on {len(part):,} rows of {parts:,} DIMMs, {int(failed.sum()):,} failed")
    subject = cards.Subject(Shape.DIMMS, Kind.MEMORY, DIMM_CATALOG, columns, TELLING, caution=CAUTION)
    split = labels.Split(_NO_TIME, _NO_TIME, _NO_TIME, _NO_TIME, timedelta(0))
    learned_from = f"corrected errors of {parts:,} DIMMs, {failed.mean():.2%} of the rows failing within a week"
    card = cards.empty(subject, learned_from, split, settings)
    fold = labels.fold_of_part(table.serial.to_pylist(), FOLDS, settings.seed)
    raw = np.empty((len(failed), 1))
    for number in range(FOLDS):
        kept = fold != number
        trial = _fit(values[kept], failed[kept], part[kept], card, settings)
        raw[~kept] = raw_curves(trial.booster, trial.card, values[~kept])
    final = _fit(values, failed, part, _calibrated(card, raw, failed, part), settings)
    sealed = registry.sealed(final.card, final.booster)
    return TreesPredictor(final.booster, sealed, DIMM_CATALOG)


def matrix_of(table: DimmTable, columns: tuple[str, ...]) -> Singles:
    """The columns of a table as a matrix; those that it lacks are missing values.

    Raises FrameError where none of the columns that tell is there.
    """
    if not set(TELLING) & set(table.values.column_names):
        raise FrameError(f"{table.name} lacks the columns {', '.join(TELLING)}: no model can read that")
    values = np.full((len(table.serial), len(columns)), np.nan, dtype=np.float32)
    for place, name in enumerate(columns):
        if name in table.values.column_names:
            values[:, place] = table.values.column(name).to_numpy()
    return values


def _fit(
    values: Singles, failed: NDArray[np.bool_], part: NDArray[np.int64], card: Card, settings: TrainingSettings
) -> Fit:
    fails = np.bincount(part, weights=failed) > 0
    target = np.where(~failed & fails[part], EARLIER, failed.astype(np.float64))
    rate = float(target.mean())
    baseline = float(np.log(rate / (1.0 - rate)))
    start = None if settings.algorithm == "forest" else baseline
    booster = grown(_Whole(with_interval(values, 0), target, start), settings)
    return Fit(booster, replace(card, baseline=(baseline,), periods=len(failed), failures=int(failed.sum())))


class _Whole(xgboost.DataIter):
    """Hands XGBoost all rows at once."""

    def __init__(self, values: Singles, target: Floats, start: float | None) -> None:
        super().__init__()
        self._values, self._target, self._start, self._given = values, target, start, False

    def next(self, input_data: Callable[..., Any]) -> bool:
        if self._given:
            return False
        start = None if self._start is None else np.full(len(self._target), self._start)
        input_data(data=self._values, label=self._target, base_margin=start)
        self._given = True
        return True

    def reset(self) -> None:
        self._given = False


def _calibrated(card: Card, raw: Floats, failed: NDArray[np.bool_], part: NDArray[np.int64]) -> Card:
    """The card with the calibration and thresholds that rows lead to which the trees had not seen."""
    calibration = calibrate(raw[:, 0], failed, part)
    risks = hazard.curve(calibration.apply(raw[:, 0])[:, None])
    rate = card.alarms_per_1000_weeks
    thresholds = tuple(threshold(risks[:, i], part, rate, float(len(part))) for i in range(len(HORIZONS)))
    return replace(card, calibration=(calibration,), thresholds=thresholds)
