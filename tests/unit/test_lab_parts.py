"""What a laboratory is built from, without building one."""

import io
import subprocess
from pathlib import Path
from shutil import which

import pytest

from forewarn.errors import LaboratoryError
from forewarn.lab.commands import run
from forewarn.lab.libvirt.guest import _depends, archive
from forewarn.lab.libvirt.guests import Guest, beats, flaws
from forewarn.lab.libvirt.image import Recipe
from forewarn.lab.libvirt.network import guest_address
from forewarn.lab.libvirt.packages import mirror

LINE = "BEAT count={} gap_ms=21 rounds=2 disk=0 {}\r\n"


def sources(folder: Path, name: str, text: str) -> Path:
    (folder / "sources.list.d").mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_the_mirror_is_the_machines_own_in_either_form_of_sources(tmp_path: Path) -> None:
    new = "Types: deb\n# x\nURIs: http://a.example/debian-security\nSuites: x\n\nURIs: http://b.example/debian/\n"
    sources(tmp_path, "sources.list.d/debian.sources", new)
    assert mirror(tmp_path) == "http://b.example/debian"
    old = (
        "# deb http://c.example/debian x main\ndeb [signed-by=/k] https://d.example/pub/debian bookworm main contrib\n"
    )
    sources(tmp_path, "sources.list", old)
    assert mirror(tmp_path) == "https://d.example/pub/debian"


def test_a_machine_without_an_archive_of_debian_is_told_so(tmp_path: Path) -> None:
    sources(tmp_path, "sources.list", "deb http://a.example/ubuntu jammy main\n")
    with pytest.raises(LaboratoryError, match="no Debian archive among its sources"):
        mirror(tmp_path)


def test_another_recipe_has_another_digest() -> None:
    assert Recipe().digest == Recipe().digest
    assert len({Recipe().digest, Recipe(version=99).digest, Recipe(packages=("qemu-utils",)).digest}) == 3


def test_a_kernel_module_tells_what_it_needs() -> None:
    assert [*_depends(b"\x7fELF..\0license=GPL\0depends=net-failover,virtio\0name=virtio_net\0")] == [
        "net_failover",
        "virtio",
    ]
    assert [*_depends(b"\0depends=\0")] == []


def test_an_archive_holds_each_file_and_the_folders_before_it() -> None:
    read = io.BytesIO(archive({"bin/a": b"12345", "init": b"#!"}))
    found = {}
    while True:
        head = read.read(110)
        mode, size, length = (int(head[start : start + 8], 16) for start in (14, 54, 94))
        name = read.read(length)[:-1].decode()
        read.read(-(110 + length) % 4)
        if name == "TRAILER!!!":
            break
        found[name] = (oct(mode), read.read(size))
        read.read(-size % 4)
    assert found == {"bin": ("0o40755", b""), "bin/a": ("0o100755", b"12345"), "init": ("0o100755", b"#!")}
    assert list(found) == ["bin", "bin/a", "init"]


@pytest.mark.skipif(which("cpio") is None, reason="there is no cpio on this machine")
def test_another_program_reads_the_archive_too(tmp_path: Path) -> None:
    subprocess.run(["cpio", "-id", "--quiet"], cwd=tmp_path, input=archive({"x/y": b"abc"}), check=True)
    assert (tmp_path / "x/y").read_bytes() == b"abc"


def test_beats_are_read_from_a_console_with_whatever_else_is_on_it() -> None:
    console = f"[ 1.0] virtio\nGUEST up\n{LINE.format(1, 'ok')}noise\n{LINE.format(2, 'ok')}BEAT count=3 gap"
    assert [beat.count for beat in beats(console)] == [1, 2]
    assert flaws(console) == []


@pytest.mark.parametrize(
    ("console", "said"),
    [
        (LINE.format(1, "ok") + LINE.format(3, "ok"), "1 was followed by 3"),
        (LINE.format(5, "ok") + LINE.format(5, "ok"), "5 was followed by 5"),
        (LINE.format(1, "memory") + LINE.format(2, "memory"), "memory was not what had been written, at 1"),
        (LINE.format(1, "disk"), "disk was not what had been written, at 1"),
        ("[ 2.7] Kernel panic - not syncing: x\n", "[ 2.7] Kernel panic - not syncing: x"),
    ],
)
def test_whatever_is_wrong_with_a_guest_is_found_on_its_console(console: str, said: str) -> None:
    assert flaws(console) == [said]


def test_a_guest_is_told_to_libvirt_with_its_own_name_address_and_disk() -> None:
    plain, disk = Guest("web & co", 3).xml(), Guest("db", 4, disk_mib=16, disk_shared=False).xml()
    assert "<name>web &amp; co</name>" in plain
    assert f"address={guest_address(3)}/24" in plain
    assert "<disk" not in plain
    assert "/lab/local/db.img" in disk
    with pytest.raises(LaboratoryError, match="numbers from 1 to 150, not 151"):
        Guest("x", 151).xml()


def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(LaboratoryError, match=r"sh -c .*failed \(3\): no luck"):
        run(["sh", "-c", "echo no luck >&2; exit 3"])
    with pytest.raises(LaboratoryError, match="needs the program no-such-program"):
        run(["no-such-program"])
    with pytest.raises(LaboratoryError, match="was not done within 0 s"):
        run(["sleep", "60"], timeout_s=0.05)
    assert run(["cat"], text="said") == "said"
