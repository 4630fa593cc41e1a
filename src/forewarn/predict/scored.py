"""Forecasts beside what became of them, row by row, whatever the recording's shape: what is measured and reported."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.risk import HORIZON_NAMES, HORIZONS
from forewarn.predict.base import Curves, Floats
from forewarn.predict.evaluate import Judged, Measures, measure
from forewarn.predict.fitting import numbered
from forewarn.predict.shapes import Shape

# What is judged: the horizon for which the shape's labels are best known.
JUDGED_HORIZON = {Shape.DRIVES: "30d", Shape.OUTAGES: "24h", Shape.DIMMS: "7d", Shape.SITE: "7d"}
FORECAST = ("device", "time", *(f"p_{name}" for name in HORIZON_NAMES), "unknown")


@dataclass(frozen=True)
class Evaluation:
    """A model's measures on a recording, and what stands beside them in the report."""

    model: str
    kind: str
    learned_from: str
    source: str
    caution: str
    horizon: str  # within which a row counts as failed
    since: datetime | None  # None where the recording knows no time
    until: datetime | None
    rows: int  # forecast, labelled or not
    unknown: int  # of these, those for which the model said unknown
    overlaps_training: bool | None  # None where that cannot be told
    measures: Measures
    scored: pa.Table  # one line per row: FORECAST, family, failed_after_s, failed, judged, reference

    @property
    def forecasts(self) -> pa.Table:
        """One line per row, labelled or not; no `time` where the recording knows none."""
        return self.scored.select([name for name in FORECAST if name in self.scored.column_names])

    @property
    def frozen_rates(self) -> bool:
        """Whether the log-loss is held against rates frozen at training, not against the base rate of these rows."""
        return bool(np.isfinite(self.scored.column("reference").to_numpy()).any())

    def numbers(self) -> dict[str, float | int | str | bool | None]:
        """As one JSON object; the measures under their published names."""
        beside = {name: value for name, value in vars(self).items() if name not in ("measures", "scored")}
        stated = {name: v.isoformat() if isinstance(v, datetime) else v for name, v in beside.items()}
        return {**self.measures.numbers(), **stated}


def horizon_of(name: str) -> timedelta:
    """The horizon of that name.

    >>> horizon_of("24h")
    datetime.timedelta(days=1)
    """
    return HORIZONS[HORIZON_NAMES.index(name)]


def lines(
    device: "pa.Array[Any]",
    curves: Curves,
    outcome: dict[str, NDArray[Any]],
    time: "pa.Array[Any] | None" = None,
    family: "pa.Array[Any] | None" = None,
) -> pa.Table:
    """A table of FORECAST and what became of each row; `outcome` has failed_after_s, failed, judged, reference."""
    columns: dict[str, pa.Array[Any]] = {"device": device}
    if time is not None:
        columns["time"] = time
    for number, name in enumerate(HORIZON_NAMES):
        columns[f"p_{name}"] = pa.array(curves.probabilities[:, number], mask=curves.unknown)
    columns["unknown"] = pa.array(curves.unknown)
    columns["family"] = family if family is not None else pa.array([""] * len(device))
    columns |= {name: pa.array(values) for name, values in outcome.items()}
    return pa.table(columns)


def judged(scored: pa.Table, horizon: str) -> Judged:
    """The rows whose outcome is known, as arrays. An unknown row counts as forecast at 0: it never alarms."""
    known = scored.filter(scored.column("judged"))
    if "time" in known.column_names:
        month = known.column("time").to_numpy().astype("datetime64[M]").astype(np.int64)
    else:
        month = np.zeros(known.num_rows, dtype=np.int64)
    failed = known.column("failed").to_numpy()
    reference: Floats = known.column("reference").to_numpy()
    if np.isnan(reference).all():
        reference = np.full(len(failed), failed.mean() if len(failed) else np.nan)
    return Judged(
        probability=np.nan_to_num(known.column(f"p_{horizon}").to_numpy().astype(np.float64)),
        failed=failed,
        part=numbered(known.column("device").chunks),
        month=month,
        reference=reference,
        timed="time" in known.column_names,
    )


def measured(scored: pa.Table, horizon: str) -> Measures:
    """All measures of the rows whose outcome is known."""
    return measure(judged(scored, horizon))
