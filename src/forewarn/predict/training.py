"""Training a hazard model on a recording, through the catalogue, the store and the frame that serve.

The order of time is kept throughout. A first model is fitted on early rows; after an embargo, later rows that it has
not seen tell what its probabilities mean, and at which risk it alarms how often. Then the same trees are grown anew on
all rows, so that what the calibration was learned on is not lost to the model, and take the calibration over. Outcomes
are known to the training until one embargo after its last row, and no further.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xgboost
from numpy.typing import NDArray

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import HORIZONS
from forewarn.errors import ConfigurationError, FrameError
from forewarn.features import labels
from forewarn.features.labels import Split
from forewarn.predict import hazard, registry
from forewarn.predict.calibrate import calibrate, threshold
from forewarn.predict.history import History, HistorySettings, Progress
from forewarn.predict.trees import Card, Singles, TreesPredictor, matrix, raw_curves, with_interval
from forewarn.store.recordings import Recording

# Which columns a model of each kind learns from, as patterns of names. For drives: the counters, their change in a form
# that sees a jump at once (windows of a week and more end at the last full day), and how the model's peers fare. Ages,
# counts of changes and ranks are left out: they added nothing on later time, and a rank among three drives means
# something else than one among thousands. Power-on hours are those as of now, not those of the last change.
PEERS, PAST = ("*_peer_share_*",), ("*_rise_*", "*_grown_*")
LEARNED = {Kind.DISK: ("*_last", *PAST, *PEERS, "power_on_hours")}
LEFT_OUT = {Kind.DISK: ("smart_9_last",)}
# A row that knows none of these tells too little.
TELLING = {Kind.DISK: tuple(f"smart_{number}_last" for number in (5, 187, 188, 196, 197, 198))}


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is fitted.

    The defaults were compared on drives recorded in 2014. Which peer shares drift, the weight of a leaf, the days and
    the form of calibration were chosen while looking at 2015, so figures from that year are no untouched hold-out.
    """

    trees: int = 200
    """Number of trees. More of them fit closer, score slower and weigh more."""
    depth: int = 5
    """Depth of a tree, at most."""
    rate: float = 0.05
    """How much of each tree's step is taken."""
    leaf_weight: float = 20.0
    """Weight of evidence in a leaf, at least, as XGBoost counts it: what few drives say is not repeatable."""
    rows_share: float = 0.8
    """Share of person-periods that each tree sees."""
    columns_share: float = 0.3
    """Share of columns that each tree sees."""
    penalty: float = 5.0
    """Penalty on a leaf's squared weight."""
    bins: int = 128
    """Number of values at which a column may be split, at most."""
    keep: float = 0.25
    """Share of person-periods without failure that is fitted on; corrected afterwards."""
    small_share: float = 0.1
    """Share of person-periods that are learned from once more as a small or a new site would see them: without peers,
    without a past, or without both. No recording of a large fleet holds such rows, so that trees would read them by
    chance."""
    calibrate_days: int = 180
    """Days at the end of the rows that are kept to calibrate on; a season says little of the next."""
    embargo_days: int = 30
    """Days between rows to fit on and rows to calibrate on: the longest horizon, so that they share no outcome."""
    alarms_per_1000_weeks: float = 1.0
    """Parts per 1,000 and week that may alarm for the first time: sets the default threshold."""
    threads: int = 2
    """Threads of fitting."""
    seed: int = 7
    """Seed of all that is drawn."""
    learned_from: str = ""
    """What the model says it has learned from; empty for the recording's years."""
    source: str = ""
    """Whom to cite for the recording."""

    @property
    def embargo(self) -> timedelta:
        return timedelta(days=self.embargo_days)


@dataclass(frozen=True)
class _Week:
    """The rows of one time: their columns as a matrix, and whose they are."""

    time: datetime
    values: Singles
    rows: pa.Table  # ROWS


@dataclass(frozen=True)
class _Periods:
    """Person-periods to fit on: a matrix with the interval's number as its last column."""

    values: Singles
    failed: NDArray[np.bool_]
    copies: int = 0  # so many at the end are there once more, with less known of them

    @property
    def interval(self) -> NDArray[np.int64]:
        return self.values[:, -1].astype(np.int64)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Failures and survivals in each interval, each person-period once."""
        size, once = len(hazard.EDGES), len(self.failed) - self.copies
        interval, failed = self.interval[:once], self.failed[:once]
        return np.bincount(interval[failed], minlength=size), np.bincount(interval[~failed], minlength=size)


def train(
    path: Path,
    kind: Kind,
    catalog: Catalog,
    progress: Progress,
    until: datetime | None = None,
    settings: TrainingSettings | None = None,
    machinery: HistorySettings | None = None,
) -> TreesPredictor:
    """Fit a model on the rows of a recording before `until`.

    Raises RecordingError, and FrameError where there is too little history or not a single failure in it.
    """
    settings = settings or TrainingSettings()
    if kind not in LEARNED:
        raise ConfigurationError(f"no model learns kind {kind} from recordings; expected {', '.join(LEARNED)}")
    with History(path, kind, catalog, progress, machinery) as history:
        recording = history.recording
        last = min(until or recording.end, recording.end - settings.embargo)
        split = labels.chronological(recording.start, last, timedelta(days=settings.calibrate_days), settings.embargo)
        card = _empty_card(recording, catalog, _columns(catalog, kind, recording.metrics), split, settings)
        narrow = catalog.narrowed(kind, card.columns)
        times = tuple(labels.asked_times(recording.start, split.until))
        weeks = [week for frame in history.frames(times, narrow, progress) for week in _weeks(frame, card.columns)]
    early = [week for week in weeks if week.time < split.fit_until]
    late = [week for week in weeks if week.time >= split.calibrate_since]
    if not early:
        raise FrameError(f"no part lives in {path} on a Monday before {split.fit_until:%Y-%m-%d}: nothing to fit on")
    if not late:
        since = f"{split.calibrate_since:%Y-%m-%d}"
        raise FrameError(f"no part lives in {path} on a Monday from {since} on: nothing to calibrate on")
    trial = _fit(early, recording.lifetimes, split.fit_until + settings.embargo, card, settings, progress)
    calibrated = _calibrated(trial, late, recording.lifetimes)
    final = _fit(weeks, recording.lifetimes, split.outcomes_until, calibrated.card, settings, progress)
    return TreesPredictor(final.booster, registry.sealed(final.card, final.booster), catalog)


def _weeks(frame: pa.Table, columns: Sequence[str]) -> Iterator[_Week]:
    times = frame.column("time")
    for time in filter(None, times.unique().to_pylist()):
        of_time = frame.filter(pc.equal(times, pa.scalar(time, times.type)))
        yield _Week(time, matrix(of_time, columns), of_time.select(["time", "component"]))


def _columns(catalog: Catalog, kind: Kind, metrics: Sequence[str]) -> tuple[str, ...]:
    """The columns to learn from that the recording can fill."""

    def filled(name: str) -> bool:
        return {feature.metric for feature in catalog.narrowed(kind, [name]).stored(kind)} <= set(metrics)

    names = [n for n in catalog.names(kind) if _matches(n, LEARNED[kind]) and not _matches(n, LEFT_OUT[kind])]
    return tuple(name for name in names if filled(name))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _empty_card(
    recording: Recording, catalog: Catalog, columns: tuple[str, ...], split: Split, settings: TrainingSettings
) -> Card:
    """All that is known of a model before it is fitted."""
    kind = recording.kind
    years = f"drives recorded {recording.start:%Y-%m} to {split.until:%Y-%m}"
    return Card(
        kind=kind,
        version="",
        learned_from=settings.learned_from or years,
        source=settings.source,
        columns=columns,
        telling=tuple(name for name in TELLING[kind] if name in columns),
        digest=catalog.narrowed(kind, columns).digest(kind),
        baseline=(),
        keep=settings.keep,
        calibration=(),
        thresholds=(),
        alarms_per_1000_weeks=settings.alarms_per_1000_weeks,
        rows_since=recording.start,
        calibrated_by_rows_until=split.fit_until,
        calibrate_since=split.calibrate_since,
        rows_until=split.until,
        outcomes_until=split.outcomes_until,
        periods=0,
        failures=0,
        seed=settings.seed,
        settings=json.dumps(asdict(settings), sort_keys=True),
        versions=f"xgboost {xgboost.__version__}, numpy {np.__version__}, pyarrow {pa.__version__}",
    )


@dataclass(frozen=True)
class _Fit:
    """Trees and the card that says how to read them."""

    booster: xgboost.Booster
    card: Card


def _fit(
    weeks: Iterable[_Week],
    lifetimes: pa.Table,
    known_until: datetime,
    card: Card,
    settings: TrainingSettings,
    progress: Progress,
) -> _Fit:
    """Grow the trees on some weeks; outcomes after `known_until` are not looked at."""

    def periods() -> Iterator[_Periods]:
        return _sampled(weeks, lifetimes, known_until, card.columns, settings)

    failed, survived = (sum(counts) for counts in zip(*(one.counts() for one in periods()), strict=True))
    failures, count = int(failed.sum()), int(failed.sum() + survived.sum())
    if not failures:
        raise FrameError(f"no failure is recorded before {known_until:%Y-%m-%d}: there is nothing to learn")
    progress(f"fitting {settings.trees} trees on {count:,} person-periods, {failures:,} failures")
    # Half a failure is added to either side, so that no log-odds are infinite.
    baseline = np.log((failed + 0.5) / (survived + 0.5))
    asked = xgboost.QuantileDMatrix(_Batches(periods, baseline), max_bin=settings.bins, nthread=settings.threads)
    booster = xgboost.train(_parameters(settings), asked, settings.trees)
    return _Fit(booster, replace(card, baseline=tuple(baseline.tolist()), periods=count, failures=failures))


class _Batches(xgboost.DataIter):
    """Hands person-periods to XGBoost week by week, as often as it asks, so that they are never held all at once."""

    def __init__(self, periods: Callable[[], Iterator[_Periods]], baseline: NDArray[np.float64]) -> None:
        super().__init__()
        self._periods, self._baseline = periods, baseline
        self._left = periods()

    def next(self, input_data: Callable[..., Any]) -> bool:
        batch = next(self._left, None)
        if batch is not None:
            input_data(data=batch.values, label=batch.failed, base_margin=self._baseline[batch.interval])
        return batch is not None

    def reset(self) -> None:
        self._left = self._periods()


def _parameters(settings: TrainingSettings) -> dict[str, Any]:
    return {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "max_depth": settings.depth,
        "eta": settings.rate,
        "min_child_weight": settings.leaf_weight,
        "subsample": settings.rows_share,
        "colsample_bytree": settings.columns_share,
        "lambda": settings.penalty,
        "max_bin": settings.bins,
        "nthread": settings.threads,
        "seed": settings.seed,
    }


def _sampled(
    weeks: Iterable[_Week],
    lifetimes: pa.Table,
    known_until: datetime,
    columns: Sequence[str],
    settings: TrainingSettings,
) -> Iterator[_Periods]:
    """All failures and a sample of the rest, week by week; the same at every call."""
    random = np.random.default_rng(settings.seed)
    missing = (PEERS, PAST, (*PEERS, *PAST))
    hidden = [np.flatnonzero([_matches(name, patterns) for name in columns]) for patterns in missing]
    for week in weeks:
        outcomes = labels.outcomes(week.rows, lifetimes, known_until)
        periods = hazard.sampled(hazard.person_periods(outcomes), settings.keep, random)
        values = with_interval(week.values[periods.row], periods.interval)
        again = np.flatnonzero(random.random(len(values)) < settings.small_share)
        copies = values[again]
        for number, places in enumerate(hidden):
            copies[number :: len(hidden), places] = np.nan
        failed = np.concatenate((periods.failed, periods.failed[again]))
        yield _Periods(np.concatenate((values, copies)), failed, len(again))


def _calibrated(trial: _Fit, weeks: Sequence[_Week], lifetimes: pa.Table) -> _Fit:
    """The fit with the calibration and thresholds that rows later than its own lead to."""
    card = trial.card
    raw = np.concatenate([raw_curves(trial.booster, card, week.values) for week in weeks])
    became = [labels.outcomes(week.rows, lifetimes, card.outcomes_until) for week in weeks]
    part = numbered(chunk for week in weeks for chunk in week.rows.column("component").chunks)
    maps = tuple(
        calibrate(raw[:, i], np.concatenate([one.within(edge) for one in became]), part)
        for i, edge in enumerate(hazard.EDGES)
    )
    risks = hazard.curve(np.stack([one.apply(raw[:, i]) for i, one in enumerate(maps)], axis=1))
    rate, rows = card.alarms_per_1000_weeks, float(len(part))
    thresholds = tuple(threshold(risks[:, i], part, rate, rows) for i in range(len(HORIZONS)))
    return replace(trial, card=replace(card, calibration=maps, thresholds=thresholds))


def numbered(chunks: Iterable["pa.Array[Any]"]) -> NDArray[np.int64]:
    """A number for each different name, the same in all chunks."""
    names = pa.chunked_array(list(chunks), pa.string()).combine_chunks()
    return names.dictionary_encode().indices.to_numpy().astype(np.int64)
