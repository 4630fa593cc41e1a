"""What has changed on this host since the agent last looked. Changes explain failures, and excuse some.

Told are another boot and whether the one before ended unasked, another kernel, microcode or firmware, packages that
were upgraded, parts that were swapped, and VMs that came or went. The agent remembers what it saw in a small file. The
first look finds nothing to compare with, and tells nothing. Privilege: CAP_DAC_READ_SEARCH for the serial numbers
that the board tells; none for the rest.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forewarn.clock import Clock
from forewarn.collect import shutdown
from forewarn.collect.base import Collected
from forewarn.collect.dmi import read_slots
from forewarn.collect.drives import drive_id, serial
from forewarn.collect.files import Kept
from forewarn.collect.packages import Packages
from forewarn.collect.standing import Standing
from forewarn.collect.tree import Tree, label_text, parse_number, pattern
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Kind, component_id
from forewarn.errors import SourceAbsent

FILE = "seen.json"
GUESTS = "run/libvirt/qemu"
BOOT_ID = "proc/sys/kernel/random/boot_id"
_SAME_BOOT_S = 60.0  # a kernel's boot time wanders by seconds as its clock is set right
_DRIVE = re.compile(r"(?:s|v|h)d[a-z]+|nvme\d+n\d+")


@dataclass(frozen=True)
class ChangesSettings:
    """Which changes of a host are told."""

    packages: str = (
        r"linux-(image|modules|firmware).*|kernel(-core)?|qemu.*|libvirt.*|.*microcode.*|firmware-.*|openvswitch.*"
        r"|ceph.*|multipath-tools|device-mapper-multipath|mdadm|lvm2|systemd|forewarn.*"
    )
    """Regular expression over whole names of packages whose upgrades are told: by default what the kernel, the VMs and
    their storage and network stand on. An empty one tells none."""

    packages_timeout_s: float = 20.0
    """Seconds that `rpm` may take to list the packages; where dpkg is used, its file is read."""

    guests: bool = True
    """Whether VMs that start or end here are told, as libvirt's folder of running domains shows them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A host as it was; empty and 0 where that could not be read."""

    boot_id: str = ""
    boot_time: float = 0.0
    kernel: str = ""
    microcode: str = ""
    firmware: Mapping[str, str] = field(default_factory=dict)  # version of the BIOS, and of each drive's firmware by id
    parts: Mapping[str, str] = field(default_factory=dict)  # serial number by kind and place, as `memory:A1`
    packages: Mapping[str, str] = field(default_factory=dict)
    guests: tuple[str, ...] | None = None  # None: there is no libvirt here


class ChangesCollector:
    """Tells what changed; what is new with a boot, at the time of the boot."""

    name = "changes"

    def __init__(self, root: Path, folder: Path | None, clock: Clock, settings: ChangesSettings | None = None) -> None:
        self._tree, self._folder, self._clock = Tree(root), folder, clock
        self._settings, self._kept = settings or ChangesSettings(), Kept(folder, FILE)
        wanted = pattern("changes.packages", self._settings.packages)
        self._packages = Packages(self._tree, wanted, self._settings.packages_timeout_s)
        self._parts = Standing[Parts]()

    def collect(self) -> Iterator[Collected]:
        if self._folder is None:
            raise SourceAbsent("there is no folder in which to remember what was seen last")
        before, now = parse(self._kept.text), self._look()
        if before is not None:
            yield from changes(before, now, self._clock.now())
            yield from self._unasked(before, now)
            now = _kept(before, now)
        shutdown.unmark(self._folder, now.boot_id)
        if now != before:
            self._kept.keep(json.dumps(asdict(now)).encode())
        sources = (("boot", bool(now.boot_id or now.boot_time)), ("guests", now.guests is not None))
        yield from self._tree.report(self.name, (*sources, ("packages", bool(now.packages))))

    def _look(self) -> Seen:
        tree = self._tree
        packages = self._packages.versions() if self._settings.packages else {}
        drives = read_drives(tree)
        folders = (*(f"sys/block/{name}" for name in drives), "run/udev/data")
        stamp = tree.words(BOOT_ID), tuple(map(tree.stamp, folders))
        parts = self._parts.at(stamp, lambda: read_parts(tree, drives))
        return read(tree, packages, parts, guests=self._settings.guests)

    def _unasked(self, before: Seen, now: Seen) -> Iterator[FailureEvent]:
        """A failure of the host where it started anew and nothing says that somebody had shut it down."""
        if self._folder is None or not _booted(before, now):
            return
        found = shutdown.ending(self._tree, self._folder, before.boot_id, now.boot_time)
        if found.clean is False:
            text = "the host started anew without a shutdown: it lost power, crashed or was reset"
            yield FailureEvent(_boot(now), "", Kind.HOST, "", "boot", text, found.confidence)


@dataclass(frozen=True, slots=True)
class Parts:
    """What only a boot, a swap or an update of firmware changes; the fields are those of Seen."""

    microcode: str
    firmware: Mapping[str, str]
    parts: Mapping[str, str]


def read_drives(tree: Tree) -> list[str]:
    """The drives of this host by the kernel's names."""
    return [name for name in tree.names("sys/block") if _DRIVE.fullmatch(name)]


def read_parts(tree: Tree, drives: Sequence[str]) -> Parts:
    """The parts of the host as they are. It opens several files of each drive, and makes each core tell its clock."""
    return Parts(_microcode(tree), _firmware(tree, drives), _parts(tree, drives))


def read(tree: Tree, packages: Mapping[str, str], parts: Parts, *, guests: bool = True) -> Seen:
    """The host as it is, with parts that are known."""
    lines = (line.split() for line in tree.words("proc/stat").splitlines())
    times = [parse_number(line[1]) for line in lines if len(line) == 2 and line[0] == "btime"]
    return Seen(
        boot_id=tree.words(BOOT_ID),
        boot_time=(times[0] if times else None) or 0.0,
        kernel=tree.words("proc/sys/kernel/osrelease"),
        microcode=parts.microcode,
        firmware=parts.firmware,
        parts=parts.parts,
        packages=packages,
        guests=_guests(tree) if guests else None,
    )


def _microcode(tree: Tree) -> str:
    found = re.search(r"^microcode\s*: (\S+)", tree.words("proc/cpuinfo"), re.MULTILINE)
    return found[1] if found else ""


def _firmware(tree: Tree, drives: Sequence[str]) -> dict[str, str]:
    found = {"bios": label_text(tree.words("sys/class/dmi/id/bios_version"))}
    for name in drives:
        files = (f"sys/block/{name}/device/{file}" for file in ("firmware_rev", "rev"))
        if serial(tree, name):  # the firmware of what is in a slot changes with the part
            found[drive_id(tree, name)] = label_text(next(filter(None, map(tree.words, files)), ""))
    return {place: version for place, version in found.items() if version}


def _parts(tree: Tree, drives: Sequence[str]) -> dict[str, str]:
    """The serial numbers that are known, by the place of the part. A drive's place is its port, not its name."""
    found = {f"{slot.kind}:{slot.place}": slot.serial for slot in read_slots(tree)}
    for name in drives:
        port = tree.path(f"sys/block/{name}/device").resolve()
        if number := serial(tree, name):
            found[f"{Kind.DISK}:{label_text('/'.join(port.parts[-3:]))}"] = number
    return found


def _guests(tree: Tree) -> tuple[str, ...] | None:
    if not tree.has(GUESTS):
        return None
    return tuple(name.removesuffix(".xml") for name in tree.names(GUESTS) if name.endswith(".xml"))


def parse(text: str) -> Seen | None:
    """What was remembered, or None where that is nothing or damaged; what an older agent did not keep is empty."""
    try:
        row: Any = json.loads(text)
        guests = row.get("guests")
        return Seen(
            str(row["boot_id"]),
            float(row["boot_time"]),
            str(row["kernel"]),
            str(row.get("microcode", "")),
            _texts(row.get("firmware", {})),
            _texts(row.get("parts", {})),
            _texts(row.get("packages", {})),
            None if guests is None else tuple(map(str, guests)),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _texts(row: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in row.items()}


def changes(before: Seen, now: Seen, time: datetime) -> Iterator[ChangeEvent]:
    """What changed between two looks, the later at `time`; the host is left to the agent."""
    if _booted(before, now):
        yield ChangeEvent(_boot(now), "", ChangeKind.BOOT, "", before.boot_id, now.boot_id)
    if _differ(before.kernel, now.kernel):
        yield ChangeEvent(_boot(now), "", ChangeKind.KERNEL, "", before.kernel, now.kernel)
    if _differ(before.microcode, now.microcode):
        yield ChangeEvent(time, "", ChangeKind.MICROCODE, "", before.microcode, now.microcode)
    for place, old, new in _differing(before.firmware, now.firmware):
        yield ChangeEvent(time, "", ChangeKind.FIRMWARE, place, old, new)
    for name, old, new in _differing(before.packages, now.packages):
        yield ChangeEvent(time, "", ChangeKind.PACKAGE, name, old, new)
    for place, old, new in _differing(before.parts, now.parts):
        yield ChangeEvent(time, "", ChangeKind.PART, _part(place, old), old, new)
    yield from _guest_changes(before.guests, now.guests, time)


def _guest_changes(
    before: tuple[str, ...] | None, now: tuple[str, ...] | None, time: datetime
) -> Iterator[ChangeEvent]:
    if before is None or now is None:
        return
    for name in sorted(set(now) - set(before)):
        yield ChangeEvent(time, "", ChangeKind.VM, name, "", "here")
    for name in sorted(set(before) - set(now)):
        yield ChangeEvent(time, "", ChangeKind.VM, name, "here", "")


def _part(place: str, serial_before: str) -> str:
    """The id of the part that went: a drive is its serial number, others are their place."""
    kind, _, where = place.partition(":")
    return component_id(Kind(kind), "", where, serial_before if kind == Kind.DISK else "")


def _differ(before: str, now: str) -> bool:
    return bool(before and now) and before != now


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in sorted(before.keys() & now.keys()):
        if _differ(before[key], now[key]):
            yield key, before[key], now[key]


def _kept(before: Seen, now: Seen) -> Seen:
    """What to remember. A place that is empty now keeps its last part: a swap takes longer than a round."""
    tables = {name: {**getattr(before, name), **getattr(now, name)} for name in ("firmware", "parts", "packages")}
    return Seen(**{**{name: getattr(now, name) for name in Seen.__slots__}, **tables})


def _booted(before: Seen, now: Seen) -> bool:
    if before.boot_id and now.boot_id:
        return before.boot_id != now.boot_id
    return bool(before.boot_time and now.boot_time) and abs(now.boot_time - before.boot_time) > _SAME_BOOT_S


def _boot(now: Seen) -> datetime:
    return datetime.fromtimestamp(now.boot_time, UTC)


def tell_stop(root: Path, folder: Path) -> None:
    """Leave word that the agent was told to stop, as it is when the host is shut down. Raises OSError."""
    shutdown.mark(folder, Tree(root).words(BOOT_ID))
