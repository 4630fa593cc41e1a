"""The program in the guests bears true witness: it says `ok` while all is well, and never again once it is not."""

import gzip
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forewarn.lab.libvirt.guest import guest_folder
from forewarn.lab.libvirt.guests import beats
from forewarn.lab.settings import LabSettings
from tests.support import eventually

PAGE = 4096
MIB = 2**20


@pytest.fixture(scope="session")
def witness(settings: LabSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as it is in the guests' file system."""
    held = gzip.decompress((guest_folder(settings) / "initrd").read_bytes())
    head = held.rindex(b"070701", 0, held.index(b"bin/witness\0"))
    size, start = int(held[head + 54 : head + 62], 16), head + (110 + len("bin/witness") + 1 + 3) // 4 * 4
    path = tmp_path_factory.mktemp("witness") / "witness"
    path.write_bytes(held[start : start + size])
    path.chmod(0o755)
    return path


@contextmanager
def bearing(program: Path, log: Path, disk: str, write_mib_per_s: str = "8") -> Iterator["subprocess.Popen[bytes]"]:
    with (
        log.open("wb") as out,
        subprocess.Popen([program, "4", write_mib_per_s, "20", disk], stdout=out) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def words(log: Path) -> list[str]:
    return [beat.word for beat in beats(log.read_text())]


def spoil_memory(process: "subprocess.Popen[bytes]") -> None:
    """Change one byte of each page of the program's largest mapping, from outside."""
    ranges = [
        tuple(int(edge, 16) for edge in line.split()[0].split("-"))
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        if " rw-p " in line
    ]
    start, end = max(ranges, key=lambda edges: edges[1] - edges[0])
    memory = os.open(f"/proc/{process.pid}/mem", os.O_RDWR)
    try:
        os.pwrite(memory, b"\x5a" * 8, start + (end - start) // 2 // PAGE * PAGE)
    finally:
        os.close(memory)


@pytest.mark.parametrize("write_mib_per_s", ["0", "8"])
def test_one_wrong_word_in_memory_is_noticed_whether_or_not_it_is_written(
    witness: Path, tmp_path: Path, write_mib_per_s: str
) -> None:
    log = tmp_path / "log"
    with bearing(witness, log, "none", write_mib_per_s) as process:
        eventually(lambda: len(words(log)) > 20, deadline=30)
        assert set(words(log)) == {"ok"}
        spoil_memory(process)
        eventually(lambda: words(log)[-1] == "memory", deadline=30)


def test_an_old_record_that_was_lost_on_disk_is_noticed(witness: Path, tmp_path: Path) -> None:
    log, disk = tmp_path / "log", tmp_path / "disk"
    disk.write_bytes(bytes(2 * MIB))
    with bearing(witness, log, str(disk)):
        eventually(lambda: len(words(log)) > 140, deadline=60)
        assert set(words(log)) == {"ok"}
        with disk.open("r+b") as file:
            file.write(bytes(256 * PAGE))
        eventually(lambda: words(log)[-1] == "disk", deadline=30)


def test_it_goes_on_at_the_newest_record_after_a_restart(witness: Path, tmp_path: Path) -> None:
    log, disk = tmp_path / "log", tmp_path / "disk"
    disk.write_bytes(bytes(2 * MIB))
    with bearing(witness, log, str(disk)):
        eventually(lambda: len(words(log)) > 10, deadline=30)
    newest = beats(log.read_text())[-1].disk
    with bearing(witness, log, str(disk)):
        eventually(lambda: len(words(log)) > 3, deadline=30)
    first = beats(log.read_text())[0]
    assert newest < first.disk <= newest + 2
    assert first.ok
