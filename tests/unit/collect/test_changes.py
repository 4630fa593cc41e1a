"""Boots and new kernels are noticed once, whatever became of what was remembered."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.collect.changes import FILE, ChangesCollector, Seen, changes, parse
from forewarn.domain.events import ChangeEvent, ChangeKind
from forewarn.errors import SourceAbsent

BEFORE = Seen("a-1", 1_000_000.0, "6.1.0")
BOOTED = datetime.fromtimestamp(2_000_000, UTC)


def boot(root: Path, boot_id: str, time: int, kernel: str) -> None:
    (root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  1 2 3\nbtime {time}\nprocesses 7\n")
    (root / "proc/sys/kernel/random/boot_id").write_text(f"{boot_id}\n")
    (root / "proc/sys/kernel/osrelease").write_text(f"{kernel}\n")


def events(collector: ChangesCollector) -> list[ChangeEvent]:
    return [found for found in collector.collect() if isinstance(found, ChangeEvent)]


def test_a_boot_with_another_kernel_is_told_once_also_to_an_agent_that_starts_anew(tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "state"
    boot(root, "a-1", 1_000_000, "6.1.0")
    assert events(ChangesCollector(root, folder)) == []
    boot(root, "b-2", 2_000_000, "6.12.0")
    expected = [
        ChangeEvent(BOOTED, "", ChangeKind.BOOT, "", "a-1", "b-2"),
        ChangeEvent(BOOTED, "", ChangeKind.KERNEL, "", "6.1.0", "6.12.0"),
    ]
    again = ChangesCollector(root, folder)
    assert events(again) == expected
    assert events(again) == events(ChangesCollector(root, folder)) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"boot_id": 1}', '{"boot_id":"","boot_time":"x","kernel":""}'])
def test_what_was_remembered_and_got_damaged_is_as_if_never_seen(tmp_path: Path, damage: str) -> None:
    boot(tmp_path, "b-2", 2_000_000, "6.12.0")
    (tmp_path / FILE).write_text(damage)
    assert events(ChangesCollector(tmp_path, tmp_path)) == []
    assert parse((tmp_path / FILE).read_text()) == Seen("b-2", 2_000_000.0, "6.12.0")


def test_without_a_boot_id_the_time_of_the_boot_tells_and_may_wander() -> None:
    before = replace(BEFORE, boot_id="")
    assert list(changes(before, replace(before, boot_time=1_000_030.0))) == []
    assert len(list(changes(before, replace(before, boot_time=1_000_300.0)))) == 1


def test_what_could_not_be_read_is_no_change() -> None:
    assert list(changes(BEFORE, Seen())) == list(changes(Seen(), BEFORE)) == []


def test_without_a_folder_it_is_absent_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no folder"):
        list(ChangesCollector(tmp_path, None).collect())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    boot(tmp_path, "b-2", 2_000_000, "6.12.0")
    (tmp_path / "file").touch()
    with pytest.raises(SourceAbsent, match="cannot be kept"):
        list(ChangesCollector(tmp_path, tmp_path / "file" / "state").collect())
