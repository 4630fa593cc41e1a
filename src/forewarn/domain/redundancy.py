"""Which parts stand in for each other, as telemetry tells: a RAID set, a mirror of a pool, a bond."""

from dataclasses import dataclass

# The series in which an agent tells it: a member of a set, and how many more members may fail before what stands on
# the set does. Sets and devices are those of one host.
MEMBER, SPARES = "forewarn_redundancy_member_info", "forewarn_redundancy_spares"
# Members in these states hold what the set holds; the others wait for their turn, or have lost theirs.
HOLDING = ("active", "rebuilding")


@dataclass(frozen=True, slots=True)
class Redundancy:
    """The set to which a part belongs, and how many more of the set may fail before what stands on it does."""

    group: str
    spares: int
