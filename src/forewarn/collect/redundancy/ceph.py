"""Which drives Ceph's OSDs on this host stand on: from the OSDs' own folders, else from `ceph-volume lvm list`.

The folders below `/var/lib/ceph` are open to the group `ceph` (or CAP_DAC_READ_SEARCH); `ceph-volume` wants root, takes
seconds and is asked rarely. How many OSDs may fail is decided by pools and their rules, which no single host knows: no
set is made of them here.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from forewarn.collect.redundancy.sets import Set, drives_below
from forewarn.collect.tool import Tool
from forewarn.collect.tree import Tree, label_text
from forewarn.domain.telemetry import Sample

COMMAND = ("lvm", "list", "--format", "json")
FOLDERS = "var/lib/ceph"
PACKAGED = re.compile(r"(.+)-(\d+)")  # osd/ceph-3, with the cluster's name
CONTAINED = re.compile(r"osd\.(\d+)")  # <fsid>/osd.3, as cephadm lays them out
ROLES = {"block": "block", "block.db": "db", "block.wal": "wal"}


@dataclass(frozen=True, slots=True)
class Osd:
    """A device of an OSD: the OSD's number, its cluster, the device's path, and what it holds (block, db, wal)."""

    number: str
    cluster: str
    path: str
    role: str


def parse_volumes(text: str) -> tuple[Osd, ...]:
    """The OSDs' devices in the output of `ceph-volume lvm list --format json`; what is no such output gives none."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    found = []
    for number, volumes in document.items() if isinstance(document, dict) else ():
        for volume in volumes if isinstance(volumes, list) else ():
            if isinstance(volume, dict) and isinstance(volume.get("devices"), list):
                tags = volume.get("tags")
                cluster = str(tags.get("ceph.cluster_fsid", "")) if isinstance(tags, dict) else ""
                role = str(volume.get("type", "block"))
                found += [Osd(str(number), cluster, str(path), role) for path in volume["devices"]]
    return tuple(found)


class Ceph:
    """The OSDs of this host."""

    source = "ceph"

    def __init__(self, tree: Tree, ceph_volume: Tool) -> None:
        self._tree = tree
        self._ceph_volume = ceph_volume

    def read(self) -> tuple[Iterator[Sample], tuple[Set, ...]] | None:
        """The drives of every OSD; None where there is none."""
        osds = tuple(self._in_folders()) or parse_volumes(self._ceph_volume.text())
        return (self._samples(osds), ()) if osds else None

    def _in_folders(self) -> Iterator[Osd]:
        for name in self._tree.names(f"{FOLDERS}/osd"):
            if found := PACKAGED.fullmatch(name):
                yield from self._links(f"{FOLDERS}/osd/{name}", found[2], found[1])
        for fsid in self._tree.names(FOLDERS):
            for name in self._tree.names(f"{FOLDERS}/{fsid}", "osd."):
                if found := CONTAINED.fullmatch(name):
                    yield from self._links(f"{FOLDERS}/{fsid}/{name}", found[1], fsid)

    def _links(self, folder: str, number: str, cluster: str) -> Iterator[Osd]:
        cluster = self._tree.words(f"{folder}/ceph_fsid") or cluster
        for link, role in ROLES.items():
            try:
                target = str(self._tree.path(f"{folder}/{link}").readlink())
            except OSError:
                continue
            yield Osd(number, cluster, target, role)

    def _samples(self, osds: tuple[Osd, ...]) -> Iterator[Sample]:
        names = {self._tree.words(f"sys/block/{dm}/dm/name"): dm for dm in self._tree.numbered("sys/block", "dm-")}
        told: set[tuple[str, str, str]] = set()
        for osd in osds:
            for drive in drives_below(self._tree, self._kernel_name(osd.path, names)):
                if (osd.number, drive, osd.role) in told:
                    continue
                told.add((osd.number, drive, osd.role))
                labels = {"osd": label_text(osd.number), "cluster": label_text(osd.cluster)}
                labels |= {"device": label_text(drive), "role": label_text(osd.role)}
                yield Sample("forewarn_ceph_osd_info", labels, 1.0)

    def _kernel_name(self, path: str, names: dict[str, str]) -> str:
        """The kernel's name of `/dev/VG/LV`, `/dev/mapper/NAME`, `/dev/sdb1` or a link below `/dev/disk`."""
        parts = path.removeprefix("/dev/").split("/")
        if len(parts) == 2:
            volume = parts[1] if parts[0] == "mapper" else "-".join(part.replace("-", "--") for part in parts)
            if volume in names:
                return names[volume]
        try:
            return self._tree.path(path.lstrip("/")).readlink().name
        except OSError:
            return parts[-1]
