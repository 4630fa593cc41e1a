"""How a hard drive's own counters rise before it fails: a sequence of readings to be played in a laboratory.

One made-up sequence comes with the package. A recording of real drives (drive intervals in Parquet, as `forewarn train`
reads them) gives the readings of one drive that failed.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from forewarn.errors import RecordingError

READINGS_MIN = 5  # a decline with fewer shows nothing while it is played
COLUMNS = ("serial_number", "model", "capacity_tb", "start_time", "failed")
ATTRIBUTES = (5, 187, 188, 197, 198)


@dataclass(frozen=True)
class Reading:
    """What the drive said at one time: raw values by SMART attribute, and its own verdict."""

    day: float
    raw: Mapping[int, int]
    passed: bool = True


@dataclass(frozen=True)
class Decline:
    """One drive's readings, oldest first, and where they are from."""

    model: str
    serial: str
    capacity_bytes: int
    source: str
    readings: tuple[Reading, ...]


def made_up() -> Decline:
    """The sequence that comes with the package.

    >>> made_up().readings[0].raw[197], made_up().readings[-1].passed
    (0, False)
    """
    lines = (files("forewarn.lab") / "declines" / "pending_sectors.csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    readings = tuple(
        Reading(float(row["day"]), {number: int(row[str(number)]) for number in ATTRIBUTES}, row["passed"] == "1")
        for row in rows
    )
    return Decline("ST4000DM000-1F2168", "MADEUP01", 4_000_787_030_016, "made up for demonstrations", readings)


def recorded(path: Path) -> Decline:
    """The decline of the drive in `path` that failed with the most sectors pending of those with enough readings.

    Raises RecordingError where the file is no recording of drive intervals, or holds no such drive.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    raw = {number: f"smart_{number}_raw" for number in ATTRIBUTES}
    try:
        table = pq.read_table(path, columns=[*COLUMNS, *raw.values()])
    except (OSError, pa.ArrowException) as error:
        raise RecordingError(f"{path}: not a recording of drive intervals in Parquet: {error}") from error
    failed = pc.unique(table.filter(pc.equal(table["failed"], pa.scalar(True)))["serial_number"])
    rows = table.filter(pc.is_in(table["serial_number"], failed)).sort_by("start_time").to_pylist()
    drives: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        drives.setdefault(row["serial_number"], []).append(row)
    chosen = max(filter(_declines, drives.values()), key=lambda found: found[-1][raw[197]], default=None)
    if chosen is None:
        raise RecordingError(f"{path}: no drive in it fails after {READINGS_MIN} readings with sectors pending")
    return _decline(chosen, path, raw)


def _declines(rows: list[Mapping[str, Any]]) -> bool:
    first, last = rows[0]["smart_197_raw"], rows[-1]["smart_197_raw"]
    return len(rows) >= READINGS_MIN and first == 0 and last is not None and last > 0


def _decline(rows: Iterable[Mapping[str, Any]], path: Path, raw: Mapping[int, str]) -> Decline:
    """Rows without a value for an attribute leave it out, as a drive does that does not know it."""
    rows = list(rows)
    start = rows[0]["start_time"]
    readings = tuple(
        Reading(
            (row["start_time"] - start).total_seconds() / 86_400.0,
            {number: int(row[name]) for number, name in raw.items() if row[name] is not None},
        )
        for row in rows
    )
    drive = rows[0]
    capacity = int(drive["capacity_tb"] * 1e12)
    return Decline(drive["model"], drive["serial_number"], capacity, f"recorded in {path.name}", readings)
