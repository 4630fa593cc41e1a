"""What every kind of set has in common: members with a state, a number that may still fail, and its series."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forewarn.collect.tree import Tree, label_text
from forewarn.domain.inventory import Kind
from forewarn.domain.redundancy import MEMBER, SPARES
from forewarn.domain.telemetry import Sample

BLOCK = "sys/class/block"
DEPTH_MAX = 8  # volumes upon volumes; deeper ones are not followed


@dataclass(frozen=True, slots=True)
class Member:
    """A device of a set, under the kernel's name, and its state: active, rebuilding, spare, failed or unknown."""

    device: str
    state: str


@dataclass(frozen=True, slots=True)
class Set:
    """Parts that stand in for each other. `spares` is None where it is not known how many more may fail."""

    name: str
    members: tuple[Member, ...]
    spares: int | None
    kind: Kind = Kind.DISK

    def samples(self) -> Iterator[Sample]:
        """Its series. A device with two members of one set, as two partitions, stands there once, by its worst."""
        states: dict[str, str] = {}
        for member in self.members:
            if states.setdefault(member.device, member.state) == "active":
                states[member.device] = member.state
        labels = {"group": label_text(self.name), "kind": str(self.kind)}
        for device, state in states.items():
            yield Sample(MEMBER, {**labels, "device": label_text(device), "state": state}, 1.0)
        if self.spares is not None:
            yield Sample(SPARES, labels, float(self.spares))


def tolerated(level: str, members: int, copies: int = 2) -> int:
    """How many members of a whole set may fail, whichever they are.

    >>> [tolerated(level, 4) for level in ("raid1", "raid5_ls", "raid6", "raid10", "raid0", "raidz3")]
    [3, 1, 2, 1, 0, 3]
    """
    level = level.partition("_")[0]
    if level in ("raid1", "mirror"):
        return max(0, members - 1)
    if level == "raid10":
        return max(0, copies - 1)
    return {"raid4": 1, "raid5": 1, "raid6": 2, "raidz": 1, "raidz1": 1, "raidz2": 2, "raidz3": 3}.get(level, 0)


def drives_below(tree: Tree, name: str) -> tuple[str, ...]:
    """The drives on which a block device stands: of a partition its drive, of a volume those that it is made of."""
    found: dict[str, None] = {}
    _below(tree, name, found, DEPTH_MAX)
    return tuple(found)


def _below(tree: Tree, name: str, found: dict[str, None], depth: int) -> None:
    if tree.has(f"{BLOCK}/{name}/partition"):
        name = tree.path(f"{BLOCK}/{name}").resolve().parent.name
    slaves = tree.names(f"{BLOCK}/{name}/slaves") if depth else []
    for slave in slaves:
        _below(tree, slave, found, depth - 1)
    if not slaves:
        found[name] = None


def members_on(tree: Tree, devices: Iterable[tuple[str, str]]) -> tuple[Member, ...]:
    """Members on the drives below the devices named, each with its state."""
    return tuple(Member(drive, state) for device, state in devices for drive in drives_below(tree, device))
