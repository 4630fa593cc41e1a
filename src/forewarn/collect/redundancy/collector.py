"""The collector of sets of drives: RAID of the kernel, of LVM and of ZFS, and Ceph's OSDs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from forewarn.clock import Clock
from forewarn.collect.redundancy import ceph, device_mapper, zfs
from forewarn.collect.redundancy.md import Md
from forewarn.collect.redundancy.sets import Set
from forewarn.collect.smart import Run, Runner
from forewarn.collect.tool import Tool, nothing
from forewarn.collect.tree import Tree
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

RARELY = 60  # ceph-volume is asked once in so many intervals


@dataclass(frozen=True)
class RedundancySettings:
    """How sets of drives are read. Arrays of md need no privilege; what the commands need stands beside each."""

    dmsetup: str = "dmsetup"
    """Name or path of dmsetup, which tells the health of LVM's RAID volumes; it wants CAP_SYS_ADMIN. It is asked only
    where sysfs shows such volumes."""

    zpool: str = "zpool"
    """Name or path of zpool, which tells what ZFS pools are made of; it needs no privilege where /dev/zfs is open to
    all. It is asked only where the module of ZFS is loaded."""

    ceph_volume: str = "ceph-volume"
    """Name or path of ceph-volume, asked once an hour where no OSD's folder can be read (group ceph); it wants root."""

    interval_s: float = 60.0
    """Seconds between two questions to dmsetup and zpool; answers are repeated in between. A rebuild takes hours."""

    timeout_s: float = 10.0
    """Seconds that one command may take; one that waits for a dying drive hides no other source."""


class _Source(Protocol):
    source: str

    def read(self) -> tuple[Iterator[Sample], tuple[Set, ...]] | None: ...


class RedundancyCollector:
    """The sets of drives of this host."""

    name = "redundancy"

    def __init__(
        self, clock: Clock, root: Path = Path("/"), settings: RedundancySettings | None = None, run: Run | None = None
    ) -> None:
        settings = settings or RedundancySettings()
        self._tree = tree = Tree(root)
        run = run or (Runner() if root == Path("/") else nothing)

        def tool(command: str, arguments: tuple[str, ...], times: int = 1) -> Tool:
            interval_s = settings.interval_s * times
            return Tool((command, *arguments), clock, run, interval_s, settings.timeout_s)

        self._sources: tuple[_Source, ...] = (
            Md(tree),
            device_mapper.DeviceMapper(tree, tool(settings.dmsetup, device_mapper.COMMAND)),
            zfs.Zfs(tree, tool(settings.zpool, zfs.COMMAND)),
            ceph.Ceph(tree, tool(settings.ceph_volume, ceph.COMMAND, RARELY)),
        )

    def collect(self) -> Iterator[Sample]:
        """Every set once; raises SourceAbsent on a host without any."""
        found = []
        for source in self._sources:
            told = source.read()
            found.append((source.source, told is not None))
            if told is not None:
                samples, sets = told
                yield from samples
                yield from (sample for one in sets for sample in one.samples())
        yield from self._tree.report(self.name, found)
        if not any(there for _, there in found):
            raise SourceAbsent("no RAID of md or LVM, no ZFS pool and no OSD of Ceph")
