"""The way of samples from whoever shows them through the mapper into the store.

What the store does not take stays, and goes with what comes next: values that had waited for a serial number, of other
hosts too, and markers come once only, whatever a sender does. Bodies that come at once are stored by one transaction.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forewarn.domain.telemetry import Sample
from forewarn.errors import PermanentError
from forewarn.store.base import Batch, TelemetryStore
from forewarn.store.layout import joined
from forewarn.store.mapping import Mapper


@dataclass(frozen=True)
class ArrivalSettings:
    """What is kept of samples that the store does not take."""

    kept_max: int = 2_000_000
    """Samples that wait for a store that fails, about 100 B each; past it the oldest are lost, and counted."""


class Arrivals:
    """Takes what hosts show. Safe to use from several threads: what is mapped first is stored first."""

    def __init__(self, mapper: Mapper, store: TelemetryStore, settings: ArrivalSettings | None = None) -> None:
        self._mapper, self._store, self._settings = mapper, store, settings or ArrivalSettings()
        self._mapping, self._storing = threading.Lock(), threading.Lock()
        self._queue: deque[Batch] = deque()
        self._mapped = self._stored = 0  # batches, counted
        self.waiting = 0
        self.lost = 0

    def take(self, shown: Mapping[str, Iterable[Sample]], now: datetime, *, whole: bool) -> None:
        """Store what hosts show; `whole` as of `Mapper.map_all`. Raises what the store raises."""
        if shown:
            with self._mapping:
                number = self._add(self._mapper.map_all(shown, now, whole=whole))
            self._store_until(number)

    def finish(self) -> None:
        """Store what still waits: the process ends."""
        with self._mapping:
            number = self._add(self._mapper.waiting())
        self._store_until(number)

    def metrics(self) -> Mapping[str, float]:
        """What waits and what was lost, for /metrics."""
        return {"forewarn_samples_waiting": float(self.waiting), "forewarn_samples_lost_total": float(self.lost)}

    def _add(self, batch: Batch) -> int:
        """Put a batch at the end; returns how many there have been."""
        self._queue.append(batch)
        self.waiting += batch.samples.num_rows
        self._mapped += 1
        return self._mapped

    def _store_until(self, number: int) -> None:
        """Store all that is mapped, unless another thread has done so for this one."""
        with self._storing:
            if self._stored >= number:
                return
            with self._mapping:
                batches = tuple(self._queue)
            try:
                self._store.append(joined(batches))
            except PermanentError:
                self._leave(len(batches), lost=True)
                raise
            except BaseException:
                self._leave(self._surplus(batches), lost=True)
                raise
            self._leave(len(batches), lost=False)

    def _surplus(self, batches: Sequence[Batch]) -> int:
        """How many of the oldest batches are too many to be kept."""
        over = sum(batch.samples.num_rows for batch in batches) - self._settings.kept_max
        number = 0
        while over > 0:
            over -= batches[number].samples.num_rows
            number += 1
        return number

    def _leave(self, number: int, *, lost: bool) -> None:
        """The oldest batches are done with."""
        with self._mapping:
            for _ in range(number):
                samples = self._queue.popleft().samples.num_rows
                self.waiting -= samples
                self.lost += samples if lost else 0
            self._stored += number
