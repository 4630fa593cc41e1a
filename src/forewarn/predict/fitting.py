"""From rows and what became of them to trees and their calibration, whatever the recording's shape.

The order of time is kept throughout. A first model is fitted on early rows; after an embargo, later rows that it has
not seen tell what its probabilities mean, and at which risk it alarms how often. Then the same trees are grown anew on
all rows, so that what the calibration was learned on is not lost to the model, and take the calibration over. Outcomes
are known to the training until one embargo after its last row, and no further.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost
from numpy.typing import NDArray

from forewarn.domain.risk import HORIZONS
from forewarn.errors import FrameError
from forewarn.features import labels
from forewarn.features.labels import Split
from forewarn.predict import hazard
from forewarn.predict.base import Floats
from forewarn.predict.calibrate import CalibrationSettings, calibrate, threshold
from forewarn.predict.history import Progress
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.trees import Card, Singles, raw_curves, with_interval

# What a small or a new site does not have: peers, a past. Patterns of drives' columns.
PEERS, PAST = ("*_peer_share_*",), ("*_rise_*", "*_grown_*")


@dataclass(frozen=True)
class Block:
    """Rows that are handed on together: their columns as a matrix, and whose they are."""

    values: Singles
    rows: pa.Table  # ROWS

    def where(self, chosen: NDArray[np.bool_]) -> "Block":
        if chosen.all():
            return self
        return Block(self.values[chosen], self.rows.filter(pa.array(chosen)))

    def within(self, since: datetime | None, until: datetime | None) -> "Block":
        """The rows of the times within [since, until)."""
        seconds = self.rows.column("time").cast(pa.int64()).to_numpy() / 1e6
        low, high = since.timestamp() if since else -np.inf, until.timestamp() if until else np.inf
        return self.where((seconds >= low) & (seconds < high))


@dataclass(frozen=True)
class Fit:
    """Trees and the card that says how to read them."""

    booster: xgboost.Booster
    card: Card


@dataclass(frozen=True)
class _Periods:
    """Person-periods to fit on: what their rows know, and which interval each is."""

    values: Singles
    interval: NDArray[np.int64]
    failed: NDArray[np.bool_]
    offset: Floats  # log-odds that the trees start from, beside the baseline
    copies: int = 0  # so many at the end are there once more, with less known of them

    def counts(self) -> tuple[Floats, Floats, Floats]:
        """In each interval failures, survivals, and survivals weighed by the odds of their offset; copies left out."""
        size, once = len(hazard.EDGES), len(self.failed) - self.copies
        interval, failed, odds = self.interval[:once], self.failed[:once], np.exp(self.offset[:once])
        ones = np.ones(once)

        def summed(chosen: NDArray[np.bool_], weight: Floats) -> Floats:
            sums: Floats = np.bincount(interval[chosen], weight[chosen], minlength=size).astype(np.float64)
            return sums

        return summed(failed, ones), summed(~failed, ones), summed(~failed, odds)


def learn(
    blocks: Sequence[Block], lifetimes: pa.Table, split: Split, card: Card, settings: TrainingSettings, say: Progress
) -> Fit:
    """Fit, calibrate on later rows, and fit anew on all.

    Raises FrameError where there are no rows to fit or to calibrate on, or not a single failure among them.
    """
    early = [block.within(None, split.fit_until) for block in blocks]
    late = [block.within(split.calibrate_since, None) for block in blocks]
    for some, missing in (
        (early, f"no part lives before {split.fit_until:%Y-%m-%d}: nothing to fit on"),
        (late, f"no part lives from {split.calibrate_since:%Y-%m-%d} on: nothing to calibrate on"),
    ):
        if not any(len(block.values) for block in some):
            raise FrameError(missing)
    trial = _fit(early, lifetimes, split.fit_until + settings.embargo, card, settings, say)
    del early
    calibrated = _calibrated(trial, late, lifetimes, CalibrationSettings(prior_failures=settings.calibrate_prior))
    return _fit(blocks, lifetimes, split.outcomes_until, calibrated.card, settings, say)


def _fit(
    blocks: Iterable[Block],
    lifetimes: pa.Table,
    known_until: datetime,
    card: Card,
    settings: TrainingSettings,
    progress: Progress,
) -> Fit:
    """Grow the trees on some rows; outcomes after `known_until` are not looked at."""

    def periods() -> Iterator[_Periods]:
        return _sampled(blocks, lifetimes, known_until, card, settings)

    failed, survived, odds = (sum(counts) for counts in zip(*(one.counts() for one in periods()), strict=True))
    failures, count = int(failed.sum()), int(failed.sum() + survived.sum())
    if not failures:
        raise FrameError(f"no failure is recorded before {known_until:%Y-%m-%d}: there is nothing to learn")
    progress(f"fitting {settings.trees} trees on {count:,} person-periods, {failures:,} failures")
    # Half a failure is added to either side, so that no log-odds are infinite.
    baseline = np.log((failed + 0.5) / (odds + 0.5))
    start = None if settings.algorithm == "forest" else baseline
    booster = grown(_Batches(periods, start, proportional=card.proportional), settings)
    return Fit(booster, replace(card, baseline=tuple(baseline.tolist()), periods=count, failures=failures))


class _Batches(xgboost.DataIter):
    """Hands person-periods to XGBoost block by block, as often as it asks, so that they are never held all at once."""

    def __init__(
        self, periods: Callable[[], Iterator[_Periods]], baseline: Floats | None, *, proportional: bool
    ) -> None:
        super().__init__()
        self._periods, self._baseline, self._proportional = periods, baseline, proportional
        self._left = periods()

    def next(self, input_data: Callable[..., Any]) -> bool:
        batch = next((one for one in self._left if len(one.failed)), None)
        if batch is not None:
            start = None if self._baseline is None else self._baseline[batch.interval] + batch.offset
            seen = batch.values if self._proportional else with_interval(batch.values, batch.interval)
            input_data(data=seen, label=batch.failed, base_margin=start)
        return batch is not None

    def reset(self) -> None:
        self._left = self._periods()


def grown(data: xgboost.DataIter, settings: TrainingSettings) -> xgboost.Booster:
    """The trees, one after the other or side by side."""
    asked = xgboost.QuantileDMatrix(data, max_bin=settings.bins, nthread=settings.threads)
    rounds = 1 if settings.algorithm == "forest" else settings.trees
    return xgboost.train(parameters(settings), asked, rounds)


def parameters(settings: TrainingSettings) -> dict[str, Any]:
    """What XGBoost is told."""
    both = {
        "tree_method": "hist",
        "max_depth": settings.depth,
        "min_child_weight": settings.leaf_weight,
        "subsample": settings.rows_share,
        "max_bin": settings.bins,
        "nthread": settings.threads,
        "seed": settings.seed,
    }
    if settings.algorithm == "forest":
        # The mean of the labels in each leaf, over trees that know nothing of each other.
        forest = {"objective": "reg:squarederror", "base_score": 0.0, "eta": 1.0, "lambda": 0.0}
        return {**both, **forest, "num_parallel_tree": settings.trees, "colsample_bynode": settings.columns_share}
    boosting = {"objective": "binary:logistic", "base_score": 0.5, "eta": settings.rate, "lambda": settings.penalty}
    return {**both, **boosting, "colsample_bytree": settings.columns_share}


def _sampled(
    blocks: Iterable[Block], lifetimes: pa.Table, known_until: datetime, card: Card, settings: TrainingSettings
) -> Iterator[_Periods]:
    """All failures and a sample of the rest, block by block; the same at every call."""
    random = np.random.default_rng(settings.seed)
    missing = (PEERS, PAST, (*PEERS, *PAST))
    hidden = [np.flatnonzero([matches(name, patterns) for name in card.columns]) for patterns in missing]
    start = card.columns.index(card.offset) if card.offset else None
    for block in blocks:
        outcomes = labels.outcomes(block.rows, lifetimes, known_until)
        periods = hazard.sampled(hazard.person_periods(outcomes), settings.keep, random)
        if settings.later_share < 1.0:
            asked_later = random.random(len(block.values)) < settings.later_share
            periods = periods.where((periods.interval == 0) | asked_later[periods.row])
        values = block.values[periods.row]
        again = np.flatnonzero(random.random(len(values)) < settings.small_share)
        copies = values[again]
        for number, places in enumerate(hidden):
            copies[number :: len(hidden), places] = np.nan
        failed = np.concatenate((periods.failed, periods.failed[again]))
        whole = np.concatenate((values, copies)) if len(again) else values
        offset = np.zeros(len(whole)) if start is None else whole[:, start].astype(np.float64)
        interval = np.concatenate((periods.interval, periods.interval[again]))
        yield _Periods(whole, interval, failed, offset, len(again))


def _calibrated(trial: Fit, blocks: Sequence[Block], lifetimes: pa.Table, how: CalibrationSettings) -> Fit:
    """The fit with the calibration and thresholds that rows later than its own lead to."""
    card = trial.card
    raw = np.concatenate([raw_curves(trial.booster, card, block.values) for block in blocks])
    became = [labels.outcomes(block.rows, lifetimes, card.outcomes_until) for block in blocks]
    part = numbered(chunk for block in blocks for chunk in block.rows.column("component").chunks)
    maps = tuple(
        calibrate(raw[:, i], np.concatenate([one.within(edge) for one in became]), part, how)
        for i, edge in enumerate(hazard.EDGES)
    )
    risks = hazard.curve(np.stack([one.apply(raw[:, i]) for i, one in enumerate(maps)], axis=1))
    times = {time for block in blocks for time in block.rows.column("time").unique().to_pylist()}
    rate, weeks = card.alarms_per_1000_weeks, _device_weeks(times, len(part))
    thresholds = tuple(threshold(risks[:, i], part, rate, weeks) for i in range(len(HORIZONS)))
    return replace(trial, card=replace(card, calibration=maps, thresholds=thresholds))


def _device_weeks(times: set[Any], rows: int) -> float:
    """The part-weeks that so many rows stand for, from the time that lies between two of them."""
    ordered = sorted(times)
    steps = (later - earlier for earlier, later in pairwise(ordered))
    return rows * (min(steps, default=hazard.WEEK) / hazard.WEEK)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits any of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def numbered(chunks: Iterable["pa.Array[Any]"]) -> NDArray[np.int64]:
    """A number for each different name, the same in all chunks."""
    names = pa.chunked_array(list(chunks), pa.string()).combine_chunks()
    return names.dictionary_encode().indices.to_numpy().astype(np.int64)
