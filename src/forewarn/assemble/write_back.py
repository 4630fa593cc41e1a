"""What Forewarn knows, kept in the telemetry store: `forewarn_risk` and its other series, after each cycle.

A thread writes, so that no cycle waits for a database. Where one is slow, the newest cycle is what is written next, and
those between are left out.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa

from forewarn.assemble.telemetry import Store
from forewarn.domain.situation import Snapshot
from forewarn.domain.telemetry import Sample
from forewarn.errors import ForewarnError
from forewarn.store.base import DEVICES, SAMPLES, Batch
from forewarn.store.duckdb import DuckDBStore
from forewarn.web.exposition import exposition, samples
from forewarn.web.fleet import Fleet, fleet_of

log = logging.getLogger(__name__)

RISK = "forewarn_risk"
_CLOSE_S = 10.0


class WriteBack:
    """Writes what a cycle found. `tell` belongs to the control loop; `close` ends the thread.

    `labels` go to every series, as a scrape's would: job and instance. An embedded store keeps the risks alone, as a
    metric of their components.
    """

    def __init__(self, store: Store, version: str, labels: Mapping[str, str]) -> None:
        self._store, self._version, self._labels = store, version, dict(labels)
        self._waiting: Snapshot | None = None
        self._ended = False
        self._news = threading.Condition()
        self._failing = ""
        self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)
        self._thread.start()

    def tell(self, snapshot: Snapshot) -> None:
        """Leave a cycle's snapshot to be written."""
        with self._news:
            self._waiting = snapshot
            self._news.notify()

    def close(self) -> None:
        """Write what waits, for at most some seconds."""
        with self._news:
            self._ended = True
            self._news.notify()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting is not None or self._ended)
                snapshot, self._waiting = self._waiting, None
            if snapshot is None:
                return
            self._write(snapshot)

    def _write(self, snapshot: Snapshot) -> None:
        try:
            keep(self._store, fleet_of(snapshot), self._version, self._labels)
        except ForewarnError as error:
            if str(error) != self._failing:
                log.warning("what a cycle found is not kept in the telemetry store: %s", error)
            self._failing = str(error)
        else:
            self._failing = ""


def keep(store: Store, found: Fleet, version: str, labels: Mapping[str, str]) -> None:
    """Write what one cycle found. Raises StoreUnavailable."""
    time = found.snapshot.time
    shown = samples(exposition(found, time, version, {}))
    if isinstance(store, DuckDBStore):
        store.append(_risks([one for one in shown if one.name == RISK], time))
    else:
        store.write([Sample(one.name, {**labels, **one.labels}, one.value, time) for one in shown])


def _risks(shown: list[Sample], time: datetime) -> Batch:
    columns = {
        "time": pa.array([time] * len(shown), SAMPLES.field("time").type),
        "component": pa.array([one.labels["component"] for one in shown], pa.string()),
        "metric": pa.array([RISK] * len(shown), pa.string()),
        "value": pa.array(np.array([one.value for one in shown], np.float64)),
    }
    return Batch(pa.table(columns, schema=SAMPLES), DEVICES.empty_table())
