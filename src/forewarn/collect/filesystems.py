"""File systems that turned read-only, and what they noted as damaged: the kernel's own verdict on what is below them.

A file system that the kernel turns read-only by itself says so in a way of its own: the mount is still for writing,
what is mounted is not. One that an administrator mounts read-only is so in both. A confined agent sees only its own
mounts, all read-only; there a file system that was writable before is taken to have been turned. Readable by everybody.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.collect.redundancy.sets import BLOCK, drives_below
from forewarn.collect.tree import Tree, label_text
from forewarn.domain.telemetry import Sample

HOSTS_MOUNTS, OWN_MOUNTS = "proc/1/mountinfo", "proc/self/mountinfo"
ESCAPED = re.compile(r"\\([0-7]{3})")
MOUNTS_MAX = 500  # a node of containers mounts thousands; each device counts once


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted block device: where, as what, and whether the mount and what is mounted may be written."""

    source: str
    device: str  # major:minor
    place: str
    kind: str
    mount_writable: bool
    writable: bool

    @property
    def turned(self) -> bool:
        """Whether the kernel turned it read-only by itself."""
        return self.mount_writable and not self.writable


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts of block devices in `/proc/*/mountinfo`, the first of each device.

    >>> [mount] = parse_mountinfo("36 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 ro,errors=remount-ro")
    >>> mount.place, mount.turned
    ('/', True)
    """
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        place, about = before.split(), after.split()
        if len(place) < 6 or len(about) < 3 or not about[1].startswith("/dev/") or len(found) >= MOUNTS_MAX:
            continue
        mount_options, options = place[5].split(","), about[2].split(",")
        mount = Mount(
            _plain(about[1]), place[2], _plain(place[4]), about[0], "rw" in mount_options, "ro" not in options
        )
        found.setdefault(mount.source, mount)
    return tuple(found.values())


def _plain(text: str) -> str:
    return label_text(ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), text))


class Filesystems:
    """The mounted file systems of this host, and which of them were writable."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._were_writable: frozenset[str] = frozenset()

    def samples(self) -> Iterator[Sample]:
        """Every mounted device's state, and per drive how many file systems turned read-only or noted errors on it."""
        tree, turned = self._tree, dict[str, int]()
        hosts = parse_mountinfo(tree.words(HOSTS_MOUNTS))
        mounts = hosts or parse_mountinfo(tree.words(OWN_MOUNTS))
        numbers = {tree.words(f"{BLOCK}/{name}/dev"): name for name in tree.names(BLOCK)} if mounts else {}
        for mount in mounts:
            readonly = not mount.writable or (bool(hosts) and not mount.mount_writable)
            labels = {"device": mount.source, "fstype": mount.kind, "mountpoint": mount.place}
            yield Sample("node_filesystem_readonly", labels, float(readonly))
            told = mount.turned or (not hosts and not mount.writable and mount.source in self._were_writable)
            name = numbers.get(mount.device) or mount.source.removeprefix("/dev/")
            for drive in drives_below(tree, name):
                turned[drive] = turned.get(drive, 0) + told
        mounted = {mount.source for mount in mounts}
        writable = {mount.source for mount in mounts if mount.writable}
        self._were_writable = frozenset(writable | (self._were_writable & mounted))
        for drive, count in sorted(turned.items()):
            yield Sample("forewarn_disk_readonly_filesystems", {"device": label_text(drive)}, float(count))
        yield from _noted(tree)


def _noted(tree: Tree) -> Iterator[Sample]:
    """Errors that ext4 noted since the last check, by the drives below."""
    noted: dict[str, float] = {}
    for name in tree.names("sys/fs/ext4"):
        errors = tree.number(f"sys/fs/ext4/{name}/errors_count")
        for drive in drives_below(tree, name) if errors is not None else ():
            noted[drive] = noted.get(drive, 0.0) + (errors or 0.0)
    for drive, count in sorted(noted.items()):
        yield Sample("forewarn_disk_filesystem_errors", {"device": label_text(drive)}, count)
