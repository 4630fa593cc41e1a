"""Disks as the kernel sees them: requests, time, what is in flight, failures, and which drive is behind a name.

Names and labels are node_exporter's (collector `diskstats`); what no exporter shows, the kernel's counts of failed and
timed-out requests, of errors on an NVMe drive's PCI link, and whether it has given the drive up, are ours. File systems
are `filesystems.py`'s, what the drive says of itself is `smart.py`'s. Nothing here needs a privilege.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forewarn.collect.aer import link_errors
from forewarn.collect.filesystems import Filesystems
from forewarn.collect.standing import Standing
from forewarn.collect.tree import Tree, label_text, parse_number, pattern
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

SECTOR_BYTES = 512.0  # /proc/diskstats counts in these, whatever the drive's own sector is
MILLISECOND = 0.001
# The columns of /proc/diskstats after the name, in order, and the factor to node_exporter's unit.
COLUMNS: tuple[tuple[str, float], ...] = (
    ("node_disk_reads_completed_total", 1.0),
    ("node_disk_reads_merged_total", 1.0),
    ("node_disk_read_bytes_total", SECTOR_BYTES),
    ("node_disk_read_time_seconds_total", MILLISECOND),
    ("node_disk_writes_completed_total", 1.0),
    ("node_disk_writes_merged_total", 1.0),
    ("node_disk_written_bytes_total", SECTOR_BYTES),
    ("node_disk_write_time_seconds_total", MILLISECOND),
    ("node_disk_io_now", 1.0),
    ("node_disk_io_time_seconds_total", MILLISECOND),
    ("node_disk_io_time_weighted_seconds_total", MILLISECOND),
    ("node_disk_discards_completed_total", 1.0),
    ("node_disk_discards_merged_total", 1.0),
    ("node_disk_discarded_sectors_total", 1.0),
    ("node_disk_discard_time_seconds_total", MILLISECOND),
    ("node_disk_flush_requests_total", 1.0),
    ("node_disk_flush_requests_time_seconds_total", MILLISECOND),
)
SCSI_COUNTERS = (
    ("ioerr_cnt", "forewarn_disk_io_errors_total"),
    ("iotmo_cnt", "forewarn_disk_io_timeouts_total"),
)
# What the SCSI layer and the NVMe driver call a drive that works.
WORKING = ("running", "live")


@dataclass(frozen=True)
class DiskSettings:
    """Which block devices are drives."""

    ignored: str = (
        r"(z?ram|loop|fd|sr|nbd|rbd|drbd|zd|dm-|md)\d.*"  # not drives, or made of drives that are listed themselves
        r"|(h|s|v|xv)d[a-z]+\d+|(nvme\d+n|mmcblk)\d+p\d+"  # partitions
    )
    """Regular expression over whole device names to leave out. By default what is no drive of its own: memory,
    network and loop devices, partitions, and volumes put together from others, which are not parts that can fail."""


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """One line of `/proc/diskstats`."""

    name: str
    major: str
    minor: str
    counts: tuple[float | None, ...]


def parse_diskstats(text: str) -> Iterator[BlockDevice]:
    """Every block device of `/proc/diskstats`; older kernels have fewer columns, newer ones more."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 3:
            yield BlockDevice(fields[2], fields[0], fields[1], tuple(map(parse_number, fields[3:])))


def parse_udev(text: str) -> dict[str, str]:
    """The properties in one file of udev's database."""
    properties = (line[2:].partition("=") for line in text.splitlines() if line.startswith("E:"))
    return {key: value for key, _, value in properties}


def parse_serial_page(content: bytes) -> str:
    """The serial number in a SCSI vital product data page 80h: a four-byte head with the length, then text.

    >>> parse_serial_page(bytes([0, 0x80, 0, 6]) + b" ZA123")
    'ZA123'
    """
    length = int.from_bytes(content[2:4], "big")
    return content[4 : 4 + length].decode("ascii", "replace").strip("\0 ")


@dataclass(frozen=True, slots=True)
class _Drive:
    """Which drive it is, and those of its files that there are; empty for none."""

    info: Sample
    counters: tuple[tuple[str, str], ...]  # file and metric
    state: str
    link: str  # the folder of a PCI device that counts errors


def _udev_file(device: BlockDevice) -> str:
    return f"run/udev/data/b{device.major}:{device.minor}"


class DiskCollector:
    """What the drives of this host do."""

    name = "disk"

    def __init__(self, root: Path = Path("/"), settings: DiskSettings | None = None) -> None:
        self._tree = Tree(root)
        self._filesystems = Filesystems(self._tree)
        self._ignored = pattern("disk.ignored", (settings or DiskSettings()).ignored)
        self._known: dict[str, Standing[_Drive]] = {}

    def collect(self) -> Iterator[Sample]:
        """Read every drive once; raises SourceAbsent where there is none, or no `/proc/diskstats`."""
        devices = [
            device
            for device in parse_diskstats(self._tree.text("proc/diskstats") or "")
            if not self._ignored.fullmatch(device.name)
        ]
        if not devices:
            raise SourceAbsent("no drives: /proc/diskstats is absent, refused or names none")
        self._known = {name: known for name, known in self._known.items() if name in {d.name for d in devices}}
        for device in devices:
            yield from self._samples(device)
        mounted = list(self._filesystems.samples())
        yield from mounted
        yield from self._tree.report(self.name, (("diskstats", True), ("mounts", bool(mounted))))

    def _samples(self, device: BlockDevice) -> Iterator[Sample]:
        labels, drive = {"device": device.name}, self._drive(device)
        yield drive.info
        for (name, factor), count in zip(COLUMNS, device.counts, strict=False):
            if count is not None:
                yield Sample(name, labels, count * factor)
        for file, name in drive.counters:
            errors = self._tree.number(file, base=16)
            if errors is not None:
                yield Sample(name, labels, errors)
        state = self._tree.words(drive.state) if drive.state else ""
        if state:
            yield Sample("forewarn_disk_state_info", {**labels, "state": label_text(state)}, 1.0)
            yield Sample("forewarn_disk_working", labels, float(state in WORKING))
        for severity, count in link_errors(self._tree, drive.link) if drive.link else ():
            yield Sample("forewarn_disk_pci_errors_total", {**labels, "severity": severity}, count)

    def _drive(self, device: BlockDevice) -> _Drive:
        """Looked up anew where another drive takes the name, or udev learns more of it."""
        stamp = self._tree.stamp(f"sys/block/{device.name}"), self._tree.stamp(_udev_file(device))
        known = self._known.setdefault(device.name, Standing())
        return known.at((*stamp, device.major, device.minor), lambda: self._look(device))

    def _look(self, device: BlockDevice) -> _Drive:
        folder = f"sys/block/{device.name}/device"
        counters = ((f"{folder}/{file}", name) for file, name in SCSI_COUNTERS)
        return _Drive(
            Sample("node_disk_info", self._identity(device), 1.0),
            tuple((file, name) for file, name in counters if self._tree.has(file)),
            f"{folder}/state" if self._tree.has(f"{folder}/state") else "",
            f"{folder}/device" if any(link_errors(self._tree, f"{folder}/device")) else "",
        )

    def _identity(self, device: BlockDevice) -> dict[str, str]:
        """Which drive it is: by udev where that runs, else by sysfs, which knows less."""
        udev = parse_udev(self._tree.words(_udev_file(device)))
        block = f"sys/block/{device.name}"
        serial = udev.get("ID_SCSI_SERIAL") or udev.get("ID_SERIAL_SHORT") or self._serial(block)
        return {
            "device": device.name,
            "major": device.major,
            "minor": device.minor,
            "model": udev.get("ID_MODEL") or self._tree.words(f"{block}/device/model"),
            "path": udev.get("ID_PATH", ""),
            "revision": udev.get("ID_REVISION") or self._first(f"{block}/device/rev", f"{block}/device/firmware_rev"),
            "rotational": self._tree.words(f"{block}/queue/rotational"),
            "serial": serial,
            "wwn": udev.get("ID_WWN_WITH_EXTENSION") or udev.get("ID_WWN") or self._wwn(block),
        }

    def _wwn(self, block: str) -> str:
        """The kernel writes `naa.5000c5...` where udev writes `0x5000c5...`."""
        return re.sub(r"^naa\.", "0x", self._first(f"{block}/wwid", f"{block}/device/wwid"))

    def _first(self, *files: str) -> str:
        return next(filter(None, map(self._tree.words, files)), "")

    def _serial(self, block: str) -> str:
        page = self._tree.raw(f"{block}/device/vpd_pg80")
        return parse_serial_page(page) if page else self._first(f"{block}/device/serial", f"{block}/serial")
