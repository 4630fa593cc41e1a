"""Declines to be played: where their readings come from, and that an agent reads them as it reads smartctl."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forewarn.clock import RealClock
from forewarn.collect.smart import SmartCollector, SmartSettings
from forewarn.errors import RecordingError
from forewarn.lab.decline import made_up, recorded
from forewarn.lab.drives import Bay

START = datetime(2015, 3, 1)  # noqa: DTZ001 - recordings of drives bear no zone


def rows(serial: str, pending: list[float | None], *, failed: bool, model: str = "A") -> list[dict[str, Any]]:
    return [
        {
            "serial_number": serial,
            "model": model,
            "capacity_tb": 4.0,
            "start_time": START + timedelta(days=day),
            "failed": failed and day == len(pending) - 1,
            "smart_5_raw": 2.0 * day,
            "smart_187_raw": None,
            "smart_188_raw": 0.0,
            "smart_197_raw": value,
            "smart_198_raw": value,
        }
        for day, value in enumerate(pending)
    ]


def recording(folder: Path, *drives: list[dict[str, Any]]) -> Path:
    path = folder / "drives.parquet"
    pq.write_table(pa.Table.from_pylist([row for drive in drives for row in drive]), path)
    return path


def test_the_drive_that_fails_with_the_most_pending_sectors_is_played(tmp_path: Path) -> None:
    path = recording(
        tmp_path,
        rows("healthy", [0.0, 1.0, 90.0, 99.0, 900.0], failed=False),
        rows("mild", [0.0, 1.0, 2.0, 3.0, 4.0], failed=True),
        rows("worst", [0.0, 8.0, 16.0, 64.0, 640.0], failed=True, model="B"),
        rows("short", [0.0, 5000.0], failed=True),
    )
    found = recorded(path)
    assert (found.serial, found.model, found.capacity_bytes) == ("worst", "B", 4 * 10**12)
    assert [reading.raw[197] for reading in found.readings] == [0, 8, 16, 64, 640]
    assert [reading.day for reading in found.readings] == [0, 1, 2, 3, 4]
    assert 187 not in found.readings[0].raw
    assert found.source == "recorded in drives.parquet"


def test_a_recording_without_such_a_drive_is_refused(tmp_path: Path) -> None:
    path = recording(tmp_path, rows("healthy", [0.0] * 6, failed=False))
    with pytest.raises(RecordingError, match="no drive in it fails after 5 readings"):
        recorded(path)
    path.write_text("no parquet")
    with pytest.raises(RecordingError, match="not a recording of drive intervals"):
        recorded(path)


def test_a_real_recording_holds_a_decline(recorded_data: Path) -> None:
    found = recorded(recorded_data / "drive_intervals_2013_2015.parquet")
    pending = [reading.raw[197] for reading in found.readings]
    assert pending[0] == 0
    assert pending[-1] > 100
    assert len(found.readings) >= 5


def test_an_agent_reads_each_reading_as_it_reads_smartctl(tmp_path: Path) -> None:
    drive, bay = made_up(), Bay(tmp_path / "drives")
    bay.insert(drive)
    collector = SmartCollector(RealClock(), SmartSettings(command=str(bay.program), interval_s=1e-9))

    def shown() -> dict[str, float]:
        found = list(collector.collect())
        raw = {s.labels["attribute_id"]: s.value for s in found if s.labels.get("attribute_value_type", "") == "raw"}
        return {"197": raw["197"], "5": raw["5"], **{s.name: s.value for s in found if s.name.endswith("smart_status")}}

    assert shown() == {"197": 0.0, "5": 0.0, "smartctl_device_smart_status": 1.0}
    for reading in drive.readings:
        bay.show(drive, reading)
        assert shown()["197"] == reading.raw[197]
    assert shown() == {"197": 1240.0, "5": 3968.0, "smartctl_device_smart_status": 0.0}


def test_the_made_up_decline_only_ever_rises() -> None:
    readings = made_up().readings
    for before, after in pairwise(readings):
        assert after.day > before.day
        assert all(after.raw[number] >= before.raw[number] for number in before.raw)
