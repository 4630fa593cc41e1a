"""All that deciding may know, and what one cycle leaves behind for others to read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from forewarn.domain.authority import Approval, Evidence, Grant, Mode, Window
from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Outcome, Plan
from forewarn.domain.risk import FailureForecast


@dataclass(frozen=True, slots=True)
class Workload:
    """What a VM does with what it has. None where the placement service does not know."""

    vm: str
    cpu_cores: float  # mean use
    dirty_bytes_per_s: float | None  # rate at which it dirties memory
    working_set_bytes: int | None  # the memory that it keeps dirtying; a round never sends more than this again
    memory_used_bytes: int | None = None
    memory_filled_bytes: int | None = None  # all but its free pages: what a move has to send
    disk_bytes_per_s: float | None = None  # read and written
    network_bytes_per_s: float | None = None  # received and sent


class Rung(StrEnum):
    """How far Forewarn has gone with a part. `watch` is no action."""

    CLEAR = "clear"
    WATCH = "watch"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class LadderStep:
    """Where one component stands on the ladder, and for how many cycles its risk has pointed elsewhere."""

    component: str
    rung: Rung
    since: datetime
    cycles_above: int = 0
    cycles_below: int = 0


@dataclass(frozen=True, slots=True)
class Breaker:
    """The switch that stops everything when too many hosts turn risky at once. `text` says why while it is tripped."""

    text: str = ""
    cleared_at: datetime | None = None  # what turned risky before that counts no more

    @property
    def tripped(self) -> bool:
        return bool(self.text)


@dataclass(frozen=True)
class Situation:
    """The whole input of a decision. It can be stored, sent and decided on again with the same result."""

    cluster: Cluster
    forecasts: tuple[FailureForecast, ...] = ()
    workloads: tuple[Workload, ...] = ()
    ladder: tuple[LadderStep, ...] = ()
    in_flight: tuple[Outcome, ...] = ()
    recent: tuple[Outcome, ...] = ()  # moves that ended within the last day, newest first
    paused: str = ""  # the reason, while moves are paused
    grants: tuple[Grant, ...] = ()  # oldest first
    evidence: tuple[Evidence, ...] = ()
    approvals: tuple[Approval, ...] = ()
    windows: tuple[Window, ...] = ()
    breaker: Breaker = Breaker()

    @cached_property
    def workload_by_vm(self) -> Mapping[str, Workload]:
        return {workload.vm: workload for workload in self.workloads}

    @cached_property
    def forecasts_by_host(self) -> Mapping[str, tuple[FailureForecast, ...]]:
        found: dict[str, list[FailureForecast]] = {}
        for forecast in self.forecasts:
            found.setdefault(forecast.host, []).append(forecast)
        return {host: tuple(forecasts) for host, forecasts in found.items()}


class Severity(StrEnum):
    """How loud a line of the log is."""

    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One plain sentence about what Forewarn saw, decided or did."""

    time: datetime
    severity: Severity
    text: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on acting, how much of it is used now, and how often it has held something back since the start."""

    name: str
    used: float
    limit: float
    held: int = 0


@dataclass(frozen=True)
class Standing:
    """What allows and what holds back, as the last cycle found it."""

    mode: Mode = Mode.OBSERVE  # of every scope that no grant covers
    mode_max: Mode = Mode.OBSERVE  # the furthest that any scope may go while this process runs
    grants: tuple[Grant, ...] = ()  # those in force
    evidence: tuple[Evidence, ...] = ()
    windows: tuple[Window, ...] = ()  # those that are open or will open
    breaker: str = ""  # why it is tripped
    leader: str = ""  # who leads, where another controller does
    budgets: tuple[Budget, ...] = ()
    telemetry_at: datetime | None = None  # of the newest sample of any host; None where nothing has ever come


@dataclass(frozen=True)
class Snapshot:
    """What one cycle leaves for the dashboard, the API and the command line: everything shown comes from here."""

    time: datetime
    cycle: int
    sentence: str  # the cycle's one sentence
    cluster: Cluster
    forecasts: tuple[FailureForecast, ...]
    ladder: tuple[LadderStep, ...]
    plan: Plan
    moves: tuple[Outcome, ...]  # running ones first, then the latest ended
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by component kind
    horizon_s: float = 604800.0  # that the thresholds speak of
    usual: Mapping[str, float] = field(default_factory=dict)  # P(failure within it) of any part of a kind
    mode: str = "observe"
    paused: str = ""
    simulated: bool = False
    log: tuple[LogLine, ...] = ()  # the newest first
    standing: Standing = Standing()
