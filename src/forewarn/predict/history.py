"""A recording asked as if it were live: appended to a store of its own, which computes the catalogue's features.

Training, evaluation and serving see the same frames because they come from the same calls. All parts that live at a
time are asked for together, because some features compare a part with its peers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import RecordingError
from forewarn.features import frame, labels
from forewarn.features.labels import Outcomes
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.recordings import Recording, open_recording

Progress = Callable[[str], None]

_FOR_EVER_DAYS = 36_500.0


@dataclass(frozen=True)
class HistorySettings:
    """Machinery of asking a recording."""

    memory: str = "2GB"
    """What DuckDB may hold in memory; a size with unit. Training of 70,000 drives fits 6 GB with it."""
    threads: int = 2
    """Threads of one query."""
    times_at_once: int = 4
    """Number of times that one question asks for; more of them need more memory and are hardly faster."""


class History(AbstractContextManager["History"]):
    """One recording in its own store, in memory.

    Raises RecordingError where the file cannot be read or tells of another kind of part.
    """

    def __init__(
        self, path: Path, kind: Kind, catalog: Catalog, progress: Progress, settings: HistorySettings | None = None
    ) -> None:
        self._settings = settings or HistorySettings()
        self.kind, self.catalog = kind, catalog
        self.recording: Recording = open_recording(path)
        if self.recording.kind != kind:
            raise RecordingError(f"{path} tells of kind {self.recording.kind}, not {kind}")
        kept = DuckDBSettings(
            memory=self._settings.memory,
            threads=self._settings.threads,
            raw_days=_FOR_EVER_DAYS,
            hour_days=_FOR_EVER_DAYS,
            day_days=_FOR_EVER_DAYS,
        )
        self._store = DuckDBStore(None, kept)
        self._fill(progress)

    def _fill(self, progress: Progress) -> None:
        taken = sum(self._store.append(batch) for batch in self.recording.batches())
        self._store.roll_up(self.recording.end + timedelta(days=1))
        lives = self.recording.lifetimes
        progress(f"read {taken:,} samples of {lives.num_rows:,} lives from {self.recording.path.name}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def frames(self, times: Sequence[datetime], catalog: Catalog, progress: Progress) -> Iterator[pa.Table]:
        """The frames of all parts that live at each of the times, some times per frame, in their order."""
        step = self._settings.times_at_once
        for begin in range(0, len(times), step):
            some = times[begin : begin + step]
            rows = pa.concat_tables([labels.alive(self.recording.lifetimes, time) for time in some])
            if rows.num_rows:
                yield frame.build(self._store.features(catalog, self.kind, rows), catalog, self.kind)
            progress(f"features of {begin + len(some)} of {len(times)} times, up to {some[-1]:%Y-%m-%d}")

    def outcomes(self, frame: pa.Table, known_until: datetime) -> Outcomes:
        """What became of the frame's parts by `known_until`."""
        known = min(known_until, self.recording.end)
        return labels.outcomes(frame.select(["time", "component"]), self.recording.lifetimes, known)
