"""Judging a model on a recording: it is asked as it would have been at the time, and held against what came.

History before the asked window feeds features, never labels. What the measures mean is said in `evaluate.py`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.errors import ConfigurationError, FrameError
from forewarn.features import labels
from forewarn.features.dimm_columns import COLUMNS as DIMM_COLUMNS
from forewarn.features.labels import Cadence
from forewarn.predict import contest, dimms, outages, site_rows
from forewarn.predict.history import History, HistorySettings, Progress
from forewarn.predict.scored import JUDGED_HORIZON, Evaluation, horizon_of, lines, measured
from forewarn.predict.shapes import Shape, shape_of
from forewarn.predict.trees import TreesPredictor
from forewarn.store.dimms import read_dimms
from forewarn.store.outages import OutageLog, micros

_Window = tuple[datetime | None, datetime | None]


def evaluate(
    path: Path,
    model: TreesPredictor,
    catalog: Catalog,
    progress: Progress,
    since: datetime | None = None,
    until: datetime | None = None,
    cadence: Cadence | None = None,
    machinery: HistorySettings | None = None,
) -> Evaluation:
    """Judge a model on rows within [since, until); history before `since` feeds features, never labels.

    Rows whose horizon passes the end of the recording are forecast and not judged, whether they failed or not. An
    unknown row counts as forecast at 0: it never alarms. The cadence is weekly for drives, daily for outages.
    """
    shape = shape_of(path, model.kind)
    if shape != model.card.shape:
        raise ConfigurationError(f"{model.name} learned from another shape ({model.card.shape}) than {path} ({shape})")
    if shape is Shape.DIMMS:
        if since or until:
            raise ConfigurationError(f"--since and --until have no meaning for {path}: its rows have no time")
        return _evaluation(model, shape, (None, None), _of_dimms(path, model))
    if shape is Shape.SITE:
        rows = site_rows.read(path)
        since, until = since or rows.since, until or rows.until
        scored = contest.scored(model, contest.within(rows.frame, since, until), rows)
        return _evaluation(model, shape, (since, until), scored)
    if shape is Shape.OUTAGES:
        window, scored = _of_outages(path, model, (since, until), cadence or "daily", progress)
        return _evaluation(model, shape, window, scored)
    with History(path, model.kind, catalog, progress, machinery) as history:
        recording = history.recording
        since, until = since or recording.start, until or recording.end
        times = tuple(labels.asked_times(since, until, cadence or "weekly"))
        found = list(_of_drives(history, model, times, progress))
    if not found:
        raise FrameError(f"no part lives in {path} from {since:%Y-%m-%d} to {until:%Y-%m-%d}: nothing to judge")
    return _evaluation(model, shape, (since, until), pa.concat_tables(found))


def _evaluation(model: TreesPredictor, shape: Shape, window: _Window, scored: pa.Table) -> Evaluation:
    since, until = window
    horizon = JUDGED_HORIZON[shape]
    return Evaluation(
        model=model.name,
        kind=model.kind,
        learned_from=model.learned_from,
        source=model.card.source,
        caution=model.card.caution,
        horizon=horizon,
        since=since,
        until=until,
        rows=scored.num_rows,
        unknown=int(scored.column("unknown").to_numpy().sum()),
        overlaps_training=None if since is None else since < model.card.outcomes_until,
        measures=measured(scored, horizon),
        scored=scored,
    )


def _of_drives(
    history: History, model: TreesPredictor, times: tuple[datetime, ...], progress: Progress
) -> Iterator[pa.Table]:
    """Forecasts of some times together, with what is needed to judge them."""
    end, horizon = history.recording.end, horizon_of(JUDGED_HORIZON[Shape.DRIVES])
    for frame in history.frames(times, history.catalog.narrowed(model.kind, model.card.columns), progress):
        outcomes = history.outcomes(frame, end)
        seconds = frame.column("time").cast(pa.int64()).to_numpy() / 1e6
        outcome: dict[str, Any] = {
            "failed_after_s": outcomes.failed_after_s,
            "failed": outcomes.within(horizon),
            "judged": seconds <= (end - horizon).timestamp(),
            "reference": np.full(len(seconds), np.nan),
        }
        time, family = (frame.column(name).combine_chunks() for name in ("time", "model"))
        yield lines(_devices(frame, model), model.curves(frame), outcome, time, family)


def _devices(rows: pa.Table, model: TreesPredictor) -> "pa.Array[Any]":
    names = rows.column("component").to_pylist()
    return pa.array([str(name).removeprefix(f"{model.kind}:") for name in names], pa.string())


def _of_outages(
    path: Path, model: TreesPredictor, window: _Window, cadence: Cadence, progress: Progress
) -> tuple[_Window, pa.Table]:
    """Forecasts of every slot in production, system by system; rows go on to the end of the log's last month."""
    read = outages.read(path, progress)
    log = read.continues(model.history) if model.history else read
    since = window[0] or _first_row(read, model)
    until = window[1] or (log.end - timedelta(days=1) + timedelta(days=31)).replace(day=1)
    lives, horizon = outages.lifetimes(log, model.kind), horizon_of(JUDGED_HORIZON[Shape.OUTAGES])
    times = [int(time.timestamp() * 1e6) for time in labels.asked_times(since, until, cadence)]
    found = []
    for whole in outages.rows(log, model.kind, until):
        block = whole.where(np.isin(micros(whole.rows["time"]), times))
        if not len(block.values):
            continue
        outcomes = labels.outcomes(block.rows, lives, log.end)
        system = outages.system_of(str(block.rows.column("component")[0]))
        rate = model.card.rates.get(system, model.card.rates.get("", np.nan))
        seconds = block.rows.column("time").cast(pa.int64()).to_numpy() / 1e6
        outcome: dict[str, Any] = {
            "failed_after_s": outcomes.failed_after_s,
            "failed": outcomes.within(horizon),
            "judged": seconds <= (log.end - horizon).timestamp(),
            "reference": np.full(len(seconds), rate),
        }
        time, family = block.rows.column("time").combine_chunks(), pa.array([system] * len(seconds))
        found.append(lines(_devices(block.rows, model), model.curves_of(block.values), outcome, time, family))
        progress(f"forecast {len(seconds):,} node-days of system {system}")
    if not found:
        raise FrameError(f"no slot is in production in {path} from {since:%Y-%m-%d} to {until:%Y-%m-%d}")
    return (since, until), pa.concat_tables(found)


def _first_row(log: OutageLog, model: TreesPredictor) -> datetime:
    """The first day of the log's first month, but for what the model knows of that month from the log before it."""
    known = model.history.end if model.history else log.start
    return max(log.start, min(known, log.first.replace(hour=0, minute=0)))


def _of_dimms(path: Path, model: TreesPredictor) -> pa.Table:
    table = read_dimms(path, DIMM_COLUMNS)
    week = horizon_of(JUDGED_HORIZON[Shape.DIMMS]).total_seconds()
    outcome: dict[str, Any] = {
        "failed_after_s": np.where(table.failed, week, np.inf),
        "failed": table.failed,
        "judged": np.ones(len(table.failed), dtype=np.bool_),
        "reference": np.full(len(table.failed), np.nan),
    }
    curves = model.curves_of(dimms.matrix_of(table, model.card.columns))
    return lines(table.serial, curves, outcome, family=table.family)
