"""Pools of ZFS: their states from `/proc/spl`, and the devices that they are made of from `zpool status`.

`zpool status` changes nothing and asks no privilege where `/dev/zfs` is open to all, as OpenZFS makes it; elsewhere it
wants root. States bear node_exporter's names (collector `zfs`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.collect.redundancy.sets import Member, Set, drives_below, tolerated
from forewarn.collect.tool import Tool
from forewarn.collect.tree import Tree, label_text
from forewarn.domain.telemetry import Sample

COMMAND = ("status", "-P", "-L", "-p")
KSTAT = "proc/spl/kstat/zfs"
STATES = ("online", "degraded", "faulted", "offline", "removed", "unavail", "suspended")
ROW = re.compile(r"^\t( *)(\S+)(?: +(\S+))?(?: +(\d\S*) +(\d\S*) +(\d\S*))?(.*)$")
REDUNDANT = re.compile(r"(mirror|raidz[123]?|draid[123]?)(?:[-:].*)?")
SECTIONS = ("logs", "cache", "spares", "special", "dedup")
ERRORS = ("read", "write", "checksum")


@dataclass(frozen=True, slots=True)
class Device:
    """A leaf of a pool: its path, state, errors, the redundant set in which it stands (or none) and its section."""

    pool: str
    path: str
    state: str
    errors: tuple[str, ...]
    group: str
    section: str
    resilvers: bool


def parse_zpool(text: str) -> tuple[tuple[Device, ...], frozenset[str]]:
    """The devices of every pool in the output of `zpool status`, and the pools that resilver."""
    pool, within, resilvering = "", False, set[str]()
    devices: list[Device] = []
    path: list[tuple[int, str]] = []
    section = ""
    for line in text.splitlines():
        if line.startswith("  pool: "):
            pool, within, section = line.removeprefix("  pool: ").strip(), False, ""
        elif "resilver in progress" in line:
            resilvering.add(pool)
        elif line.startswith("\tNAME"):
            within, path = True, []
        elif within and not line.startswith("\t"):
            within = not line.strip()
        elif within and (row := ROW.match(line)):
            depth, name = len(row[1]) // 2, row[2]
            path = [*(step for step in path if step[0] < depth), (depth, name)]
            section = name if not depth and name in SECTIONS else "" if not depth else section
            if name.startswith("/"):
                group = next((step for _, step in path if REDUNDANT.fullmatch(step)), "")
                errors = tuple(found for found in row.group(4, 5, 6) if found)
                state = row[3] or "UNKNOWN"
                devices.append(Device(pool, name, state, errors, group, section, "resilvering" in row[7]))
    return tuple(devices), frozenset(resilvering)


class Zfs:
    """The pools of this host."""

    source = "zfs"

    def __init__(self, tree: Tree, zpool: Tool) -> None:
        self._tree = tree
        self._zpool = zpool

    def read(self) -> tuple[Iterator[Sample], tuple[Set, ...]] | None:
        """Pools and their redundant sets; None where the module of ZFS is not loaded."""
        pools = [name for name in self._tree.names(KSTAT) if self._tree.has(f"{KSTAT}/{name}/state")]
        if not pools:
            return None
        devices, resilvering = parse_zpool(self._zpool.text())
        samples = (*self._states(pools), *self._errors(devices))
        groups = dict.fromkeys((device.pool, device.group) for device in devices if device.group)
        sets = tuple(
            self._set(pool, group, [d for d in devices if (d.pool, d.group) == (pool, group)], pool in resilvering)
            for pool, group in groups
        )
        return iter(samples), sets

    def _states(self, pools: list[str]) -> Iterator[Sample]:
        for pool in pools:
            state = self._tree.words(f"{KSTAT}/{pool}/state").lower()
            for name in STATES:
                labels = {"state": name, "zpool": label_text(pool)}
                yield Sample("node_zfs_zpool_state", labels, float(name == state))

    def _errors(self, devices: tuple[Device, ...]) -> Iterator[Sample]:
        for device in devices:
            name = device.path.removeprefix("/dev/")
            for kind, count in zip(ERRORS, device.errors, strict=False):
                if count.isdecimal():
                    labels = {"device": name, "pool": device.pool, "kind": kind}
                    yield Sample("forewarn_zfs_device_errors_total", labels, float(count))

    def _set(self, pool: str, group: str, devices: list[Device], resilvers: bool) -> Set:
        level = group.partition("-")[0].partition(":")[0].replace("draid", "raidz")
        lost = sum(device.state != "ONLINE" for device in devices)
        spares = max(0, tolerated(level, len(devices)) - lost)
        told = any(device.resilvers for device in devices)
        if told or (resilvers and lost):
            spares = 0
        members = tuple(
            Member(drive, _state(device))
            for device in devices
            for drive in drives_below(self._tree, device.path.removeprefix("/dev/"))
        )
        return Set(f"{pool}/{group}", members, spares)


def _state(device: Device) -> str:
    if device.resilvers:
        return "rebuilding"
    return "active" if device.state == "ONLINE" else "failed"
