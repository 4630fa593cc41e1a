"""Outage logs are read as they are kept by hand, and become one row per slot and day that knows only its past."""

import lzma
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from forewarn.domain.inventory import Kind
from forewarn.errors import RecordingError
from forewarn.features import labels, outage_columns
from forewarn.features.outage_columns import COLUMNS, SystemRows
from forewarn.predict import outages
from forewarn.store.outages import CAUSES, OutageLog, is_outage_log, read_outages
from tests.outage_logs import row, write


def column(rows: SystemRows, name: str, node: int) -> list[float]:
    """The values of one slot, day by day."""
    found: list[float] = rows.values[rows.node == node, COLUMNS.index(name)].tolist()
    return found


def causes(log: OutageLog) -> list[set[str]]:
    values = log.outages["causes"].to_numpy().tolist()
    return [{name for name, bit in CAUSES.items() if value & bit} for value in values]


# --- reading


def test_the_cause_of_an_outage_is_all_that_its_row_names(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv",
        row("2", "1.0", "1/2/2001 10:00", Hardware="Memory Dimm"),
        row("2", "1.0", "1/3/2001 10:00", Hardware="Interconnect Soft Error"),
        row("2", "1.0", "1/4/2001 10:00", Network="Network", Software="OS"),
        row("2", "1.0", "1/5/2001 10:00", Hardware="Memory Module"),
        row("2", "1.0", "1/6/2001 10:00"),
    )
    expected = [{"memory", "hardware"}, {"network", "hardware"}, {"network", "software"}, {"hardware"}, set()]
    assert causes(read_outages(path)) == expected


def test_every_slot_counts_also_those_that_were_never_down(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv",
        row("14", "129.0", "11/15/2003 01:07", **{"node prod": "3-Sep", "node decom": "5-Nov"}),
        row("14", "1.0", "11/16/2003 01:07", **{"node prod": "3-Sep", "node decom": "5-Nov"}),
        row("2", "1.0", "11/17/2003 01:07", **{"node prod": "before tracking", "node decom": "Dec-99"}),
    )
    slots = read_outages(path).slots.to_pylist()
    assert [slot["node"] for slot in slots if slot["system"] == "14"] == [0, 1, 2, 3, 129]
    assert {(slot["since"], slot["until"]) for slot in slots if slot["system"] == "14"} == {
        (datetime(2003, 9, 1, tzinfo=UTC), datetime(2005, 12, 1, tzinfo=UTC))
    }
    assert {(slot["since"], slot["until"]) for slot in slots if slot["system"] == "2"} == {
        (None, datetime(2000, 1, 1, tzinfo=UTC))
    }


def test_rows_that_tell_of_no_slot_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv",
        row("17", "", "1/2/2001 10:00"),
        row("2", "one", "1/2/2001 10:00"),
        row("2", "-1", "1/2/2001 10:00"),
        row("2", "1.5", "1/2/2001 10:00"),
        row("2", "inf", "1/2/2001 10:00"),
        row("2", "1", "sometime"),
        row("2", "1", "13/45/2001 10:00"),
        row("2", "1", "1/3/2001 10:00", nodes="many", **{"Prob Fixed": "1/2/2001 10:00", "node prod": "Foo-01"}),
        row("2", "1", "1/4/2001 10:00", nodes="many", **{"Prob Fixed": "1/4/2001 11:00", "node prod": "Jan-123"}),
    )
    log = read_outages(path)
    assert log.left_out == {"name no node": 5, "have no readable start": 2}
    assert log.outages["down_s"].to_pylist() == [None, 3600.0]
    assert log.slots.num_rows == 1
    assert log.slots["since"].to_pylist() == [None]


def test_a_packed_log_is_the_same_log(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", row("2", "1", "1/3/2001 10:00"))
    (tmp_path / "log.csv.xz").write_bytes(lzma.compress(path.read_bytes()))
    assert is_outage_log(tmp_path / "log.csv.xz")
    assert read_outages(tmp_path / "log.csv.xz").outages.equals(read_outages(path).outages)


def test_what_is_no_outage_log_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("when,who\n1,2\n")
    with pytest.raises(RecordingError, match="lacks the columns System, nodes"):
        read_outages(tmp_path / "other.csv")
    with pytest.raises(RecordingError, match=r"0 readable outages in 2 rows: expected .* such as 2, 17"):
        read_outages(write(tmp_path / "odd.csv", row("2", "1", "?"), row("2", "1", "?")))
    (tmp_path / "broken.csv.xz").write_bytes(b"this is not packed")
    assert not is_outage_log(tmp_path / "broken.csv.xz")
    with pytest.raises(RecordingError, match="cannot be read as an outage log"):
        read_outages(tmp_path / "broken.csv.xz")
    assert not is_outage_log(tmp_path / "nowhere.csv")


# --- rows


def test_a_row_counts_what_began_before_its_midnight_and_nothing_after(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv",
        row("2", "1", "1/3/2001 10:00", Hardware="CPU", **{"Prob Fixed": "1/4/2001 10:00"}),
        row("2", "1", "1/3/2001 23:59", Hardware="CPU"),
        row("2", "2", "1/5/2001 00:00", Hardware="Power Supply"),
        row("2", "0", "1/9/2001 12:00", Software="OS"),
    )
    log = read_outages(path)
    (rows,) = outage_columns.rows(log, Kind.CPU, log.end)
    assert len(rows.day) == 4 * 9
    assert column(rows, "own_7d", 1) == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert column(rows, "own_1d", 1) == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert column(rows, "own_ever", 1)[-1] == 1
    assert column(rows, "own_since", 1)[3:5] == [1, 2]
    assert np.isnan(column(rows, "own_since", 1)[:3]).all()
    assert column(rows, "near4_7d", 0)[3] == pytest.approx(1 / 3)
    assert column(rows, "system_own_1d", 3)[3] == 0.25
    assert column(rows, "down_30d", 1)[3] == 24.0
    assert column(rows, "repaired_since", 1)[4] == 1
    assert column(rows, "second_other_7d", 2)[4:6] == [0, 1]
    assert column(rows, "weekday", 0)[0] == 0.0  # 2001-01-01 was a Monday
    assert column(rows, "age", 0)[:2] == [0, 1]


def test_no_row_depends_on_what_came_later(tmp_path: Path) -> None:
    early = [row("2", "1", f"1/{day}/2001 10:00", Hardware="CPU") for day in (3, 5, 9)]
    late = [row("2", "3", f"2/{day}/2001 10:00", Hardware="CPU", Software="OS") for day in range(1, 20)]
    short, long = (read_outages(write(tmp_path / f"{n}.csv", *rows)) for n, rows in enumerate((early, early + late)))
    until = datetime(2001, 1, 20, tzinfo=UTC)
    (before,), (after,) = (list(outage_columns.rows(log, Kind.CPU, until)) for log in (short, long))
    np.testing.assert_array_equal(before.values, after.values)


def test_a_new_system_is_first_taken_to_be_like_the_others(tmp_path: Path) -> None:
    old = [row("1", "1", f"{month}/{day}/2001 10:00", Hardware="CPU") for month in (1, 2, 3) for day in range(1, 25)]
    new = row("9", "0", "4/20/2001 10:00", **{"node prod": "1-Apr"})
    log = read_outages(write(tmp_path / "log.csv", *old, new))
    by_system = {rows.system: rows for rows in outage_columns.rows(log, Kind.CPU, log.end)}
    assert column(by_system["9"], "pooled_rate", 0)[0] == pytest.approx(column(by_system["9"], "all_rate", 0)[0])
    assert column(by_system["1"], "pooled_rate", 0)[-1] > column(by_system["9"], "pooled_rate", 0)[-1]
    assert column(by_system["9"], "pooled_rate", 0)[-1] < column(by_system["9"], "pooled_rate", 0)[0]


def test_a_system_that_is_not_in_production_yet_has_no_rows(tmp_path: Path) -> None:
    later = row("9", "0", "4/20/2001 10:00", **{"node prod": "1-Apr"})
    log = read_outages(write(tmp_path / "log.csv", row("1", "1", "1/3/2001 10:00"), later))
    assert [rows.system for rows in outage_columns.rows(log, Kind.CPU, datetime(2001, 2, 1, tzinfo=UTC))] == ["1"]


# --- outcomes


def test_a_failure_ends_a_life_and_begins_the_next(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv",
        row("2", "1", "1/3/2001 10:00", Hardware="CPU"),
        row("2", "1", "1/3/2001 10:00", Hardware="CPU"),
        row("2", "1", "1/5/2001 00:00", Hardware="CPU"),
        row("2", "1", "1/7/2001 10:00", Hardware="Power Supply"),
    )
    log = read_outages(path)
    (block,) = outages.rows(log, Kind.CPU, log.end)
    became = labels.outcomes(block.rows, outages.lifetimes(log, Kind.CPU), log.end)
    ours = np.array([str(name).endswith("-1") for name in block.rows["component"].to_pylist()])
    assert became.within(timedelta(days=1))[ours].tolist() == [False, False, True, False, True, False, False]
    assert not became.within(timedelta(days=30))[~ours].any()


def test_a_log_that_continues_another_knows_what_came_before(tmp_path: Path) -> None:
    first = write(tmp_path / "1.csv", row("2", "1", "1/3/2001 10:00", Hardware="CPU"), row("5", "0", "1/9/2001 10:00"))
    second = write(tmp_path / "2.csv", row("2", "1", "2/2/2001 10:00"), row("8", "0", "2/3/2001 10:00"))
    log = read_outages(second).continues(read_outages(first))
    assert set(log.slots["system"].to_pylist()) == {"2", "5", "8"}
    rows = next(rows for rows in outage_columns.rows(log, Kind.CPU, log.end) if rows.system == "2")
    assert column(rows, "own_ever", 1)[-1] == 1
    whole = read_outages(first)
    assert read_outages(first).continues(whole).outages.equals(whole.outages)


@pytest.mark.slow
def test_the_published_log_is_read_whole(recorded_data: Path) -> None:
    log = read_outages(recorded_data / "lanl_outages_1996_2003.csv.xz")
    assert (log.outages.num_rows, log.slots.num_rows, log.left_out) == (16_324, 5_016, {"name no node": 126})
    assert log.end == datetime(2004, 1, 1, tzinfo=UTC)
    counted = {name: sum(name in named for named in causes(log)) for name in ("cpu", "memory", "power", "network")}
    assert counted == {"cpu": 2_901, "memory": 2_006, "power": 519, "network": 838}
