"""Linux software RAID: `/proc/mdstat`, and what `/sys/block/md*/md` says more exactly. Readable by everybody.

Names and labels are node_exporter's (collector `mdadm`). A check reads only; while an array recovers, resyncs or
changes its shape, some blocks stand on one drive alone, so nothing more may fail.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.collect.redundancy.sets import Set, members_on, tolerated
from forewarn.collect.tree import Tree, parse_number
from forewarn.domain.telemetry import Sample

HEAD = re.compile(
    r"^(\S+) ?: (\w+)(?: \((?:auto-)?read-only\))?(?: (raid\d+|linear|multipath|faulty))?((?: \S+\[\d+\]\S*)*)"
)
MEMBER = re.compile(r"(\S+?)\[(\d+)\]((?:\([A-Z]\))*)")
BLOCKS = re.compile(r"(\d+) blocks")
WHOLE = re.compile(r"\[(\d+)/(\d+)\]")
SYNC = re.compile(r"\b(recovery|resync|reshape|check|repair)\s*=\s*(?:[\d.]+%\s*\((\d+)/(\d+)\)|(\w+))")
STATES = ("active", "inactive", "recovering", "resync", "check")
ACTIONS = {"recovery": "recovering", "recover": "recovering", "reshape": "recovering", "repair": "resync"}


@dataclass
class Array:
    """One array of `/proc/mdstat`. `members` are kernel names with their flags, such as F for failed."""

    name: str
    state: str
    level: str
    members: tuple[tuple[str, str], ...]
    blocks: float = 0.0
    required: int = 0
    active: int = 0
    action: str = ""
    synced: float | None = None

    @property
    def spare(self) -> int:
        return sum("S" in flags for _, flags in self.members)

    @property
    def failed(self) -> int:
        return sum("F" in flags for _, flags in self.members)


def parse_mdstat(text: str) -> tuple[Array, ...]:
    r"""Every array of `/proc/mdstat`; lines that are none, or cut short, are passed over.

    >>> [array] = parse_mdstat("md0 : active raid1 sdb1[1](F) sda1[0]\n  100 blocks [2/1] [U_]\n")
    >>> array.level, array.required, array.active, array.failed
    ('raid1', 2, 1, 1)
    """
    arrays: list[Array] = []
    for line in text.splitlines():
        head = HEAD.match(line)
        if head and not line.startswith((" ", "Personalities", "unused")):
            found = tuple((name, flags) for name, _, flags in MEMBER.findall(head[4]))
            array = Array(head[1], head[2], head[3] or "", found)
            array.required = array.active = len(found) - array.spare - array.failed
            arrays.append(array)
        elif arrays and line.startswith(" "):
            _more(arrays[-1], line)
    return tuple(arrays)


def _more(array: Array, line: str) -> None:
    if blocks := BLOCKS.search(line):
        array.blocks = float(blocks[1])
    if whole := WHOLE.search(line):
        array.required, array.active = int(whole[1]), int(whole[2])
    if sync := SYNC.search(line):
        array.action = sync[1]
        array.synced = float(sync[2]) if sync[2] else 0.0


class Md:
    """The arrays of this host."""

    source = "md"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def read(self) -> tuple[Iterator[Sample], tuple[Set, ...]] | None:
        """The series of every array and the sets that they are; None where there are no arrays."""
        arrays = parse_mdstat(self._tree.text("proc/mdstat") or "")
        if not arrays:
            return None
        return (sample for array in arrays for sample in self._samples(array)), tuple(map(self._set, arrays))

    def _samples(self, array: Array) -> Iterator[Sample]:
        labels = {"device": array.name}
        state = ACTIONS.get(array.action, array.action) or ("active" if array.state == "active" else "inactive")
        for name in STATES:
            yield Sample("node_md_state", {**labels, "state": name}, float(name == state))
        for name, count in (("active", array.active), ("failed", array.failed), ("spare", array.spare)):
            yield Sample("node_md_disks", {**labels, "state": name}, float(count))
        yield Sample("node_md_disks_required", labels, float(array.required))
        yield Sample("node_md_blocks", labels, array.blocks)
        yield Sample("node_md_blocks_synced", labels, array.blocks if array.synced is None else array.synced)
        folder = f"sys/block/{array.name}/md"
        for file, metric in (
            ("degraded", "node_md_degraded"),
            ("raid_disks", "node_md_raid_disks"),
            ("mismatch_cnt", "forewarn_md_mismatches"),
        ):
            value = parse_number((self._tree.words(f"{folder}/{file}").split() or [""])[0])
            if value is not None:
                yield Sample(metric, labels, value)
        for device, _ in array.members:
            errors = self._tree.number(f"{folder}/dev-{device}/errors")
            if errors is not None:
                yield Sample("forewarn_md_member_errors_total", {"array": array.name, "device": device}, errors)

    def _set(self, array: Array) -> Set:
        whole = tolerated(array.level, array.required, self._copies(array))
        spares = max(0, whole - (array.required - array.active))
        if array.state != "active" or array.action not in ("", "check"):
            spares = 0
        states = ((device, self._state(array, device, flags)) for device, flags in array.members)
        return Set(array.name, members_on(self._tree, states), spares)

    def _state(self, array: Array, device: str, flags: str) -> str:
        if "F" in flags:
            return "failed"
        if "S" in flags:
            return "spare"
        told = self._tree.words(f"sys/block/{array.name}/md/dev-{device}/state")
        return "rebuilding" if told and "in_sync" not in told and "journal" not in told else "active"

    def _copies(self, array: Array) -> int:
        """How many copies raid10 keeps: near and far ones are the two low bytes of its layout."""
        layout = self._tree.number(f"sys/block/{array.name}/md/layout")
        number = int(layout) if layout is not None else 0
        return (number & 0xFF) * (number >> 8 & 0xFF) or 2
