"""What is kept from round to round is dropped once it no longer holds: parts that come, go, or are swapped."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.changes import ChangesCollector
from forewarn.collect.cpu import CPUS, CpuCollector
from forewarn.collect.disk import DiskCollector
from forewarn.collect.power import CHIPS, PowerCollector
from forewarn.collect.standing import ROUNDS, NumberFile, Standing, kept
from forewarn.collect.tree import Tree
from forewarn.domain.events import ChangeEvent, ChangeKind
from tests.frozen import find, unreadable


@pytest.fixture
def server(thaw: Callable[[str], Path]) -> Path:
    return thaw("two-socket-server")


def test_what_stands_is_looked_up_again_after_so_many_rounds() -> None:
    looks = Standing[int]()
    found = [looks.at("same", partial(int, number)) for number in range(2 * ROUNDS)]
    assert found == [0] * ROUNDS + [ROUNDS] * ROUNDS


def test_a_drive_that_takes_the_name_of_another_is_told_at_once(server: Path) -> None:
    collector = DiskCollector(server)
    before = find(collector.collect(), "node_disk_info")
    (server / "sys/block/sda").unlink()  # a link into sys/devices
    device = server / "sys/block/sda/device"
    device.mkdir(parents=True)
    (device / "model").write_text("ANOTHER DRIVE\n")
    shutil.rmtree(server / "run/udev", ignore_errors=True)
    after = find(collector.collect(), "node_disk_info")
    assert not any("ANOTHER" in labels for labels in before)
    assert any("device=sda" in labels and "model=ANOTHER DRIVE" in labels for labels in after)


def test_what_udev_learns_later_is_told_at_once(server: Path) -> None:
    collector = DiskCollector(server)
    [line] = [row.split() for row in (server / "proc/diskstats").read_text().splitlines() if row.split()[2] == "sda"]
    data = server / f"run/udev/data/b{line[0]}:{line[1]}"
    data.unlink(missing_ok=True)
    find(collector.collect(), "node_disk_info")
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text("E:ID_SERIAL_SHORT=NEW1\n")
    assert any("serial=NEW1" in labels for labels in find(collector.collect(), "node_disk_info"))


def test_a_drive_that_was_swapped_is_a_change_at_once(server: Path, tmp_path: Path) -> None:
    collector = ChangesCollector(server, tmp_path / "state", SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)))
    assert not any(isinstance(found, ChangeEvent) for found in collector.collect())
    block = server / "sys/block/sda"
    folder = block.resolve()
    shutil.copytree(folder, folder.with_name("other"), symlinks=True)
    (folder.with_name("other") / "device/rev").unlink(missing_ok=True)
    shutil.rmtree(folder)
    folder.with_name("other").rename(folder)
    udev = server / "run/udev/data/b8:0"
    udev.write_text(udev.read_text().replace("Z1Z0EXAM", "Z1Z0NEW1"))
    told = [found for found in collector.collect() if isinstance(found, ChangeEvent)]
    assert [(event.kind, event.component, event.after) for event in told] == [
        (ChangeKind.PART, "disk:Z1Z0EXAM", "Z1Z0NEW1")
    ]


def test_a_chip_is_told_once_it_is_there_and_no_longer_once_it_is_gone(server: Path) -> None:
    collector = PowerCollector(server)
    name = "node_hwmon_temp_celsius"
    before = find(collector.collect(), name)
    chip = server / CHIPS / "hwmon77"
    chip.mkdir()
    (chip / "name").write_text("drivetemp\n")
    (chip / "temp1_input").write_text("39000\n")
    assert find(collector.collect(), name) == {**before, "chip=drivetemp sensor=temp1": 39.0}
    shutil.rmtree(chip)
    assert find(collector.collect(), name) == before


def test_a_cpu_that_comes_back_is_read_again(server: Path) -> None:
    (server / CPUS / "online").write_text("0-4,6-7\n")
    clock, aside = server / CPUS / "cpu5/cpufreq", server / "aside"
    clock.rename(aside)
    collector = CpuCollector(server)
    assert "cpu=5" not in find(collector.collect(), "node_cpu_scaling_frequency_hertz")
    aside.rename(clock)
    (server / CPUS / "online").write_text("0-7\n")
    assert "cpu=5" in find(collector.collect(), "node_cpu_scaling_frequency_hertz")


def test_a_limit_that_cannot_be_read_is_asked_again_and_one_that_can_is_kept(tmp_path: Path) -> None:
    for file in ("max", "crit"):
        (tmp_path / file).write_text("90\n")
    unreadable(tmp_path / "crit")
    tree = Tree(tmp_path)
    files = [NumberFile(file, f"node_{file}", {}) for file in ("max", "crit")]
    said, silent = kept(tree, files)
    assert ([sample.name for sample in said], silent) == (["node_max"], files[1:])
    assert tree.refused.total() == 1
