"""What happened to a host or a part: failures, and changes that explain or excuse them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from forewarn.domain.inventory import Kind


class LabelState(StrEnum):
    """What became of a failure, or of a forecast, once judged."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    CENSORED = "censored"


@dataclass(frozen=True, slots=True)
class FailureEvent:
    """A part or a host that failed. `confidence` is 1 where a person or the placement service says so."""

    time: datetime
    host: str
    kind: Kind
    component: str  # a component's id; empty where only the host is known
    source: str  # "driver", "kernel log", "operator", ...
    text: str
    confidence: float = 1.0
    state: LabelState = LabelState.OPEN


class ChangeKind(StrEnum):
    """What was changed. None of these is a failure."""

    BOOT = "boot"
    KERNEL = "kernel"
    MICROCODE = "microcode"
    FIRMWARE = "firmware"  # of the board (`bios`), its controller (`bmc`) or a part
    PACKAGE = "package"
    PART = "part"  # one serial number gone and another in its place
    VM = "vm"  # arrived ("here" after) or gone
    POWER_INPUT = "power input"  # of a supply: lost or back; the supply itself is sound
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A recent change on a host: `before` and `after` are versions, serials or states."""

    time: datetime
    host: str
    kind: ChangeKind
    component: str = ""
    before: str = ""
    after: str = ""
