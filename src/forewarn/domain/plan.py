"""What shall be done, what was rejected and why, and what came of it. A plan leaves nothing to choose."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from forewarn.domain.authority import Mode
from forewarn.domain.inventory import Criticality, Kind

PROACTIVE_FAILURE_AVOIDANCE = "Proactive Failure Avoidance"
COST_BENEFIT = "Cost-Benefit"


@dataclass(frozen=True, slots=True)
class Move:
    """One live migration, fully decided. `benefit` and `cost` are in the policy's unit: weighted minutes of outage."""

    id: str
    vm: str
    vm_name: str
    criticality: Criticality
    source: str
    target: str
    component: str  # the suspected part
    kind: Kind
    risk: float  # P(failure within the policy's horizon) when decided
    threshold: float
    rule: str  # PROACTIVE_FAILURE_AVOIDANCE or COST_BENEFIT
    reason: str  # a sentence for a person
    benefit: float = 0.0
    cost: float = 0.0
    duration_s: float = 0.0  # predicted
    downtime_ms: float = 0.0  # predicted
    device: str = ""  # the suspected part as the kernel names it
    copy_s: float = 0.0  # of the predicted duration, what the copying alone takes
    stop_ms: float = 0.0  # of the predicted downtime, what the last round alone takes


class Refusal(StrEnum):
    """Why something was not done; the codes are stable."""

    NO_SUITABLE_HOST = "no_suitable_host"
    IMMOVABLE = "immovable"
    DOES_NOT_PAY = "does_not_pay"
    NOT_IN_PATH = "not_in_path"
    REDUNDANT = "redundant"
    ALREADY_MOVING = "already_moving"
    LIMIT = "limit"
    PAUSED = "paused"
    UNKNOWN_RISK = "unknown_risk"
    NO_CONVERGENCE = "no_convergence"
    TOO_LATE = "too_late"
    CAN_WAIT = "can_wait"
    HOST_DOWN = "host_down"
    BACK_OFF = "back_off"
    TARGET_FULL = "target_full"
    TARGET_RISKY = "target_risky"
    TARGET_DOWN = "target_down"
    TARGET_CORDONED = "target_cordoned"
    TARGET_CANNOT_RECEIVE = "target_cannot_receive"
    TARGET_SAME_HOST = "target_same_host"
    TARGET_ANTI_AFFINITY = "target_anti_affinity"
    TARGET_UTILIZATION = "target_utilization"
    DRIVER_UNAVAILABLE = "driver_unavailable"
    STALE = "stale"
    MAINTENANCE = "maintenance"
    FREEZE = "freeze"
    COOL_DOWN = "cool_down"
    CONTESTED = "contested"
    BREAKER = "breaker"
    NOT_LEADER = "not_leader"
    TARGET_SUSPECT = "target_suspect"
    TARGET_LACKS = "target_lacks"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An option that was weighed and rejected: a VM staying (`target` empty), or one target for it."""

    vm: str
    host: str
    component: str
    refusal: Refusal
    text: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A part that a person should look at, where moving VMs is not the answer."""

    host: str
    component: str
    kind: Kind
    text: str
    sound: bool = False  # the part itself is not suspected: what it hangs on is


@dataclass(frozen=True, slots=True)
class Proposal:
    """A move that would be made if it were allowed: `mode` is what its scope allows, `why` says what is missing."""

    move: Move
    mode: Mode
    why: str


@dataclass(frozen=True, slots=True)
class Cordon:
    """A host that shall receive no new VM while one of its parts may fail."""

    host: str
    component: str
    kind: Kind
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order, and all that was rejected. `generation` is that of the cluster used."""

    id: str
    time: datetime
    generation: int
    moves: tuple[Move, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    proposals: tuple[Proposal, ...] = ()  # what would be done, were it allowed
    cordons: tuple[Cordon, ...] = ()  # every host that shall be cordoned now; all others are not


class MoveState(StrEnum):
    """Where a move stands. The last four are final."""

    INTENDED = "intended"  # journaled, the driver not yet called
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the VM runs where it was
    CANCELLED = "cancelled"
    REFUSED = "refused"  # by a guard or the driver's check, before anything started

    @property
    def final(self) -> bool:
        return self not in (MoveState.INTENDED, MoveState.RUNNING)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a move, so far."""

    move: Move
    state: MoveState
    time: datetime  # of the last change
    started: datetime | None = None
    text: str = ""
    progress: float = 0.0  # 0..1
    duration_s: float = 0.0  # measured, once final
    downtime_ms: float = 0.0  # measured, once final
