"""What a cycle leaves behind is read whole, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.domain.inventory import Cluster, Host
from forewarn.domain.plan import Plan
from forewarn.domain.situation import Snapshot
from forewarn.errors import StateError
from forewarn.state.snapshot import SnapshotFile

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SNAPSHOT = Snapshot(NOW, 1, "all is well", Cluster(NOW, hosts=(Host("h1"),)), (), (), Plan("p", NOW, 0), ())


def test_what_was_written_is_read_back_equal(tmp_path: Path) -> None:
    SnapshotFile(tmp_path / "deep" / "snapshot.json").write(SNAPSHOT)
    assert SnapshotFile(tmp_path / "deep" / "snapshot.json").read() == SNAPSHOT


def test_before_the_first_cycle_there_is_none(tmp_path: Path) -> None:
    assert SnapshotFile(tmp_path / "snapshot.json").read() is None


def test_an_unchanged_file_is_not_parsed_again_and_a_new_one_is(tmp_path: Path) -> None:
    writer, reader = SnapshotFile(tmp_path / "s.json"), SnapshotFile(tmp_path / "s.json")
    writer.write(SNAPSHOT)
    first = reader.read()
    assert reader.read() is first
    writer.write(replace(SNAPSHOT, cycle=2))
    second = reader.read()
    assert second is not None
    assert second.cycle == 2


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_text('{"time": 3')
    with pytest.raises(StateError, match="is not a snapshot of this version; remove it"):
        SnapshotFile(path).read()


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot write .*snapshot\.json"):
        SnapshotFile(tmp_path / "file" / "snapshot.json").write(SNAPSHOT)
