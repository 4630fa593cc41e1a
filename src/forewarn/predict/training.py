"""Training a model on a recording: its shape says how rows are made of it, what is common to all stands here.

Drives go through the catalogue, the store and the frame that serve (`drives.py`); a site's own history comes as rows
that went the same way (`site.py`); outage logs go through their own columns (`outages.py`); DIMM tables, which know no
time, are the one case that is split by part (`dimms.py`).
"""

from datetime import datetime
from pathlib import Path

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.predict import dimms, drives, outages, site
from forewarn.predict.history import HistorySettings, Progress
from forewarn.predict.settings import TrainingSettings, suited
from forewarn.predict.shapes import Shape, shape_of
from forewarn.predict.trees import TreesPredictor


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

    Raises RecordingError, ConfigurationError for a kind of which the recording does not tell, and FrameError where
    there is too little history or not a single failure in it.
    """
    shape = shape_of(path, kind)
    settings = settings or suited(shape, "boosting", kind)
    if shape is Shape.OUTAGES:
        return outages.train(path, kind, progress, until, settings)
    if shape is Shape.SITE:
        return site.train(path, kind, catalog, progress, until, settings)
    if shape is Shape.DIMMS:
        return dimms.train(path, progress, settings, until)
    return drives.train(path, kind, catalog, progress, until, settings, machinery)
