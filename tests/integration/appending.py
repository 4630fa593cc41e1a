"""What a process does to a store until it is killed: run by test_killed_store.py."""

import itertools
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Metric
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from tests.telemetry import NOON, batch, every

BATCH = 300
STEP = timedelta(minutes=1)
SETTINGS = DuckDBSettings(raw_days=2.0, threads=1)
SEEN = Catalog(
    (Metric("smart_5", Kind.DISK, "smart_5", "bad sectors"),),
    (Feature("seen", Kind.DISK, "smart_5", Aggregate.COUNT, timedelta(days=400)),),
)


def time_of(number: int) -> datetime:
    """When the sample of that number was taken; its value is the number."""
    return NOON + number * STEP


def work(path: Path, first: int, told: Connection) -> None:
    """Append batch after batch from the sample `first` on, roll up and drop; tells what begins and what was stored."""
    store = DuckDBStore(path, SETTINGS)
    for number in itertools.count(first, BATCH):
        values = [float(number + n) for n in range(BATCH)]
        told.send(("ingest", number))
        store.append(batch("disk:A", "smart_5", every(time_of(number), STEP, values)))
        told.send(("stored", number + BATCH))
        told.send(("roll_up", number))
        # A question rolls up what has settled by its time; `roll_up` after it finds that done and drops alone.
        store.features(SEEN, Kind.DISK, [time_of(number)])
        told.send(("retention", number))
        store.roll_up(time_of(number))
