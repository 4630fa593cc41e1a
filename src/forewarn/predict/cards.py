"""The card of a model before it is fitted: all that is known from its recording and its settings."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import xgboost

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.features.labels import Split
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.shapes import Shape
from forewarn.predict.trees import Card


@dataclass(frozen=True)
class Subject:
    """What a model is about and looks at."""

    shape: Shape
    kind: Kind
    catalog: Catalog
    columns: Sequence[str]
    telling: Sequence[str] = ()
    offset: str = ""
    caution: str = ""


def empty(subject: Subject, learned_from: str, split: Split, settings: TrainingSettings) -> Card:
    """A card without baseline, calibration, thresholds and counts. `learned_from` is what the recording is called."""
    return Card(
        kind=subject.kind,
        version="",
        learned_from=settings.learned_from or learned_from,
        source=settings.source,
        columns=tuple(subject.columns),
        telling=tuple(name for name in subject.telling if name in subject.columns),
        digest=subject.catalog.narrowed(subject.kind, subject.columns).digest(subject.kind),
        baseline=(),
        keep=settings.keep,
        calibration=(),
        thresholds=(),
        alarms_per_1000_weeks=settings.alarms_per_1000_weeks,
        rows_since=split.since,
        calibrated_by_rows_until=split.fit_until,
        calibrate_since=split.calibrate_since,
        rows_until=split.until,
        outcomes_until=split.outcomes_until,
        periods=0,
        failures=0,
        seed=settings.seed,
        settings=json.dumps(asdict(settings), sort_keys=True),
        versions=f"xgboost {xgboost.__version__}, numpy {np.__version__}, pyarrow {pa.__version__}",
        shape=subject.shape,
        algorithm=settings.algorithm,
        offset=subject.offset,
        caution=subject.caution,
        proportional=settings.proportional,
    )
