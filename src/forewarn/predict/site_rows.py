"""A site's own history as rows to learn from: what its telemetry showed each day, and what became of each part.

Rows are asked of the store through the catalogue that serves, so that a model sees what it will be asked. A part's life
ends where it failed, where it was last heard of, or where it was acted upon: what its VMs left, nobody knows whether it
would have failed, unless it did all the same. Only a failure that somebody vouches for is one; a part that was swapped,
a host that was maintained, and a failure that was refuted are none.

The rows are kept as one Parquet file which says all that training needs to know, so that it can run in a process of its
own, and again later.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import RecordingError
from forewarn.features import frame, labels
from forewarn.predict.history import Progress
from forewarn.predict.rule_table import TELLING
from forewarn.store.base import FRAME_KEYS, TIME, TelemetryStore
from forewarn.store.recordings import LIFETIMES

META = b"forewarn.rows"
LIFE = ("life_start", "life_end", "life_failed")


@dataclass(frozen=True)
class LabelSettings:
    """What counts as a failure of a part, and what hides one."""

    confidence_min: float = 0.5
    """Confidence (0..1) of a failure event from which on models learn from it; what a person judged always counts."""
    acted_days: float = 30.0
    """Days after Forewarn acted on a part in which nothing is learned from it unless it fails: the longest horizon."""
    settle_days: float = 1.0
    """Days after a failure in which nothing is learned from what comes in the part's place under the same name."""


@dataclass(frozen=True)
class SiteEvents:
    """What befell a site's parts."""

    failures: Sequence[FailureEvent] = ()
    acted: Mapping[str, Sequence[datetime]] = field(default_factory=dict)  # by component: when Forewarn acted on it


@dataclass(frozen=True)
class SiteRows:
    """Rows of one kind, their parts' lives, and the window that they are of."""

    name: str
    kind: Kind
    since: datetime
    until: datetime  # outcomes are known up to here
    simulated: bool  # whether any of it comes from simulated hosts
    digest: str  # of all that is in it
    frame: pa.Table  # FRAME_KEYS and feature columns
    lifetimes: pa.Table  # LIFETIMES


def lives(devices: pa.Table, events: SiteEvents, now: datetime, settings: LabelSettings) -> pa.Table:
    """LIFETIMES of a store's devices, from what befell them until `now`."""
    seen: dict[str, list[datetime]] = {}
    for row in devices.select(["component", "first_seen", "last_seen"]).to_pylist():
        first, last = seen.get(row["component"], [row["first_seen"], row["last_seen"]])
        seen[row["component"]] = [min(first, row["first_seen"]), max(last, row["last_seen"])]
    ends = defaultdict(list)
    for event in events.failures:
        if event.component in seen and event.time <= now and _ends_a_life(event, settings):
            ends[event.component].append((event.time, event.state is not LabelState.CENSORED))
    found: list[dict[str, Any]] = []
    for component, (first, last) in sorted(seen.items()):
        acted = sorted(events.acted.get(component, ()))
        for start, end, failed in _cut(first, min(last, now), sorted(ends[component]), acted, settings):
            if end > start:
                found.append({"component": component, "start": start, "end": end, "failed": failed})
    columns = {name: pa.array([one[name] for one in found]) for name in LIFETIMES.names}
    typed = {name: columns[name].cast(LIFETIMES.field(name).type) for name in LIFETIMES.names}
    return pa.table(typed, schema=LIFETIMES)


def _ends_a_life(event: FailureEvent, settings: LabelSettings) -> bool:
    """Whether an event says of a part that it failed, or that nobody knows what became of it."""
    sure = event.confidence >= settings.confidence_min or event.state is not LabelState.OPEN
    return sure and event.state is not LabelState.REFUTED


def _cut(
    first: datetime,
    last: datetime,
    ends: Sequence[tuple[datetime, bool]],
    acted: Sequence[datetime],
    settings: LabelSettings,
) -> Iterable[tuple[datetime, datetime, bool]]:
    """The lives of one part: cut by failures, and by what was acted upon and did not fail."""
    blind, settle = timedelta(days=settings.acted_days), timedelta(days=settings.settle_days)
    cuts = [(time, failed, time + settle) for time, failed in ends]
    failures = [time for time, failed in ends if failed]
    cuts += [(time, False, time + blind) for time in acted if not any(time <= f <= time + blind for f in failures)]
    start = first
    for time, failed, resumes in sorted(cuts):
        if time >= start:
            yield start, time, failed
            start = resumes
        else:
            start = max(start, resumes)
    yield start, last, False


def write(
    store: TelemetryStore,
    catalog: Catalog,
    kind: Kind,
    lifetimes: pa.Table,
    window: tuple[datetime, datetime],
    path: Path,
    progress: Progress,
    *,
    simulated: bool = False,
    days_at_once: int = 4,
) -> None:
    """Ask the store for a row per living part and day of [since, until), and write those that tell something.

    One question is about `days_at_once` days: between two of them, whoever else needs the store has it.
    """
    since, until = window
    times = tuple(labels.asked_times(since, until, "daily"))
    columns = [*FRAME_KEYS.names, *catalog.names(kind)]
    schema = pa.schema([*FRAME_KEYS, *(pa.field(name, pa.float64()) for name in catalog.names(kind)), *_LIFE])
    told = {"kind": kind, "since": since.isoformat(), "until": until.isoformat(), "simulated": simulated}
    schema = schema.with_metadata({META: json.dumps(told)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, len(times), days_at_once):
            some = times[begin : begin + days_at_once]
            rows = pa.concat_tables([labels.alive(lifetimes, time) for time in some])
            if rows.num_rows:
                asked = frame.build(store.features(catalog, kind, rows), catalog, kind)
                writer.write_table(_told(asked.select(columns), lifetimes, kind).cast(schema))
            progress(f"features of {begin + len(some)} of {len(times)} days, up to {some[-1]:%Y-%m-%d}")


_LIFE = (pa.field("life_start", TIME), pa.field("life_end", TIME), pa.field("life_failed", pa.bool_()))


def _told(asked: pa.Table, lifetimes: pa.Table, kind: Kind) -> pa.Table:
    """The rows that tell something, with the life in which each falls."""
    life = lifetimes.take(labels.life_of(asked, lifetimes))
    for place, name in enumerate(("start", "end", "failed")):
        asked = asked.append_column(LIFE[place], life.column(name))
    known = [np.isfinite(asked.column(name).to_numpy().astype(np.float64)) for name, _ in TELLING[kind]]
    return asked.filter(pa.array(np.logical_or.reduce(known)))


def is_site_rows(path: Path) -> bool:
    """Whether a file holds rows that `write` wrote."""
    if not path.is_file() or not path.name.endswith(".parquet"):
        return False
    try:
        return META in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def read(path: Path) -> SiteRows:
    """Read what `write` wrote. Raises RecordingError for a file that is damaged."""
    try:
        table = pq.read_table(path).combine_chunks()
        told = json.loads((table.schema.metadata or {})[META])
        since, until = (datetime.fromisoformat(told[name]) for name in ("since", "until"))
        kind, simulated = Kind(told["kind"]), bool(told["simulated"])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise RecordingError(f"{path} holds no rows of a site: {error}") from error
    return SiteRows(
        path.name, kind, since, until, simulated, _digest(table), table.drop_columns(list(LIFE)), _lives(table)
    )


def _lives(table: pa.Table) -> pa.Table:
    once = table.select(["component", *LIFE]).group_by(["component", *LIFE], use_threads=False).aggregate([])
    renamed = once.rename_columns(["component", "start", "end", "failed"]).select(LIFETIMES.names)
    return renamed.cast(LIFETIMES)


def _digest(table: pa.Table) -> str:
    """Of the values themselves, however they were cut into pieces and compressed."""
    written = pa.BufferOutputStream()
    with pa.ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(written.getvalue()).hexdigest()[:16]
