"""Judging a model on a recording: it is asked as it would have been at the time, and held against what came.

History before the asked window feeds features, never labels. What the measures mean is said in `evaluate.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.domain.risk import HORIZON_NAMES, HORIZONS
from forewarn.errors import FrameError
from forewarn.features import labels
from forewarn.features.labels import Cadence
from forewarn.predict.evaluate import Judged, Measures, measure
from forewarn.predict.history import History, HistorySettings, Progress
from forewarn.predict.training import numbered
from forewarn.predict.trees import TreesPredictor


@dataclass(frozen=True)
class Evaluation:
    """A model's measures on a recording, and what stands beside them in the report."""

    model: str
    learned_from: str
    source: str
    since: datetime
    until: datetime
    rows: int  # forecast, labelled or not
    unknown: int  # of these, those for which the model said unknown
    overlaps_training: bool
    measures: Measures
    forecasts: pa.Table  # device, time, p_1h to p_30d, unknown: one line per row, labelled or not

    def numbers(self) -> dict[str, float | int | str | bool | None]:
        """As one JSON object; the measures under their published names."""
        beside = {name: value for name, value in vars(self).items() if name not in ("measures", "forecasts")}
        stated = {name: v.isoformat() if isinstance(v, datetime) else v for name, v in beside.items()}
        return {**self.measures.numbers(), **stated}


def evaluate(
    path: Path,
    model: TreesPredictor,
    catalog: Catalog,
    progress: Progress,
    since: datetime | None = None,
    until: datetime | None = None,
    cadence: Cadence = "weekly",
    machinery: HistorySettings | None = None,
) -> Evaluation:
    """Judge a model on rows within [since, until); history before `since` feeds features, never labels.

    Rows whose 30 days pass the end of the recording are forecast and not judged, whether they failed or not. An unknown
    row counts as forecast at 0: it never alarms.
    """
    with History(path, model.kind, catalog, progress, machinery) as history:
        recording = history.recording
        since, until = since or recording.start, until or recording.end
        found = list(_forecasts(history, model, tuple(labels.asked_times(since, until, cadence)), progress))
    if not found:
        raise FrameError(f"no part lives in {path} from {since:%Y-%m-%d} to {until:%Y-%m-%d}: nothing to judge")
    asked = pa.concat_tables(found)
    return Evaluation(
        model=model.name,
        learned_from=model.learned_from,
        source=model.card.source,
        since=since,
        until=until,
        rows=asked.num_rows,
        unknown=int(asked.column("unknown").to_numpy().sum()),
        overlaps_training=since < model.card.outcomes_until,
        measures=measure(_judged(asked)),
        forecasts=asked.drop_columns(["failed_after_s", "judged"]),
    )


def _forecasts(
    history: History, model: TreesPredictor, times: tuple[datetime, ...], progress: Progress
) -> Iterator[pa.Table]:
    """Forecasts of some times together, with what is needed to judge them."""
    end = history.recording.end
    for frame in history.frames(times, history.catalog.narrowed(model.kind, model.card.columns), progress):
        curves = model.curves(frame)
        outcomes = history.outcomes(frame, end)
        prefix = f"{model.kind}:"
        names: list[str] = frame.column("component").to_pylist()  # type: ignore[assignment]  # a frame's key
        columns: dict[str, pa.Array[Any]] = {
            "device": pa.array([name.removeprefix(prefix) for name in names], pa.string()),
            "time": frame.column("time").combine_chunks(),
        }
        for number, name in enumerate(HORIZON_NAMES):
            columns[f"p_{name}"] = pa.array(curves.probabilities[:, number], mask=curves.unknown)
        columns["unknown"] = pa.array(curves.unknown)
        columns["failed_after_s"] = pa.array(outcomes.failed_after_s)
        seconds = frame.column("time").cast(pa.int64()).to_numpy() / 1e6
        columns["judged"] = pa.array(seconds <= (end - HORIZONS[-1]).timestamp())
        yield pa.table(columns)


def _judged(asked: pa.Table) -> Judged:
    """The rows whose outcome is known, as arrays."""
    known = asked.filter(asked.column("judged"))
    month = known.column("time").to_numpy().astype("datetime64[M]").astype(np.int64)
    return Judged(
        probability=np.nan_to_num(known.column(f"p_{HORIZON_NAMES[-1]}").to_numpy().astype(np.float64)),
        failed=known.column("failed_after_s").to_numpy() <= HORIZONS[-1].total_seconds(),
        part=numbered(known.column("device").chunks),
        month=month,
    )
