"""What the kernel counts of drives, and which drive stands behind a name, on frozen machines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.collect.disk import DiskCollector, DiskSettings, parse_diskstats, parse_serial_page
from forewarn.collect.filesystems import parse_mountinfo
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent
from tests.frozen import find, unreadable


def identities(root: Path) -> dict[str, Sample]:
    samples = [sample for sample in DiskCollector(root).collect() if sample.name == "node_disk_info"]
    return {sample.labels["device"]: sample for sample in samples}


def test_counts_times_and_requests_in_flight_come_in_their_units(machines: Path) -> None:
    samples = list(DiskCollector(machines / "two-socket-server").collect())
    assert find(samples, "node_disk_reads_completed_total")["device=sda"] == 91233
    assert find(samples, "node_disk_read_bytes_total")["device=sda"] == 7312204 * 512
    assert find(samples, "node_disk_write_time_seconds_total")["device=sda"] == pytest.approx(810.221)
    assert find(samples, "node_disk_io_now")["device=sda"] == 2
    assert find(samples, "node_disk_io_time_weighted_seconds_total")["device=sda"] == pytest.approx(1222.551)


def test_partitions_loops_and_volumes_made_of_drives_are_no_drives(machines: Path) -> None:
    assert set(identities(machines / "two-socket-server")) == {"sda", "sdb", "nvme0n1"}
    assert set(identities(machines / "bare-vm")) == {"vda"}


def test_which_devices_are_left_out_can_be_set(machines: Path) -> None:
    collector = DiskCollector(machines / "bare-vm", DiskSettings(ignored="loop.*|.*ram.*"))
    assert set(find(collector.collect(), "node_disk_io_now")) == {"device=vda", "device=vda1", "device=sr0"}


def test_failed_requests_are_read_as_the_hexadecimal_that_they_are(machines: Path) -> None:
    samples = list(DiskCollector(machines / "two-socket-server").collect())
    assert find(samples, "forewarn_disk_io_errors_total") == {"device=sda": 31, "device=sdb": 0}
    assert find(samples, "forewarn_disk_io_timeouts_total") == {"device=sda": 2}


@pytest.mark.parametrize(
    ("machine", "device", "serial", "model", "wwn"),
    [
        ("two-socket-server", "sda", "Z1Z0EXAM", "ST4000NM0033-9ZM170", "0x5000c500a1b2c3d4"),  # by udev
        ("two-socket-server", "sdb", "WFK0A1B2", "ST1200MM0099", "0x5000c500d4c3b2a1"),  # by its SCSI page
        ("two-socket-server", "nvme0n1", "PHLJ0EXAMPLE1P0F", "INTEL SSDPE2KX010T8", "eui.01000000010000005cd2e4exampl"),
        ("bare-vm", "vda", "vm-disk-0001", "", ""),
    ],
)
def test_a_drive_is_known_by_its_serial(
    machines: Path, machine: str, device: str, serial: str, model: str, wwn: str
) -> None:
    labels = identities(machines / machine)[device].labels
    assert (labels["serial"], labels["model"], labels["wwn"]) == (serial, model, wwn)


def test_columns_that_a_kernel_lacks_or_spoils_give_nothing() -> None:
    (device,) = parse_diskstats("8 0 sda 5 x 7\n8 0\n\nnot a line")
    assert device.counts == (5, None, 7)


def test_a_count_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/diskstats").write_text("8 0 sda 5 x 7\n")
    samples = [(sample.name, sample.value) for sample in DiskCollector(tmp_path).collect()][1:3]
    assert samples == [("node_disk_reads_completed_total", 5), ("node_disk_read_bytes_total", 7 * 512)]


def test_a_drive_pulled_between_two_reads_is_gone_and_nothing_else(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    collector = DiskCollector(root)
    before = {s.labels.get("device") for s in collector.collect()}
    stats = root / "proc/diskstats"
    stats.write_text("\n".join(line for line in stats.read_text().splitlines() if " sdb " not in line))
    after = {s.labels.get("device") for s in collector.collect()}
    assert before - after == {"sdb"}


def test_an_error_count_that_cannot_be_read_is_absent_not_zero(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    unreadable(root / "sys/block/sda/device/ioerr_cnt")
    (root / "sys/block/sdb/device/ioerr_cnt").write_text("many\n")
    samples = list(DiskCollector(root).collect())
    assert find(samples, "forewarn_disk_io_errors_total") == {}
    assert find(samples, "forewarn_collector_refused") == {
        "collector=disk why=input/output error": 1,
        "collector=disk why=not a number": 1,
    }


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\x80\0\xffAB"])
def test_a_serial_page_that_is_cut_short_gives_what_is_there(content: bytes) -> None:
    assert parse_serial_page(content) == content[4:].decode()


def test_without_drives_the_collector_is_absent(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no drives"):
        list(DiskCollector(tmp_path).collect())


def test_a_drive_that_the_kernel_has_given_up_is_told(machines: Path) -> None:
    samples = list(DiskCollector(machines / "storage-node").collect())
    assert find(samples, "forewarn_disk_working") == {"device=sda": 1, "device=sdb": 0, "device=nvme0n1": 1}
    assert find(samples, "forewarn_disk_state_info")["device=sdb state=offline"] == 1
    assert find(samples, "forewarn_disk_pci_errors_total") == {
        "device=nvme0n1 severity=correctable": 2,
        "device=nvme0n1 severity=fatal": 0,
    }


def test_a_file_system_that_the_kernel_turned_read_only_is_told_from_one_mounted_so(machines: Path) -> None:
    samples = list(DiskCollector(machines / "storage-node").collect())
    assert find(samples, "node_filesystem_readonly") == {
        "device=/dev/md0 fstype=ext4 mountpoint=/": 0,
        "device=/dev/sdg1 fstype=ext4 mountpoint=/srv/guests one": 1,
        "device=/dev/sdh1 fstype=xfs mountpoint=/srv/archive": 1,
    }
    assert find(samples, "forewarn_disk_readonly_filesystems") == {
        "device=sda": 0,  # below /dev/md0
        "device=sdb": 0,
        "device=sdg": 1,
        "device=sdh": 0,
    }


def test_errors_that_a_file_system_noted_are_told_of_the_drives_below(machines: Path) -> None:
    samples = list(DiskCollector(machines / "storage-node").collect())
    assert find(samples, "forewarn_disk_filesystem_errors") == {"device=sda": 0, "device=sdb": 0, "device=sdg": 3}


def test_a_confined_agent_knows_what_turned_read_only_by_what_was_writable(thaw: Callable[[str], Path]) -> None:
    root = thaw("storage-node")
    (root / "proc/1/mountinfo").unlink()
    own = root / "proc/self/mountinfo"
    own.parent.mkdir()
    collector, found = DiskCollector(root), []
    for options in ("rw", "ro", "ro"):
        own.write_text(f"31 22 8:97 / / ro,nosuid shared:9 - ext4 /dev/sdg1 {options}\n")
        samples = list(collector.collect())
        (readonly,) = find(samples, "node_filesystem_readonly").values()
        found.append((readonly, find(samples, "forewarn_disk_readonly_filesystems")["device=sdg"]))
    assert found == [(0, 0), (1, 1), (1, 1)]
    assert find(DiskCollector(root).collect(), "forewarn_disk_readonly_filesystems")["device=sdg"] == 0


@pytest.mark.parametrize(
    "line", ["", "x", "31 22 8:97 / / ro - ext4", "1 2 3 4 5 - proc proc rw", "1 2 0:5 / /p rw - nfs a:/b rw"]
)
def test_mounts_that_are_cut_short_or_no_block_device_are_passed_over(line: str) -> None:
    assert parse_mountinfo(line) == ()
