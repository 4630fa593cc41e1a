"""Rows of recorded drives, week by week, through the catalogue, the store and the frame that serve."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.features import labels
from forewarn.predict import cards, registry
from forewarn.predict.fitting import PAST, PEERS, Block, learn, matches
from forewarn.predict.history import History, HistorySettings, Progress
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.shapes import Shape
from forewarn.predict.trees import TreesPredictor, matrix

# Which columns a model learns from, as patterns of names: the counters, their change in a form that sees a jump at once
# (windows of a week and more end at the last full day), and how the model's peers fare. Ages, counts of changes and
# ranks are left out: they added nothing on later time, and a rank among three drives means something else than one
# among thousands. Power-on hours are those as of now, not those of the last change.
LEARNED = ("*_last", *PAST, *PEERS, "power_on_hours")
LEFT_OUT = ("smart_9_last",)
PLAIN = ("*_last", "power_on_hours")  # all that a plain model looks at
# A row that knows none of these tells too little.
TELLING = tuple(f"smart_{number}_last" for number in (5, 187, 188, 196, 197, 198))


def train(
    path: Path,
    kind: Kind,
    catalog: Catalog,
    progress: Progress,
    until: datetime | None,
    settings: TrainingSettings,
    machinery: HistorySettings | None = None,
) -> TreesPredictor:
    """Fit a model on the weekly rows before `until`."""
    with History(path, kind, catalog, progress, machinery) as history:
        recording = history.recording
        last = min(until or recording.end, recording.end - settings.embargo)
        split = labels.chronological(recording.start, last, timedelta(days=settings.calibrate_days), settings.embargo)
        columns = _columns(catalog, kind, recording.metrics, PLAIN if settings.plain else LEARNED)
        years = f"drives recorded {recording.start:%Y-%m} to {split.until:%Y-%m}"
        card = cards.empty(cards.Subject(Shape.DRIVES, kind, catalog, columns, TELLING), years, split, settings)
        times = tuple(labels.asked_times(recording.start, split.until))
        frames = history.frames(times, catalog.narrowed(kind, card.columns), progress)
        weeks = [week for frame in frames for week in _weeks(frame, card.columns)]
    final = learn(weeks, recording.lifetimes, split, card, settings, progress)
    return TreesPredictor(final.booster, registry.sealed(final.card, final.booster), catalog)


def _weeks(frame: pa.Table, columns: Sequence[str]) -> Iterator[Block]:
    times = frame.column("time")
    for time in filter(None, times.unique().to_pylist()):
        of_time = frame.filter(pc.equal(times, pa.scalar(time, times.type)))
        yield Block(matrix(of_time, columns), of_time.select(["time", "component"]))


def _columns(catalog: Catalog, kind: Kind, metrics: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The wanted columns that the recording can fill."""

    def filled(name: str) -> bool:
        return {feature.metric for feature in catalog.narrowed(kind, [name]).stored(kind)} <= set(metrics)

    names = [name for name in catalog.names(kind) if matches(name, wanted) and not matches(name, LEFT_OUT)]
    return tuple(name for name in names if filled(name))
