"""RAID of LVM: which volumes are made of which drives, from sysfs, and their health from `dmsetup status`.

Members are readable by everybody. Their health asks device-mapper, which wants CAP_SYS_ADMIN; nothing is changed.
Without it members are told in the state `unknown`, and how many more may fail is not told.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.collect.redundancy.sets import Set, members_on, tolerated
from forewarn.collect.tool import Tool
from forewarn.collect.tree import Tree
from forewarn.domain.telemetry import Sample

IMAGE = re.compile(r"(.+)_rimage_(\d+)")
STATUS = re.compile(r"^(\S+): \d+ \d+ raid (\S+) (\d+) ([AaDdF-]+) (\d+)/(\d+)(?: (\S+))?")
COMMAND = ("status", "--target", "raid")
IDLE = ("", "idle", "check", "frozen")
STATE = {"A": "active", "a": "rebuilding", "D": "failed"}


@dataclass(frozen=True, slots=True)
class Status:
    """A volume as device-mapper's raid target tells it: one letter of health per member, and whether all is in sync."""

    level: str
    health: str
    in_sync: bool

    @property
    def spares(self) -> int:
        """How many more members may fail; none while some blocks stand on fewer than they should."""
        if not self.in_sync or "a" in self.health:
            return 0
        return max(0, tolerated(self.level, len(self.health)) - self.health.count("D"))


def parse_status(text: str) -> dict[str, Status]:
    """By the volume's name, what `dmsetup status --target raid` says.

    >>> parse_status("vg-root: 0 1024 raid raid1 2 AA 1024/1024 idle 0 0 -")["vg-root"].spares
    1
    """
    found = (STATUS.match(line) for line in text.splitlines())
    return {
        one[1]: Status(one[2], one[4], one[5] == one[6] and (one[7] or "") in IDLE) for one in found if one is not None
    }


class DeviceMapper:
    """The RAID volumes of LVM on this host."""

    source = "device_mapper"

    def __init__(self, tree: Tree, dmsetup: Tool) -> None:
        self._tree = tree
        self._dmsetup = dmsetup

    def read(self) -> tuple[Iterator[Sample], tuple[Set, ...]] | None:
        """The volumes and what they are made of; None where there is no volume that is RAID."""
        images = self._images()
        if not images:
            return None
        status = parse_status(self._dmsetup.text())
        sets = tuple(self._set(volume, found, status.get(volume)) for volume, found in sorted(images.items()))
        return self._samples(status), sets

    def _images(self) -> dict[str, dict[int, str]]:
        """For each RAID volume its images, by number: the kernel's names of the volumes that hold its data."""
        found: dict[str, dict[int, str]] = {}
        for device in self._tree.numbered("sys/block", "dm-"):
            image = IMAGE.fullmatch(self._tree.words(f"sys/block/{device}/dm/name"))
            if image:
                found.setdefault(image[1], {})[int(image[2])] = device
        return found

    def _set(self, volume: str, images: dict[int, str], status: Status | None) -> Set:
        letters = dict(enumerate(status.health if status else ""))
        states = ((device, STATE.get(letters.get(number, ""), "unknown")) for number, device in sorted(images.items()))
        return Set(volume, members_on(self._tree, states), status.spares if status else None)

    def _samples(self, status: dict[str, Status]) -> Iterator[Sample]:
        for volume, told in status.items():
            for letter, state in STATE.items():
                labels = {"volume": volume, "state": state}
                yield Sample("forewarn_volume_members", labels, float(told.health.count(letter)))
