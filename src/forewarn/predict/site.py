"""Models of a site's own history: rows of its telemetry, day by day, and what became of each part there."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError, FrameError
from forewarn.features import labels
from forewarn.predict import cards, registry, site_rows
from forewarn.predict.drift import reference
from forewarn.predict.fitting import Block, learn
from forewarn.predict.history import Progress
from forewarn.predict.rule_table import TELLING
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.shapes import Shape
from forewarn.predict.site_rows import SiteRows
from forewarn.predict.trees import Singles, TreesPredictor, matrix

SIMULATED = "learned from simulated faults: never past watch by itself on hosts that are real"
FAILED_MIN = 10  # parts; what fewer of them showed is chance


def train(
    path: Path, kind: Kind, catalog: Catalog, progress: Progress, until: datetime | None, settings: TrainingSettings
) -> TreesPredictor:
    """Fit a model on the daily rows before `until`; the same file and settings give the same bytes."""
    rows = site_rows.read(path)
    if rows.kind != kind:
        raise ConfigurationError(f"{path} holds rows of kind {rows.kind}, not {kind}")
    last = min(until or rows.until, rows.until - settings.embargo)
    split = labels.chronological(rows.since, last, timedelta(days=settings.calibrate_days), settings.embargo)
    blocks = [block.within(None, split.until) for block in days(rows, catalog.names(kind))]
    failed = _failed(rows, split.outcomes_until)
    if failed < FAILED_MIN:
        raise FrameError(f"{failed} parts of kind {kind} failed before {last:%Y-%m-%d}: {FAILED_MIN} are needed")
    columns = _telling_apart(blocks, catalog.names(kind))
    blocks = [Block(block.values[:, columns], block.rows) for block in blocks]
    names = tuple(catalog.names(kind)[place] for place in columns)
    telling = tuple(name for name, _ in TELLING[kind])
    caution = SIMULATED if rows.simulated else ""
    subject = cards.Subject(Shape.SITE, kind, catalog, names, telling, caution=caution)
    whose = "simulated faults" if rows.simulated else "this site's own history"
    card = cards.empty(subject, f"{whose}, {rows.since:%Y-%m-%d} to {split.until:%Y-%m-%d}", split, settings)
    late = np.concatenate([block.within(split.calibrate_since, None).values for block in blocks])
    card = replace(card, data=rows.digest, reference=reference(late, names))
    final = learn(blocks, rows.lifetimes, split, card, settings, progress)
    return TreesPredictor(final.booster, registry.sealed(final.card, final.booster), catalog)


def days(rows: SiteRows, columns: tuple[str, ...]) -> Iterator[Block]:
    """The rows as matrices, a block for each day."""
    times = rows.frame.column("time")
    for time in filter(None, times.unique().to_pylist()):
        of_day = rows.frame.filter(pc.equal(times, pa.scalar(time, times.type)))
        yield Block(matrix(of_day, columns), of_day.select(["time", "component"]))


def _failed(rows: SiteRows, until: datetime) -> int:
    lives = rows.lifetimes
    before = pc.less_equal(lives.column("end"), pa.scalar(until, lives.column("end").type))
    return lives.filter(pc.and_(lives.column("failed"), before)).num_rows


def _telling_apart(blocks: list[Block], names: tuple[str, ...]) -> list[int]:
    """The columns that this site fills with more than one value."""
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for block in blocks:
        if len(block.values):
            low = np.fmin(low, _least(block.values, np.inf))
            high = np.fmax(high, -_least(-block.values, np.inf))
    return np.flatnonzero(high > low).tolist()


def _least(values: Singles, where_missing: float) -> Singles:
    found: Singles = np.where(np.isnan(values), where_missing, values).min(axis=0)
    return found
