"""Recorded drives become change points; what is wrong with a recording is said with its place."""

import gzip
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import METRICS
from forewarn.errors import RecordingError
from forewarn.store.base import Batch
from forewarn.store.duckdb import DuckDBStore
from forewarn.store.recordings import LIFETIMES, Recording, RecordingSettings, open_recording
from tests.telemetry import rows

DAY = datetime(2014, 3, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return DAY + timedelta(days=number)


def interval(serial: str, start: float, end: float, *, failed: bool = False, **values: Any) -> dict[str, Any]:
    row = {"serial_number": serial, "model": "M1", "capacity_tb": 4.0, "failed": failed, **values}
    return {**row, "start_time": day(start).replace(tzinfo=None), "end_time": day(end).replace(tzinfo=None)}


def parquet(path: Path, *found: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(found)), path)
    return path


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def points(recording: Recording, metric: str) -> list[tuple[str, float, float]]:
    """Component, day and value of each sample; a marker is -1."""
    return [
        (
            row["component"].removeprefix("disk:"),
            (row["time"] - DAY) / timedelta(days=1),
            -1.0 if math.isnan(row["value"]) else row["value"],
        )
        for batch in recording.batches()
        for row in batch.samples.to_pylist()
        if row["metric"] == metric
    ]


def lives(recording: Recording) -> list[tuple[str, datetime, datetime, bool]]:
    return [(row["component"], row["start"], row["end"], row["failed"]) for row in recording.lifetimes.to_pylist()]


# --- drive intervals


def test_a_value_is_a_sample_where_it_begins_and_a_marker_where_it_ends(tmp_path: Path) -> None:
    recording = open_recording(
        parquet(
            tmp_path / "intervals.parquet",
            interval("A", 0, 3, smart_5_raw=0.0, power_on_hours=10),
            interval("A", 3, 5.5, smart_5_raw=0.0, power_on_hours=82),
            interval("A", 5.5, 9, smart_5_raw=8.0, power_on_hours=142, failed=True),
        )
    )
    assert recording.kind is Kind.DISK
    assert (recording.start, recording.end) == (day(0), day(9))
    assert points(recording, "smart_5") == [("A", 0, 0.0), ("A", 5.5, 8.0), ("A", 9, -1.0)]
    assert points(recording, "smart_9") == [("A", 0, 10.0), ("A", 3, 82.0), ("A", 5.5, 142.0), ("A", 9, -1.0)]
    assert points(recording, "disk_capacity") == [("A", 0, 4e12), ("A", 9, -1.0)]
    assert lives(recording) == [("disk:A", day(0), day(9), True)]
    assert recording.lifetimes.schema.equals(LIFETIMES)


def test_a_value_that_goes_missing_ends_and_one_that_comes_late_begins_then(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "intervals.parquet",
        interval("A", 0, 2, smart_5_raw=None, smart_10_raw=1.0),
        interval("A", 2, 4, smart_5_raw=3.0, smart_10_raw=None),
        interval("A", 4, 6, smart_5_raw=3.0, smart_10_raw=1.0),
    )
    assert points(open_recording(path), "smart_5") == [("A", 2, 3.0), ("A", 6, -1.0)]
    assert points(open_recording(path), "smart_10") == [("A", 0, 1.0), ("A", 2, -1.0), ("A", 4, 1.0), ("A", 6, -1.0)]


def test_nothing_is_known_inside_a_gap_but_the_drive_lives_on(tmp_path: Path) -> None:
    recording = open_recording(
        parquet(
            tmp_path / "intervals.parquet",
            interval("A", 0, 2, smart_5_raw=1.0),
            interval("A", 5, 7, smart_5_raw=1.0),
            interval("B", 0, 7, smart_5_raw=2.0),
        )
    )
    assert points(recording, "smart_5") == [
        ("A", 0, 1.0),
        ("A", 2, -1.0),
        ("A", 5, 1.0),
        ("A", 7, -1.0),
        ("B", 0, 2.0),
        ("B", 7, -1.0),
    ]
    assert lives(recording) == [("disk:A", day(0), day(7), False), ("disk:B", day(0), day(7), False)]


def test_a_drive_that_comes_back_after_it_failed_begins_a_new_life(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "intervals.parquet",
        interval("A", 0, 2, smart_5_raw=1.0, failed=True),
        interval("A", 2, 5, smart_5_raw=1.0),
    )
    assert lives(open_recording(path)) == [("disk:A", day(0), day(2), True), ("disk:A", day(2), day(5), False)]


def test_all_devices_come_before_the_samples_and_batches_are_bounded(tmp_path: Path) -> None:
    found = (interval(f"{number:05}", 0, 2, smart_5_raw=float(number)) for number in range(5000))
    recording = open_recording(parquet(tmp_path / "intervals.parquet", *found), RecordingSettings(batch_rows=2048))
    first, *others = recording.batches()
    assert (first.samples.num_rows, first.devices.num_rows) == (0, 5000)
    assert first.devices.slice(7, 1).to_pylist() == [
        {
            "component": "disk:00007",
            "kind": "disk",
            "host": "",
            "device": "00007",
            "model": "M1",
            "first_seen": day(0),
            "last_seen": day(2),
        }
    ]
    assert all(batch.until_marked and batch.devices.num_rows == 0 for batch in others)
    assert max(batch.samples.num_rows for batch in others) <= 2048
    assert sum(batch.samples.num_rows for batch in others) == 2 * 2 * 5000


# --- daily snapshots


DAILY = "date,serial_number,model,capacity_bytes,failure,smart_5_raw,smart_194_raw\n"


def test_daily_snapshots_become_change_points_and_a_missing_day_a_gap(tmp_path: Path) -> None:
    text = DAILY + (
        "2014-03-01,A,M1,4000,0,0,30\n"
        "2014-03-02,A,M1,4000,0,0,31\n"
        "2014-03-04,A,M1,-1,0,2,999999\n"
        "2014-03-05,A,M1,4000,1,2,30\n"
        "2014-03-01,B,,4000,0,,\n"
    )
    recording = open_recording(csv(tmp_path / "daily.csv", text))
    assert points(recording, "smart_5") == [("A", 0, 0.0), ("A", 2, -1.0), ("A", 3, 2.0), ("A", 5, -1.0)]
    assert points(recording, "disk_temperature")[:3] == [("A", 0, 30.0), ("A", 1, 31.0), ("A", 2, -1.0)]
    assert ("A", 3, -1.0) not in points(recording, "disk_capacity")
    assert lives(recording) == [("disk:A", day(0), day(5), True), ("disk:B", day(0), day(1), False)]
    assert (recording.start, recording.end) == (day(0), day(5))


def test_a_folder_of_csv_and_gzip_files_is_one_recording_with_the_columns_of_all(tmp_path: Path) -> None:
    csv(tmp_path / "2014-03-01.csv", "date,serial_number,failure,smart_5_raw\n2014-03-01,A,0,1\n")
    with gzip.open(tmp_path / "2014-03-02.csv.gz", "wt") as file:
        file.write("date,serial_number,failure,smart_5_raw,smart_10_raw\n2014-03-02,A,0,1,7\n")
    csv(tmp_path / "notes.txt", "not a recording")
    recording = open_recording(tmp_path)
    assert points(recording, "smart_5") == [("A", 0, 1.0), ("A", 2, -1.0)]
    assert points(recording, "smart_10") == [("A", 1, 7.0), ("A", 2, -1.0)]


def test_the_same_days_in_parquet_and_csv_are_the_same_recording(tmp_path: Path) -> None:
    found = [
        {"date": f"2014-03-0{number}", "serial_number": "A", "failure": 0, "smart_5_raw": number // 2}
        for number in range(1, 6)
    ]
    lines = "".join(f"{row['date']},A,0,{row['smart_5_raw']}\n" for row in found)
    as_csv = open_recording(csv(tmp_path / "daily.csv", "date,serial_number,failure,smart_5_raw\n" + lines))
    as_parquet = open_recording(parquet(tmp_path / "daily.parquet", *found))
    assert points(as_csv, "smart_5") == points(as_parquet, "smart_5")
    assert lives(as_csv) == lives(as_parquet)


# --- what is wrong is said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "date,serial_number,failure,smart_5_raw\n2014-03-01,A,0,1\n2014-03-02,A,0,many\n",
            "row 2, column smart_5_raw",
        ),
        ("date,serial_number,failure,smart_5_raw\n01.03.2014,A,0,1\n", "row 1, column date: expected a date"),
        ("date,serial_number,failure,smart_5_raw\n2014-03-01,,0,1\n", "expected a serial number, found nothing"),
        (
            "date,serial_number,failure,smart_5_raw\n2014-03-01,A,maybe,1\n",
            "column failure: expected 0 or 1, found 'maybe'",
        ),
        (
            "date,serial_number,failure,smart_5_raw\n2014-03-01,A,0,1\n2014-03-01,A,0,2\n",
            "row 2, drive A: expected one row",
        ),
        ("date,serial_number,failure,smart_5_raw\n", "has no rows"),
        ("date,serial_number,failure,smart_300_raw\n2014-03-01,A,0,1\n", "no column smart_N_raw that is understood"),
        ("when,who\n2014-03-01,A\n", "has the columns .*: expected serial_number, .* or "),
    ],
)
def test_a_bad_recording_is_refused_with_its_place_and_what_was_expected(tmp_path: Path, text: str, said: str) -> None:
    path = csv(tmp_path / "daily.csv", text)
    with pytest.raises(RecordingError, match=said) as refused:
        open_recording(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_row_of_a_bad_cell_is_counted_in_its_own_file(tmp_path: Path) -> None:
    header = "date,serial_number,failure,smart_5_raw\n"
    csv(tmp_path / "1.csv", header + "2014-03-01,A,0,1\n2014-03-01,B,0,1\n")
    csv(tmp_path / "2.csv", header + "2014-03-02,A,0,1\n2014-03-02,B,0,x\n")
    with pytest.raises(RecordingError, match=r"2\.csv, row 2, column smart_5_raw: expected a number, found 'x'"):
        open_recording(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        [interval("A", 0, 3, smart_5_raw=1.0), interval("A", 2, 5, smart_5_raw=1.0)],
        [interval("A", 0, 3, smart_5_raw=1.0), interval("A", 3, 3, smart_5_raw=1.0)],
    ],
)
def test_intervals_that_overlap_or_are_empty_are_refused(tmp_path: Path, wrong: list[dict[str, Any]]) -> None:
    with pytest.raises(RecordingError, match="row 2, drive A: expected intervals that end after they start"):
        open_recording(parquet(tmp_path / "intervals.parquet", *wrong))


def test_a_file_that_is_not_what_its_name_says_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = csv(tmp_path / "drives.parquet", "this is no parquet")
    with pytest.raises(RecordingError, match="cannot be read as Parquet") as refused:
        open_recording(path)
    assert "\n" not in str(refused.value)


def test_what_is_no_recording_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="does not exist"):
        open_recording(tmp_path / "nowhere.csv")
    with pytest.raises(RecordingError, match=r"no file whose name ends in \.parquet"):
        open_recording(tmp_path)
    csv(tmp_path / "a.csv", DAILY)
    parquet(tmp_path / "b.parquet", interval("A", 0, 1, smart_5_raw=1.0))
    with pytest.raises(RecordingError, match="mixes Parquet and CSV"):
        open_recording(tmp_path)


# --- in a store


def test_no_feature_knows_whether_a_drive_will_fail(tmp_path: Path) -> None:
    """Two drives with one history up to a time have one row then, whatever comes after."""
    path = parquet(
        tmp_path / "intervals.parquet",
        *(interval(serial, 0, 20, smart_5_raw=1.0) for serial in "AB"),
        interval("A", 20, 30.5, smart_5_raw=5.0, failed=True),
        interval("B", 20, 90, smart_5_raw=5.0),
        interval("B", 90, 95, smart_5_raw=900.0),
    )
    store = DuckDBStore(None)
    for batch in open_recording(path).batches():
        store.append(batch)
    asked = [day(number) for number in (5, 20, 21, 30)]
    features = tuple(
        Feature(f"{aggregate}_{days}", Kind.DISK, "smart_5", aggregate, timedelta(days=days))
        for aggregate in Aggregate
        for days in (1, 7, 30)
    )
    table = rows(*((time, f"disk:{serial}") for time in asked for serial in "AB"))
    found = (
        store.features(Catalog(METRICS, features), Kind.DISK, table).drop_columns(["component", "device"]).to_pylist()
    )
    assert found[0::2] == found[1::2]
    assert found[-1]["last_30"] == 5.0
    store.close()


def test_a_recorded_value_holds_until_its_end_and_not_longer(tmp_path: Path) -> None:
    path = parquet(tmp_path / "intervals.parquet", interval("A", 0, 200, smart_5_raw=3.0))
    store = DuckDBStore(None)
    batches: list[Batch] = list(open_recording(path).batches())
    assert sum(store.append(batch) for batch in batches) == 4
    last = Feature("last", Kind.DISK, "smart_5", Aggregate.LAST)
    table = rows((day(199), "disk:A"), (day(200), "disk:A"), (day(-1), "disk:A"))
    found = store.features(Catalog(METRICS, (last,)), Kind.DISK, table)
    assert found.column("last").to_pylist() == [3.0, None, None]
    store.close()


@pytest.mark.slow
def test_the_recorded_intervals_and_days_are_read_whole(recorded_data: Path) -> None:
    intervals = open_recording(recorded_data / "drive_intervals_2013_2015.parquet")
    assert intervals.lifetimes.num_rows == 68_813
    assert intervals.lifetimes.column("failed").to_pylist().count(True) == 4_232
    assert intervals.end == datetime(2016, 1, 1, tzinfo=UTC)
    daily = open_recording(recorded_data / "drive_daily_2013-04-10_2013-05-19.parquet")
    assert len(set(daily.lifetimes.column("component").to_pylist())) == 22_892
    assert daily.lifetimes.column("failed").to_pylist().count(True) == 120
