"""What changes on a host is noticed once, and whether it went down unasked; whatever became of what was remembered."""

import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.changes import FILE, ChangesCollector, Seen, changes, parse, read_parts, tell_stop
from forewarn.collect.packages import Packages
from forewarn.collect.tree import Tree
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.errors import SourceAbsent

BEFORE = Seen("a-1", 1_000_000.0, "6.1.0")
CLOCK = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
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
    assert events(ChangesCollector(root, folder, CLOCK)) == []
    boot(root, "b-2", 2_000_000, "6.12.0")
    expected = [
        ChangeEvent(BOOTED, "", ChangeKind.BOOT, "", "a-1", "b-2"),
        ChangeEvent(BOOTED, "", ChangeKind.KERNEL, "", "6.1.0", "6.12.0"),
    ]
    again = ChangesCollector(root, folder, CLOCK)
    assert events(again) == expected
    assert events(again) == events(ChangesCollector(root, folder, CLOCK)) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"boot_id": 1}', '{"boot_id":"","boot_time":"x","kernel":""}'])
def test_what_was_remembered_and_got_damaged_is_as_if_never_seen(tmp_path: Path, damage: str) -> None:
    boot(tmp_path, "b-2", 2_000_000, "6.12.0")
    (tmp_path / FILE).write_text(damage)
    assert events(ChangesCollector(tmp_path, tmp_path, CLOCK)) == []
    assert parse((tmp_path / FILE).read_text()) == Seen("b-2", 2_000_000.0, "6.12.0")


def test_without_a_boot_id_the_time_of_the_boot_tells_and_may_wander() -> None:
    before = replace(BEFORE, boot_id="")
    assert list(changes(before, replace(before, boot_time=1_000_030.0), BOOTED)) == []
    assert len(list(changes(before, replace(before, boot_time=1_000_300.0), BOOTED))) == 1


def test_what_could_not_be_read_is_no_change() -> None:
    assert list(changes(BEFORE, Seen(), BOOTED)) == list(changes(Seen(), BEFORE, BOOTED)) == []


def test_without_a_folder_it_is_absent_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no folder"):
        list(ChangesCollector(tmp_path, None, CLOCK).collect())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    boot(tmp_path, "b-2", 2_000_000, "6.12.0")
    (tmp_path / "file").touch()
    with pytest.raises(SourceAbsent, match="cannot be kept"):
        list(ChangesCollector(tmp_path, tmp_path / "file" / "state", CLOCK).collect())


# --- Versions, packages, parts and VMs ------------------------------------------------------------------------------


def dmi(kind: int, place: str, serial: str, length: int = 40) -> bytes:
    """A structure of SMBIOS with a place and a serial number, as boards write it."""
    raw = bytearray(length)
    raw[0], raw[1] = kind, length
    place_at, serial_at = {17: (0x10, 0x18), 39: (0x05, 0x08)}[kind]
    raw[place_at], raw[serial_at] = 1, 2
    return bytes(raw) + f"{place}\0{serial}\0\0".encode()


def slot(root: Path, entry: str, raw: bytes) -> None:
    (root / f"sys/firmware/dmi/entries/{entry}").mkdir(parents=True, exist_ok=True)
    (root / f"sys/firmware/dmi/entries/{entry}/raw").write_bytes(raw)


def write(root: Path, file: str, text: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(text)


@pytest.fixture
def host(thaw: Callable[[str], Path]) -> Path:
    root = thaw("two-socket-server")
    boot(root, "a-1", 1_000_000, "6.1.0")
    write(root, "proc/cpuinfo", "processor\t: 0\nmicrocode\t: 0x2006e05\n")
    write(root, "sys/class/dmi/id/bios_version", "2.10.0\n")
    slot(root, "17-0", dmi(17, "A1", "1F00AA01"))
    slot(root, "39-0", dmi(39, "PSU 1", "CN0001"))
    write(root, "run/libvirt/qemu/web01.xml", "<domstatus/>")
    write(root, "var/lib/dpkg/status", DPKG)
    return root


DPKG = """Package: qemu-system-x86
Status: install ok installed
Version: 1:7.2+dfsg-7

Package: vim
Status: install ok installed
Version: 2:9.0

Package: libvirt-daemon
Status: deinstall ok config-files
Version: 9.0
"""


def test_versions_parts_packages_and_vms_that_changed_are_told_once(host: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    collector = ChangesCollector(host, folder, CLOCK)
    assert events(collector) == []
    write(host, "proc/cpuinfo", "processor\t: 0\nmicrocode\t: 0x2007006\n")
    write(host, "sys/class/dmi/id/bios_version", "2.11.2\n")
    slot(host, "17-0", dmi(17, "A1", "1F00BB02"))
    slot(host, "39-0", dmi(39, "PSU 1", "CN0002"))
    write(host, "run/libvirt/qemu/db01.xml", "<domstatus/>")
    (host / "run/libvirt/qemu/web01.xml").unlink()
    write(host, "var/lib/dpkg/status", DPKG.replace("1:7.2+dfsg-7", "1:7.2+dfsg-8").replace("2:9.0", "2:9.1"))
    os.utime(host / "var/lib/dpkg/status", (2e9, 2e9))
    now = CLOCK.now()
    assert events(ChangesCollector(host, folder, CLOCK)) == [
        ChangeEvent(now, "", ChangeKind.MICROCODE, "", "0x2006e05", "0x2007006"),
        ChangeEvent(now, "", ChangeKind.FIRMWARE, "bios", "2.10.0", "2.11.2"),
        ChangeEvent(now, "", ChangeKind.PACKAGE, "qemu-system-x86", "1:7.2+dfsg-7", "1:7.2+dfsg-8"),
        ChangeEvent(now, "", ChangeKind.PART, "memory:/A1", "1F00AA01", "1F00BB02"),
        ChangeEvent(now, "", ChangeKind.PART, "power:/PSU 1", "CN0001", "CN0002"),
        ChangeEvent(now, "", ChangeKind.VM, "db01", "", "here"),
        ChangeEvent(now, "", ChangeKind.VM, "web01", "here", ""),
    ]
    assert events(ChangesCollector(host, folder, CLOCK)) == []


def test_a_drive_that_was_pulled_and_replaced_later_is_a_swap_of_that_drive(host: Path, tmp_path: Path) -> None:
    folder, place = tmp_path / "state", host / "sys/block/sda"
    udev = host / "run/udev/data/b8:0"
    collector = ChangesCollector(host, folder, CLOCK)
    assert events(collector) == []
    target = place.readlink()
    place.unlink()
    assert events(collector) == []
    place.symlink_to(target)
    udev.write_text(udev.read_text().replace("Z1Z0EXAM", "Z1Z0NEW1").replace("SN04", "SN05"))
    [event] = events(collector)
    assert (event.kind, event.component) == (ChangeKind.PART, "disk:Z1Z0EXAM")
    assert (event.before, event.after) == ("Z1Z0EXAM", "Z1Z0NEW1")


def test_a_drive_whose_firmware_was_renewed_is_told_under_its_serial_number(host: Path, tmp_path: Path) -> None:
    collector = ChangesCollector(host, tmp_path / "state", CLOCK)
    assert events(collector) == []
    write(host, "sys/block/sda/device/rev", "SN05\n")
    write(host, "run/udev/data/b8:99", "E:DEVTYPE=disk\n")  # udev tells of it
    [event] = events(collector)
    assert (event.kind, event.component, event.after) == (ChangeKind.FIRMWARE, "disk:Z1Z0EXAM", "SN05")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x11",
        dmi(17, "A1", "1F00AA01")[:20],
        dmi(17, "A1", "NO DIMM"),
        dmi(17, "A1", "00000000"),
        dmi(17, "", "1F"),
    ],
)
def test_a_slot_that_tells_no_serial_number_is_no_part(host: Path, raw: bytes) -> None:
    slot(host, "17-0", raw)
    assert [key for key in read_parts(Tree(host), []).parts if key.startswith("memory")] == []


def test_an_agent_that_is_renewed_takes_what_the_older_did_not_keep_for_unknown(host: Path, tmp_path: Path) -> None:
    write(tmp_path, FILE, '{"boot_id": "a-1", "boot_time": 1000000.0, "kernel": "6.1.0"}')
    assert events(ChangesCollector(host, tmp_path, CLOCK)) == []


def test_packages_are_told_by_rpm_where_there_is_no_dpkg(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host / "var/lib/dpkg/status").unlink()
    write(host, "var/lib/rpm/rpmdb.sqlite", "")
    packages = Packages(Tree(host), re.compile("kernel|qemu.*"), 5.0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert packages.versions() == {}
    rpm = tmp_path / "rpm"
    rpm.write_text("#!/bin/sh\necho 'kernel 5.14.0-503'; echo 'vim 9.1'; echo ' '\n")
    rpm.chmod(0o755)
    os.utime(host / "var/lib/rpm/rpmdb.sqlite", (2e9, 2e9))
    assert packages.versions() == {"kernel": "5.14.0-503"}
    rpm.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    os.utime(host / "var/lib/rpm/rpmdb.sqlite", (2.1e9, 2.1e9))
    assert Packages(Tree(host), re.compile("kernel"), 0.2).versions() == {}


# --- Whether the last boot ended as it should -------------------------------------------------------------------------


def wtmp(root: Path, *records: tuple[int, str, int]) -> None:
    """A `wtmp` with these records: type, user, seconds."""
    packed = struct.Struct("<hxxi32s4s32s256shhiii16s20s")
    rows = [
        packed.pack(kind, 0, b"~", b"~~", user.encode(), b"6.1.0", 0, 0, 0, time, 0, b"", b"")
        for kind, user, time in records
    ]
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    (root / "var/log/wtmp").write_bytes(b"".join(rows))


BOOT_1, BOOT_2 = (2, "reboot", 1_000_003), (2, "reboot", 2_000_003)
LOGIN, SHUTDOWN = (7, "root", 1_500_000), (1, "shutdown", 1_999_900)


def failures(collector: ChangesCollector) -> list[FailureEvent]:
    return [found for found in collector.collect() if isinstance(found, FailureEvent)]


@pytest.mark.parametrize(
    ("records", "stopped", "confidence"),
    [
        ((BOOT_1, LOGIN, SHUTDOWN, BOOT_2), False, None),
        ((BOOT_1, LOGIN, BOOT_2), False, 0.9),
        ((BOOT_1, LOGIN, BOOT_2), True, 0.9),  # the agent alone was stopped; the system was not
        ((BOOT_2,), False, None),  # a log that was cut tells nothing of the boot before
        ((), True, None),
        ((), False, 0.5),
    ],
)
def test_a_boot_is_a_failure_unless_a_shutdown_is_recorded(
    tmp_path: Path, records: tuple[tuple[int, str, int], ...], stopped: bool, confidence: float | None
) -> None:
    root, folder = tmp_path / "root", tmp_path / "state"
    boot(root, "a-1", 1_000_000, "6.1.0")
    assert failures(ChangesCollector(root, folder, CLOCK)) == []
    if stopped:
        tell_stop(root, folder)
    boot(root, "b-2", 2_000_000, "6.1.0")
    if records:
        wtmp(root, *records)
    again = ChangesCollector(root, folder, CLOCK)
    found = failures(again)
    assert [event.confidence for event in found] == ([] if confidence is None else [confidence])
    assert all((event.kind, event.time, event.source) == (Kind.HOST, BOOTED, "boot") for event in found)
    assert failures(again) == failures(ChangesCollector(root, folder, CLOCK)) == []


def test_an_agent_that_was_stopped_and_started_again_must_be_stopped_anew(tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "state"
    boot(root, "a-1", 1_000_000, "6.1.0")
    assert failures(ChangesCollector(root, folder, CLOCK)) == []
    tell_stop(root, folder)
    assert failures(ChangesCollector(root, folder, CLOCK)) == []
    boot(root, "b-2", 2_000_000, "6.1.0")
    [event] = failures(ChangesCollector(root, folder, CLOCK))
    assert event.confidence == 0.5
